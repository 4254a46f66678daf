"""Matrix products whose sums stay in vector registers: the inner part of the compiled loop.

Nearly all the time of sampling goes into products of small vectors with matrices of weights: for each sample two for
every layer, one for the skips and two for the head. `product` is such a product, for all streams of a thread. Its
innermost part, `_tile`, is written in LLVM's intermediate representation (IR), as numba's own code generators are.

What is in registers
    The sums. A tile is a stripe of a matrix, as many outputs wide as eight vector registers hold sums: 128 for AVX-512
    (16 floats a register, `LANES`), 64 for AVX2 (8 floats). A row of the tile meets one input of each stream: the
    input is spread over a register, multiplied with the row, and added to the sums in one instruction (`fmadd`). The
    sums are loaded once before the first row and stored once after the last. Eight chains of sums hide the four
    cycles that one multiply-add takes to give its result. A narrow tile has fewer registers of outputs, so it takes
    two or four rows side by side (`ways`), each into sums of its own, and adds these at the end.
    With AVX-512 three streams go through a tile together: 24 registers of sums, one for the row, three for the inputs
    spread out, of 32 in all. AVX2 has 16, so one stream goes at a time.

What is in cache
    The weights, and nothing larger. One stream alone is bound by the pace at which weights come from the caches: 2.5 MB
    in float32 for 64 residual and 128 skip channels and 20 layers, half of it in bfloat16. In step, all streams use a
    tile while it lies in the first-level cache, so each further stream costs arithmetic alone. `layout.pack` cuts the
    matrices into tiles and puts these in the order of use. So a sample reads one array from end to end, which the
    processor's prefetching likes best. A stream's inputs and outputs are a few hundred floats and stay in the
    first-level cache.

Why LLVM IR
    From numba's Python the compiler makes loops as it thinks best. It walks over the outputs inside the loop over
    rows, and stores and loads every partial sum for each row. In IR each register of sums is a variable of its own, so
    nothing is left to choose. bfloat16 needs IR in any case: `vdpbf16ps` multiplies pairs of
    bfloat16 and adds them to float32 sums. LLVM has no portable name for it, so it is written as inline assembly.

Why the draws are equal, bit for bit
    A stream's sums are taken in an order that depends on the tile alone: row after row, way after way. Whether two
    other streams go through the tile beside it changes no bit. So a stream gives the same samples in any company, and
    tests hold that. The order of the sums does differ between AVX2 and AVX-512, and so may a draw.

How to change it
    - Another tile width: `layout.WIDTHS`, widest first, with a case in `product` and a call of `_tiles_of`. Rows are
      padded to PARTIAL_SUMS.
    - Another processor: `LANES` in vectors and STREAMS_AT_ONCE here. Sums, one row and the inputs have to fit into the
      registers, else the compiler spills them to the stack and the gain is lost. Look at the inner loop with
      `kernel._kept("float32").inspect_asm()` after a first call (and an empty NUMBA_CACHE_DIR: what comes from disk
      shows nothing). It should hold multiply-adds and loads, and no vector stores.
    - Another element type: `pack`, `inputs_of_row`, `_Tile.dot`, and `arithmetic.as_input`.
    - Afterwards: `pytest tests/sampling` (every engine against the reference, streams in step against one alone), then
      `python benchmarks/sampling.py`, beside the version before on the same machine.
"""

# LLVM values of one tile: S streams (a literal), V vectors of outputs (width = V * LANES), W ways.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from vqspeech.sampling.layout import HALF, NARROW, PARTIAL_SUMS, QUARTER, WIDE
from vqspeech.vectors import BORROWED, LANES

STREAMS_AT_ONCE = 3 if LANES == 16 else 1
SEVERAL_AT_ONCE = STREAMS_AT_ONCE > 1

BYTE, LANE, INDEX, FLOAT = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
SUMS = ir.VectorType(FLOAT, LANES)


