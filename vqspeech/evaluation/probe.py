"""Free-running conversions judged while training, by means that need no labels and no trained network.

Teacher-forced figures flatter: a decoder may predict the next sample well and still say nothing when it runs alone.
The judges here are rough but independent of the model: cepstra aligned with the source for content, a linear
discriminant on the statistics of real recordings for the voice.
"""

# T samples, N analysis frames, M cepstral coefficients.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import FULL_SCALE
from vqspeech.data.store import Store

Wav = NDArray[np.float32]


def cepstra(wav: Wav, sample_rate: int, num: int = 20) -> NDArray[np.float32]:
    """MFCCs (N, M) of windows of 32 ms every 10 ms, by librosa."""
    import librosa

    num_fft = 2 ** round(np.log2(0.032 * sample_rate))
    padded = np.pad(wav, (0, max(0, num_fft - len(wav))))
    return librosa.feature.mfcc(
        y=padded, sr=sample_rate, n_mfcc=num, n_fft=num_fft, hop_length=sample_rate // 100, n_mels=40
    ).T


def content_match(source: Wav, converted: Wav, sample_rate: int) -> float:
    """Correlation of two recordings' cepstra 1 ... 12, frame by frame, each without its own mean; in [-1, 1].

    A conversion has its source's timing, so no alignment is needed; taking out the mean takes out most of the voice.
    """
    a, b = (cepstra(wav, sample_rate)[:, 1:13] for wav in (source, converted))
    num = min(len(a), len(b))
    a, b = (x[:num] - x[:num].mean(0) for x in (a, b))
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale > 0 else 0.0


class VoiceJudge:
    """Tells a corpus's speakers apart by the mean and spread of cepstra: linear discriminant analysis.

    Parameters
    ----------
    store : prepared corpus; its training split is used
    utterances_per_speaker : at most so many
    """

    def __init__(self, store: Store, utterances_per_speaker: int = 20) -> None:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.sample_rate = store.sample_rate
        chosen: dict[int, list[int]] = {}
        for index in store.utterances("train"):
            own = chosen.setdefault(store.speaker(index), [])
            if len(own) < utterances_per_speaker:
                own.append(index)
            elif len(chosen) == len(store.speakers) and all(len(o) >= utterances_per_speaker for o in chosen.values()):
                break
        pairs = [(self.statistics(store_wav(store, i)), speaker) for speaker, own in chosen.items() for i in own]
        self.classifier: Any = make_pipeline(
            StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        ).fit(np.array([x for x, _ in pairs]), np.array([speaker for _, speaker in pairs]))

    def statistics(self, wav: Wav) -> NDArray[np.float32]:
        """Mean and standard deviation of the cepstra; level (coefficient 0) is left out of the mean."""
        x = cepstra(wav, self.sample_rate)
        return np.concatenate([x[:, 1:].mean(0), x.std(0)]).astype(np.float32)

    def hear(self, wavs: Sequence[Wav]) -> list[int]:
        """The speaker that each recording sounds like, as a position in the store's speakers."""
        return [int(s) for s in self.classifier.predict(np.array([self.statistics(wav) for wav in wavs]))]


def store_wav(store: Store, index: int, max_samples: int | None = None) -> Wav:
    """An utterance of a store as float32 in [-1, 1]."""
    return store.read(index, 0, max_samples).astype(np.float32) * np.float32(1 / FULL_SCALE)


@dataclass(frozen=True)
class Conversion:
    """One probe: what went in, what came out, both ways."""

    source: Wav
    speaker: int
    target: int
    reconstruction: Wav
    converted: Wav


def judge(conversions: Sequence[Conversion], voices: VoiceJudge) -> dict[str, float]:
    """Figures of a probe, shares and correlations in [0, 1] or [-1, 1].

    Returns
    -------
    figures : "content", the mean match of conversions with their own sources; "content_control", with another
        source; "target" and "still_source", the share of conversions heard as either; "own", the share of
        reconstructions heard as their speaker; "voice_ceiling", the share of the real sources heard as their speaker
    """
    rate = voices.sample_rate
    sources = [c.source for c in conversions]
    heard = voices.hear([c.converted for c in conversions])
    again = voices.hear([c.reconstruction for c in conversions])
    real = voices.hear(sources)
    others = sources[1:] + sources[:1]
    return {
        "content": float(np.mean([content_match(c.source, c.converted, rate) for c in conversions])),
        "content_control": float(
            np.mean([content_match(other, c.converted, rate) for other, c in zip(others, conversions, strict=True)])
        ),
        "target": float(np.mean([h == c.target for h, c in zip(heard, conversions, strict=True)])),
        "still_source": float(np.mean([h == c.speaker for h, c in zip(heard, conversions, strict=True)])),
        "own": float(np.mean([h == c.speaker for h, c in zip(again, conversions, strict=True)])),
        "voice_ceiling": float(np.mean([h == c.speaker for h, c in zip(real, conversions, strict=True)])),
    }
