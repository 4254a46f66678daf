"""What conditions the decoder besides its own past: codes in their local context, and the speaker."""

# B batch, N code frames, D code dimension, P speaker dimension, C conditioning channels, M mel bands.

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqspeech.nn.pitch import lag_range


class Conditioner(nn.Module):
    """Convolve z_q with its neighbours and join the speaker's vector.

    Like the encoder it does not pad: `context` frames are needed on either side (zeros beyond the utterance).

    Parameters
    ----------
    code_dim, speaker_dim, channels : D, P, C
    near : frames on either side that the first convolution sees
    num_blocks : residual blocks after it, whose dilations double: each block sees twice as much further as the last
    """

    def __init__(self, code_dim: int, speaker_dim: int, channels: int, near: int, num_blocks: int = 0) -> None:
        super().__init__()
        self.context = near + 2**num_blocks - 1
        self.channels = channels + speaker_dim  # of the output
        self.local = nn.Conv1d(code_dim + speaker_dim, channels, 2 * near + 1)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.blocks = nn.Sequential(*(ConditionBlock(channels, 2**n) for n in range(num_blocks)))

    def forward(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        """Conditioning frames (B, N, C + P) of z_q (B, context + N + context, D) and speaker vectors (B, P)."""
        voice = speaker[:, :, None]  # (B, P, 1)
        x = torch.cat([z_q.transpose(1, 2), voice.expand(-1, -1, z_q.shape[1])], dim=1)
        x = F.relu(self.local(x))
        x = self.blocks(F.relu(x + self.mix(x)))
        return torch.cat([x, voice.expand(-1, -1, x.shape[-1])], dim=1).transpose(1, 2)


class ConditionBlock(nn.Module):
    """What a frame and those `dilation` before and after it add to it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.around = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N + 2 * dilation) -> (B, C, N)."""
        return F.relu(x[..., self.dilation : -self.dilation] + self.mix(F.relu(self.around(x))))


class SpectralHead(nn.Module):
    """Log-mel spectrum of each frame from its conditioning alone: no past samples to lean on."""

    def __init__(self, channels: int, num_mels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, 128), nn.ReLU(), nn.Linear(128, num_mels))

    def forward(self, condition: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, M)."""
        return self.layers(condition)


class PitchHead(nn.Module):
    """The pitch of each frame from its conditioning alone: whether it has one, and how high.

    Parameters
    ----------
    channels : C
    sample_rate : Hz
    """

    def __init__(self, channels: int, sample_rate: int) -> None:
        super().__init__()
        self.shortest, self.longest = lag_range(sample_rate)
        self.middle = math.log2(math.sqrt(self.shortest * self.longest))
        self.layers = nn.Sequential(nn.Linear(channels, 128), nn.ReLU(), nn.Linear(128, 2))

    def forward(self, condition: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, 2): log odds of a pitch, and octaves of its period above the middle of the range."""
        return self.layers(condition)

    @torch.no_grad()
    def periods(self, condition: Tensor) -> Tensor:
        """Periods in whole samples, 0 where there is none, in full precision: (..., C) -> (...)."""
        with torch.autocast(condition.device.type, enabled=False):
            odds, octaves = self(condition.float()).unbind(-1)
        period = torch.exp2(octaves + self.middle).clamp(self.shortest, self.longest).round()
        return torch.where(odds > 0, period, torch.zeros_like(period))

    def octaves(self, periods: Tensor) -> Tensor:
        """Periods in samples as `forward` tells them: octaves above the middle; of no period, of one sample."""
        return torch.log2(periods.clamp(min=1)) - self.middle


class SpeakerAdversary(nn.Module):
    """Guess the speaker from quantized vectors; reversed gradients teach the encoder to hide it [arXiv 1505.07818].

    Parameters
    ----------
    code_dim, num_speakers, width : int
        D, speakers, channels.
    context : {"frames", "crop"}
        Guess at every frame from the 9 around it, or once from mean and maximum over all frames of the crop: what a
        frame does not tell, a word may.
    """

    def __init__(self, code_dim: int, num_speakers: int, width: int = 64, context: str = "frames") -> None:
        super().__init__()
        self.pools = context == "crop"
        self.layers = nn.Sequential(
            nn.Conv1d(code_dim, width, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(2 * width if self.pools else width, num_speakers, 1),
        )

    def forward(self, z_q: Tensor, mask: Tensor, scale: float) -> Tensor:
        """Speaker logits (B, N, speakers) of (B, N, D); the gradient towards z_q is multiplied by -scale.

        Frames outside `mask` (B, N) are zeros to every layer, as what lies beyond the batch is. The logits of a crop
        stand at each of its frames.
        """
        x = _ReverseGradient.apply(z_q, scale).transpose(1, 2)
        inside = mask[:, None]
        *hidden, last = self.layers
        for layer in hidden:
            x = layer(x * inside)
        x = x * inside
        if self.pools:
            mean = x.sum(2, keepdim=True) / inside.sum(2, keepdim=True).clamp(min=1)
            x = torch.cat([mean, x.amax(2, keepdim=True)], 1)  # masked zeros never win: after ReLU nothing is below 0
        return last(x).transpose(1, 2).expand(-1, z_q.shape[1], -1)


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.scale * gradient, None
