"""Matrix products whose sums stay in vector registers: the inner part of the compiled loop.

A matrix lies in tiles of as many outputs as the registers hold (`layout.pack`). A tile is read once for up to
`STREAMS_AT_ONCE` streams. The order in which a stream's sums are taken depends on the tile alone, so a stream gives the
same numbers, bit for bit, whichever others run beside it.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from vqspeech.sampling.layout import HALF, LANES, NARROW, PARTIAL_SUMS, QUARTER, WIDE

# Three streams' sums fill the 32 registers of AVX-512; one stream's eight are what AVX2's sixteen can hold.
STREAMS_AT_ONCE = 3 if LANES == 16 else 1
SEVERAL_AT_ONCE = STREAMS_AT_ONCE > 1


@intrinsic(prefer_literal=True)
def _tile(
    typing: Any,
    width: Any,
    streams: Any,
    weights: Any,
    at: Any,
    x: Any,
    x_at: Any,
    x_step: Any,
    rows: Any,
    init: Any,
    init_at: Any,
    init_step: Any,
    out: Any,
    out_at: Any,
    out_step: Any,
) -> Any:
    """`out[:width] = init[:width] + x[:rows] @ tile` for each of `streams`, whose values lie `..._step` apart.

    float32 weights: a row is one input. uint16 weights hold bfloat16: a row is a pair of inputs, multiplied and added
    by one instruction. Left to itself the compiler walks over the outputs inside the loop over rows and stores every
    partial sum.
    """
    columns, num_streams = width.literal_value, streams.literal_value
    vectors = columns // LANES
    ways = min(PARTIAL_SUMS, 8 // vectors)
    paired = weights.dtype == types.uint16
    integers = (types.intp,) * 3
    signature = types.void(
        width, streams, weights, types.intp, x, *integers, init, types.intp, types.intp, out, types.intp, types.intp
    )

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index, lane = ir.IntType(64), ir.IntType(32)
        sum_vector = ir.VectorType(ir.FloatType(), LANES)
        scalar = lane if paired else ir.FloatType()  # a pair of bfloat16 travels as one 32-bit integer
        vector = ir.VectorType(scalar, LANES)
        if paired:
            llvmlite.binding.initialize_native_asmparser()
            kind = ir.FunctionType(sum_vector, [vector, vector, sum_vector])
            dot = ir.InlineAsm(kind, "vdpbf16ps $2, $1, $0", "=v,v,v,0")
        else:
            name = f"llvm.fmuladd.v{LANES}f32"
            dot = cgutils.get_or_insert_function(builder.module, ir.FunctionType(sum_vector, [sum_vector] * 3), name)

        def constant(value: int) -> Any:
            return ir.Constant(index, value)

        def pointer(position: int, offset: Any, step: Any, stream: int) -> Any:
            array = context.make_array(signature.args[position])(context, builder, args[position])
            place = builder.add(offset, builder.mul(step, constant(stream)))
            return builder.gep(array.data, [place])

        def vector_at(base: Any, offset: Any, kind: Any) -> Any:
            return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())

        numbers = range(num_streams)
        undefined = ir.Constant(vector, ir.Undefined)
        all_first = ir.Constant(ir.VectorType(lane, LANES), None)
        tile = builder.bitcast(pointer(2, args[3], constant(0), 0), scalar.as_pointer())
        values = [builder.bitcast(pointer(4, args[5], args[6], s), scalar.as_pointer()) for s in numbers]
        starts = [pointer(8, args[9], args[10], s) for s in numbers]
        results = [pointer(11, args[12], args[13], s) for s in numbers]
        sums = [
            [[cgutils.alloca_once(builder, sum_vector) for _ in range(vectors)] for _ in range(ways)] for _ in numbers
        ]
        for s in numbers:
            for way in range(ways):
                for v in range(vectors):
                    first = ir.Constant(sum_vector, None)
                    if way == 0:
                        first = builder.load(vector_at(starts[s], constant(v * LANES), sum_vector), align=4)
                    builder.store(first, sums[s][way][v])
        with cgutils.for_range(builder, builder.udiv(args[7], constant(ways))) as loop:
            first_row = builder.mul(loop.index, constant(ways))
            for way in range(ways):
                row = builder.add(first_row, constant(way))
                offset = builder.mul(row, constant(columns))
                spread = []
                for s in numbers:
                    value = builder.load(builder.gep(values[s], [row]), align=2 if paired else 4)
                    first = builder.insert_element(undefined, value, ir.Constant(lane, 0))
                    spread.append(builder.shuffle_vector(first, undefined, all_first))
                # One vector of weights after the other: all of them beside the sums would not fit into the registers.
                for v in range(vectors):
                    place = vector_at(tile, builder.add(offset, constant(v * LANES)), vector)
                    row_weights = builder.load(place, align=4)
                    for s in numbers:
                        total = builder.load(sums[s][way][v])
                        builder.store(builder.call(dot, [spread[s], row_weights, total]), sums[s][way][v])
        for s in numbers:
            for v in range(vectors):
                total = builder.load(sums[s][0][v])
                for way in range(1, ways):
                    total = builder.fadd(total, builder.load(sums[s][way][v]))
                builder.store(total, vector_at(results[s], constant(v * LANES), sum_vector), align=4)
        return context.get_dummy_value()

    return signature, generate


def _make_tiles(width: int) -> Any:
    """A function that runs one tile of a given width for any number of streams."""

    @numba.njit
    def tiles(
        streams: int,
        weights: np.ndarray,
        at: int,
        x: np.ndarray,
        x_at: int,
        rows: int,
        init: np.ndarray,
        init_at: int,
        init_step: int,
        out: np.ndarray,
        out_at: int,
    ) -> None:
        x_step, out_step = x.shape[1], out.shape[1]
        s = 0
        if SEVERAL_AT_ONCE:  # a branch that is not taken is not compiled either
            while streams - s >= STREAMS_AT_ONCE:
                x_s, init_s, out_s = x_at + s * x_step, init_at + s * init_step, out_at + s * out_step
                _tile(
                    width, STREAMS_AT_ONCE, weights, at, x, x_s, x_step, rows, init, init_s, init_step, out, out_s,
                    out_step,
                )  # fmt: skip
                s += STREAMS_AT_ONCE
        while s < streams:
            x_s, init_s, out_s = x_at + s * x_step, init_at + s * init_step, out_at + s * out_step
            _tile(width, 1, weights, at, x, x_s, x_step, rows, init, init_s, init_step, out, out_s, out_step)
            s += 1

    return tiles


_wide, _half, _quarter, _narrow = (_make_tiles(width) for width in (WIDE, HALF, QUARTER, NARROW))


@numba.njit
def product(
    streams: int,
    weights: np.ndarray,
    at: int,
    x: np.ndarray,
    x_at: int,
    rows: int,
    init: np.ndarray,
    init_at: int,
    init_step: int,
    out: np.ndarray,
) -> int:
    """`out[s] = init[s] + x[s] @ matrix` for every stream s, with the matrix packed at `weights[at:]`.

    Parameters
    ----------
    streams : int
    weights : float32 or uint16 (bfloat16) array, packed by `layout.pack`
    at : int, where the matrix begins
    x : array, shape (streams, ...), of the weights' type; a stream's inputs begin at `x_at`
    rows : int, inputs (float32) or pairs of inputs (bfloat16), a multiple of PARTIAL_SUMS
    init : float32 array; stream s begins at `init_at + s * init_step` of the flat array
    out : float32 array, shape (streams, outputs padded to NARROW)

    Returns
    -------
    at : int, where the next matrix begins
    """
    outputs = out.shape[1]
    row = 2 if weights.itemsize == 2 else 1  # weights of a row for each output
    done = 0
    while outputs - done >= WIDE:
        _wide(streams, weights, at, x, x_at, rows, init, init_at + done, init_step, out, done)
        at += rows * row * WIDE
        done += WIDE
    if outputs - done >= HALF:
        _half(streams, weights, at, x, x_at, rows, init, init_at + done, init_step, out, done)
        at += rows * row * HALF
        done += HALF
    if outputs - done >= QUARTER:
        _quarter(streams, weights, at, x, x_at, rows, init, init_at + done, init_step, out, done)
        at += rows * row * QUARTER
        done += QUARTER
    if outputs - done >= NARROW:
        _narrow(streams, weights, at, x, x_at, rows, init, init_at + done, init_step, out, done)
        at += rows * row * NARROW
    return at
