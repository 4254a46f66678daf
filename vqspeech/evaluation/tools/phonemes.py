"""Phoneme times turned into one class a frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.phonemes import PHONEMES, SILENCE, Label, from_arpabet

_SILENCE_CLASS = PHONEMES.index(SILENCE)


def label_frames(labels: Sequence[Label], num_frames: int, code_rate: float) -> NDArray[np.int64]:
    """Name each code frame after the phoneme at its centre, (n + 1/2) / code_rate; outside all labels is silence.

    Returns
    -------
    classes : int array, shape (num_frames,)
        Indices into `PHONEMES`.
    """
    classes = np.full(num_frames, _SILENCE_CLASS, dtype=np.int64)
    centres = (np.arange(num_frames) + 0.5) / code_rate
    for start_s, end_s, phoneme in labels:
        first, last = np.searchsorted(centres, [start_s, end_s])
        classes[first:last] = PHONEMES.index(from_arpabet(phoneme))
    return classes
