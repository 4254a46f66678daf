"""What an encoder hears: mel frames instead of samples."""

# B batch, T samples, M mel bands, N mel frames.

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vqspeech.nn.torchaudio_remedy import import_torchaudio

FLOOR = 1e-3  # added to magnitudes: what is softer is silence


class LogMel(nn.Module):
    """Log-mel magnitudes of windows of 32 ms (or one hop, if that is longer), unpadded, scaled by constants.

    Parameters
    ----------
    sample_rate : Hz
    hop_length : samples from one frame to the next
    bands : M

    Attributes
    ----------
    window : samples that a frame sees
    """

    def __init__(self, sample_rate: int, hop_length: int, bands: int) -> None:
        super().__init__()
        self.hop_length, self.bands = hop_length, bands
        self.window = max(2 ** round(math.log2(0.032 * sample_rate)), hop_length)
        self.mel = import_torchaudio().transforms.MelSpectrogram(
            sample_rate, n_fft=self.window, hop_length=hop_length, n_mels=bands, center=False, power=1.0
        )

    def forward(self, wav: Tensor) -> Tensor:
        """(B, M, N) of (B, window + (N - 1) * hop), about -2 for silence and 2 for loud speech."""
        with torch.autocast(wav.device.type, enabled=False):
            return (torch.log(self.mel(wav.float()) + FLOOR) + 2.5) / 2.5
