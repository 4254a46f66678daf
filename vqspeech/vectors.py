"""What compiled loops know of the processor's vector registers, and arithmetic that fills them."""

from __future__ import annotations

import math
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload


def _cpu_features() -> frozenset[str]:
    """What the compiled code may use: numba's setting, else what the processor has."""
    if numba.config.CPU_FEATURES is not None:
        return frozenset(name[1:] for name in numba.config.CPU_FEATURES.split(",") if name.startswith("+"))
    return frozenset(name for name, present in llvmlite.binding.get_host_cpu_features().items() if present)


LANES = 16 if "avx512f" in _cpu_features() else 8  # floats per vector register
HAS_BFLOAT16 = LANES == 16 and "avx512bf16" in _cpu_features()  # products of it
HAS_FLOAT16 = "f16c" in _cpu_features()  # no products of it, but conversions to float32
# How the loops' functions are compiled: without counting who holds an array. What they work on belongs to their caller,
# and counting takes two locked instructions for every array of every call, a tenth of a small network's time.
BORROWED = {"_nrt": False}

LOG2_E = np.float32(math.log2(math.e))
# ln 2 in two parts, so that x - n ln 2 keeps its last bits: the first has few enough bits for n times it to be exact.
LN_2_HIGH = np.float32(0.693359375)
LN_2_LOW = np.float32(math.log(2) - 0.693359375)


@intrinsic
def _float_of_bits(typing: Any, bits: Any) -> Any:
    """The float32 whose bits are those of an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def _bits_of_float(typing: Any, value: Any) -> Any:
    """The bits of a float32 as uint32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.uint32(types.float32), generate


def as_input(value: Any, like: Any) -> Any:
    """A float32 as products take it: as it is, or rounded to the nearest bfloat16 (its bits, uint16)."""
    raise AssertionError("exists in compiled code only")


@overload(as_input, inline="always")  # numba compares the signatures, so that none may have annotations
def _as_input(value, like):  # type: ignore[no-untyped-def]
    if like.dtype == types.uint16:

        def rounded(value, like):  # type: ignore[no-untyped-def]
            bits = _bits_of_float(np.float32(value))
            half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))  # ties go to the even neighbour
            return np.uint16((bits + half) >> np.uint32(16))

        return rounded
    return lambda value, like: value


def float_of(element: Any) -> Any:
    """The value that `as_input` gave, as float32."""
    raise AssertionError("exists in compiled code only")


@overload(float_of, inline="always")
def _float_of(element):  # type: ignore[no-untyped-def]
    if element == types.uint16:
        return lambda element: _float_of_bits(np.int32(np.uint32(element) << np.uint32(16)))
    return lambda element: element


# "contract" alone: reordering would undo the two-part ln 2.
@numba.njit(fastmath={"contract"}, error_model="numpy", **BORROWED)
def exp(x: Any) -> Any:
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
