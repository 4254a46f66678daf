"""Small matrix products whose sums stay in vector registers, for tiles that lie in the cache.

`multiply` cuts a product into blocks of a few rows and one or two vectors of columns. `_block` writes such a block in
LLVM's intermediate representation, for the reasons that `sampling.tile` gives: twelve registers of sums are enough to
hide the latency of a multiply-add, and leave room for one row of the right matrix and one value of the left in the
sixteen registers of AVX2.
"""

# (m, n) = sum over segments of (m, k) times (k, n); "element" is float32, or uint16 with the bits of a bfloat16.

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from vqspeech.vectors import BORROWED, LANES

OPTIONS = {"error_model": "numpy", **BORROWED}
# What the sums of a product begin with: nothing, what `c` holds, or a row for all rows. numba compiles a function anew
# for every literal that is given to it, and numpy's integers are none.
ZEROS, SUMS, BIAS = np.int64(0), np.int64(1), np.int64(2)

UNROLLED = 4

LANE, INDEX, FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)


@numba.njit(**OPTIONS)
def multiply(
    m: int, n: int, k: int, a: np.ndarray, a_at: Any, a_row: int, a_step: int, b: np.ndarray, b_at: Any, b_step: int,
    c: np.ndarray, c_at: int, c_row: int, begin: int, bias: np.ndarray, bias_at: int,
) -> None:  # fmt: skip
    """`c[i, j] = begin + sum over segments s and p < k of a_s[i, p] b_s[p, j]`; all arrays are flat.

    Parameters
    ----------
    m, n, k : int; n a multiple of LANES. A step of k takes two elements in bfloat16, which lie side by side.
    a : elements, segment s from `a_at[s]` on; `a_row` from one i to the next, `a_step` from one p to the next
    b : elements, segment s from `b_at[s]` on; `b_step` from one p to the next
    c : float32, from `c_at` on; `c_row` from one i to the next
    begin : ZEROS, SUMS or BIAS: n values of `bias` from `bias_at` on
    """
    _stay_apart()
    pair = 2 if b.itemsize == 2 else 1
    sixes = m - m % 6
    if m - sixes == 2 and sixes:
        sixes -= 6  # 8 = 4 + 4
    j = 0
    while j + 2 * LANES <= n:
        i = 0
        while i < sixes:
            _block(6, 2, k, a, a_at, i * a_row, a_row, a_step, b, b_at, j * pair, b_step,
                   c, c_at + i * c_row + j, c_row, begin, bias, bias_at + j)  # fmt: skip
            i += 6
        while i + 4 <= m:
            _block(4, 2, k, a, a_at, i * a_row, a_row, a_step, b, b_at, j * pair, b_step,
                   c, c_at + i * c_row + j, c_row, begin, bias, bias_at + j)  # fmt: skip
            i += 4
        while i < m:
            _block(1, 2, k, a, a_at, i * a_row, a_row, a_step, b, b_at, j * pair, b_step,
                   c, c_at + i * c_row + j, c_row, begin, bias, bias_at + j)  # fmt: skip
            i += 1
        j += 2 * LANES
    if j < n:
        i = 0
        while i + 4 <= m:
            _block(4, 1, k, a, a_at, i * a_row, a_row, a_step, b, b_at, j * pair, b_step,
                   c, c_at + i * c_row + j, c_row, begin, bias, bias_at + j)  # fmt: skip
            i += 4
        while i < m:
            _block(1, 1, k, a, a_at, i * a_row, a_row, a_step, b, b_at, j * pair, b_step,
                   c, c_at + i * c_row + j, c_row, begin, bias, bias_at + j)  # fmt: skip
            i += 1


