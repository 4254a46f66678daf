"""Perturbation: pitch, formants and colour move as asked, time, length and loudness stay."""

from __future__ import annotations

import sys

import librosa
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from vqspeech.config import PerturbationConfig
from vqspeech.data.perturbation import (
    FAINTEST_NOISE_DB,
    STEEPEST_NOISE_DB,
    Variation,
    VocodedUtterance,
    draw_variation,
    load_world,
    scale_pitch,
    warp_envelope,
)  # fmt: skip
from vqspeech.errors import CorpusError

pytest.importorskip("pyworld", reason="pyworld is not installed: pip install 'vqspeech[perturb]'")
RATE = 8000


def vowel(pitch: float = 120.0, formant: float = 1000.0, duration_s: float = 0.6) -> np.ndarray:
    """Pulses through one resonance of 150 Hz bandwidth, rms 0.1."""
    t = np.arange(round(duration_s * RATE)) / RATE
    pulses = np.diff(np.floor(t * pitch), prepend=0)
    radius = np.exp(-np.pi * 150 / RATE)
    wav = scipy.signal.lfilter([1.0], [1.0, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], pulses)
    return (0.1 * wav / wav.std()).astype(np.float32)


def pitch_of(wav: np.ndarray) -> float:
    found, voiced, _ = librosa.pyin(wav, fmin=60, fmax=400, sr=RATE, frame_length=512)
    assert voiced.mean() > 0.5
    return float(np.nanmedian(found))


def peak_of(wav: np.ndarray) -> float:
    """Frequency of the smoothed spectrum's peak, Hz."""
    frequencies, power = scipy.signal.welch(wav, RATE, nperseg=1024)
    smooth = np.convolve(power, np.hanning(41), "same")
    return float(frequencies[smooth.argmax()])


@pytest.fixture(scope="module")
def speech() -> VocodedUtterance:
    return VocodedUtterance(vowel(), RATE)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_pitch_moves_by_its_factor_and_the_formant_stays(speech, factor):
    wav = speech.resynthesize(Variation(pitch=factor))
    assert pitch_of(wav) == pytest.approx(120 * factor, rel=0.03)
    assert peak_of(wav) == pytest.approx(1000, abs=90)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_formants_move_by_their_factor_and_the_pitch_stays(speech, factor):
    wav = speech.resynthesize(Variation(formants=factor))
    assert peak_of(wav) == pytest.approx(1000 * factor, abs=100)
    assert pitch_of(wav) == pytest.approx(120, rel=0.03)


def test_the_equalizer_lifts_an_octave_by_its_gain():
    noise = 0.1 * np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    speech = VocodedUtterance(noise, RATE)
    bands = [0.0] * 8
    bands[4] = 12.0  # 62.5 x 2^4 = 1000 Hz

    def level_db(wav: np.ndarray, low: float, high: float) -> float:
        frequencies, power = scipy.signal.welch(wav, RATE, nperseg=512)
        return 10 * np.log10(power[(frequencies > low) & (frequencies < high)].mean())

    plain, lifted = speech.resynthesize(Variation()), speech.resynthesize(Variation(equalizer_db=tuple(bands)))
    gain_db = (level_db(lifted, 950, 1050) - level_db(plain, 950, 1050)) - (
        level_db(lifted, 3000, 3800) - level_db(plain, 3000, 3800)
    )
    assert gain_db == pytest.approx(12, abs=2)


