"""Time jitter and dropout of codes while training: some frames take a neighbour's code, some none."""

# B batch, N code frames, D code dimension.

from __future__ import annotations

import torch
from torch import Tensor

DROPPED = -1  # in place of a frame: no vector


def draw_jitter(mask: Tensor, jitter: float, dropout: float, generator: torch.Generator) -> Tensor:
    """For each frame the frame whose vector it is given: itself, a neighbour [arXiv 1901.08810 §2.3], or none.

    Parameters
    ----------
    mask : BoolTensor, shape (B, N), frames inside the utterance; those never take the vector of one outside
    jitter : share of frames that take a neighbour's vector, each side half; where that side has no frame, their own
    dropout : share of frames that take none
    generator : on the CPU

    Returns
    -------
    jittered : LongTensor, shape (B, N), in [0, N), or DROPPED
    """
    own = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    chance = torch.rand(2, *mask.shape, generator=generator).to(mask.device)
    step = (chance[0] < jitter).long() - 2 * (chance[0] < jitter / 2).long()  # -1, 0 or 1
    neighbour = own + step
    # Vectors of frames outside are zeros in any case; a frame inside must not take one of these.
    known = (neighbour >= 0) & (neighbour < mask.shape[1])
    known &= mask.gather(1, neighbour.clamp(0, mask.shape[1] - 1))
    jittered = torch.where(known, neighbour, own)
    return jittered.masked_fill(chance[1] < dropout, DROPPED)


def apply_jitter(z_q: Tensor, jittered: Tensor) -> Tensor:
    """Vectors (B, N, D) that frames (B, N), as `draw_jitter` gives them, take; zeros where they are dropped."""
    chosen = z_q.gather(1, jittered.clamp(min=0)[..., None].expand_as(z_q))
    return chosen * (jittered != DROPPED)[..., None]
