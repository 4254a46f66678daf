"""A waveform at another rate: soxr's own, a tone stays a tone, and nothing changes where nothing has to."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from vqspeech.audio import resampled


def tone(hertz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (22050, 16000), (16000, 8000)])
def test_a_tone_stays_the_tone(rate, wanted):
    found = resampled(tone(440, rate), rate, wanted)
    assert found.dtype == np.float32 and len(found) == wanted
    inner = slice(wanted // 8, -wanted // 8)  # a filter rings at both ends
    np.testing.assert_allclose(found[inner], tone(440, wanted)[inner], atol=1e-3)
    np.testing.assert_array_equal(found, soxr.resample(tone(440, rate), rate, wanted, quality="HQ"))


def test_the_same_rate_and_no_samples_are_left_as_they_are():
    wav = tone(440, 8000)
    assert resampled(wav, 8000, 8000) is wav
    assert resampled(np.zeros(0, np.float32), 8000, 16000).shape == (0,)
