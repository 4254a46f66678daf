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
        moments = all_reduce_mean(torch.stack([frames.mean(0), frames.pow(2).mean(0)]))
        mean, variance = moments[0], (moments[1] - moments[0].pow(2)).clamp(min=0)
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.variance.lerp_(variance, self.momentum)
        return (x - mean) * torch.rsqrt(variance + self.epsilon)
