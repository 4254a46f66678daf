"""How far reconstructions are from what was said, beside the mu-law copy; and what is clipped, silent or broken."""

# T samples, N analysis frames, M cepstral coefficients, F frequency bins.
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vqspeech.evaluation.figures.statistics import Sample
from vqspeech.evaluation.figures.text import listed
from vqspeech.evaluation.figures.types import Evaluation, Figure, Section, Trial, Wav
from vqspeech.evaluation.trials.scoring import beside_signals
from vqspeech.evaluation.trials.signals import (
    CONVERSION,
    INAUDIBLE_DB,
    MU_LAW,
    RANDOM,
    RECONSTRUCTION,
    SHIFTED,
    SIGNALS,
    SOURCE,
    Signal,
    level_db,
    one_per_utterance,
)
from vqspeech.numba_cache import import_librosa

TITLE = "Sound"
NUM_CEPSTRA = 13  # coefficients 1 ... 13; 0, the level, is left out
RESOLUTIONS_MS = ((64.0, 16.0), (32.0, 8.0), (16.0, 4.0))  # window and hop
CLIPPED = 0.99  # of full scale, of which the outermost mu-law class stands for all above
FADED_DB = -30.0  # of a signal's level against its source's, from which down it says nothing of it
_REFERENCES = (SOURCE, MU_LAW, SHIFTED, RANDOM)


def measure(evaluation: Evaluation) -> Section:
    """Mel-cepstral distortion and multi-resolution STFT distance; clipped, silent and broken shares."""
    rate, seed = evaluation.sample_rate, evaluation.seed
    own = one_per_utterance(evaluation)
    figures = []
    cepstra = f"librosa's mel-cepstra 1 to {NUM_CEPSTRA}, frames as they stand: a conversion keeps its source's timing"
    for name, distance, unit, note in (
        ("mel-cepstral distortion", mel_cepstral_distortion, "dB", cepstra),
        ("multi-resolution STFT distance", stft_distance, "", "spectral convergence + log magnitude"),
    ):

        def samples(signal: Signal, distance: Callable[[Wav, Wav, int], float] = distance) -> list[Sample]:
            return [(distance(trial.source, signal.of(trial), rate), trial.speaker, trial.utterance) for trial in own]

        figures.append(
            beside_signals(
                f"{name} of {RECONSTRUCTION.plural}", samples, RECONSTRUCTION, _REFERENCES,
                lambda signal: signal.keeps_content,
                seed=seed, unit=unit, higher_is_better=False, note=note, basis=f"sound at {rate} Hz",
            )
        )  # fmt: skip
    figures += _faults(evaluation, RECONSTRUCTION, own) + _faults(evaluation, CONVERSION, evaluation.trials)
    return Section(TITLE, tuple(figures), tuple(_warnings(evaluation)))


def mel_cepstral_distortion(source: Wav, other: Wav, sample_rate: int) -> float:
    """Mean over frames of 10 / ln 10 * sqrt(2 * sum of squared differences of c_1 ... c_M), dB (Kubichek 1993).

    nan where a waveform is not finite. The cepstra are of librosa's mel spectrum, with a floor 80 dB below full scale.
    """
    a, b = _mel_cepstra(source, sample_rate), _mel_cepstra(other, sample_rate)
    num = min(len(a), len(b))
    if not num or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    difference = a[:num] - b[:num]
    return float((10 / np.log(10) * np.sqrt(2 * (difference**2).sum(1))).mean())