@numba.njit(**BORROWED)
def product(weights: np.ndarray, at: int, x: np.ndarray, init: np.ndarray, out: np.ndarray) -> int:
    """`out[s] = init[s] + x[s] @ matrix` for every stream s, with the matrix packed at `weights[at:]`.

    Parameters
    ----------
    weights : float32 or uint16 (bfloat16) array, packed by `layout.pack`
    at : int, where the matrix begins
    x : array, shape (streams, inputs padded as by `pack`), of the weights' type
    init : float32 array, shape as `out`, or (1, outputs) for all streams alike
    out : float32 array, shape (streams, outputs padded to NARROW)

    Returns
    -------
    at : int, where the next matrix begins
    """
    inputs, outputs = x.shape[1], out.shape[1]
    column = 0
    while outputs - column >= WIDE:
        _wide(weights, at + column * inputs, x, init, out, column)
        column += WIDE
    if outputs - column >= HALF:
        _half(weights, at + column * inputs, x, init, out, column)
        column += HALF
    if outputs - column >= QUARTER:
        _quarter(weights, at + column * inputs, x, init, out, column)
        column += QUARTER
    if outputs - column >= NARROW:
        _narrow(weights, at + column * inputs, x, init, out, column)
        column += NARROW
    return at + column * inputs


def _tiles_of(width: int) -> Callable[..., None]:
    """A function that takes all streams through the tile at `weights[at:]`, for the outputs from `column` on."""

    @numba.njit(**BORROWED)
    def tiles(weights: np.ndarray, at: int, x: np.ndarray, init: np.ndarray, out: np.ndarray, column: int) -> None:
        stream = 0
        if SEVERAL_AT_ONCE:  # a branch that is not taken is not compiled either
            while x.shape[0] - stream >= STREAMS_AT_ONCE:
                _tile(width, STREAMS_AT_ONCE, weights, at, x, init, out, stream, column)
                stream += STREAMS_AT_ONCE
        while stream < x.shape[0]:
            _tile(width, 1, weights, at, x, init, out, stream, column)
            stream += 1

    return tiles


