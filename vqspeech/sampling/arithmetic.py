"""What lies between the products of the compiled loop, written so that it vectorises: rounding, gate, draw."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from vqspeech.sampling.layout import BORROWED

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


# "contract" alone: reordering would undo the two-part ln 2.
@numba.njit(fastmath={"contract"}, error_model="numpy", **BORROWED)
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


@numba.njit(fastmath={"contract"}, error_model="numpy", **BORROWED)
def gate(gates: np.ndarray, gated: np.ndarray) -> None:
    """`gated = tanh(gates[:R]) * sigmoid(gates[R:2R])` as (a - 1) / ((a + 1)(1 + b)), a = e^2x, b = e^-y."""
    channels = gated.shape[0]
    filtered, opening = gates[:channels], gates[channels:]
    for r in range(channels):
        # Beyond the limits tanh is 1 and sigmoid 0 to the last bit that matters, and nothing overflows.
        a = _exp(min(max(np.float32(2) * filtered[r], np.float32(-30)), np.float32(30)))
        b = _exp(min(max(-opening[r], np.float32(-50)), np.float32(50)))
        gated[r] = as_input((a - np.float32(1)) / ((a + np.float32(1)) * (np.float32(1) + b)), gated)


# Sums may be taken in any order here: that is what lets the maximum and the total vectorise.
@numba.njit(fastmath={"contract", "reassoc", "nnan", "nsz"}, error_model="numpy", **BORROWED)
def draw(logits: np.ndarray, masses: np.ndarray, u: float, temperature: float) -> int:
    """First class whose cumulative probability exceeds `u`; at temperature 0 the first likeliest class."""
    num_outputs = masses.shape[0]
    top = logits[0]
    for q in range(1, num_outputs):
        top = max(top, logits[q])
    if temperature == 0.0:
        best = 0
        while best < num_outputs - 1 and logits[best] != top:
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


@numba.njit(fastmath={"contract"}, error_model="numpy", **BORROWED)
def draw_likely(logits: np.ndarray, masses: np.ndarray, u: float, temperature: float, top_p: float) -> int:
    """As `draw`, from the likeliest classes alone that together have probability `top_p`; see `rules.nucleus`."""
    num_outputs = masses.shape[0]
    top = logits[0]
    for q in range(1, num_outputs):
        top = max(top, logits[q])
    scale = np.float32(1 / temperature)
    total = 0.0
    for q in range(num_outputs):
        masses[q] = _exp(max((logits[q] - top) * scale, np.float32(-87)))
        total += masses[q]
    kept, last = 0.0, 0
    for _ in range(num_outputs):
        best = -1
        for q in range(num_outputs):
            if masses[q] > 0 and (best < 0 or logits[q] > logits[best]):
                best = q
        kept += masses[best]
        masses[best] = -masses[best]  # chosen: no mass is zero
        last = max(last, best)
        if kept >= top_p * total:
            break
    threshold = u * kept
    cumulative = 0.0
    for q in range(num_outputs):
        cumulative -= min(masses[q], np.float32(0))
        if cumulative > threshold:
            return q
    return last
