"""Sampling engines: each equals the parallel forward, and both are the same sampler."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqspeech.errors import DependencyError, VQSpeechError
from vqspeech.sampling import engines as engine_room
from vqspeech.sampling import kernel
from vqspeech.sampling.arithmetic import gate
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.random import uniforms
from vqspeech.sampling.rules import cumulative_masses, draw
from wavenets import BUNCHES, HOP, make_condition, make_wavenet, parallel_logits

ENGINES = ["torch", "numba"]
bunches = pytest.mark.parametrize("bunch", BUNCHES)


@bunches
@pytest.mark.parametrize("name", ENGINES)
def test_one_step_at_a_time_equals_parallel_forward(name, bunch):
    wavenet, condition = make_wavenet(bunch=bunch), make_condition(24)
    classes = np.random.default_rng(1).integers(0, 256, 24 * HOP)
    logits = get_engine(name, "float32").open(wavenet, HOP, seed=0, utterance=0).force(classes, condition)
    expected = parallel_logits(wavenet, classes, condition, 128)
    assert expected.std() > 1
    assert np.abs(logits - expected).max() <= 1e-4


@settings(max_examples=25, deadline=None)
@given(
    residual=st.integers(1, 40),
    skip=st.integers(1, 140),
    cycles=st.integers(1, 2),
    layers=st.integers(1, 4),
    outputs=st.integers(1, 300),
    hop=st.integers(1, 9),
    bunch=st.sampled_from(BUNCHES),
    seed=st.integers(0, 1000),
)
def test_compiled_engine_equals_parallel_forward_at_any_size(residual, skip, cycles, layers, outputs, hop, bunch, seed):
    wavenet = make_wavenet(residual, skip, cycles, layers, classes=7, outputs=outputs, seed=seed, bunch=bunch)
    condition, hop = make_condition(4, seed), hop * bunch
    classes = np.random.default_rng(seed).integers(0, 7, 4 * hop)
    logits = get_engine("numba", "float32").open(wavenet, hop, seed=0, utterance=0, start=3).force(classes, condition)
    expected = parallel_logits(wavenet, classes, condition, 3)
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max() / 10)


@pytest.mark.slow
@bunches
def test_recipe_sized_network_equals_parallel_forward(bunch):
    frames = 512 * bunch
    wavenet, condition = make_wavenet(64, 128, 2, 10, bunch=bunch), make_condition(frames)
    classes = np.random.default_rng(1).integers(0, 256, frames * HOP)  # twice the receptive field, 2,047 passes
    logits = get_engine("numba", "float32").open(wavenet, HOP, seed=0, utterance=0).force(classes, condition)
    assert np.abs(logits - parallel_logits(wavenet, classes, condition, 128)).max() <= 1e-4


@bunches
@pytest.mark.parametrize("name", ENGINES)
def test_pieces_of_an_utterance_equal_the_whole(name, bunch):
    wavenet, condition = make_wavenet(bunch=bunch), make_condition(16)
    whole = get_engine(name, "float32").open(wavenet, HOP, seed=5, utterance=2).generate(condition)
    session = get_engine(name, "float32").open(wavenet, HOP, seed=5, utterance=2)
    pieces = [session.generate(part) for part in np.split(condition, [1, 1, 4, 9])]
    assert pieces[1].shape == (0,)
    assert np.array_equal(np.concatenate(pieces), whole)


@bunches
@pytest.mark.parametrize("name", ENGINES)
def test_sampling_goes_on_after_a_forced_beginning(name, bunch):
    wavenet, condition = make_wavenet(bunch=bunch), make_condition(16)
    whole = get_engine(name, "float32").open(wavenet, HOP, seed=5, utterance=2).generate(condition)
    session = get_engine(name, "float32").open(wavenet, HOP, seed=5, utterance=2)
    session.force(whole[: 7 * HOP], condition[:7])
    assert np.array_equal(session.generate(condition[7:]), whole[7 * HOP :])


@bunches
@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_numba_and_torch_samplers_agree_draw_for_draw(temperature, bunch):
    wavenet, condition = make_wavenet(bunch=bunch), make_condition(100)
    options = {"seed": 11, "utterance": 4, "temperature": temperature}
    reference = get_engine("torch").open(wavenet, HOP, **options).generate(condition)
    numbers = uniforms(11, 4, 0, len(reference))
    begin = 0  # frames done
    while begin < len(condition):
        session = get_engine("numba", "float32").open(wavenet, HOP, **options)
        session.force(reference[: begin * HOP], condition[:begin])
        drawn = session.generate(condition[begin:])
        differs = np.flatnonzero(drawn != reference[begin * HOP :])
        if not len(differs):
            break
        t = begin * HOP + int(differs[0])
        logits = parallel_logits(wavenet, reference[: (t // HOP + 1) * HOP], condition[: t // HOP + 1], 128)[t]
        if temperature:
            # The one excuse: the random number lies on a boundary of the distribution.
            assert np.abs(cumulative_masses(logits, temperature) - numbers[t]).min() < 1e-5
        else:
            assert np.diff(np.sort(logits)[-2:])[0] < 1e-4
        begin = t // HOP + 1
    assert len(np.unique(reference)) > 5


# 1 + 2 (1 + 2 + 4) = 15 passes see a bunch, from the one after it on; sample 10 is in bunch 10, 5 and 2.
@pytest.mark.parametrize(("bunch", "last"), [(1, 25), (2, (5 + 16) * 2 - 1), (4, (2 + 16) * 4 - 1)])
@pytest.mark.parametrize("name", ENGINES)
def test_prediction_sees_the_receptive_field_and_not_one_sample_more(name, bunch, last):
    wavenet, condition = make_wavenet(cycles=2, layers=3, bunch=bunch), make_condition(16)
    assert wavenet.receptive_field == 15 * bunch + bunch - 1
    classes = np.random.default_rng(2).integers(0, 256, 16 * HOP)
    changed = classes.copy()
    changed[10] = (changed[10] + 100) % 256
    before, after = (
        get_engine(name, "float32").open(wavenet, HOP, seed=0, utterance=0).force(c, condition)
        for c in (classes, changed)
    )
    affected = np.flatnonzero((before != after).any(axis=1))
    assert (affected.min(), affected.max()) == (11, last)


@pytest.mark.parametrize("name", ENGINES)
def test_draws_follow_the_softmax(name):
    wavenet = make_wavenet(4, 4, 1, 1, outputs=8)
    probabilities = np.array([0.3, 0.2, 0.15, 0.15, 0.1, 0.05, 0.04, 0.01])
    with torch.no_grad():
        wavenet.head.weight.zero_()
        wavenet.head.bias.copy_(torch.from_numpy(np.log(probabilities) + 3))
    frames = 800
    drawn = get_engine(name, "float32").open(wavenet, HOP, seed=1, utterance=0).generate(make_condition(frames))
    expected = probabilities * frames * HOP
    statistic = ((np.bincount(drawn, minlength=8) - expected) ** 2 / expected).sum()
    assert statistic < 24.32  # chi-square, 7 degrees of freedom, 0.1 % table value


def test_draw_takes_the_first_class_whose_cumulative_probability_exceeds_the_number():
    logits = np.log(np.array([0.25, 0.5, 0.25])) + 7
    assert [draw(logits, u, 1.0) for u in (0.0, 0.2, 0.26, 0.74, 0.76, 1 - 2**-53)] == [0, 0, 1, 1, 2, 2]
    # Temperature 1/2 squares the odds: 1/6, 4/6, 1/6.
    assert [draw(logits, u, 0.5) for u in (0.16, 0.17, 0.83, 0.84)] == [0, 1, 1, 2]


@pytest.mark.parametrize("name", ENGINES)
def test_temperature_zero_takes_the_likeliest_class(name):
    wavenet, condition = make_wavenet(), make_condition(10)
    drawn = get_engine(name, "float32").open(wavenet, HOP, seed=0, utterance=0, temperature=0).generate(condition)
    assert np.array_equal(drawn, parallel_logits(wavenet, drawn, condition, 128).argmax(axis=1))


@pytest.mark.parametrize("name", ENGINES)
def test_seed_and_utterance_choose_the_audio_and_repeat_it(name):
    wavenet, condition = make_wavenet(), make_condition(12)

    def audio(seed, utterance):
        return (
            get_engine(name, "float32").open(wavenet, HOP, seed=seed, utterance=utterance).generate(condition).tolist()
        )

    assert audio(1, 0) == audio(1, 0)
    assert len({tuple(audio(seed, utterance)) for seed in (1, 2) for utterance in (0, 1)}) == 4


@pytest.mark.parametrize("name", ENGINES)
def test_sessions_in_threads_equal_one_after_the_other(name):
    wavenet, condition = make_wavenet(), make_condition(40)

    def audio(utterance):
        session = get_engine(name, "float32").open(wavenet, HOP, seed=3, utterance=utterance)
        return np.concatenate([session.generate(part) for part in np.split(condition, 8)]).tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(audio, range(6))) == [audio(utterance) for utterance in range(6)]


@pytest.mark.parametrize("name", ENGINES)
def test_training_on_does_not_change_an_open_session(name):
    wavenet, condition = make_wavenet(), make_condition(6)
    expected = get_engine(name, "float32").open(wavenet, HOP, seed=0, utterance=0).generate(condition)
    session = get_engine(name, "float32").open(wavenet, HOP, seed=0, utterance=0)
    with torch.no_grad():
        for parameter in wavenet.parameters():
            parameter.add_(1)
    assert np.array_equal(session.generate(condition), expected)


def test_kernel_gate_equals_tanh_times_sigmoid():
    x = np.linspace(-100, 100, 40001)
    for shift in (-60, -3, 0, 3, 60):
        both = np.concatenate([x, x[::-1] + shift]).astype(np.float32)
        gated = np.zeros(len(x), np.float32)
        gate(both, gated)
        wide = both.astype(np.float64)
        assert np.abs(gated - np.tanh(wide[: len(x)]) / (1 + np.exp(-wide[len(x) :]))).max() < 3e-7


def test_numbers_of_any_type_run_the_same_compiled_code():
    wavenet, condition = make_wavenet(), make_condition(4)
    get_engine("numba", "float32").open(wavenet, HOP, seed=0, utterance=0).generate(condition)
    compiled = len(kernel.LOOP.kept("float32").signatures)
    for temperature in (0, 1, 1.0, np.float32(1)):
        session = get_engine("numba", "float32").open(
            wavenet, HOP, seed=np.int64(1), utterance=0, temperature=temperature
        )
        session.force(session.generate(condition.astype(np.float64)[::2]), condition[:2])
    assert len(kernel.LOOP.kept("float32").signatures) == compiled  # each more would cost seconds at its first call


def test_auto_engine_is_numba_and_falls_back_to_torch(monkeypatch):
    assert get_engine("auto").name == "numba"
    monkeypatch.setattr(engine_room.importlib.util, "find_spec", lambda name: None)
    assert get_engine("auto").name == "torch"
    with pytest.raises(DependencyError, match="pip install numba"):
        get_engine("numba")


def test_unknown_engine_names_the_choices():
    with pytest.raises(VQSpeechError, match="no sampling engine 'cuda'. Use auto, torch or numba"):
        get_engine("cuda")


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_impossible_temperature_is_refused(name, temperature):
    with pytest.raises(VQSpeechError, match="temperature .* is not a number >= 0"):
        get_engine(name, "float32").open(make_wavenet(), HOP, seed=0, utterance=0, temperature=temperature)


@pytest.mark.parametrize("name", ENGINES)
def test_broken_weights_and_conditioning_are_refused(name):
    wavenet, condition = make_wavenet(), make_condition(2)
    session = get_engine(name, "float32").open(wavenet, HOP, seed=0, utterance=0)
    condition[1, 0] = np.nan
    with pytest.raises(VQSpeechError, match="conditioning frames are not finite"):
        session.generate(condition)
    with torch.no_grad():
        wavenet.head.bias[0] = np.inf
    with pytest.raises(VQSpeechError, match="weights that are not finite"):
        get_engine(name, "float32").open(wavenet, HOP, seed=0, utterance=0)
