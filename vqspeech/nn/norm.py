"""Normalisation by statistics that are fixed after training, so that a stream can be encoded causally."""

from __future__ import annotations

import torch
import torch.nn.functional as F
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
        mean, variance = self.observe(x.flatten(0, 1) if mask is None else x[mask])
        return (x - mean) * torch.rsqrt(variance + self.epsilon)

    def observe(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (C,) of frames (M, C) of all processes, towards which the running ones move."""
        # Processes may have different numbers of frames: sums and count are averaged, then divided.
        sums = torch.stack([frames.sum(0), frames.pow(2).sum(0), torch.full_like(self.mean, len(frames))])
        total, square, count = all_reduce_mean(sums)
        count = count.clamp(min=1e-6)  # without a frame of speech the mean is 0, not NaN
        mean = total / count
        variance = (square / count - mean.pow(2)).clamp(min=0)
        with torch.no_grad():
            # The first statistics are taken over whole: from 0 and 1 it is hundreds of steps to an encoder's scale, and
            # until then evaluation would see every frame in one spot.
            weight = torch.where(self.mean.any(), self.momentum, 1.0).to(mean)
            self.mean.lerp_(mean, weight)
            self.variance.lerp_(variance, weight)
        return mean, variance


class PastNorm(FrameNorm):
    """Instance normalisation over a window of the past: what lasts in a recording, voice and microphone, is taken off.

    The window is bounded, so a frame depends on the `past` frames up to itself and on nothing else. Where few of them
    count, at a recording's start, the running statistics of the training stand in, as `prior` frames would.

    Parameters
    ----------
    channels : int
        C.
    past : int
        Frames of the window, the present one included.
    prior : float
        Weight of the running statistics, in frames.
    """

    def __init__(self, channels: int, past: int, prior: float = 8.0) -> None:
        super().__init__(channels)
        self.past = past
        self.prior = prior

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise (B, past - 1 + N, C), of which those count where `mask` is true (None: all): (B, N, C)."""
        x = x.float()
        counts = torch.ones_like(x[..., :1]) if mask is None else mask[..., None].to(x)
        if self.training:
            self.observe(x.detach()[counts[..., 0] > 0])
        # Distances from the running mean: squares of what lies far from zero would lose their digits.
        d = x - self.mean
        parts = torch.cat([d * counts, d.pow(2) * counts, counts], -1).transpose(1, 2)  # (B, 2C + 1, N')
        sums = self.past * F.avg_pool1d(parts, self.past, 1)
        total, square, count = sums.transpose(1, 2).split([x.shape[-1], x.shape[-1], 1], -1)
        weight = count + self.prior
        mean = total / weight
        variance = ((square + self.prior * self.variance) / weight - mean.pow(2)).clamp(min=0)
        return (d[:, self.past - 1 :] - mean) * torch.rsqrt(variance + self.epsilon)
