"""Noise on codes while training: some frames take a neighbour's code, some none."""

# B batch, N code frames, D code dimension.

from __future__ import annotations

import torch
from torch import Tensor

NOTHING = -1  # a carrier: the frame's vector is dropped


def draw_carriers(mask: Tensor, jitter: float, dropout: float, generator: torch.Generator) -> Tensor:
    """For each frame the frame whose vector it is given: itself, a neighbour [arXiv 1901.08810 §2.3], or none.

    Parameters
    ----------
    mask : BoolTensor, shape (B, N), frames inside the utterance: none outside is ever a carrier of one inside
    jitter : share of frames that take a neighbour's vector, each side half; where that side has no frame, their own
    dropout : share of frames that take none
    generator : on the CPU

    Returns
    -------
    carriers : LongTensor, shape (B, N), in [0, N), or NOTHING
    """
    own = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    chance = torch.rand(2, *mask.shape, generator=generator).to(mask.device)
    step = (chance[0] < jitter).long() - 2 * (chance[0] < jitter / 2).long()  # -1, 0 or 1
    neighbour = own + step
    # Frames outside say nothing in any case; those inside must not fall silent by chance beside them.
    known = (neighbour >= 0) & (neighbour < mask.shape[1])
    known &= mask.gather(1, neighbour.clamp(0, mask.shape[1] - 1))
    carriers = torch.where(known, neighbour, own)
    return carriers.masked_fill(chance[1] < dropout, NOTHING)


def carry(z_q: Tensor, carriers: Tensor) -> Tensor:
    """Vectors (B, N, D) of the carriers (B, N); zeros where there is none."""
    chosen = z_q.gather(1, carriers.clamp(min=0)[..., None].expand_as(z_q))
    return chosen * (carriers != NOTHING)[..., None]