@intrinsic
def _stay_apart(typing: Any) -> Any:
    """Keeps the function that calls this from being inlined: a dozen copies would take long to compile."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic(prefer_literal=True)
def _block(
    typing: Any, rows: Any, vectors: Any, k: Any, a: Any, a_at: Any, a_first: Any, a_row: Any, a_step: Any,
    b: Any, b_at: Any, b_first: Any, b_step: Any, c: Any, c_at: Any, c_row: Any, begin: Any, bias: Any, bias_at: Any,
) -> Any:  # fmt: skip
    """`rows` (literal) rows and `vectors` (literal) vectors of columns of `multiply`."""
    size = types.intp
    kinds = (rows, vectors, size, a, a_at, size, size, size, b, b_at, size, size, c, size, size, size, bias, size)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def data(position: int) -> Any:
            return context.make_array(signature.args[position])(context, builder, args[position]).data

        block = _Block(builder, rows.literal_value, vectors.literal_value, is_paired=b.dtype == types.uint16)
        left, right, result = data(3), data(8), builder.gep(data(12), [args[13]])
        starts = [builder.gep(result, [builder.mul(args[14], INDEX(row))]) for row in block.rows]
        sums = block.start(starts, args[15], builder.gep(data(16), [args[17]]))
        for segment in range(a_at.count):
            at = builder.add(builder.extract_value(args[4], segment), args[5])
            place = builder.add(builder.extract_value(args[9], segment), args[10])
            block.add(sums, args[2], builder.gep(left, [at]), args[6], args[7], builder.gep(right, [place]), args[11])
        block.store(sums, starts)
        return context.get_dummy_value()

    return types.void(*kinds), generate


class _Block:
    """Writes the instructions of one block; what is called a value is an LLVM value, known when the code runs."""

    def __init__(self, builder: Any, rows: int, vectors: int, *, is_paired: bool) -> None:
        self.builder, self.rows, self.vectors, self.is_paired = builder, range(rows), range(vectors), is_paired
        self.scalar = LANE if is_paired else FLOAT  # a pair of bfloat16 travels as one 32-bit integer
        self.row = ir.VectorType(self.scalar, LANES)

    def start(self, starts: list[Any], begin: Any, bias: Any) -> list[list[Any]]:
        """Variables [row][vector] for the sums, which LLVM keeps in registers."""
        builder = self.builder
        sums = [[cgutils.alloca_once(builder, VECTOR) for _ in self.vectors] for _ in self.rows]
        for value, sources in ((ZEROS, None), (SUMS, starts), (BIAS, [bias] * len(self.rows))):
            with builder.if_then(builder.icmp_signed("==", begin, INDEX(int(value)))):
                for i in self.rows:
                    for v in self.vectors:
                        first = ir.Constant(VECTOR, None)
                        if sources:
                            first = builder.load(self.vector_at(sources[i], v, VECTOR), align=4)
                        builder.store(first, sums[i][v])
        return sums

    def add(self, sums: list[list[Any]], k: Any, a: Any, a_row: Any, a_step: Any, b: Any, b_step: Any) -> None:
        """The loop over `k` of one segment."""
        builder = self.builder
        lefts = [builder.gep(a, [builder.mul(a_row, INDEX(i))]) for i in self.rows]

        def step(p: Any) -> None:
            self.step(sums, [builder.gep(left, [builder.mul(a_step, p)]) for left in lefts], b, builder.mul(b_step, p))

        # Some steps at a time, so that the processor foresees the end of the loop.
        whole = builder.udiv(k, INDEX(UNROLLED))
        with cgutils.for_range(builder, whole) as loop:
            first = builder.mul(loop.index, INDEX(UNROLLED))
            for i in range(UNROLLED):
                step(builder.add(first, INDEX(i)))
        done = builder.mul(whole, INDEX(UNROLLED))
        with cgutils.for_range(builder, builder.sub(k, done)) as loop:
            step(builder.add(done, loop.index))

    def step(self, sums: list[list[Any]], lefts: list[Any], b: Any, b_at: Any) -> None:
        """One step of k: a row of the right matrix meets a value of each row of the left."""
        builder, dot = self.builder, self.dot()
        right = builder.gep(b, [b_at])
        parts = [builder.load(self.vector_at(right, v, self.row), align=4) for v in self.vectors]
        for i in self.rows:
            spread = self.spread(lefts[i])
            for v in self.vectors:
                builder.store(builder.call(dot, [spread, parts[v], builder.load(sums[i][v])]), sums[i][v])

    def store(self, sums: list[list[Any]], results: list[Any]) -> None:
        """Write the sums."""
        for i in self.rows:
            for v in self.vectors:
                self.builder.store(self.builder.load(sums[i][v]), self.vector_at(results[i], v, VECTOR), align=4)

    def dot(self) -> Any:
        """The instruction `left * right + sums`, of float32 or of pairs of bfloat16."""
        kind = ir.FunctionType(VECTOR, [self.row, self.row, VECTOR])
        if self.is_paired:
            llvmlite.binding.initialize_native_asmparser()
            return ir.InlineAsm(kind, "vdpbf16ps $2, $1, $0", "=v,v,v,0")
        return cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fmuladd.v{LANES}f32")

    def spread(self, place: Any) -> Any:
        """A left value, or a pair of them, in every lane of a register."""
        value = self.builder.load(self.cast(place, self.scalar), align=2 if self.is_paired else 4)
        undefined = ir.Constant(self.row, ir.Undefined)
        first = self.builder.insert_element(undefined, value, LANE(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(LANE, LANES), None))

    def vector_at(self, base: Any, number: int, kind: Any) -> Any:
        """A pointer to the vector of LANES scalars with this number from `base` on."""
        return self.cast(self.builder.gep(self.cast(base, kind.element), [INDEX(number * LANES)]), kind)

    def cast(self, pointer: Any, kind: Any) -> Any:
        return self.builder.bitcast(pointer, kind.as_pointer())
