"""Streams in step: each comes out as alone, in every precision; bfloat16 rounds as torch does, and nothing else."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqspeech.errors import VQSpeechError
from vqspeech.sampling import compiled
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.layout import NARROW, PARTIAL_SUMS, inputs_of_row, pack, pad, to_bfloat16
from vqspeech.sampling.tile import product
from vqspeech.vectors import HAS_BFLOAT16, as_input
from wavenets import BUNCHES, CONDITION, HOP, make_condition, make_wavenet

PRECISIONS = ["float32", *(["bfloat16"] if HAS_BFLOAT16 else [])]  # what this machine has
ENGINES = [("torch", "float32"), *(("numba", precision) for precision in PRECISIONS)]


def round_like(values: torch.Tensor, precision: str) -> torch.Tensor:
    """Values as products of this precision take them, in float64."""
    return values.to(torch.bfloat16).double() if precision == "bfloat16" else values.double()


def bits_of(values: torch.Tensor) -> np.ndarray:
    """The bits of bfloat16 values, by torch's own rounding."""
    return values.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)


def naive_logits(wavenet, classes, condition, start, precision) -> np.ndarray:
    """The network in float64, layer by layer, with weights and inputs of every product rounded to the precision."""
    num = wavenet.samples_per_step
    bunches = torch.tensor([*[start] * num, *classes]).view(-1, num)  # those before each pass, and the last one's own
    passes = len(classes) // len(condition) // num

    def times(inputs, linear):
        product = round_like(inputs, precision) @ round_like(linear.weight.detach(), precision).T
        return product if linear.bias is None else product + linear.bias.detach().double()

    # The conditioning is a product of each frame, not of each sample: it stays exact.
    frames = torch.from_numpy(condition).double() @ wavenet.condition.weight.detach().double().T
    biases = (frames + wavenet.condition.bias.detach().double()).repeat_interleave(passes, dim=0)
    biases = biases.chunk(len(wavenet.dilations), dim=1)  # L times (passes, 2R)
    tables = wavenet.embedding.weight.detach().view(num, wavenet.num_classes, -1).double()
    x, outputs = sum(table[bunches[:-1, place]] for place, table in enumerate(tables)), []
    for layer, dilation, bias in zip(wavenet.layers, wavenet.dilations, biases, strict=True):
        delayed = torch.cat([torch.zeros(dilation, x.shape[1]), x])[: len(x)]
        filtered, gate = (times(delayed, layer.past) + times(x, layer.present) + bias).chunk(2, dim=1)
        outputs.append(filtered.tanh() * gate.sigmoid())
        if layer.residual is not None:
            x = (x + times(outputs[-1], layer.residual)) * math.sqrt(0.5)
    skips = times(torch.cat(outputs, dim=1), wavenet.skip) / math.sqrt(len(outputs))
    hidden = list(times(skips.relu(), wavenet.head_hidden).chunk(num, dim=1))
    tables = iter(() if num == 1 else wavenet.drawn.weight.detach().view(-1, wavenet.num_classes, hidden[0].shape[1]))
    for place in range(num):
        for before in range(place):
            hidden[place] = hidden[place] + next(tables).double()[bunches[1:, before]]
    weights = wavenet.head.weight.detach().chunk(num), wavenet.head.bias.detach().chunk(num)
    heads = [SimpleNamespace(weight=weight, bias=bias) for weight, bias in zip(*weights, strict=True)]
    logits = [times(inner.relu(), head) for inner, head in zip(hidden, heads, strict=True)]
    return torch.stack(logits, dim=1).flatten(0, 1).numpy()


@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=25)
@given(
    num_streams=st.integers(1, 13),
    residual=st.integers(1, 40),
    skip=st.integers(1, 140),
    layers=st.integers(1, 4),
    outputs=st.integers(1, 300),
    hop=st.integers(1, 4),
    bunch=st.sampled_from(BUNCHES),
    seed=st.integers(0, 1000),
)
def test_streams_in_step_equal_each_alone(precision, num_streams, residual, skip, layers, outputs, hop, bunch, seed):
    wavenet, hop = make_wavenet(residual, skip, 1, layers, 300, outputs, seed, bunch), hop * bunch
    sampler = get_engine("numba", precision).load(wavenet, hop)
    random = np.random.default_rng(seed)
    condition = random.normal(size=(num_streams, 4, CONDITION)).astype(np.float32)
    forced = random.integers(0, 300, (num_streams, 4 * hop))
    together = sampler.streams(num_streams, seed=seed)
    streams = [together.open(utterance) for utterance in range(num_streams)]
    drawn, logits = together.generate(streams, condition), together.force(streams, forced, condition)
    for utterance in range(num_streams):
        alone = sampler.streams(1, seed=seed)
        stream = [alone.open(utterance)]
        assert np.array_equal(alone.generate(stream, condition[utterance, None])[0], drawn[utterance])
        assert alone.force(stream, forced[utterance, None], condition[utterance, None]).tobytes() == (
            logits[utterance].tobytes()
        )


