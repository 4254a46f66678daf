"""All stimuli of a test are equally loud, by the gated loudness of ITU-R BS.1770, and none is clipped."""

# T samples.
from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from vqspeech.errors import DependencyError, ListeningTestError
from vqspeech.listening.design.anchors import Wav

TARGET_LUFS = -23.0  # EBU R 128
BLOCK_S = 0.4  # BS.1770's gating block: what is shorter has no gated loudness
HIGHEST_PEAK = 0.98
OFFSET_DB = -0.691  # of BS.1770: a level of 0 dB full scale, unweighted, is this loud


def level_db(wav: Wav) -> float:
    """Root mean square of a waveform (T,), dB full scale; -inf for silence."""
    power = float(np.mean(np.square(wav, dtype=np.float64))) if len(wav) else 0.0
    return 10 * math.log10(power) if power > 0 else -math.inf


def loudness(wav: Wav, sample_rate: int) -> float:
    """Integrated loudness of a waveform (T,), LUFS, by pyloudnorm; -inf where everything is gated as silence.

    Raises
    ------
    DependencyError
        If pyloudnorm is not installed.
    """
    try:
        import pyloudnorm
    except ImportError:
        raise DependencyError(
            "pyloudnorm is not installed: it measures how loud stimuli are. pip install 'vqspeech[listening]'"
        ) from None
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.simplefilter("ignore")  # of logarithms of silence
        return float(pyloudnorm.Meter(sample_rate, block_size=BLOCK_S).integrated_loudness(wav.astype(np.float64)))


def match_loudness(groups: Sequence[Sequence[Wav]], sample_rate: int) -> list[list[Wav]]:
    """Waveforms (T,) scaled to one loudness: -23 LUFS, or less where a peak would be clipped; then all are softer.

    Those of a group are compared with each other. Where one of them is too short for a gated loudness, or all of it is
    gated, the whole group is matched by its RMS level instead, so that one measure holds within a comparison.

    Raises
    ------
    ListeningTestError
        If a waveform is silent or not finite.
    """
    gains: list[list[float]] = []
    for group in groups:
        if any(not np.isfinite(wav).all() or not np.isfinite(level_db(wav)) for wav in group):
            raise ListeningTestError(
                "a stimulus is silent or holds values that are not finite: its loudness cannot be matched. Leave it out"
            )
        measured = [-math.inf]
        if min(map(len, group)) >= BLOCK_S * sample_rate:
            measured = [loudness(wav, sample_rate) for wav in group]
        if not np.isfinite(measured).all():
            measured = [level_db(wav) + OFFSET_DB for wav in group]
        gains.append([10 ** ((TARGET_LUFS - one) / 20) for one in measured])
    peaks = [
        gain * float(np.abs(wav).max())
        for group, own in zip(groups, gains)
        for wav, gain in zip(group, own, strict=True)
    ]
    softer = min(1.0, HIGHEST_PEAK / max(peaks, default=1.0))
    return [
        [(wav * np.float32(gain * softer)).astype(np.float32) for wav, gain in zip(group, own, strict=True)]
        for group, own in zip(groups, gains, strict=True)
    ]
