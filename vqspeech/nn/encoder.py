"""Raw waveform to a low-rate sequence of vectors z_e [VQ-VAE §4.3].

No layer pads: the caller gives the waveform with `halo` samples on either side (real audio, or zeros beyond its ends).
So a frame depends on the samples around it and on nothing else, and encoding in blocks equals encoding at once.
"""

# B batch, T samples, N code frames (T = hop * N), C channels, D code dimension.

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqspeech.config import EncoderConfig
from vqspeech.nn.mel import LogMel
from vqspeech.nn.norm import FrameNorm, PastNorm


class ResidualBlock(nn.Module):
    """ReLU, convolution of kernel 3, ReLU, 1x1 convolution, added to the input without its outer frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(channels, channels, 3)
        self.point = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, 1:-1] + self.point(F.relu(self.wide(F.relu(x))))


class Encoder(nn.Module):
    """Strided convolutions of window 2 x stride, residual blocks, projection to the code dimension.

    Parameters
    ----------
    strides : sequence of int
        Six strides of 2 are the paper's 64 x.
    channels, code_dim : int
        C and D.
    residual_blocks : int
    norm : {"none", "batch", "instance"}
        Normalise after each strided convolution, or after the last over a window of the past.
    norm_frames : int
        Code frames of that window.
    front : LogMel
        Gives the frames that the strides operate on; None: samples.
    """

    def __init__(
        self,
        strides: Sequence[int],
        channels: int,
        code_dim: int,
        residual_blocks: int,
        norm: str,
        *,
        norm_frames: int = 64,
        front: LogMel | None = None,
    ) -> None:
        super().__init__()
        self.front = front
        self.strides = tuple(strides)
        self.num_residual = residual_blocks
        widths = [front.bands if front else 1] + [channels] * len(self.strides)
        self.strided = nn.ModuleList(
            nn.Conv1d(a, b, 2 * stride, stride) for a, b, stride in zip(widths, widths[1:], self.strides, strict=False)
        )
        self.norms = nn.ModuleList(
            FrameNorm(channels) if norm == "batch" else nn.Identity() for _ in range(len(self.strides))
        )
        self.past = PastNorm(channels, norm_frames) if norm == "instance" else None
        self.residual = nn.Sequential(*(ResidualBlock(channels) for _ in range(residual_blocks)))
        self.project = nn.Conv1d(channels, code_dim, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                # PyTorch's default shrinks a signal at every layer until biases drown speech of ordinary level.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.strides) * self._grain[1]

    @property
    def _grain(self) -> tuple[int, int]:
        """Samples that what the first convolution reads sees, and from one to the next."""
        return (self.front.window, self.front.hop_length) if self.front else (1, 1)

    @property
    def halo(self) -> tuple[int, int]:
        """Samples needed before the first and after the last frame's own samples."""
        field, step = self._grain
        for stride in self.strides:
            field += (2 * stride - 1) * step
            step *= stride
        field += 2 * self.num_residual * step
        left = (field - step) // 2
        past = (self.past.past - 1) * step if self.past else 0
        return left + past, field - step - left

    def forward(self, wav: Tensor, mask: Tensor | None = None) -> Tensor:
        """z_e of [VQ-VAE §3.1].

        Parameters
        ----------
        wav : Tensor, shape (B, left + N * hop + right), in [-1, 1]
        mask : BoolTensor, shape (B, N), frames that count in the statistics of the normalisation; None: all

        Returns
        -------
        z_e : Tensor, shape (B, N, D)
        """
        x = self.front(wav) if self.front else wav[:, None]
        field, step = self._grain
        for conv, norm, stride in zip(self.strided, self.norms, self.strides, strict=True):
            x = conv(x)
            field, step = field + (2 * stride - 1) * step, step * stride
            if isinstance(norm, FrameNorm):
                inside = None if mask is None else self._inside(mask, x.shape[-1], field, step)
                x = norm(x.transpose(1, 2), inside).transpose(1, 2)
            if self.past is not None and step == self.hop_length:
                x = self._normalize_by_past(x, wav, field, step)
            x = F.relu(x)
        return self.project(F.relu(self.residual(x))).transpose(1, 2)

    def _normalize_by_past(self, x: Tensor, wav: Tensor, field: int, step: int) -> Tensor:
        """(B, C, past - 1 + N) normalised: (B, C, N)."""
        assert self.past is not None
        # What lies beyond a recording's ends is zero to the last sample, and counts no more here than in training.
        audible = F.max_pool1d(wav.float().abs()[:, None], field, step)[:, 0] > 0
        return self.past(x.transpose(1, 2), audible).transpose(1, 2)

    def _inside(self, mask: Tensor, num: int, field: int, step: int) -> Tensor:
        """Which of a layer's `num` positions, each of `field` samples, are centred in a frame that counts: (B, num)."""
        centre = torch.arange(num, device=mask.device) * step + field // 2 - self.halo[0]
        frame = torch.div(centre, self.hop_length, rounding_mode="floor")
        known = (frame >= 0) & (frame < mask.shape[1])
        return mask[:, frame.clamp(0, mask.shape[1] - 1)] & known


def make_encoder(config: EncoderConfig, code_dim: int, sample_rate: int) -> Encoder:
    """The encoder of a recipe's section, for vectors of D = `code_dim`."""
    heard = LogMel(sample_rate, config.mel_hop, config.mel_bands) if config.input == "log-mel" else None
    return Encoder(
        config.strides,
        config.channels,
        code_dim,
        config.residual_blocks,
        config.norm,
        norm_frames=config.norm_frames,
        front=heard,
    )
