"""Classes to sound: by mu-law alone, or through the filters of linear prediction."""

# N code frames, T = N * hop samples, C conditioning channels, p order of the prediction.

from __future__ import annotations

from collections import deque
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import mu_law_decode

Frames = Generator[NDArray[np.floating], None, None]


class Vocoder:
    """The sound of one recording, from its first sample to its last.

    The conditioning frames that a decoder samples from pass through `watch`, which keeps the filters that come with
    them; the classes that it draws then meet their filters in `push`. A recording may be drawn in parts. They are
    watched side by side and pushed one after the other, and what the filters remember runs on from part to part.
    """

    def __init__(self, model: VQVAE) -> None:
        self._channels, self._hop_length = model.wavenet.frame_channels, model.hop_length
        self._filters: dict[int, deque[NDArray[np.float64]]] = {}  # of each part's frames that are to be pushed
        self._synthesis = None
        if model.prediction is not None:
            from vqspeech.nn.synthesis import Synthesis

            self._synthesis = Synthesis(model.prediction.order, model.hop_length)

    def watch(self, frames: Frames, part: int = 0, unwanted: int = 0) -> Frames:
        """Conditioning frames (n, C) of what `conditioning.condition_entries` gives for a part.

        The first `unwanted` frames of the part will not be pushed.
        """
        if self._synthesis is None:
            return frames
        return self._split(frames, self._filters.setdefault(part, deque()), unwanted)

    def _split(self, frames: Frames, filters: deque[NDArray[np.float64]], unwanted: int) -> Frames:
        for piece in frames:
            filters.extend(piece[unwanted:, self._channels :])
            unwanted = max(0, unwanted - len(piece))
            yield np.ascontiguousarray(piece[:, : self._channels], np.float32)

    def push(self, classes: NDArray[np.integer], part: int = 0) -> NDArray[np.float32]:
        """The sound (T,) of a part's next N * hop classes, in [-1, 1]."""
        level = mu_law_decode(classes)
        if self._synthesis is None or not len(level):
            return level
        for earlier in [number for number in list(self._filters) if number < part]:
            del self._filters[earlier]
        waiting = self._filters[part]
        filters = np.stack([waiting.popleft() for _ in range(len(level) // self._hop_length)])
        return self._synthesis.push(level, filters)
