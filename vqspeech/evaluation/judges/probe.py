"""Free-running conversions judged while training, by means that need no labels and no trained network.

Teacher-forced figures flatter: a decoder may predict the next sample well and still say nothing when it runs alone.
The judges here are simple and independent of the model: cepstra aligned with the source for content, a linear
classifier of the statistics of real recordings for the voice.
"""

# T samples, N analysis frames, M cepstral coefficients.

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.store import Store
from vqspeech.numba_cache import import_librosa

Wav = NDArray[np.float32]
MAX_UTTERANCES = 600  # that a judge of voices is made from, whatever the corpus's size
MAX_SPEAKERS = 40  # that it tells apart: of more, each would have too few of them
LEAST_UTTERANCES = 2  # of a speaker who is told apart
MAX_SECONDS = 4.0  # of each
COPIES = 5  # of each, disturbed
AT_A_TIME = 64  # that are disturbed together
NUM_CEPSTRA = 13  # with the level, which is left out: finer shapes tell more of noise than of voices


def cepstra(wav: Wav, sample_rate: int, num: int = 20) -> NDArray[np.float32]:
    """MFCCs (N, M) of windows of 32 ms every 10 ms, by librosa."""
    librosa = import_librosa()

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


class VoiceClassifier:
    """Tells a corpus's speakers apart by the mean and spread of cepstra: multinomial logistic regression.

    It has heard each recording with noise, through filters and as mu-law too, and listens to the loud half of the
    frames and to coarse shapes of the spectrum: a conversion's hiss is not what it goes by.

    Parameters
    ----------
    store : prepared corpus; its training split is used, at most `MAX_UTTERANCES` of it
    num_speakers : the store's first so many are told apart; None: all. Of more than `MAX_SPEAKERS` some are drawn
    first : speakers, as positions in the store's, who are among those if any are

    Attributes
    ----------
    speakers : who are told apart, as positions in the store's speakers
    """

    def __init__(self, store: Store, num_speakers: int | None = None, first: Collection[int] = ()) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.sample_rate = store.sample_rate
        chosen = choose_utterances(store, num_speakers, first)
        self.speakers = frozenset(store.speaker(index) for index in chosen)
        limit = int(MAX_SECONDS * store.sample_rate)
        wavs = [store.wav(index, limit) for index in chosen]
        heard = [wavs, *(_disturb(wavs, store.sample_rate, seed) for seed in range(COPIES))]
        statistics = np.array([self.statistics(wav) for copies in heard for wav in copies])
        speakers = np.tile([store.speaker(index) for index in chosen], len(heard))
        self.classifier: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(
            statistics, speakers
        )

    def statistics(self, wav: Wav) -> NDArray[np.float32]:
        """Mean and standard deviation of cepstra 1 ... 12 over the louder half of the frames."""
        x = cepstra(wav, self.sample_rate, NUM_CEPSTRA)
        loud = x[x[:, 0] >= np.median(x[:, 0]), 1:]
        return np.concatenate([loud.mean(0), loud.std(0)]).astype(np.float32)

    def hear(self, wavs: Sequence[Wav]) -> list[int]:
        """The speaker that each recording sounds like, as a position in the store's speakers."""
        return [int(s) for s in self.classifier.predict(np.array([self.statistics(wav) for wav in wavs]))]


def _disturb(wavs: Sequence[Wav], sample_rate: int, seed: int) -> list[Wav]:
    """One copy of each recording with its level, noise, filter or number of bits changed."""
    import torch

    from vqspeech.evaluation.judges.training import disturb_for_speaker, pad

    generator = torch.Generator().manual_seed(seed)
    copies: list[Wav] = []
    for start in range(0, len(wavs), AT_A_TIME):
        padded = pad(wavs[start : start + AT_A_TIME], sample_rate // 100)
        disturbed, lengths = disturb_for_speaker(*padded, generator)
        copies += [wav[:length].numpy() for wav, length in zip(disturbed, lengths.tolist(), strict=True)]
    return copies


def can_tell_voices(store: Store, num_speakers: int | None = None) -> bool:
    """Whether at least two speakers of a corpus have two training utterances each."""
    _, speaker = _train(store, num_speakers)
    return int((np.unique(speaker, return_counts=True)[1] >= LEAST_UTTERANCES).sum()) > 1


def choose_utterances(store: Store, num_speakers: int | None = None, first: Collection[int] = ()) -> list[int]:
    """The same number of training utterances of every speaker, as far as there are any; about MAX_UTTERANCES.

    Speakers with fewer than `LEAST_UTTERANCES` are left out; of more than `MAX_SPEAKERS`, `first` and some drawn ones
    stay. See `VoiceClassifier`.
    """
    positions, speaker = _train(store, num_speakers)
    order = np.argsort(speaker, kind="stable")
    names, starts, counts = np.unique(speaker[order], return_index=True, return_counts=True)
    known = np.flatnonzero(counts >= LEAST_UTTERANCES)
    drawn = np.random.default_rng(len(names)).permutation(known)
    told = sorted(drawn, key=lambda place: names[place] not in first)[:MAX_SPEAKERS]
    each = max(LEAST_UTTERANCES, min(20, MAX_UTTERANCES // max(1, len(told))))
    picks = [order[starts[place] : starts[place] + min(each, counts[place])] for place in sorted(told)]
    return positions[np.concatenate(picks)].tolist() if picks else []


def _train(store: Store, num_speakers: int | None) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Training utterances of the first `num_speakers` speakers, and whose each is."""
    span = store.utterances("train")
    speaker = store.index["speaker"][span.start : span.stop]
    chosen = np.arange(len(speaker)) if num_speakers is None else np.flatnonzero(speaker < num_speakers)
    return span.start + chosen, speaker[chosen]


@dataclass(frozen=True)
class Conversion:
    """One probe: what went in, what came out, both ways."""

    source: Wav
    speaker: int
    target: int
    reconstruction: Wav
    converted: Wav


def score_conversions(
    conversions: Sequence[Conversion], voices: VoiceClassifier | None, sample_rate: int
) -> dict[str, float]:
    """Figures of a probe, shares and correlations in [0, 1] or [-1, 1].

    Returns
    -------
    figures : "content", the mean match of conversions with their own sources; "content_control", with another
        source. With a judge of voices also "target" and "still_source", the share of conversions heard as either;
        "own", the share of reconstructions heard as their speaker; "voice_ceiling", the share of the real sources
        heard as their speaker
    """
    sources = [c.source for c in conversions]
    others = sources[1:] + sources[:1]
    own = [content_match(c.source, c.converted, sample_rate) for c in conversions]
    control = [content_match(other, c.converted, sample_rate) for other, c in zip(others, conversions, strict=True)]
    figures = {"content": float(np.mean(own)), "content_control": float(np.mean(control))}
    if voices is None:
        return figures
    known = [c for c in conversions if {c.speaker, c.target} <= voices.speakers]
    if not known:
        return figures
    heard = np.array(voices.hear([c.converted for c in known]))
    again = np.array(voices.hear([c.reconstruction for c in known]))
    real = np.array(voices.hear([c.source for c in known]))
    speaker = np.array([c.speaker for c in known])
    return figures | {
        "target": float(np.mean(heard == np.array([c.target for c in known]))),
        "still_source": float(np.mean(heard == speaker)),
        "own": float(np.mean(again == speaker)),
        "voice_ceiling": float(np.mean(real == speaker)),
    }
