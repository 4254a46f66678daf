"""Disturbances a judge must not listen to: level, tempo, microphone, noise, 8-bit mu-law.

All work on a padded batch on the CPU and draw from a given `torch.Generator`, so that a seed fixes a training run.
"""

# B batch, T samples, K knots of a random filter.
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vqspeech.mu_law import mu_law_decode, mu_law_encode


def mask_samples(lengths: Tensor, num_samples: int) -> Tensor:
    """True inside each utterance: (B,) lengths to (B, T) bool."""
    return torch.arange(num_samples) < lengths[:, None]


def uniform(low: float, high: float, size: int, generator: torch.Generator) -> Tensor:
    """Draw `size` numbers in [low, high), shape (size, 1)."""
    return low + (high - low) * torch.rand(size, 1, generator=generator)


def crop(wav: Tensor, lengths: Tensor, least: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Keep a random stretch of each utterance, at least the share `least` of it.

    A word's duration betrays its speaker, and a conversion keeps the source's: voice should decide, not tempo.
    """
    num_utterances, num_samples = wav.shape
    kept = (lengths[:, None] * uniform(least, 1.0, num_utterances, generator)).long().clamp(min=1)
    start = ((lengths[:, None] - kept + 1) * uniform(0.0, 1.0, num_utterances, generator)).long()
    places = (torch.arange(num_samples) + start).clamp(max=num_samples - 1)
    kept = kept[:, 0]
    return wav.gather(1, places) * mask_samples(kept, num_samples), kept


def change_speed(wav: Tensor, lengths: Tensor, most: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Play each utterance up to the share `most` faster or slower, pitch included (linear interpolation)."""
    num_utterances, num_samples = wav.shape
    speed = 1.0 + uniform(-most, most, num_utterances, generator)
    changed = (lengths[:, None] / speed).long().clamp(min=1)
    num_changed = int(changed.max())
    places = torch.arange(num_changed) * speed
    before = places.long().clamp(max=num_samples - 1)
    after = (before + 1).clamp(max=num_samples - 1)
    weight = places - before
    mixed = wav.gather(1, before) * (1 - weight) + wav.gather(1, after) * weight
    changed = changed[:, 0]
    return mixed * mask_samples(changed, num_changed), changed


def equalise(wav: Tensor, depth_db: float, generator: torch.Generator, num_knots: int = 8) -> Tensor:
    """Filter each utterance with a smooth random magnitude curve of zero phase, standard deviation `depth_db`."""
    spectrum = torch.fft.rfft(wav)  # (B, T // 2 + 1)
    knots = torch.randn(wav.shape[0], 1, num_knots, generator=generator) * depth_db  # (B, 1, K)
    curve = F.interpolate(knots, size=spectrum.shape[1], mode="linear", align_corners=True)[:, 0]
    return torch.fft.irfft(spectrum * 10 ** (curve / 20), n=wav.shape[1])


def add_noise(wav: Tensor, lengths: Tensor, snr_db: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Add noise with a random smooth spectrum at a signal-to-noise ratio drawn from the range `snr_db`."""
    noise = equalise(torch.randn(wav.shape, generator=generator), 10.0, generator, num_knots=4)
    mask = mask_samples(lengths, wav.shape[1])
    noise = noise * mask
    ratio = uniform(*snr_db, wav.shape[0], generator)
    power = wav.square().sum(1, keepdim=True) / noise.square().sum(1, keepdim=True).clamp(min=1e-12)
    return wav + noise * (power * 10 ** (-ratio / 10)).sqrt()


def scale_peak(wav: Tensor, peak_db: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Bring each utterance's peak to a level drawn from the range `peak_db`, dB full scale."""
    level = 10 ** (uniform(*peak_db, wav.shape[0], generator) / 20)
    return wav / wav.abs().amax(1, keepdim=True).clamp(min=1e-5) * level


def pass_mu_law(wav: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Round a random `share` of the utterances to the 256 mu-law levels."""
    chosen = torch.rand(wav.shape[0], 1, generator=generator) < share
    return torch.where(chosen, mu_law_decode(mu_law_encode(wav.clamp(-1, 1))).to(wav.dtype), wav)