def _mel_cepstra(wav: Wav, sample_rate: int) -> NDArray[np.float64]:
    """(N, M): cosine series of the log mel magnitude, c_1 ... c_M, windows of 32 ms every 8 ms."""
    librosa = import_librosa()
    from scipy.fft import dct

    if not np.isfinite(wav).all():
        return np.full((1, NUM_CEPSTRA), np.nan)
    size = 1 << round(np.log2(0.032 * sample_rate))
    padded = np.pad(wav, (0, max(0, size - len(wav)))).astype(np.float32)
    mel = librosa.feature.melspectrogram(y=padded, sr=sample_rate, n_fft=size, hop_length=size // 4, n_mels=40)
    # log |H| = c_0 / 2 + sum of c_m cos: the convention in which MCD's constant gives the RMS difference in dB.
    bands = 0.5 * np.log(np.maximum(mel, 1e-8)).T.astype(float)  # (N, 40)
    return dct(bands, type=2, axis=1)[:, 1 : NUM_CEPSTRA + 1] / bands.shape[1]


def stft_distance(source: Wav, other: Wav, sample_rate: int) -> float:
    """Spectral convergence plus mean absolute log-magnitude difference, over resolutions (Yamamoto et al. 2020)."""
    num = min(len(source), len(other))
    if not num or not (np.isfinite(source).all() and np.isfinite(other).all()):
        return float("nan")
    total = 0.0
    for window_ms, hop_ms in RESOLUTIONS_MS:
        a, b = (_magnitudes(wav[:num], sample_rate, window_ms, hop_ms) for wav in (source, other))
        convergence = np.linalg.norm(a - b) / max(float(np.linalg.norm(a)), 1e-8)
        # A floor of -80 dB full scale, so that digital silence is not infinitely far from quiet.
        floor = 1e-4 * window_ms / 1000 * sample_rate / 4
        total += float(convergence + np.abs(np.log(np.maximum(a, floor)) - np.log(np.maximum(b, floor))).mean())
    return total / len(RESOLUTIONS_MS)


def _magnitudes(wav: Wav, sample_rate: int, window_ms: float, hop_ms: float) -> NDArray[np.float64]:
    """|STFT| (F, N), Hann windows."""
    librosa = import_librosa()

    size = round(window_ms / 1000 * sample_rate)
    padded = np.pad(wav, (0, max(0, size - len(wav)))).astype(np.float32)
    return np.abs(librosa.stft(padded, n_fft=size, hop_length=round(hop_ms / 1000 * sample_rate))).astype(float)


def has_faded(trial: Trial, signal: Signal) -> bool:
    """Whether a signal is `FADED_DB` below its source, or cannot be heard at all; not where it is not finite."""
    return level_db(signal.of(trial)) < max(level_db(trial.source) + FADED_DB, INAUDIBLE_DB)


def _faults(evaluation: Evaluation, made: Signal, trials: Sequence[Trial]) -> list[Figure]:
    """Shares of clipped samples and of silent utterances, of one signal."""

    def clipped(of: Signal) -> list[Sample]:
        wavs = [(of.of(trial), trial) for trial in trials]
        return [
            ((int((np.abs(wav) >= CLIPPED).sum()), len(wav)), trial.speaker, trial.utterance, trial.target)
            for wav, trial in wavs
            if np.isfinite(wav).all()
        ]

    def silent(of: Signal) -> list[Sample]:
        return [(float(has_faded(trial, of)), trial.speaker, trial.utterance, trial.target) for trial in trials]

    return [
        beside_signals(
            f"{made.plural}: {what}", samples, made, _REFERENCES, lambda signal: True,
            seed=evaluation.seed, unit="%", statistic=statistic, higher_is_better=False,
        )
        for what, samples, statistic in (("clipped samples", clipped, "ratio"), ("silent", silent, "mean"))
    ]  # fmt: skip


def _warnings(evaluation: Evaluation) -> list[str]:
    """One line for each fault, with the utterances that have it."""
    lines = []
    for signal in SIGNALS:
        broken = [trial.utterance for trial in evaluation.trials if not np.isfinite(signal.of(trial)).all()]
        empty = [trial.utterance for trial in evaluation.trials if signal != SOURCE and has_faded(trial, signal)]
        for what, names in (("holds values that are not finite", broken), ("is silent", empty)):
            if names:
                shown = listed(names, 5)
                lines.append(f"{signal.label} {what} in {len(names)} of {len(evaluation.trials)} trials: {shown}")
    return lines
