"""From an excitation to a waveform: all-pole filters that change from frame to frame, as a stream.

It is apart from `linear_prediction`, for numba takes long to import.
"""

# T samples, N frames (T = N * hop), p order.

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from vqspeech.nn.linear_prediction import EXCITATION_LEVEL
from vqspeech.numba_cache import guard

guard()


class Synthesis:
    """The inverse of `linear_prediction.excite`, piece by piece; the pieces change nothing.

    A sample never leaves [-1, 1]: it is clipped before later ones are predicted from it, so that no filters in no order
    can build up more.
    """

    def __init__(self, order: int, hop_length: int) -> None:
        self._hop_length = hop_length
        self._past = np.zeros(order)

    def push(self, level: NDArray[np.float32], filters: NDArray[np.float64]) -> NDArray[np.float32]:
        """The next samples (T,) of levels (T,), see `Excitation`, and filters (N, p + 1), see `Filters.packed`."""
        wav = np.concatenate([self._past, np.zeros(len(level))])
        _synthesise(level, filters, self._hop_length, EXCITATION_LEVEL, wav)
        self._past = wav[len(level) :].copy()
        return wav[len(self._past) :].astype(np.float32)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _synthesise(level: np.ndarray, filters: np.ndarray, hop_length: int, unit: float, wav: np.ndarray) -> None:
    """Fill `wav` (p + T,), whose first p samples are known."""
    order = filters.shape[1] - 1
    for t in range(len(level)):
        row = filters[t // hop_length]
        x = level[t] * row[order] / unit
        for i in range(order):
            x -= row[i] * wav[order + t - 1 - i]
        wav[order + t] = min(max(x, -1.0), 1.0)
