"""Precisions round what they say, as torch does, and nothing else; and where they cannot, that is said."""

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
from vqspeech.sampling.layout import (
    ELEMENTS,
    NARROW,
    PARTIAL_SUMS,
    inputs_of_row,
    inputs_type,
    pack,
    pad,
    to_bfloat16,
    to_element,
)
from vqspeech.sampling.rules import fits_float16
from vqspeech.sampling.tile import product
from vqspeech.vectors import HAS_BFLOAT16, HAS_FLOAT16, as_input
from wavenets import BUNCHES, HOP, PRECISIONS, WAYS, in_float16, make_condition, make_wavenet

ROUNDING = [("torch", "float16"), *WAYS]
FLOAT16_ENGINES = [engine for engine, precision in ROUNDING if precision == "float16"]
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def rounded(values: torch.Tensor, precision: str) -> torch.Tensor:
    """The nearest values of a precision, by torch's own rounding, in float64."""
    return values.to(TYPES[precision]).double()


def bits_of(values: torch.Tensor) -> np.ndarray:
    """The bits of bfloat16 or float16 values."""
    return values.view(torch.int16).numpy()


def naive_logits(wavenet, classes, condition, start, precision) -> np.ndarray:
    """The network in float64, layer by layer, with weights (in bfloat16 also inputs) of every product rounded."""
    num = wavenet.samples_per_step
    bunches = torch.tensor([*[start] * num, *classes]).view(-1, num)  # those before each pass, and the last one's own
    passes = len(classes) // len(condition) // num

    def times(inputs, linear):
        inputs = rounded(inputs, precision) if precision == "bfloat16" else inputs.double()
        product = inputs @ rounded(linear.weight.detach(), precision).T
        return product if linear.bias is None else product + linear.bias.detach().double()

    # In bfloat16 the conditioning stays exact: it is a product of each frame, not of each sample.
    weights = rounded(wavenet.condition.weight.detach(), "float32" if precision == "bfloat16" else precision)
    frames = torch.from_numpy(condition).double() @ weights.T
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


@pytest.mark.parametrize("engine, precision", ROUNDING)
@pytest.mark.parametrize("bunch", BUNCHES)
@pytest.mark.parametrize("sizes", [(12, 20, 2, 3), (7, 33, 1, 4), (32, 64, 2, 4)])
def test_a_precision_rounds_what_it_says_and_nothing_else(engine, precision, sizes, bunch):
    wavenet, condition = make_wavenet(*sizes, bunch=bunch), make_condition(40)
    classes = np.random.default_rng(1).integers(0, 256, 40 * HOP)
    logits = get_engine(engine, precision).open(wavenet, HOP, seed=0, utterance=0).force(classes, condition)
    expected = naive_logits(wavenet, classes, condition, 128, precision)
    exact = naive_logits(wavenet, classes, condition, 128, "float32")
    error = np.abs(logits - expected)
    if precision == "bfloat16":
        # Sums in another order may round an input to its neighbour, 1/256 away; mostly they do not.
        assert error.max() <= 2e-2 * expected.std()
        assert error.mean() < np.abs(exact - expected).mean() / 4
    else:
        assert error.max() <= 1e-4
    if precision == "float16":
        assert error.mean() < np.abs(exact - expected).mean() / 10


@pytest.mark.parametrize("engine", FLOAT16_ENGINES)
def test_float16_draws_what_float32_draws_from_the_rounded_network(engine):
    wavenet, condition = make_wavenet(), make_condition(100)
    half = get_engine(engine, "float16").open(wavenet, HOP, seed=3, utterance=1).generate(condition)
    single = get_engine(engine, "float32").open(in_float16(wavenet), HOP, seed=3, utterance=1).generate(condition)
    assert np.array_equal(half, single)
    assert len(np.unique(half)) > 50


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
    expected = bits_of(torch.from_numpy(array).bfloat16()).view(np.uint16)
    assert np.array_equal(to_bfloat16(array), expected)
    assert np.array_equal(as_inputs(array, np.zeros(1, np.uint16)), expected)
    assert np.array_equal(as_inputs(array, np.zeros(1, np.float32)), array)


@settings(max_examples=100)
@given(st.lists(st.floats(-65504, 65504, width=32), min_size=1, max_size=50))
def test_rounding_to_float16_is_torchs_own(values):
    array = np.array(values, np.float32)
    assert np.array_equal(to_element(array, ELEMENTS["float16"]), bits_of(torch.from_numpy(array).half()))


