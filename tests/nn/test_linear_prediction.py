"""Linear prediction: filters against librosa and scipy, synthesis as the inverse of analysis, always stable."""

from __future__ import annotations

import math
from itertools import pairwise

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter, lfiltic

from vqspeech.nn.linear_prediction import (
    EXCITATION_LEVEL,
    Filters,
    LinearPrediction,
    excite,
    levinson,
    make_prediction,
)
from vqspeech.nn.mel import FLOOR, LogMel
from vqspeech.nn.synthesis import Synthesis

LOUDEST = math.log(1e4)  # above what any band of any waveform in [-1, 1] has


def speech(num_samples: int, sample_rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Pulses and noise through three resonances that move: in [-1, 1], with a pause at its end."""
    random = np.random.default_rng(seed)
    source = random.normal(0, 0.02, num_samples)
    source[:: sample_rate // 120] += 1
    poles = [0.97 * np.exp(2j * np.pi * f / sample_rate) for f in (500, 1100, 1700)]
    wav = lfilter([1], np.real(np.poly([*poles, *np.conj(poles)])), source)
    wav *= 0.8 / np.abs(wav).max()
    wav[-num_samples // 5 :] = 0
    return wav.astype(np.float32)


def filters_of(wav: np.ndarray, prediction: LinearPrediction, log_mel: LogMel) -> Filters:
    """The filters of a waveform's own spectrum."""
    num_frames = len(wav) // prediction.hop_length
    return prediction(log_mel.around_frames(torch.from_numpy(wav)[None], 0, num_frames))


def reflections(coefficients: torch.Tensor) -> torch.Tensor:
    """Reflection coefficients (..., p) of (..., p + 1), by the step-down recursion: inside (-1, 1) where stable."""
    a, found = coefficients.clone(), []
    for m in range(a.shape[-1] - 1, 0, -1):
        k = a[..., m : m + 1].clone()
        found.append(k)
        a = (a[..., :m] - k * a[..., 1 : m + 1].flip(-1)) / (1 - k * k)
    return torch.cat(found, -1)


@given(seed=st.integers(0, 1000), order=st.integers(1, 12))
def test_levinson_solves_the_normal_equations(seed, order):
    wav = np.random.default_rng(seed).normal(size=200)
    r = np.correlate(wav, wav, "full")[199 : 200 + order]
    a, gain = (found.numpy() for found in levinson(torch.from_numpy(r)))
    np.testing.assert_allclose(a[1:], -solve_toeplitz(r[:-1], r[1:]), atol=1e-9)
    assert a[0] == 1
    assert gain == pytest.approx(math.sqrt(a @ r))  # power of what the prediction misses


@pytest.mark.parametrize(("sample_rate", "hop", "bands", "order"), [(16000, 128, 80, 16), (8000, 64, 40, 8)])
def test_the_filter_of_a_resonances_spectrum_is_nearly_the_resonance(sample_rate, hop, bands, order):
    # Noise through one resonance: Burg's method on the samples and our way by the mel bands see the same one.
    radius, pitch = 0.95, 1000
    denominator = [1, -2 * radius * math.cos(2 * math.pi * pitch / sample_rate), radius**2]
    wav = lfilter([1], denominator, np.random.default_rng(0).normal(0, 0.01, 2 * sample_rate)).astype(np.float32)
    log_mel = LogMel(sample_rate, hop, bands)
    frames = log_mel.around_frames(torch.from_numpy(wav)[None], 0, len(wav) // hop).mean(1)
    found = make_prediction(order, sample_rate, hop, bands)(frames).coefficients[0].numpy()
    expected = librosa.lpc(wav.astype(np.float64), order=order)
    at = np.exp(-2j * np.pi * np.linspace(100, 0.45 * sample_rate, 200) / sample_rate)
    envelopes = [-20 * np.log10(np.abs(np.polyval(a[::-1], at))) for a in (found, expected)]
    assert np.abs(envelopes[0] - envelopes[1]).mean() < 1.5  # dB
    assert abs(at[envelopes[0].argmax()] - np.exp(-2j * np.pi * pitch / sample_rate)) < 0.05


def test_the_gain_is_the_level_of_what_the_prediction_misses():
    wav, hop = np.random.default_rng(0).normal(0, 0.05, 16000).astype(np.float32), 128
    filters = filters_of(wav, make_prediction(16, 16000, hop, 80), LogMel(16000, hop, 80))
    excitation = excite(torch.from_numpy(wav)[None], 0, filters, hop)
    # White noise misses all of itself. Its bands' mean logarithm lies below the logarithm of the mean.
    assert float(excitation.level.std()) == pytest.approx(EXCITATION_LEVEL, rel=0.2)
    assert float(filters.gain.mean()) == pytest.approx(0.05, rel=0.2)


def test_twice_as_loud_has_twice_the_gain_and_the_same_filter():
    wav, hop, log_mel = speech(8000), 128, LogMel(16000, 128, 80)
    frames = log_mel.around_frames(torch.from_numpy(wav)[None], 0, 40)
    loud = frames[frames.amin(-1) > math.log(2 * FLOOR)] - math.log(4)
    prediction = make_prediction(16, 16000, hop, 80)
    once, twice = prediction(loud), prediction(loud + math.log(2))
    torch.testing.assert_close(twice.gain / once.gain, torch.full_like(once.gain, 2.0), atol=1e-2, rtol=0)
    torch.testing.assert_close(twice.coefficients, once.coefficients, atol=1e-2, rtol=1e-2)


def test_excitation_and_synthesis_equal_scipys_filters_frame_by_frame():
    hop, order = 16, 4
    random = np.random.default_rng(1)
    wav = speech(10 * hop)
    filters = make_prediction(order, 8000, hop, 40)(torch.from_numpy(random.uniform(-6, 3, (1, 10, 40))))
    found = excite(torch.from_numpy(wav)[None], 0, filters, hop).level[0].numpy()
    back = Synthesis(order, hop).push(found, filters.packed()[0].numpy())
    earlier, later = np.zeros(order), np.zeros(order)
    for n, (a, gain) in enumerate(zip(*(each[0].numpy() for each in filters), strict=True)):
        frame = slice(n * hop, (n + 1) * hop)
        missed, _ = lfilter(a, [1], wav[frame], zi=lfiltic(a, [1], np.zeros(0), earlier))
        np.testing.assert_allclose(found[frame], missed / gain * EXCITATION_LEVEL, rtol=1e-4, atol=1e-5)
        scale = [gain / EXCITATION_LEVEL]
        again, _ = lfilter(scale, a, found[frame].astype(float), zi=lfiltic(scale, a, later))
        np.testing.assert_allclose(back[frame], again, rtol=1e-4, atol=1e-6)
        earlier, later = wav[frame][::-1].astype(float), again[::-1]  # the latest first


@given(seed=st.integers(0, 100), data=st.data())
def test_synthesis_gives_the_waveform_back_in_pieces_of_any_size(seed, data):
    hop, num_frames = 64, 30
    wav = speech(num_frames * hop, seed=seed)
    prediction = make_prediction(16, 16000, hop, 80)
    filters = filters_of(wav, prediction, LogMel(16000, hop, 80))
    level = excite(torch.from_numpy(wav)[None], 0, filters, hop).level[0].numpy()
    columns = filters.packed()[0].numpy()
    whole = Synthesis(16, hop).push(level, columns)
    np.testing.assert_allclose(whole, wav, atol=2e-5)
    cuts = sorted(data.draw(st.sets(st.integers(1, num_frames - 1), max_size=6)))
    stream = Synthesis(16, hop)
    pieces = [stream.push(level[a * hop : b * hop], columns[a:b]) for a, b in pairwise([0, *cuts, num_frames])]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_an_excitation_needs_its_order_of_samples_before_the_first_and_no_more():
    hop, lead, num_frames = 16, 40, 8
    wav = torch.from_numpy(speech(lead + num_frames * hop))[None]
    filters = make_prediction(16, 8000, hop, 40)(torch.randn(1, num_frames, 40))
    expected = excite(wav, lead, filters, hop)
    torch.testing.assert_close(excite(wav[:, lead - 16 :], 16, filters, hop), expected)
    padded = torch.nn.functional.pad(wav[:, lead:], (40, 0))
    torch.testing.assert_close(excite(wav[:, lead:], 0, filters, hop), excite(padded, 40, filters, hop))
    longer = torch.nn.functional.pad(wav, (0, 100), value=1.0)  # what comes after is not seen
    torch.testing.assert_close(excite(longer, lead, filters, hop), expected)


def frames_of_all_kinds(count: int, bands: int) -> torch.Tensor:
    """Log-mel frames (count, bands): random over the whole range and beyond, edges, peaks, all equal."""
    generator = torch.Generator().manual_seed(bands)
    least = math.log(FLOOR)
    frames = least - 1 + (LOUDEST - least + 2) * torch.rand(count, bands, generator=generator)
    fifth = count // 5
    frames[:fifth] = frames[:fifth, :1]  # all bands equal, silence and full scale among them
    lone = torch.randint(bands, (fifth, 1), generator=generator)
    frames[fifth : 2 * fifth] = frames[fifth : 2 * fifth].fill_(least).scatter(1, lone, LOUDEST)
    edge = torch.arange(bands) < lone
    frames[2 * fifth : 3 * fifth] = torch.where(edge, LOUDEST, least)
    frames[:2] = torch.tensor([[least], [LOUDEST]])
    return frames[torch.randperm(count, generator=generator)]


@pytest.mark.parametrize(
    ("sample_rate", "hop", "bands", "order"),
    [(16000, 128, 80, 16), (16000, 64, 128, 24), (8000, 64, 40, 10), (4000, 16, 40, 4), (48000, 320, 20, 24)],
)
def test_a_million_random_frames_have_stable_filters_and_bounded_output(sample_rate, hop, bands, order):
    prediction = make_prediction(order, sample_rate, hop, bands)
    synthesis, random = Synthesis(order, 2), np.random.default_rng(0)
    for frames in frames_of_all_kinds(200_000, bands).split(20_000):
        filters = prediction(frames)
        assert bool((filters.gain > 0).all())
        assert float(filters.gain.max()) < math.sqrt(max(2048, hop))  # all that full scale in all bands can be
        assert float(reflections(filters.coefficients).abs().max()) < 1
        # Another filter every other sample, driven as hard as classes can.
        level = random.choice([-1, 1], 2 * len(frames)).astype(np.float32)
        wav = synthesis.push(level, filters.packed().numpy())
        assert np.isfinite(wav).all()
        assert np.abs(wav).max() <= 1


@pytest.mark.parametrize("kind", ["silence", "clipped", "constant", "impulse"])
def test_odd_recordings_come_back(kind):
    hop, num = 128, 128 * 40
    wav = {
        "silence": np.zeros(num, np.float32),
        "clipped": np.clip(20 * speech(num), -1, 1),
        "constant": np.ones(num, np.float32),
        "impulse": np.eye(1, num, 2000, dtype=np.float32)[0],
    }[kind]
    filters = filters_of(wav, make_prediction(16, 16000, hop, 80), LogMel(16000, hop, 80))
    level = excite(torch.from_numpy(wav)[None], 0, filters, hop).level[0].numpy()
    assert np.isfinite(level).all()
    np.testing.assert_allclose(Synthesis(16, hop).push(level, filters.packed()[0].numpy()), wav, atol=1e-4)


@pytest.mark.parametrize("sample_rate", [4000, 8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("bands", [8, 40, 128])
def test_all_rates_hops_and_bands_have_filters(sample_rate, bands):
    for hop in (16, 64, 625, 2048):  # a window of 32 ms, or of a hop, which may be odd
        prediction = make_prediction(16, sample_rate, hop, bands)
        assert len(prediction.wide) >= bands / 2  # that hold frequencies
        filters = prediction(frames_of_all_kinds(100, bands))
        assert float(reflections(filters.coefficients).abs().max()) < 1


def test_no_order_is_no_prediction():
    assert make_prediction(0, 16000, 128, 80) is None


def test_nothing_of_it_is_a_weight():
    assert not make_prediction(16, 16000, 128, 80).state_dict()
