"""Pitch periods of speech, frame by frame: what long-term prediction is taught with."""

# B batch, T samples, N frames, W samples of a window, J lags.

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOWEST_HZ, HIGHEST_HZ = 60.0, 400.0  # of a voice's fundamental
WINDOW_S = 0.050  # s: three periods of the lowest voices
VOICED = 0.55  # normalised autocorrelation above which a frame has a pitch
NEARLY = 0.88  # of the highest peak: the shortest such period is taken, as its multiples fit as well
AUDIBLE = 1e-5  # mean square below which a frame is silence


def lag_range(sample_rate: int) -> tuple[int, int]:
    """The shortest and the longest pitch period, in samples."""
    return math.floor(sample_rate / HIGHEST_HZ), math.ceil(sample_rate / LOWEST_HZ)


class PitchTracker(nn.Module):
    """Pitch by the autocorrelation of windows, divided by that of the window itself [Boersma 1993, IFA Proceedings 17].

    Parameters
    ----------
    sample_rate : Hz
    hop_length : samples from one frame to the next

    Attributes
    ----------
    window : samples that a frame sees
    """

    hann: Tensor
    correction: Tensor

    def __init__(self, sample_rate: int, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.window = 2 * round(WINDOW_S * sample_rate / 2)
        self.shortest, self.longest = lag_range(sample_rate)
        self.size = 2 ** math.ceil(math.log2(self.window + self.longest + 2))  # of the transform: nothing wraps around
        hann = torch.hann_window(self.window, dtype=torch.float64)
        own = self._autocorrelation(hann)
        self.register_buffer("hann", hann.float(), persistent=False)
        self.register_buffer("correction", (own / own[:1]).float(), persistent=False)

    def around_frames(self, wav: Tensor, lead: int, num_frames: int) -> Tensor:
        """Periods in samples, (B, N), 0 where a frame has no pitch, of windows centred on N hops.

        Parameters
        ----------
        wav : Tensor, shape (B, T), in [-1, 1]; what a window needs beyond it is silence
        lead : samples of `wav` before the first hop
        num_frames : N
        """
        return self._periods(self._frames(wav, lead, num_frames))

    def heights(self, wav: Tensor, lead: int, num_frames: int) -> Tensor:
        """The highest normalised autocorrelation of each frame, (B, N), at most about 1; as `around_frames`."""
        return self._scores(self._frames(wav, lead, num_frames))[..., 1:-1].amax(-1)

    def _frames(self, wav: Tensor, lead: int, num_frames: int) -> Tensor:
        """Windows (B, N, W), each of mean 0."""
        before = lead - (self.window - self.hop_length) // 2
        needed = before + (num_frames - 1) * self.hop_length + self.window
        padded = F.pad(wav.float(), (max(0, -before), max(0, needed - wav.shape[1])))
        start = max(0, before)
        frames = padded[:, start : start + needed - before].unfold(1, self.window, self.hop_length)
        return frames - frames.mean(-1, keepdim=True)

    def _autocorrelation(self, frames: Tensor) -> Tensor:
        power = torch.fft.rfft(frames, self.size).abs().square()
        return torch.fft.irfft(power, self.size)[..., : self.longest + 2]

    def _scores(self, frames: Tensor) -> Tensor:
        """Normalised autocorrelation (B, N, J) at the lags of all periods, and one more on either side."""
        own = self._autocorrelation(frames * self.hann)  # (B, N, J)
        score = own / (own[..., :1] + 1e-6) / self.correction
        return score[..., self.shortest - 1 : self.longest + 2]

    def _periods(self, frames: Tensor) -> Tensor:
        score = self._scores(frames)
        left, here, right = score[..., :-2], score[..., 1:-1], score[..., 2:]
        # Heights and places of the peaks between the lags, by a parabola through three.
        bend = left - 2 * here + right
        offset = torch.where(bend < -1e-6, 0.5 * (left - right) / bend.clamp(max=-1e-6), 0.0).clamp(-0.5, 0.5)
        height = here - 0.25 * (left - right) * offset
        peak = torch.where((here >= left) & (here >= right), height, -1.0)
        best = peak > NEARLY * peak.amax(-1, keepdim=True)
        place = best.int().argmax(-1, keepdim=True)  # the first
        periods = place[..., 0] + self.shortest + offset.gather(-1, place)[..., 0]
        score = peak.gather(-1, place)[..., 0]
        voiced = (score > VOICED) & (frames.square().mean(-1) > AUDIBLE)
        # A single frame with a pitch, between two without, is chance.
        beside = F.pad(voiced, (1, 1))
        return torch.where(voiced & (beside[..., :-2] | beside[..., 2:]), periods, torch.zeros_like(periods))
