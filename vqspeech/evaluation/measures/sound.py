"""How far reconstructions are from what was said, beside the mu-law copy; and what is clipped, silent or broken."""

# T samples, N analysis frames, M cepstral coefficients, F frequency bins.
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vqspeech.evaluation.figures.statistics import Sample, figure
from vqspeech.evaluation.figures.types import Figure, Material, Section, Trial, Wav
from vqspeech.numba_cache import import_librosa

TITLE = "Sound"
NUM_CEPSTRA = 13  # coefficients 1 ... 13; 0, the level, is left out
RESOLUTIONS_MS = ((64.0, 16.0), (32.0, 8.0), (16.0, 4.0))  # window and hop
CLIPPED = 0.99  # of full scale, of which the outermost mu-law class stands for all above
SILENT_DB = -30.0  # below the source's level
QUIET_DB = -60.0  # full scale
WAYS = ("source", "reconstruction", "conversion", "mu_law", "shifted", "random")
LABELS = {
    "source": "source unchanged",
    "reconstruction": "reconstruction",
    "conversion": "conversion",
    "mu_law": "mu-law copy",
    "shifted": "pitch-shifted source",
    "random": "random codes",
}


def measure(material: Material) -> Section:
    """Mel-cepstral distortion and multi-resolution STFT distance; clipped, silent and broken shares."""
    rate, seed = material.sample_rate, material.seed
    own = list({trial.utterance: trial for trial in material.trials}.values())
    figures = []
    for name, distance, unit, note in (
        (
            "mel-cepstral distortion of reconstructions",
            mel_cepstral_distortion,
            "dB",
            f"librosa's mel-cepstra 1 to {NUM_CEPSTRA}, frames as they stand: a conversion keeps its source's timing",
        ),
        (
            "multi-resolution STFT distance of reconstructions",
            stft_distance,
            "",
            "spectral convergence + log magnitude",
        ),
    ):

        def samples(way: str, distance: object = distance) -> list[Sample]:
            assert callable(distance)
            return [
                (distance(trial.source, getattr(trial, way), rate), trial.speaker, trial.utterance) for trial in own
            ]

        controls = [
            figure(LABELS[way], samples(way), seed=seed, unit=unit, is_ceiling=way != "random")
            for way in ("source", "mu_law", "shifted", "random")
        ]
        figures.append(
            figure(
                name,
                samples("reconstruction"),
                seed=seed,
                unit=unit,
                higher_is_better=False,
                controls=controls,
                note=note,
                basis=f"sound at {rate} Hz",
            )
        )
    for way in ("reconstruction", "conversion"):
        figures += _faults(material, way)
    return Section(TITLE, tuple(figures), tuple(_warnings(material)))


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


def level_db(wav: Wav) -> float:
    """RMS level, dB full scale; nan where a sample is not finite, -200 for digital silence."""
    power = float(np.mean(np.square(wav, dtype=np.float64))) if len(wav) else 0.0
    return 10 * float(np.log10(max(power, 1e-20))) if np.isfinite(power) else float("nan")


def is_silent(trial: Trial, way: str) -> bool:
    """Whether what was made is `SILENT_DB` below its source, or below `QUIET_DB`."""
    level = level_db(getattr(trial, way))
    return level < max(level_db(trial.source) + SILENT_DB, QUIET_DB)


def _faults(material: Material, way: str) -> list[Figure]:
    """Shares of clipped samples and of silent utterances, of one kind of sound."""
    trials = material.trials
    if way == "reconstruction":
        trials = tuple({trial.utterance: trial for trial in trials}.values())

    def clipped(of: str) -> list[Sample]:
        return [
            ((int((np.abs(getattr(t, of)) >= CLIPPED).sum()), len(getattr(t, of))), t.speaker, t.utterance, t.target)
            for t in trials
            if np.isfinite(getattr(t, of)).all()
        ]

    def silent(of: str) -> list[Sample]:
        return [(float(is_silent(t, of)), t.speaker, t.utterance, t.target) for t in trials]

    figures = []
    for what, samples, statistic in (("clipped samples", clipped, "ratio"), ("silent", silent, "mean")):
        controls = [
            figure(LABELS[of], samples(of), seed=material.seed, unit="%", statistic=statistic, is_ceiling=True)
            for of in ("source", "mu_law", "shifted", "random")
        ]
        figures.append(
            figure(
                f"{way}s: {what}",
                samples(way),
                seed=material.seed,
                unit="%",
                statistic=statistic,
                higher_is_better=False,
                controls=controls,
            )
        )
    return figures


def _warnings(material: Material) -> list[str]:
    """One line for each fault, with the utterances that have it."""
    lines = []
    for way in WAYS:
        broken = [t.utterance for t in material.trials if not np.isfinite(getattr(t, way)).all()]
        empty = [t.utterance for t in material.trials if way != "source" and is_silent(t, way)]
        for what, names in (("holds values that are not finite", broken), ("is silent", empty)):
            if names:
                shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
                lines.append(f"{LABELS[way]} {what} in {len(names)} of {len(material.trials)} trials: {shown}")
    return lines