@pytest.mark.parametrize("engine, precision", ENGINES)
@settings(max_examples=10)
@given(
    times=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), min_size=1, max_size=13),
    steps=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    bunch=st.sampled_from((1, 2)),
    seed=st.integers(0, 1000),
)
def test_streams_that_come_and_go_equal_each_alone(engine, precision, times, steps, bunch, seed):
    """Each utterance begins after some frames and lasts some; places are given again, the order in a step changes."""
    sampler = get_engine(engine, precision).load(make_wavenet(6, 8, 1, 2, seed=seed, bunch=bunch), 2)
    conditions = [make_condition(length, seed + number) for number, (_, length) in enumerate(times)]
    random = np.random.default_rng(seed)
    streams = sampler.streams(len(times), seed=seed)
    waiting, live, heard = set(range(len(times))), {}, {number: [] for number in range(len(times))}
    frame = turn = 0
    while waiting or live:
        for number in sorted(waiting):
            if times[number][0] <= frame:
                waiting.remove(number)
                live[number] = streams.open(number)
        done = {number: sum(map(len, heard[number])) // 2 for number in live}
        count = min([steps[turn % len(steps)], *(times[number][1] - done[number] for number in live)])
        order = random.permutation(list(live)).tolist()
        if order:
            frames = np.stack([conditions[number][done[number] : done[number] + count] for number in order])
            for number, classes in zip(order, streams.generate([live[number] for number in order], frames)):
                heard[number].append(classes)
                if done[number] + count == times[number][1]:
                    streams.close(live.pop(number))
        frame, turn = frame + count, turn + 1
    for number, condition in enumerate(conditions):
        alone = sampler.streams(1, seed=seed)
        assert np.array_equal(np.concatenate(heard[number]), alone.generate([alone.open(number)], condition[None])[0])


@pytest.mark.parametrize("bunch", BUNCHES)
@pytest.mark.parametrize("engine, precision", ENGINES)
def test_a_place_that_was_used_before_has_a_silent_past(engine, precision, bunch):
    sampler = get_engine(engine, precision).load(make_wavenet(bunch=bunch), HOP)
    condition = make_condition(8)[None]
    streams = sampler.streams(1, seed=3)
    used = streams.open(1)
    first = streams.generate([used], condition)
    streams.close(used)
    again = streams.open(1)
    assert np.array_equal(streams.generate([again], condition), first)


@pytest.mark.parametrize("engine, precision", ENGINES)
@pytest.mark.parametrize("bunch", BUNCHES)
@pytest.mark.parametrize("first_pass", [1, 2, 3 * HOP, 1000 * HOP + 3])
def test_a_stream_may_begin_at_any_pass_of_its_utterance(engine, precision, first_pass, bunch):
    """After a receptive field of the same past it draws what a stream that began earlier draws there."""
    wavenet = make_wavenet(bunch=bunch)
    sampler = get_engine(engine, precision).load(wavenet, bunch)  # a conditioning frame for each pass
    seen, drawn = -(-wavenet.receptive_field // bunch), 40
    classes = np.random.default_rng(1).integers(0, 256, (1, (first_pass + seen) * bunch))
    condition = make_condition(first_pass + seen + drawn)[None]
    heard = []
    for first in (max(0, first_pass - 37), first_pass):  # both have seen the receptive field, and draw as one
        streams = sampler.streams(1, seed=5)
        stream = [streams.open(9, first * bunch)]
        streams.force(stream, classes[:, first * bunch :], condition[:, first : first_pass + seen])
        heard.append(streams.generate(stream, condition[:, first_pass + seen :]))
    assert np.array_equal(*heard)
    assert len(np.unique(heard[0])) > 5


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("bunch", BUNCHES)
@pytest.mark.parametrize("sizes", [(12, 20, 2, 3), (7, 33, 1, 4), (32, 64, 2, 4)])
def test_products_take_rounded_weights_and_inputs_and_all_else_is_exact(precision, sizes, bunch):
    wavenet, condition = make_wavenet(*sizes, bunch=bunch), make_condition(40)
    classes = np.random.default_rng(1).integers(0, 256, 40 * HOP)
    logits = get_engine("numba", precision).open(wavenet, HOP, seed=0, utterance=0).force(classes, condition)
    expected = naive_logits(wavenet, classes, condition, 128, precision)
    error = np.abs(logits - expected)
    if precision == "float32":
        assert error.max() <= 1e-4
    else:
        # Sums in another order may round an input to its neighbour, 1/256 away; mostly they do not.
        assert error.max() <= 2e-2 * expected.std()
        exact = naive_logits(wavenet, classes, condition, 128, "float32")
        assert error.mean() < np.abs(exact - expected).mean() / 4


float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)
# The upper half of a float32 with a lower half at, or one bit beside, the middle between two bfloat16 values.
near_ties = st.builds(
    lambda upper, lower: float(np.uint32(upper << 16 | lower).view(np.float32)),
    st.one_of(st.integers(0, 0x7F7F), st.integers(0x8000, 0xFF7F)),
    st.sampled_from([0x0000, 0x7FFF, 0x8000, 0x8001, 0xFFFF]),
)


@numba.njit
def as_inputs(values, like):
    """`as_input` of every value."""
    rounded = np.zeros(len(values), like.dtype)
    for i in range(len(values)):
        rounded[i] = as_input(values[i], like)
    return rounded


@settings(max_examples=100)
@given(st.lists(st.one_of(float32s, near_ties), min_size=1, max_size=50))
def test_rounding_to_bfloat16_is_torchs_own(values):
    array = np.array(values, np.float32)
    expected = bits_of(torch.from_numpy(array))
    assert np.array_equal(to_bfloat16(array), expected)
    assert np.array_equal(as_inputs(array, np.zeros(1, np.uint16)), expected)
    assert np.array_equal(as_inputs(array, np.zeros(1, np.float32)), array)


@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=25)
@given(inputs=st.integers(1, 70), outputs=st.integers(1, 400), seed=st.integers(0, 1000))
def test_a_packed_matrix_times_unit_vectors_is_the_matrix(precision, inputs, outputs, seed):
    dtype = np.uint16 if precision == "bfloat16" else np.float32
    matrix = np.random.default_rng(seed).normal(size=(inputs, outputs)).astype(np.float32)
    weights = pack(matrix, dtype)
    units = np.eye(inputs, pad(inputs, PARTIAL_SUMS * inputs_of_row(dtype)), dtype=np.float32)
    units = to_bfloat16(units) if precision == "bfloat16" else units  # each input is a stream
    start, out = np.ones((1, pad(outputs, NARROW)), np.float32), np.zeros((inputs, pad(outputs, NARROW)), np.float32)
    assert product(weights, 0, units, start * 0, out) == len(weights)
    assert np.array_equal(out[:, :outputs], round_like(torch.from_numpy(matrix), precision).numpy())
    assert not out[:, outputs:].any()
    ones_added = (round_like(torch.from_numpy(matrix), precision).float() + 1).numpy()
    product(weights, 0, units, start, out)  # one row for all streams
    assert np.array_equal(out[:, :outputs], ones_added)
    product(weights, 0, units, np.repeat(start, inputs, axis=0), out)  # a row for each
    assert np.array_equal(out[:, :outputs], ones_added)
    wide = np.zeros((inputs, 3 + out.shape[1]), np.float32)
    product(weights, 0, units, start, wide[:, 3:])  # into columns of a larger matrix
    assert np.array_equal(wide[:, 3 : 3 + outputs], ones_added)
    assert not wide[:, :3].any()


def test_bfloat16_where_the_processor_lacks_it_is_told(monkeypatch):
    monkeypatch.setattr(compiled, "HAS_BFLOAT16", False)
    with pytest.raises(VQSpeechError, match="no bfloat16 products .*Use float32"):
        get_engine("numba", "bfloat16")
    assert get_engine("numba", "auto").dtype is np.float32


def test_the_reference_engine_is_exact_and_says_so():
    with pytest.raises(VQSpeechError, match="exact reference. Use float32, or the numba engine"):
        get_engine("torch", "bfloat16")


def test_unknown_precision_names_the_choices():
    with pytest.raises(VQSpeechError, match="no precision 'int8'. Use auto, float32 or bfloat16"):
        get_engine("auto", "int8")


def test_auto_is_the_reduced_precision_where_there_is_one():
    assert get_engine("numba", "auto").dtype is (np.uint16 if HAS_BFLOAT16 else np.float32)
    assert get_engine("numba", "float32").dtype is np.float32