@intrinsic(prefer_literal=True)
def _tile(
    typing: Any, width: Any, count: Any, weights: Any, at: Any, x: Any, init: Any, out: Any, stream: Any, column: Any
) -> Any:
    """`tiles` for `count` streams from `stream` on; width and count are literals."""
    signature = types.void(width, count, weights, types.intp, x, init, out, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def array(position: int) -> Any:
            return context.make_array(signature.args[position])(context, builder, args[position])

        tile = _Tile(builder, width.literal_value, count.literal_value, is_paired=weights.dtype == types.uint16)
        tile.write(builder.gep(array(2).data, [args[3]]), array(4), array(5), array(6), args[7], args[8])
        return context.get_dummy_value()

    return signature, generate


class _Tile:
    """Writes the instructions of one tile; what is called a value is an LLVM value, known when the code runs."""

    def __init__(self, builder: Any, width: int, count: int, *, is_paired: bool) -> None:
        self.builder, self.width, self.is_paired = builder, width, is_paired
        self.streams, self.vectors = range(count), range(width // LANES)
        self.ways = range(min(PARTIAL_SUMS, 8 // len(self.vectors)))
        self.scalar = LANE if is_paired else FLOAT  # a pair of bfloat16 travels as one 32-bit integer
        self.row = ir.VectorType(self.scalar, LANES)

    def write(self, weights: Any, x: Any, init: Any, out: Any, stream: Any, column: Any) -> None:
        """Load the sums, add the product of every row, store them; see `product` for the arrays."""
        starts = [self.place(init, stream, s, column, is_shared=True) for s in self.streams]
        results = [self.place(out, stream, s, column) for s in self.streams]
        inputs = [self.cast(self.place(x, stream, s, INDEX(0)), self.scalar) for s in self.streams]
        sums = self.start_sums(starts)
        self.add_rows(sums, self.cast(weights, self.scalar), inputs, self.rows_of(x))
        self.store_sums(sums, results)

    def start_sums(self, starts: list[Any]) -> list[list[list[Any]]]:
        """Variables [s][way][v] for the sums, which LLVM keeps in registers; the first way begins at `init`."""
        sums = [
            [[cgutils.alloca_once(self.builder, SUMS) for _ in self.vectors] for _ in self.ways] for _ in self.streams
        ]
        for s in self.streams:
            for way in self.ways:
                for v in self.vectors:
                    zeros = ir.Constant(SUMS, None)
                    first = zeros if way else self.builder.load(self.vector_at(starts[s], v, SUMS), align=4)
                    self.builder.store(first, sums[s][way][v])
        return sums

    def add_rows(self, sums: list[list[list[Any]]], weights: Any, inputs: list[Any], rows: Any) -> None:
        """The loop over rows, `ways` of them at a time."""
        builder, dot = self.builder, self.dot()
        with cgutils.for_range(builder, builder.udiv(rows, INDEX(len(self.ways)))) as loop:
            first_row = builder.mul(loop.index, INDEX(len(self.ways)))
            for way in self.ways:
                number = builder.add(first_row, INDEX(way))
                row = builder.gep(weights, [builder.mul(number, INDEX(self.width))])
                spread = [self.spread(builder.gep(inputs[s], [number])) for s in self.streams]
                # One vector of weights after the other: all of them beside the sums would not fit into the registers.
                for v in self.vectors:
                    part = builder.load(self.vector_at(row, v, self.row), align=4)
                    for s in self.streams:
                        total = builder.load(sums[s][way][v])
                        builder.store(builder.call(dot, [spread[s], part, total]), sums[s][way][v])

    def store_sums(self, sums: list[list[list[Any]]], results: list[Any]) -> None:
        """Add the ways, the first to the last, and store."""
        for s in self.streams:
            for v in self.vectors:
                total = self.builder.load(sums[s][0][v])
                for way in self.ways[1:]:
                    total = self.builder.fadd(total, self.builder.load(sums[s][way][v]))
                self.builder.store(total, self.vector_at(results[s], v, SUMS), align=4)

    def dot(self) -> Any:
        """The instruction `inputs * weights + sums`, of float32 or of pairs of bfloat16."""
        kind = ir.FunctionType(SUMS, [self.row, self.row, SUMS])
        if self.is_paired:
            llvmlite.binding.initialize_native_asmparser()
            return ir.InlineAsm(kind, "vdpbf16ps $2, $1, $0", "=v,v,v,0")
        return cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fmuladd.v{LANES}f32")

    def spread(self, place: Any) -> Any:
        """An input, or a pair of them, in every lane of a register."""
        value = self.builder.load(place, align=2 if self.is_paired else 4)
        undefined = ir.Constant(self.row, ir.Undefined)
        first = self.builder.insert_element(undefined, value, LANE(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(LANE, LANES), None))

    def rows_of(self, x: Any) -> Any:
        """Rows of the tile: inputs, or pairs of them."""
        inputs = self.builder.extract_value(x.shape, 1)
        return self.builder.udiv(inputs, INDEX(2)) if self.is_paired else inputs

    def place(self, array: Any, stream: Any, s: int, column: Any, *, is_shared: bool = False) -> Any:
        """Where `array[stream + s, column:]` begins; if `is_shared`, an array of one row has it for every stream."""
        builder = self.builder
        step = builder.extract_value(array.strides, 0)  # in bytes
        if is_shared:
            is_single = builder.icmp_unsigned("==", builder.extract_value(array.shape, 0), INDEX(1))
            step = builder.select(is_single, INDEX(0), step)
        offset = builder.mul(step, builder.add(stream, INDEX(s)))
        row = self.cast(builder.gep(self.cast(array.data, BYTE), [offset]), array.data.type.pointee)
        return builder.gep(row, [column])

    def vector_at(self, base: Any, number: int, kind: Any) -> Any:
        """A pointer to the vector of LANES values with this number from `base` on."""
        return self.cast(self.builder.gep(base, [INDEX(number * LANES)]), kind)

    def cast(self, pointer: Any, kind: Any) -> Any:
        return self.builder.bitcast(pointer, kind.as_pointer())


_wide, _half, _quarter, _narrow = (_tiles_of(width) for width in (WIDE, HALF, QUARTER, NARROW))
