"""Normalisation by statistics that are fixed after training, so that a stream can be encoded causally."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vqspeech.distributed import all_reduce_mean


class FrameNorm(nn.Module):
    """Batch normalisation over the frames that a mask names, without scale and shift [arXiv 1502.03167].

    `nn.BatchNorm1d` knows no mask, and padding would pull the statistics towards silence. Statistics are shared among
    processes; in evaluation the running ones are used.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, momentum: float = 0.02, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.momentum = momentum
        self.epsilon = epsilon
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise (B, N, C) over the frames where `mask` (B, N) is true (None: all)."""
        x = x.float()
        if not self.training:
            return (x - self.mean) * torch.rsqrt(self.variance + self.epsilon)
        frames = x.flatten(0, 1) if mask is None else x[mask]
        # Processes may have different numbers of frames: sums and count are averaged, then divided.
        sums = torch.stack([frames.sum(0), frames.pow(2).sum(0), torch.full_like(self.mean, len(frames))])
        total, square, count = all_reduce_mean(sums)
        mean = total / count
        variance = (square / count - mean.pow(2)).clamp(min=0)
        with torch.no_grad():
            # The first statistics are taken over whole: from 0 and 1 it is hundreds of steps to an encoder's scale, and
            # until then evaluation would see every frame in one spot.
            weight = torch.where(self.mean.any(), self.momentum, 1.0).to(mean)
            self.mean.lerp_(mean, weight)
            self.variance.lerp_(variance, weight)
        return (x - mean) * torch.rsqrt(variance + self.epsilon)
