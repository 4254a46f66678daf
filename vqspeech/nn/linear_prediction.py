"""Linear prediction: each frame's filter from its spectrum, and what the filter leaves of a waveform.

A frame's envelope is an all-pole filter: each sample is predicted from the `order` samples before it, and what the
prediction misses, over the gain, is the excitation [LPCNet, arXiv 1810.11846]. The way back is
`vqspeech.nn.synthesis`.
"""

# B batch, N frames, T = N * hop samples, M mel bands, p order, F = window / 2 + 1 frequencies.

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqspeech.mu_law import mu_law_encode
from vqspeech.nn.mel import FLOOR, LogMel

EXCITATION_LEVEL = 0.1  # RMS at which mu-law gets the excitation: its peaks are ten times as high
WHITE_NOISE = 1e-4  # of the power, added as white noise: no valley of the spectrum is deeper than 40 dB
LEAST_POWER = 1e-9  # added too: digital silence has a filter
LAG_WINDOW_HZ = 40.0  # by which resonances are widened
LEAST_AREA = 0.3  # frequencies that a band must add up: of what is narrower the spectrum's floor makes too much


class Filters(NamedTuple):
    """All-pole filters of frames, float64: gain * e[t] = x[t] + a_1 x[t - 1] + ... + a_p x[t - p]."""

    coefficients: Tensor  # (..., N, p + 1), the first is 1
    gain: Tensor  # (..., N), RMS of what the prediction misses

    def packed(self) -> Tensor:
        """As columns (..., N, p + 1): a_1 ... a_p and the gain."""
        return torch.cat([self.coefficients[..., 1:], self.gain[..., None]], dim=-1)


class Excitation(NamedTuple):
    """What prediction leaves of samples."""

    level: Tensor  # (B, T), EXCITATION_LEVEL times the excitation; mu-law clips what lies beyond 1
    scale: Tensor  # (B, T), of the level, for an amplitude of 1

    @property
    def classes(self) -> Tensor:
        """The mu-law classes (B, T)."""
        return mu_law_encode(self.level)


class LinearPrediction(nn.Module):
    """Filters from log-mel spectra; nothing is learned.

    The power at each frequency is interpolated between the centres of the bands, on the logarithmic scale. Its inverse
    Fourier transform is the autocorrelation, from which Levinson's and Durbin's recursion finds the coefficients. All
    of it is in float64.

    Parameters
    ----------
    order : p
    log_mel : whose frames are given, as `LogMel.around_frames` has them
    """

    wide: Tensor
    log_area: Tensor
    most: Tensor
    interpolation: Tensor
    to_autocorrelation: Tensor

    def __init__(self, order: int, log_mel: LogMel) -> None:
        super().__init__()
        self.order, self.hop_length = order, log_mel.hop_length
        bands = log_mel.mel.mel_scale.fb.double()  # (F, M)
        window = log_mel.mel.spectrogram.window.double()
        area = bands.sum(0)
        wide = area >= min(LEAST_AREA, float(area.max()))
        frequency = torch.arange(len(bands), dtype=torch.float64)
        centre = (bands * frequency[:, None]).sum(0)[wide] / area[wide]
        between = [np.interp(frequency, centre, row) for row in np.eye(len(centre))]
        # The inverse Fourier transform of a spectrum that is real and even, at the first lags, and the lag window.
        lag = torch.arange(order + 1, dtype=torch.float64)
        cosine = torch.cos(2 * math.pi / log_mel.window * frequency[:, None] * lag)
        cosine[1 : -1 if log_mel.window % 2 == 0 else None] *= 2
        widening = torch.exp(-0.5 * (2 * math.pi * LAG_WINDOW_HZ / log_mel.mel.sample_rate * lag) ** 2)
        self._buffer("wide", wide.nonzero()[:, 0])
        self._buffer("log_area", area[wide].log())
        self._buffer("most", torch.log(area[wide] * window.sum() + FLOOR))  # of full scale at all of a band's pitches
        self._buffer("interpolation", torch.from_numpy(np.stack(between)))  # (bands that are wide, F)
        self._buffer("to_autocorrelation", cosine * widening / log_mel.window / window.square().sum())  # (F, p + 1)

    def _buffer(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> Filters:
        """Filters of log-mel frames (..., N, M), natural logarithm; what no waveform in [-1, 1] has is clipped."""
        x = log_mel[..., self.wide].double().clamp(min=math.log(FLOOR)).minimum(self.most)
        power = torch.exp(2 * ((x - self.log_area) @ self.interpolation))  # (..., N, F)
        r = power @ self.to_autocorrelation  # (..., N, p + 1)
        r[..., 0] = r[..., 0] * (1 + WHITE_NOISE) + LEAST_POWER
        return Filters(*levinson(r))


def make_prediction(order: int, sample_rate: int, hop_length: int, bands: int) -> LinearPrediction | None:
    """Filters from the frames that `LogMel` has at this rate and hop; None for order 0."""
    if not order:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of bands that hold no frequency: they are left out
        return LinearPrediction(order, LogMel(sample_rate, hop_length, bands))


def levinson(r: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients (..., p + 1) and gain (...) from autocorrelations (..., p + 1), by Levinson and Durbin."""
    a = torch.zeros_like(r)
    a[..., 0] = 1
    error = r[..., 0].clone()  # power that the prediction misses
    for i in range(1, r.shape[-1]):
        k = -(a[..., :i] * r[..., 1 : i + 1].flip(-1)).sum(-1) / error
        a[..., 1 : i + 1] += k[..., None] * a[..., :i].flip(-1)
        error = error * (1 - k * k)
    return a, error.sqrt()


@torch.no_grad()
def excite(wav: Tensor, lead: int, filters: Filters, hop_length: int) -> Excitation:
    """The excitation of N hops, the first `lead` samples into `wav` (B, at least lead + T), each by its frame's filter.

    What a filter needs before `wav` is silence.
    """
    num_frames, order = filters.gain.shape[-1], filters.coefficients.shape[-1] - 1
    first = max(0, lead - order)
    past = F.pad(wav[:, first : lead + num_frames * hop_length].double(), (order - (lead - first), 0))
    missed = torch.zeros_like(past[:, order:]).unflatten(1, (num_frames, hop_length))
    for i in range(order + 1):
        earlier = past[:, order - i : past.shape[1] - i].unflatten(1, (num_frames, hop_length))
        missed.addcmul_(earlier, filters.coefficients[..., i, None])
    scale = (EXCITATION_LEVEL / filters.gain)[..., None]  # (B, N, 1)
    return Excitation((missed * scale).flatten(1).float(), scale.expand_as(missed).flatten(1).float())
