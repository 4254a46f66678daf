"""The compiled loop of the numba engine: one WaveNet, one stream, one sample after the other.

A sample costs one pass over all weights, so the loop is bound by how fast they stream through the core: outputs stay in
vector registers while the inputs go by (`_tile`), and everything between the products vectorises.
"""

# T samples, N conditioning frames, R residual channels, S skip channels, L layers, Q output classes.

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from vqspeech.sampling.layout import HALF, LANES, NARROW, PARTIAL_SUMS, QUARTER, WIDE, Buffers, Weights

LOG2_E = np.float32(math.log2(math.e))
# ln 2 in two parts, so that x - n ln 2 keeps its last bits: the first has few enough bits for n times it to be exact.
LN_2_HIGH = np.float32(0.693359375)
LN_2_LOW = np.float32(math.log(2) - 0.693359375)
SQRT_HALF = np.float32(math.sqrt(0.5))


@intrinsic(prefer_literal=True)
def _tile(
    typing: Any, width: Any, weights: Any, at: Any, x: Any, inputs: Any, init: Any, init_at: Any, out: Any, out_at: Any
) -> Any:
    """`out[out_at:][:width] = init[init_at:][:width] + x[:inputs] @ tile` with the sums kept in vector registers.

    Left to itself the compiler walks over the outputs inside the loop over inputs and stores every partial sum.
    """
    columns = width.literal_value
    vectors = columns // LANES
    ways = min(PARTIAL_SUMS, 8 // vectors)
    signature = types.void(width, weights, types.intp, x, types.intp, init, types.intp, out, types.intp)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar, index = ir.FloatType(), ir.IntType(64)
        vector = ir.VectorType(scalar, LANES)
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{LANES}f32"
        )

        def pointer(position: int, offset: Any) -> Any:
            array = context.make_array(signature.args[position])(context, builder, args[position])
            return builder.gep(array.data, [offset])

        def vector_at(base: Any, offset: Any) -> Any:
            return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())

        undefined, zero = ir.Constant(vector, ir.Undefined), ir.Constant(index, 0)
        all_first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
        tile, values = pointer(1, args[2]), pointer(3, zero)
        start, result = pointer(5, args[6]), pointer(7, args[8])
        sums = [[cgutils.alloca_once(builder, vector) for _ in range(vectors)] for _ in range(ways)]
        for way in range(ways):
            for v in range(vectors):
                first = builder.load(vector_at(start, ir.Constant(index, v * LANES)), align=4) if way == 0 else None
                builder.store(ir.Constant(vector, None) if first is None else first, sums[way][v])
        steps = builder.udiv(args[4], ir.Constant(index, ways))
        with cgutils.for_range(builder, steps) as loop:
            row = builder.mul(loop.index, ir.Constant(index, ways))
            for way in range(ways):
                i = builder.add(row, ir.Constant(index, way))
                value = builder.load(builder.gep(values, [i]))
                first_lane = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
                spread = builder.shuffle_vector(first_lane, undefined, all_first)
                offset = builder.mul(i, ir.Constant(index, columns))
                for v in range(vectors):
                    place = builder.add(offset, ir.Constant(index, v * LANES))
                    weight = builder.load(vector_at(tile, place), align=4)
                    total = builder.load(sums[way][v])
                    builder.store(builder.call(multiply_add, [spread, weight, total]), sums[way][v])
        for v in range(vectors):
            total = builder.load(sums[0][v])
            for way in range(1, ways):
                total = builder.fadd(total, builder.load(sums[way][v]))
            builder.store(total, vector_at(result, ir.Constant(index, v * LANES)), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _float_of_bits(typing: Any, bits: Any) -> Any:
    """The float32 whose bits are those of an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@numba.njit
def _product(
    weights: np.ndarray,
    at: int,
    x: np.ndarray,
    inputs: int,
    init: np.ndarray,
    init_at: int,
    out: np.ndarray,
    outputs: int,
) -> int:
    """`out = init[init_at:] + x @ matrix` for the matrix packed at `weights[at:]`; returns where the next starts."""
    done = 0
    while outputs - done >= WIDE:
        _tile(WIDE, weights, at, x, inputs, init, init_at + done, out, done)
        at += inputs * WIDE
        done += WIDE
    if outputs - done >= HALF:
        _tile(HALF, weights, at, x, inputs, init, init_at + done, out, done)
        at += inputs * HALF
        done += HALF
    if outputs - done >= QUARTER:
        _tile(QUARTER, weights, at, x, inputs, init, init_at + done, out, done)
        at += inputs * QUARTER
        done += QUARTER
    if outputs - done >= NARROW:
        _tile(NARROW, weights, at, x, inputs, init, init_at + done, out, done)
        at += inputs * NARROW
    return at


# "contract" alone: reordering would undo the two-part ln 2.
@numba.njit(fastmath={"contract"}, error_model="numpy")
def _exp(x: Any) -> Any:
    """e^x for -87 <= x <= 87 without a call, so that loops over it vectorise; relative error below 3e-7."""
    n = np.floor(x * LOG2_E + np.float32(0.5))
    r = (x - n * LN_2_HIGH) - n * LN_2_LOW  # |r| <= ln(2) / 2
    series = np.float32(1 / 720)
    series = series * r + np.float32(1 / 120)
    series = series * r + np.float32(1 / 24)
    series = series * r + np.float32(1 / 6)
    series = series * r + np.float32(1 / 2)
    series = series * r + np.float32(1)
    series = series * r + np.float32(1)
    return series * _float_of_bits(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))


@numba.njit(fastmath={"contract"}, error_model="numpy")
def _gate(gates: np.ndarray, gated: np.ndarray, channels: int) -> None:
    """`gated = tanh(gates[:R]) * sigmoid(gates[R:])` as (a - 1) / ((a + 1)(1 + b)), a = e^2x, b = e^-y."""
    filtered, gate = gates[:channels], gates[channels:]
    for r in range(channels):
        # Beyond the limits tanh is 1 and sigmoid 0 to the last bit that matters, and nothing overflows.
        a = _exp(min(max(np.float32(2) * filtered[r], np.float32(-30)), np.float32(30)))
        b = _exp(min(max(-gate[r], np.float32(-50)), np.float32(50)))
        gated[r] = (a - np.float32(1)) / ((a + np.float32(1)) * (np.float32(1) + b))


# Sums may be taken in any order here: that is what lets the maximum and the total vectorise.
@numba.njit(fastmath={"contract", "reassoc", "nnan", "nsz"}, error_model="numpy")
def _draw(logits: np.ndarray, masses: np.ndarray, u: float, temperature: float) -> int:
    """First class whose cumulative probability exceeds `u`; at temperature 0 the first likeliest class."""
    num_outputs = masses.shape[0]
    top = logits[0]
    for q in range(1, num_outputs):
        top = max(top, logits[q])
    if temperature == 0.0:
        best = 0
        while logits[best] != top:
            best += 1
        return best
    scale = np.float32(1 / temperature)
    for q in range(num_outputs):
        masses[q] = _exp(max((logits[q] - top) * scale, np.float32(-87)))
    total = 0.0
    for q in range(num_outputs):
        total += masses[q]
    threshold = u * total
    cumulative = 0.0
    for q in range(num_outputs):
        cumulative += masses[q]
        if cumulative > threshold:
            return q
    return num_outputs - 1


def _run(
    weights: Weights,
    buffers: Buffers,
    condition: np.ndarray,
    hop_length: int,
    uniforms: np.ndarray,
    temperature: float,
    forced: np.ndarray,
    classes: np.ndarray,
    logits: np.ndarray,
) -> None:
    """Advance one stream by `len(condition) * hop_length` samples.

    Parameters
    ----------
    weights : Weights
    buffers : Buffers, changed in place
    condition : float32 array, shape (N, C padded to a multiple of PARTIAL_SUMS)
    hop_length : int
    uniforms : float64 array, shape (T,), or empty where `forced` is given
    temperature : float
    forced : int32 array, shape (T,): the classes to take instead of drawing, or empty
    classes : int32 array, shape (T,): receives the classes
    logits : float32 array, shape (T, Q): receives the logits, or shape (0, Q)
    """
    stream, history, position = weights.stream, buffers.history, buffers.position
    frame, taps, gates, gated = buffers.frame, buffers.taps, buffers.gates, buffers.gated
    residual, skip, hidden = buffers.residual, buffers.skip, buffers.hidden
    num_layers, residual_channels = weights.dilations.shape[0], weights.embedding.shape[1]
    skip_channels, num_outputs = weights.skip_channels, buffers.masses.shape[0]
    skip_scale = np.float32(1 / math.sqrt(num_layers))
    sample, previous = position[0], position[1]
    t = 0
    for n in range(condition.shape[0]):
        # The conditioning of all layers changes once per frame.
        bias = weights.condition_bias
        _product(weights.condition, 0, condition[n], condition.shape[1], bias, 0, frame, bias.shape[0])
        for _ in range(hop_length):
            residual[:residual_channels] = weights.embedding[previous]
            at, ring = 0, 0
            for layer in range(num_layers):
                dilation = weights.dilations[layer]
                slot = ring + sample % dilation * residual_channels
                delayed = history[slot : slot + residual_channels]
                for r in range(residual_channels):
                    taps[r] = delayed[r]
                    taps[residual_channels + r] = residual[r]
                    delayed[r] = residual[r]
                ring += dilation * residual_channels
                at = _product(
                    stream, at, taps, taps.shape[0], frame, layer * 2 * residual_channels, gates, gates.shape[0]
                )
                _gate(gates, gated[layer], residual_channels)
                if layer == num_layers - 1:
                    continue
                at = _product(stream, at, gated[layer], gated.shape[1], residual, 0, residual, residual.shape[0])
                for r in range(residual_channels):
                    residual[r] *= SQRT_HALF
            at = _product(stream, at, gated.ravel(), gated.size, weights.skip_bias, 0, skip, skip.shape[0])
            for s in range(skip.shape[0]):
                skip[s] = max(skip[s] * skip_scale, np.float32(0))
            at = _product(stream, at, skip, skip_channels, weights.hidden_bias, 0, hidden, hidden.shape[0])
            for s in range(hidden.shape[0]):
                hidden[s] = max(hidden[s], np.float32(0))
            _product(stream, at, hidden, skip_channels, weights.head_bias, 0, buffers.logits, buffers.logits.shape[0])
            if logits.shape[0]:
                logits[t, :] = buffers.logits[:num_outputs]
            if forced.shape[0]:
                previous = np.int64(forced[t])
            else:
                previous = np.int64(_draw(buffers.logits, buffers.masses, uniforms[t], temperature))
            classes[t] = previous
            sample += 1
            t += 1
    position[0], position[1] = sample, previous


def _compile() -> Callable[..., None]:
    """The loop, compiled at its first call and kept on disk where there is a folder for it."""
    try:
        return numba.njit(_run, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # numba found no folder it may write to
        return _in_memory()


@functools.cache
def _in_memory() -> Callable[..., None]:
    return numba.njit(_run, nogil=True, error_model="numpy")


_kernel = _compile()


def run(*arguments: Any) -> None:
    """Call the compiled loop; see `_run` for the arguments."""
    try:
        _kernel(*arguments)
    except OSError:  # the folder cannot be read, or the disk is full; nothing has run yet
        _in_memory()(*arguments)
