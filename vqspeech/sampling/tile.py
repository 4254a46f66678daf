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
    Streams go through a tile together, each with sums of its own. Of the 32 registers of AVX-512, 24 hold the sums of
    three streams, three their inputs and one the row. Of AVX2's 16, 12 hold sums: of six streams, for two registers of
    outputs at a time, so that such a group walks over a wide tile four times. Its row stays in two registers, and the
    six inputs pass through one. The fewer of the two stay: what passes through is loaded again for each.

What is in cache
    The weights, and nothing larger. One stream alone is bound by the pace at which weights come from the caches: 2.5 MB
    in float32 for 64 residual and 128 skip channels and 20 layers, half of it in bfloat16 or float16. In step, all
    streams use a tile while it lies in the first-level cache, so each further stream costs arithmetic alone.
    `layout.pack` cuts the matrices into tiles and puts these in the order of use. So a sample reads one array from end
    to end, which the processor's prefetching likes best. A stream's inputs and outputs are a few hundred floats and
    stay in the first-level cache.

Why LLVM IR
    From numba's Python the compiler makes loops as it thinks best. It walks over the outputs inside the loop over
    rows, and stores and loads every partial sum for each row. In IR each register of sums is a variable of its own, so
    nothing is left to choose. The types of two bytes need IR in any case. `vdpbf16ps` multiplies pairs of bfloat16 and
    adds them to float32 sums; LLVM has no portable name for it, so it is written as inline assembly. Processors with
    AVX2 alone have no products of two bytes, but they convert float16 as they load it (`fpext`, F16C's `vcvtph2ps`).
    Inputs, products and sums are then float32.

Why the draws are equal, bit for bit
    A stream's sums are taken in an order that depends on the tile alone: row after row, way after way. Whether other
    streams go through the tile beside it, and in what groups of outputs, changes no bit. So a stream gives the same
    samples in any company, and tests hold that. The order of the sums does differ between AVX2 and AVX-512, and so may
    a draw.

How to change it
    - Another tile width: `layout.WIDTHS`, widest first, with a case in `product` and a call of `_tiles_of`. Rows are
      padded to PARTIAL_SUMS.
    - Another processor: `LANES` in vectors, SUM_REGISTERS and STREAMS_AT_ONCE here. Sums, row and inputs have to fit
      into the registers, else the compiler spills them to the stack, and that costs more than it gains: sixteen values
      in sixteen registers made float16 half as fast. Look at the inner loop with
      `kernel.LOOP.kept("float32").inspect_asm()` after a first call (and an empty NUMBA_CACHE_DIR: what comes from disk
      shows nothing). It should hold multiply-adds and loads, and no vector stores.
    - Another type of weights: `layout.ELEMENTS`, `to_element` and `inputs_type`, `_Tile.weights_at` and `dot`; if its
      inputs are rounded, `vectors.as_input`, too.
    - Afterwards: `pytest tests/sampling` (every engine against the reference, streams in step against one alone), then
      `python benchmarks/sampling.py`, beside the version before on the same machine.
"""

# LLVM values of one tile: S streams (a literal), V vectors of outputs (width = V * LANES), W ways.

from __future__ import annotations

import itertools
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

# Of the registers, those for sums, and the streams that share them. One sum waits four cycles for its last product, and
# two can begin in each: so many chains keep a processor busy.
SUM_REGISTERS, STREAMS_AT_ONCE = (24, 3) if LANES == 16 else (12, 6)
CHAINS = 8

BYTE, LANE, INDEX, FLOAT = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
FLOAT16 = ir.HalfType()
SUMS = ir.VectorType(FLOAT, LANES)
ZEROS = ir.Constant(SUMS, None)
Sums = dict[tuple[int, int, int], Any]  # by stream, way and vector of outputs


@numba.njit(**BORROWED)
def product(weights: np.ndarray, at: int, x: np.ndarray, init: np.ndarray, out: np.ndarray) -> int:
    """`out[s] = init[s] + x[s] @ matrix` for every stream s, with the matrix packed at `weights[at:]`.

    Parameters
    ----------
    weights : array of one of `layout.ELEMENTS`, packed by `layout.pack`
    at : int, where the matrix begins
    x : array, shape (streams, inputs padded as by `pack`), of the weights' `layout.inputs_type`
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
    several = min(STREAMS_AT_ONCE, SUM_REGISTERS // _ways_of(width))

    @numba.njit(forceinline=True, **BORROWED)  # as a call it takes a twentieth more time in small networks
    def tiles(weights: np.ndarray, at: int, x: np.ndarray, init: np.ndarray, out: np.ndarray, column: int) -> None:
        stream = 0
        while x.shape[0] - stream >= several:
            _tile(width, several, weights, at, x, init, out, stream, column)
            stream += several
        while stream < x.shape[0]:
            _tile(width, 1, weights, at, x, init, out, stream, column)
            stream += 1

    return tiles


def _ways_of(width: int) -> int:
    """Rows that a tile takes side by side, each into sums of its own."""
    return min(PARTIAL_SUMS, CHAINS * LANES // width)


@intrinsic(prefer_literal=True)
def _tile(
    typing: Any, width: Any, count: Any, weights: Any, at: Any, x: Any, init: Any, out: Any, stream: Any, column: Any
) -> Any:
    """`tiles` for `count` streams from `stream` on; width and count are literals."""
    signature = types.void(width, count, weights, types.intp, x, init, out, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def array(position: int) -> Any:
            return context.make_array(signature.args[position])(context, builder, args[position])

        tile = _Tile(builder, width.literal_value, count.literal_value, weights.dtype)
        tile.write(builder.gep(array(2).data, [args[3]]), array(4), array(5), array(6), args[7], args[8])
        return context.get_dummy_value()

    return signature, generate


class _Tile:
    """Writes the instructions of one tile; what is called a value is an LLVM value, known when the code runs."""

    def __init__(self, builder: Any, width: int, count: int, weights: Any) -> None:
        self.builder, self.width, self.streams, self.ways = builder, width, range(count), range(_ways_of(width))
        self.is_paired = weights == types.uint16  # a pair of bfloat16 travels as one 32-bit integer
        self.element = {types.float32: FLOAT, types.int16: FLOAT16, types.uint16: LANE}[weights]
        self.input = LANE if self.is_paired else FLOAT

    def write(self, weights: Any, x: Any, init: Any, out: Any, stream: Any, column: Any) -> None:
        """Load the sums, add the product of every row, store them, for as many vectors of outputs as the registers
        hold sums of, and then for the next; see `product` for the arrays."""
        starts = [self.place(init, stream, s, column, is_shared=True) for s in self.streams]
        results = [self.place(out, stream, s, column) for s in self.streams]
        inputs = [self.cast(self.place(x, stream, s, INDEX(0)), self.input) for s in self.streams]
        vectors = range(self.width // LANES)
        step = max(n for n in (8, 4, 2, 1) if n * len(self.streams) * len(self.ways) <= SUM_REGISTERS)
        for first in vectors[::step]:
            group = vectors[first : first + step]
            sums = self.start_sums(starts, group)
            self.add_rows(sums, self.cast(weights, self.element), inputs, self.rows_of(x), group)
            self.store_sums(sums, results, group)

    def start_sums(self, starts: list[Any], group: range) -> Sums:
        """Variables for the sums, which LLVM keeps in registers; the first way begins at `init`."""
        sums = {}
        for s, way, v in itertools.product(self.streams, self.ways, group):
            sums[s, way, v] = cgutils.alloca_once(self.builder, SUMS)
            first = self.builder.load(self.vector_at(starts[s], v, SUMS), align=4) if way == 0 else ZEROS
            self.builder.store(first, sums[s, way, v])
        return sums

    def add_rows(self, sums: Sums, weights: Any, inputs: list[Any], rows: Any, group: range) -> None:
        """The loop over rows, `ways` of them at a time."""
        builder, dot = self.builder, self.dot()
        with cgutils.for_range(builder, builder.udiv(rows, INDEX(len(self.ways)))) as loop:
            first_row = builder.mul(loop.index, INDEX(len(self.ways)))
            for way in self.ways:
                number = builder.add(first_row, INDEX(way))
                row = builder.gep(weights, [builder.mul(number, INDEX(self.width))])
                spread: dict[int, Any] = {}
                parts: dict[int, Any] = {}
                # Beside the sums there is no room for all weights and all inputs: the fewer of them stay in registers,
                # the others pass through.
                by_stream = ((s, v) for s in self.streams for v in group)
                by_vector = ((s, v) for v in group for s in self.streams)
                for s, v in by_stream if len(group) < len(self.streams) else by_vector:
                    if s not in spread:
                        spread[s] = self.spread(builder.gep(inputs[s], [number]))
                    if v not in parts:
                        parts[v] = self.weights_at(row, v)
                    total = builder.load(sums[s, way, v])
                    builder.store(builder.call(dot, [spread[s], parts[v], total]), sums[s, way, v])

    def store_sums(self, sums: Sums, results: list[Any], group: range) -> None:
        """Add the ways, the first to the last, and store."""
        for s, v in itertools.product(self.streams, group):
            total = self.builder.load(sums[s, 0, v])
            for way in self.ways[1:]:
                total = self.builder.fadd(total, self.builder.load(sums[s, way, v]))
            self.builder.store(total, self.vector_at(results[s], v, SUMS), align=4)

    def dot(self) -> Any:
        """The instruction `inputs * weights + sums`, of float32 or of pairs of bfloat16."""
        row = ir.VectorType(self.input, LANES)
        kind = ir.FunctionType(SUMS, [row, row, SUMS])
        if self.is_paired:
            llvmlite.binding.initialize_native_asmparser()
            return ir.InlineAsm(kind, "vdpbf16ps $2, $1, $0", "=v,v,v,0")
        return cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fmuladd.v{LANES}f32")

    def spread(self, place: Any) -> Any:
        """An input, or a pair of them, in every lane of a register."""
        value = self.builder.load(place, align=2 if self.is_paired else 4)
        undefined = ir.Constant(ir.VectorType(self.input, LANES), ir.Undefined)
        first = self.builder.insert_element(undefined, value, LANE(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(LANE, LANES), None))

    def weights_at(self, row: Any, number: int) -> Any:
        """A register of a row's weights, those of float16 converted to float32."""
        place = self.vector_at(row, number, ir.VectorType(self.element, LANES))
        if self.element == FLOAT16:
            return self.builder.fpext(self.builder.load(place, align=2), SUMS)
        return self.builder.load(place, align=4)

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
