"""Log-mel frames: what an encoder hears instead of samples, and what the spectral loss aims at."""

# B batch, T samples, M mel bands, N frames.

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqspeech.nn.torchaudio_remedy import import_torchaudio

FLOOR = 1e-3  # added to magnitudes: what is softer is silence


class LogMel(nn.Module):
    """Log-mel magnitudes of windows of 32 ms (or one hop, if that is longer).

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
        """(B, M, N) of (B, window + (N - 1) * hop), scaled by constants: about -2 for silence, 2 for loud speech."""
        return (self._log_magnitudes(wav) + 2.5) / 2.5

    def around_frames(self, wav: Tensor, lead: int, num_frames: int) -> Tensor:
        """(B, N, M), natural logarithm, of windows centred on N hops, the first `lead` samples into `wav` (B, T).

        What a window needs beyond `wav` is silence.
        """
        before = lead - (self.window - self.hop_length) // 2
        needed = before + (num_frames - 1) * self.hop_length + self.window
        padded = F.pad(wav, (max(0, -before), max(0, needed - wav.shape[1])))
        start = max(0, before)
        return self._log_magnitudes(padded[:, start : start + needed - before]).transpose(1, 2)

    def _log_magnitudes(self, wav: Tensor) -> Tensor:
        # In full precision, always: bfloat16 puts the logarithm wrong by up to 0.012.
        with torch.autocast(wav.device.type, enabled=False):
            return torch.log(self.mel(wav.float()) + FLOOR)  # (B, M, N)