@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=25)
@given(inputs=st.integers(1, 70), outputs=st.integers(1, 400), scale=st.integers(-18, 14), seed=st.integers(0, 1000))
def test_a_packed_matrix_times_unit_vectors_is_the_matrix(precision, inputs, outputs, scale, seed):
    """Of numbers from the smallest that float16 has, with few digits, to the largest."""
    dtype = ELEMENTS[precision]
    matrix = (np.random.default_rng(seed).uniform(-2, 2, (inputs, outputs)) * 2.0**scale).astype(np.float32)
    weights = pack(matrix, dtype)
    units = np.eye(inputs, pad(inputs, PARTIAL_SUMS * inputs_of_row(dtype)), dtype=np.float32)
    units = to_element(units, inputs_type(dtype))  # each input is a stream
    start, out = np.ones((1, pad(outputs, NARROW)), np.float32), np.zeros((inputs, pad(outputs, NARROW)), np.float32)
    assert product(weights, 0, units, start * 0, out) == len(weights)
    assert np.array_equal(out[:, :outputs], rounded(torch.from_numpy(matrix), precision).numpy())
    assert not out[:, outputs:].any()
    ones_added = (rounded(torch.from_numpy(matrix), precision).float() + 1).numpy()
    product(weights, 0, units, start, out)  # one row for all streams
    assert np.array_equal(out[:, :outputs], ones_added)
    product(weights, 0, units, np.repeat(start, inputs, axis=0), out)  # a row for each
    assert np.array_equal(out[:, :outputs], ones_added)
    wide = np.zeros((inputs, 3 + out.shape[1]), np.float32)
    product(weights, 0, units, start, wide[:, 3:])  # into columns of a larger matrix
    assert np.array_equal(wide[:, 3 : 3 + outputs], ones_added)
    assert not wide[:, :3].any()


def scaled(name: str, factor: float):
    """A network with one matrix multiplied."""
    wavenet = make_wavenet()
    with torch.no_grad():
        getattr(wavenet, name).weight.mul_(factor)
    return wavenet


@pytest.mark.parametrize("name, factor", [("head", 1e6), ("skip", 1e-7), ("condition", 1e8)])
def test_weights_that_float16_does_not_hold_are_refused_and_auto_is_exact(name, factor):
    wavenet = scaled(name, factor)
    assert not fits_float16(wavenet)
    for engine in FLOAT16_ENGINES:
        with pytest.raises(VQSpeechError, match="weights that float16 does not hold.*Use float32"):
            get_engine(engine, "float16").load(wavenet, HOP)
    if not HAS_BFLOAT16:
        classes, condition = np.zeros(8 * HOP), make_condition(8)
        auto, exact = (
            get_engine("numba", precision).open(wavenet, HOP, seed=0, utterance=0).force(classes, condition)
            for precision in ("auto", "float32")
        )
        assert auto.tobytes() == exact.tobytes()


def test_a_matrix_of_zeros_or_single_small_weights_fit_float16():
    wavenet = scaled("head", 0)
    with torch.no_grad():
        wavenet.skip.weight[0, 0] = 1e-9
    assert fits_float16(wavenet)
    assert fits_float16(scaled("head", 1e-2))


def test_what_the_processor_lacks_is_told(monkeypatch):
    monkeypatch.setattr(compiled, "HAS_BFLOAT16", False)
    with pytest.raises(VQSpeechError, match="no bfloat16 products .*Use float16 or float32"):
        get_engine("numba", "bfloat16")
    monkeypatch.setattr(compiled, "HAS_FLOAT16", False)
    with pytest.raises(VQSpeechError, match="cannot convert float16 .*Use float32"):
        get_engine("numba", "float16")


@pytest.mark.parametrize(
    "has_bfloat16, has_float16, chosen",
    [(True, True, "bfloat16"), (False, True, "float16"), (False, False, "float32")],
)
def test_auto_is_the_fastest_that_the_processor_has(monkeypatch, has_bfloat16, has_float16, chosen):
    monkeypatch.setattr(compiled, "HAS_BFLOAT16", has_bfloat16)
    monkeypatch.setattr(compiled, "HAS_FLOAT16", has_float16)
    assert get_engine("numba", "auto").dtype is ELEMENTS[chosen]
    assert get_engine("numba", "float32").dtype is np.float32


def test_the_reference_engine_multiplies_in_float32_and_says_so():
    with pytest.raises(VQSpeechError, match="multiplies in float32. Use float32 or float16, or the numba engine"):
        get_engine("torch", "bfloat16")


def test_unknown_precision_names_the_choices():
    with pytest.raises(VQSpeechError, match="no precision 'int8'. Use auto, float32, float16 or bfloat16"):
        get_engine("auto", "int8")


def test_every_processor_here_has_a_precision_of_two_bytes():
    """Else the tests above would pass without having tested any."""
    assert HAS_FLOAT16 or HAS_BFLOAT16 or not torch.backends.cpu.get_cpu_capability().startswith("AVX")
