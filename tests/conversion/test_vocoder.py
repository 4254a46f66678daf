"""From classes to sound with linear prediction: filters meet their classes in order, however a recording is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter, lfiltic

from vqspeech.conversion import (
    CodesRequest,
    Request,
    SamplingOptions,
    convert,
    convert_many,
    convert_stream,
    decode,
    decode_many,
    pipeline,
)
from vqspeech.conversion.cuts import Cuts
from vqspeech.conversion.vocoder import Vocoder
from vqspeech.mu_law import mu_law_decode
from vqspeech.nn.linear_prediction import EXCITATION_LEVEL
from vqspeech.nn.synthesis import Synthesis
from vqspeech.sampling.engines import get_engine

OPTIONS = SamplingOptions(seed=3, precision="float32")
THEO, UTTERANCE = 2, 5  # his place among the speakers


@pytest.fixture(scope="module")
def speech(chirp) -> np.ndarray:
    """Chirps, and pauses longer than the model's receptive field of 15 samples."""
    pauses = [np.zeros(n, np.float32) for n in (900, 2500, 400)]
    return np.concatenate([np.concatenate([chirp, chirp, chirp[:1003], pause]) for pause in pauses] + [chirp[:6001]])


def draw(model, condition: torch.Tensor, first_frame: int = 0) -> np.ndarray:
    """The classes that a part's conditioning frames (N, C) give."""
    streams = get_engine("numba", "float32").load(model.wavenet, model.hop_length).streams(1, seed=OPTIONS.seed)
    stream = streams.open(UTTERANCE, first_frame * model.hop_length)
    return streams.generate([stream], condition.numpy()[None])[0]


def synthesise(model, classes: np.ndarray, condition: torch.Tensor) -> np.ndarray:
    """Each frame through its own filter, by scipy; what one leaves, the next begins with."""
    filters = model.filters(condition)
    past, sound = np.zeros(model.prediction.order), []
    rows = zip(filters.coefficients.numpy(), filters.gain.numpy(), classes.reshape(-1, model.hop_length), strict=True)
    for a, gain, drawn in rows:
        scale = [gain / EXCITATION_LEVEL]
        wav, _ = lfilter(scale, a, mu_law_decode(drawn).astype(float), zi=lfiltic(scale, a, past))
        assert np.abs(wav).max() < 1  # nothing was clipped
        past = np.concatenate([past[::-1], wav])[::-1][: len(past)]
        sound.append(wav)
    return np.concatenate(sound)


def test_a_model_without_prediction_speaks_mu_law(lively_model):
    vocoder, classes = Vocoder(lively_model), np.arange(256)
    np.testing.assert_array_equal(vocoder.push(classes), mu_law_decode(classes))
    frames = (np.zeros((n, 12), np.float32) for n in (3, 4))
    assert vocoder.watch(frames) is frames


def test_what_is_drawn_goes_through_the_filter_of_its_own_frame(predicting_model):
    codes = np.repeat(np.random.default_rng(0).integers(0, 8, 40), 3)
    condition = predicting_model.condition(codes, THEO)
    expected = synthesise(predicting_model, draw(predicting_model, condition), condition)
    found = decode(predicting_model, codes, "theo", seed=3, utterance=UTTERANCE, precision="float32")
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-6)
    gains = predicting_model.filters(condition).gain
    assert float(gains.max() / gains.min()) > 1.2  # the frames' filters differ


@settings(max_examples=10)
@given(
    samples=st.integers(1, 7000),
    lengths=st.lists(st.integers(0, 3000), min_size=1, max_size=5).filter(lambda lengths: sum(lengths) >= 50),
)
def test_streams_are_equal_however_they_are_cut(predicting_model, chirp, samples, lengths):
    wav = chirp[:samples]
    edges = np.cumsum(lengths * (samples // sum(lengths) + 1))
    pieces = np.split(wav, edges[edges < samples])
    streamed = np.concatenate(list(convert_stream(predicting_model, pieces, "theo", OPTIONS)))
    assert streamed.tobytes() == convert(predicting_model, wav, "theo", seed=3, precision="float32").tobytes()
    assert len(streamed) == samples


def test_what_the_filters_remember_runs_on_from_part_to_part(predicting_model, speech):
    model, hop = predicting_model, predicting_model.hop_length
    cuts = Cuts(hop, model.sample_rate, model.wavenet.receptive_field)
    codes, begins = model.encode(speech), [0, *cuts.push(speech)]
    assert len(begins) == 4
    condition = model.condition(codes, THEO)
    drawn = []
    for begin, end in zip(begins, [*begins[1:], len(codes)], strict=True):
        first = begin - cuts.warm_up if begin else 0
        drawn.append(draw(model, condition[first:end], first)[(begin - first) * hop :])
    expected = synthesise(model, np.concatenate(drawn), condition)[: len(speech)]
    found = convert(model, speech, "theo", seed=3, utterance=UTTERANCE, precision="float32")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("most", [0, 3000, 2**25])
def test_many_recordings_side_by_side_are_each_what_they_are_alone(predicting_model, speech, monkeypatch, most):
    monkeypatch.setattr(pipeline, "MOST_WAITING", most)
    wavs = [speech, speech[:3000], speech[5000:], speech]
    requests = [Request(wav, voice, n) for n, (wav, voice) in enumerate(zip(wavs, ["theo", "ann", "bob", "ann"]))]
    together = convert_many(predicting_model, requests, OPTIONS, num_threads=3)
    for request, found in zip(requests, together, strict=True):
        (alone,) = convert_many(predicting_model, [request], OPTIONS, num_threads=1)
        assert found.tobytes() == alone.tobytes()
        assert len(found) == len(request.wav)


def test_codes_side_by_side_are_each_what_they_are_alone(predicting_model):
    requests = [CodesRequest(np.arange(n) % 8, voice, n) for n, voice in ((200, "ann"), (7, "bob"), (333, "theo"))]
    for request, found in zip(requests, decode_many(predicting_model, requests, OPTIONS, num_threads=2), strict=True):
        (alone,) = decode_many(predicting_model, [request], OPTIONS, num_threads=1)
        assert found.tobytes() == alone.tobytes()


def test_both_engines_speak_alike(predicting_model, chirp):
    one, other = (
        convert(predicting_model, chirp[:640], "ann", engine=engine, precision="float32")
        for engine in ("torch", "numba")
    )
    assert np.array_equal(one, other)


def test_filters_of_a_part_wait_for_its_turn_and_those_of_its_warm_up_do_not(predicting_model):
    model, hop = predicting_model, predicting_model.hop_length
    vocoder, random = Vocoder(model), np.random.default_rng(0)
    channels, order = model.conditioner.channels, model.prediction.order
    columns = np.concatenate([random.normal(size=(9, channels)), random.uniform(-0.1, 0.1, (9, order + 1))], 1)
    columns[:, -1] = 0.01
    for part, frames in ((1, columns[4:]), (0, columns[:5])):  # the second part begins with one frame of warm-up
        passed = np.concatenate(list(vocoder.watch((frames[n : n + 2] for n in range(0, 5, 2)), part, part)))
        np.testing.assert_array_equal(passed, frames[:, :channels].astype(np.float32))
        assert passed.dtype == np.float32
    classes = random.integers(0, 256, 9 * hop)
    found = [vocoder.push(classes[: 5 * hop], 0), vocoder.push(classes[:0], 1), vocoder.push(classes[5 * hop :], 1)]
    expected = Synthesis(order, hop).push(mu_law_decode(classes), columns[:, channels:].copy())
    np.testing.assert_array_equal(np.concatenate(found), expected)
