"""A whole waveform at another sample rate; `AudioReader` does the same block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resampled(wav: NDArray[np.floating], sample_rate: int, wanted: int) -> NDArray[np.float32]:
    """A waveform (T,) at another sample rate, Hz, by soxr (HQ); one that is empty or has it already, as it is."""
    import soxr

    if sample_rate == wanted or not len(wav):
        return wav.astype(np.float32, copy=False)
    return soxr.resample(wav, sample_rate, wanted, quality="HQ").astype(np.float32)
