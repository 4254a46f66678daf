"""The decoder's conditioning frames, computed as sampling needs them."""

# N code frames, D code dimension, C conditioning channels.

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.conversion.parts import Part
from vqspeech.models.vqvae import BLOCK_FRAMES, VQVAE


@torch.no_grad()  # as a decorator: between the pieces the caller's own setting holds
def condition_entries(
    model: VQVAE, entries: Iterable[Tensor], speaker: int
) -> Generator[NDArray[np.floating], None, None]:
    """Frames (n, C) of codebook entries (m, D) that arrive in pieces, for a speaker's index.

    With linear prediction each is followed by its filter, see `VQVAE.conditioning`; `vocoder.Vocoder` takes both.
    """
    stream = model.conditioning(speaker, with_filters=True)
    for z_q in entries:
        for frames in stream.push(z_q):
            yield frames.cpu().numpy()
    for frames in stream.finish():
        yield frames.cpu().numpy()


def condition_part(model: VQVAE, part: Part, speaker: int) -> Generator[NDArray[np.floating], None, None]:
    """What `condition_entries` gives for a part, `part.num_frames` in all; the codes around it are context alone."""
    first, end = part.before, len(part.codes) - part.after
    done = 0
    for frames in condition_entries(model, _look_up(model, part.codes), speaker):
        wanted = frames[max(0, first - done) : max(0, end - done)]
        done += len(frames)
        if len(wanted):
            yield wanted


def _look_up(model: VQVAE, codes: NDArray[np.int32]) -> Iterator[Tensor]:
    for start in range(0, len(codes), BLOCK_FRAMES):
        yield model.lookup(codes[start : start + BLOCK_FRAMES])