def test_a_word_stays_where_it_was():
    wav = np.concatenate([np.zeros(2400), vowel(duration_s=0.3), np.zeros(3203)]).astype(np.float32)
    other = VocodedUtterance(wav, RATE).resynthesize(Variation(pitch=1.4, formants=1.2, pitch_range=1.3))
    assert len(other) == len(wav)
    frames = [np.sqrt(np.mean(x[: len(x) // 80 * 80].reshape(-1, 80) ** 2, 1)) for x in (wav, other)]  # 10 ms
    starts, ends = zip(*((np.flatnonzero(f > 0.02)[0], np.flatnonzero(f > 0.02)[-1]) for f in frames), strict=True)
    assert abs(starts[0] - starts[1]) <= 1 and abs(ends[0] - ends[1]) <= 2


@settings(max_examples=12)
@given(length=st.integers(1, 3000), seed=st.integers(0, 1000), rate=st.sampled_from([8000, 16000]))
def test_any_length_gives_as_many_finite_samples_of_the_same_level(length, seed, rate):
    random = np.random.default_rng(seed)
    wav = (0.1 * random.normal(size=length)).astype(np.float32)
    other = VocodedUtterance(wav, rate).resynthesize(draw_variation(PerturbationConfig(), random))
    assert other.shape == (length,) and other.dtype == np.float32 and np.isfinite(other).all()
    if length > rate // 20:
        assert np.sqrt(np.mean(other**2)) == pytest.approx(np.sqrt(np.mean(wav**2)), rel=1e-3)


def test_silence_stays_silence():
    assert not VocodedUtterance(np.zeros(1000, np.float32), RATE).resynthesize(Variation(pitch=1.5)).any()


@pytest.mark.parametrize("variation", [Variation(noise_snr_db=20), Variation(pitch=1.2, noise_snr_db=20)])
def test_noise_is_added_at_its_ratio_to_whatever_voice(variation):
    speech = VocodedUtterance(vowel(), RATE)
    clean = speech.resynthesize(Variation(pitch=variation.pitch))
    noise = speech.resynthesize(variation, np.random.default_rng(1)) - clean
    assert 20 * np.log10(np.std(clean) / np.std(noise)) == pytest.approx(20, abs=0.1)


def test_pitch_bends_about_its_median_in_octaves():
    # Median 200; an octave below and above become half an octave with range 0.5; then all twice as high.
    bent = scale_pitch(np.array([100.0, 200.0, 0.0, 400.0]), 2.0, 0.5)
    np.testing.assert_allclose(bent, [400 / np.sqrt(2), 400, 0, 400 * np.sqrt(2)])


def test_stretching_moves_a_peak_and_repeats_the_top():
    envelope = np.full((1, 101), 1e-6)
    envelope[0, 40] = 1.0
    envelope[0, 100] = 0.5
    assert warp_envelope(envelope, 1.25)[0].argmax() == 50
    down = warp_envelope(envelope, 0.8)[0]
    assert down[32] == pytest.approx(1.0, rel=1e-6)
    np.testing.assert_allclose(down[81:], 0.5)
    np.testing.assert_allclose(warp_envelope(envelope, 1.0), envelope, rtol=1e-6)


@given(seed=st.integers(0, 10_000))
def test_what_is_drawn_stays_within_its_limits(seed):
    config = PerturbationConfig(pitch_semitones=12, pitch_range=2, formants=1.25, equalizer_db=3)
    drawn = draw_variation(config, np.random.default_rng(seed))
    assert 0.5 <= drawn.pitch <= 2 and 0.5 <= drawn.pitch_range <= 2 and 0.8 <= drawn.formants <= 1.25
    assert all(abs(gain) <= 3 for gain in drawn.equalizer_db)


@given(seed=st.integers(0, 10_000), least=st.floats(-10, 50))
def test_noise_is_drawn_between_its_limit_and_nearly_none_and_only_where_asked_for(seed, least):
    config = PerturbationConfig(noise_snr_db=least)
    drawn = draw_variation(config, np.random.default_rng(seed))
    assert least <= drawn.noise_snr_db <= FAINTEST_NOISE_DB
    assert 0 <= drawn.noise_tilt_db <= STEEPEST_NOISE_DB
    without = draw_variation(PerturbationConfig(), np.random.default_rng(seed))
    assert without.noise_snr_db is None
    assert (without.pitch, without.formants, without.equalizer_db) == (
        drawn.pitch, drawn.formants, drawn.equalizer_db,
    )  # fmt: skip


def test_a_missing_pyworld_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(CorpusError, match=r"needs pyworld.*vqspeech\[perturb\].*perturbation.share=0"):
        load_world()


@pytest.mark.real_data
def test_of_real_digits_the_judges_hear_the_word_and_rarely_the_speaker(fsdd):
    from pathlib import Path

    from vqspeech.audio import load_audio
    from vqspeech.evaluation.judges.frozen import load_judges

    judges = load_judges(Path(__file__).resolve().parents[2] / "recipes" / "fsdd" / "judges.safetensors")
    paths = sorted((fsdd / "recordings").glob("*_[5].wav"))  # ten digits of six speakers
    digits, speakers = zip(*(path.stem.split("_")[:2] for path in paths), strict=True)
    random = np.random.default_rng(0)
    others = [
        VocodedUtterance(load_audio(p, RATE), RATE).resynthesize(draw_variation(PerturbationConfig(), random))
        for p in paths
    ]
    assert judges.content.accuracy(others, digits) > 0.85
    assert judges.speaker.accuracy(others, speakers) < 0.6
