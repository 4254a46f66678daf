"""Where a recording may be cut into parts that are sampled side by side.

A cut lies inside a pause of the source. The part after it begins with a silent past, `warm_up` frames before the cut;
what it samples there is thrown away. So a part's first sample has seen a whole receptive field of its own past, all of
it in the pause. The rule looks back only: neither the length of a recording nor the way it arrives moves a cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PAUSE_LEVEL = 0.01  # RMS of a frame in a pause at most: -40 dB of full scale
PAUSE_DEPTH = 10 ** (-30 / 20)  # and 30 dB below the loudest frame so far, so that soft speech is no pause
SHORTEST_PART_S = 2.0  # seconds between cuts at least: each costs a warm-up


class Cuts:
    """Finds cuts while a recording arrives.

    Parameters
    ----------
    hop_length : int, samples per frame
    sample_rate : Hz
    receptive_field : int, samples of its past that the decoder sees

    Attributes
    ----------
    warm_up : int, frames before each cut that are a pause
    """

    def __init__(self, hop_length: int, sample_rate: int, receptive_field: int) -> None:
        self.warm_up = -(-receptive_field // hop_length)
        self._hop_length = hop_length
        self._shortest = max(1, round(SHORTEST_PART_S * sample_rate / hop_length), self.warm_up)
        self._pending: NDArray[np.float32] = np.zeros(0, np.float32)
        self._frame = self._last_cut = self._pause = 0
        self._loudest = 0.0

    def push(self, samples: NDArray[np.float32]) -> list[int]:
        """Frames that begin a new part, found in the next samples (n,)."""
        self._pending = np.concatenate([self._pending, samples])
        whole = len(self._pending) // self._hop_length * self._hop_length
        frames, self._pending = self._pending[:whole].reshape(-1, self._hop_length), self._pending[whole:]
        return [frame for frame in map(self._look, np.sqrt(np.mean(np.square(frames), axis=1))) if frame is not None]

    def _look(self, level: float) -> int | None:
        frame = self._frame
        self._frame += 1
        self._loudest = max(self._loudest, level)
        self._pause = self._pause + 1 if level <= min(PAUSE_LEVEL, PAUSE_DEPTH * self._loudest) else 0
        # The frame itself is in the pause too: there is silence on both sides of the seam.
        if self._pause <= self.warm_up or frame - self._last_cut < self._shortest:
            return None
        self._last_cut = frame
        return frame
