"""Pitch periods: voices of a known pitch, noise and silence, and librosa's tracker on a real recording."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

import vqspeech
from vqspeech.audio import load_audio
from vqspeech.nn.pitch import PitchTracker, lag_range

RATE, HOP = 16000, 128
RECORDINGS = Path(vqspeech.__file__).parent / "recordings"


def voice(period: float, seconds: float = 0.5, rate: int = RATE) -> torch.Tensor:
    """Harmonics that fall with frequency, of a period in samples that need not be whole."""
    turns = np.arange(int(seconds * rate)) / period
    wav = sum(np.cos(2 * np.pi * k * turns + k) / k for k in range(1, int(0.45 * period) + 1))
    return torch.from_numpy(0.5 * wav / np.abs(wav).max()).float()


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("hz", [65, 110, 180.5, 260, 390])
def test_period_of_a_synthetic_voice(rate, hz):
    found = PitchTracker(rate, HOP).around_frames(voice(rate / hz, rate=rate)[None], 2000, 8)
    np.testing.assert_allclose(found.numpy(), rate / hz, rtol=0.02)


def test_noise_and_silence_have_no_pitch():
    wav = torch.cat([0.3 * torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 9000)], 1)
    found = PitchTracker(RATE, HOP).around_frames(wav, 1000, 200)
    assert (found > 0).float().mean() < 0.05
    assert not found[:, 170:].any()


def test_height_is_how_alike_a_frame_is_to_itself_one_period_later():
    tracker, noise = PitchTracker(RATE, HOP), 0.3 * torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    voiced = tracker.heights(voice(100.0)[None], 2000, 8)
    assert ((voiced > 0.97) & (voiced < 1.05)).all()
    assert tracker.heights(noise, 1000, 100).mean() < 0.35
    mixed = voice(100.0)[None, :8000]
    mixed = mixed + mixed.std() * noise[:, :8000] / noise.std()
    assert (tracker.heights(mixed, 2000, 8) - 0.5).abs().max() < 0.2  # half of its power repeats


def test_loudness_does_not_matter():
    wav = voice(100.0)[None]
    tracker = PitchTracker(RATE, HOP)
    np.testing.assert_allclose(
        tracker.around_frames(wav, 2000, 8).numpy(), tracker.around_frames(wav / 8, 2000, 8).numpy(), rtol=1e-3
    )


def test_frames_lie_where_they_are_asked_for():
    """A frame's period hangs on the window around it alone; what the window needs beyond the waveform is silence."""
    wav = torch.cat([voice(100.0), voice(64.0)])[None]
    tracker = PitchTracker(RATE, HOP)
    whole = tracker.around_frames(wav, 0, wav.shape[1] // HOP)
    part = tracker.around_frames(wav[:, 10 * HOP :], 20 * HOP, 40)
    np.testing.assert_allclose(part[:, 1:-1].numpy(), whole[:, 31:69].numpy(), rtol=1e-4)
    assert whole.shape == (1, wav.shape[1] // HOP)
    np.testing.assert_allclose(whole[0, 5:55].numpy(), 100, rtol=0.02)
    np.testing.assert_allclose(whole[0, 70:-7].numpy(), 64, rtol=0.02)


@pytest.mark.parametrize("name", ["books", "books-man", "rain", "rain-man", "example", "example-man"])
def test_agrees_with_librosa_on_a_real_recording(name):
    wav = load_audio(RECORDINGS / f"{name}.flac", RATE)
    ours = PitchTracker(RATE, HOP).around_frames(torch.from_numpy(wav)[None], 0, len(wav) // HOP)[0].numpy()
    f0, voiced, _ = librosa.pyin(wav, fmin=60, fmax=400, sr=RATE, frame_length=1024, hop_length=HOP)
    f0, voiced = f0[: len(ours)], voiced[: len(ours)]
    both = (ours > 0) & voiced
    assert both.sum() > 50
    assert ((ours > 0) == voiced).mean() > 0.8
    assert (np.abs(12 * np.log2(RATE / ours[both] / f0[both])) < 1).mean() > 0.9  # within a semitone


def test_lags_cover_the_voices():
    assert lag_range(16000) == (40, 267)
