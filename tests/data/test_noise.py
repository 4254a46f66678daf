"""Noise for the encoder to hear: of the colour asked for, and without pyworld, which changes voices alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.signal

from vqspeech.config import PerturbationConfig
from vqspeech.data.perturbation import Variation, VocodedUtterance, coloured_noise, draw_variation
from vqspeech.data.variants import make_variants
from vqspeech.errors import CorpusError

RATE = 8000
NOISE_ALONE = PerturbationConfig(
    pitch_semitones=0, pitch_range=1, formants=1, equalizer_db=0, noise_snr_db=10, variants=2
)


@pytest.fixture(autouse=True)
def no_pyworld(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyworld", None)


@pytest.mark.parametrize("tilt_db", [0.0, 3.0, 6.0])
def test_the_power_of_noise_falls_by_its_tilt_an_octave(tilt_db):
    noise = coloured_noise(40 * RATE, tilt_db, np.random.default_rng(0))
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1)
    frequencies, power = scipy.signal.welch(noise, RATE, nperseg=2048)
    heard = (frequencies >= 100) & (frequencies <= 3200)
    slope, _ = np.polyfit(np.log2(frequencies[heard]), 10 * np.log10(power[heard]), 1)
    assert slope == pytest.approx(-tilt_db, abs=0.15)


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("tilt_db", [0.0, 6.0])
def test_noise_of_hardly_any_samples_is_finite(length, tilt_db):
    noise = coloured_noise(length, tilt_db, np.random.default_rng(0))
    assert noise.shape == (length,) and np.isfinite(noise).all()


def test_speech_of_the_same_voice_stays_what_it_was():
    wav = np.random.default_rng(0).normal(0, 0.1, 800).astype(np.float32)
    np.testing.assert_array_equal(VocodedUtterance(wav, RATE).resynthesize(Variation()), wav)
    assert draw_variation(NOISE_ALONE, np.random.default_rng(0)).is_same_voice
    assert not draw_variation(PerturbationConfig(), np.random.default_rng(0)).is_same_voice


def test_noisy_copies_are_the_recording_with_noise_within_its_limits(store):
    made = make_variants(store, NOISE_ALONE)
    for index in list(store.utterances("train"))[:5]:
        clean = store.read(index).astype(float)
        noises = [made.read(index, variant) - clean for variant in range(2)]
        assert not np.array_equal(*noises)
        for noise in noises:
            assert 9.9 <= 20 * np.log10(np.std(clean) / np.std(noise)) <= 50.1


def test_another_voice_is_refused_before_any_work(store):
    with pytest.raises(CorpusError, match="pyworld"):
        make_variants(store, PerturbationConfig(variants=5))
