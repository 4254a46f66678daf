"""What lies between the products of a fused step, loops over tiles that vectorise: gates, rectifiers, softmax."""

# All arrays are slices of flat ones, a tile of positions times channels each; elements see `block`.

from __future__ import annotations

import math

import numba
import numpy as np

from vqspeech.nn.fused.block import OPTIONS
from vqspeech.vectors import as_input, exp, float_of

# "contract" alone: reordering would undo the two parts of ln 2 in `exp`.
EXACT = {"contract"}
ANY_ORDER = {"contract", "reassoc", "nnan", "nsz"}  # lets sums and maxima vectorise


@numba.njit(fastmath=EXACT, **OPTIONS)
def gate(filtered: np.ndarray, opening: np.ndarray, gated: np.ndarray) -> None:
    """In place `filtered = tanh(filtered)`, `opening = sigmoid(opening)`, and their product in `gated` (elements)."""
    one, two = np.float32(1), np.float32(2)
    for i in range(filtered.shape[0]):
        # Beyond the limits tanh is 1 and sigmoid 0 to the last bit that matters, and nothing overflows.
        a = exp(min(max(two * filtered[i], np.float32(-30)), np.float32(30)))
        b = exp(min(max(-opening[i], np.float32(-50)), np.float32(50)))
        share = one / ((a + one) * (b + one))  # one division for both
        t, s = (a - one) * (b + one) * share, (a + one) * share
        filtered[i], opening[i] = t, s
        gated[i] = as_input(t * s, gated)


@numba.njit(fastmath=EXACT, **OPTIONS)
def gate_again(filtered: np.ndarray, opening: np.ndarray, gated: np.ndarray) -> None:
    """The product that `gate` gave (elements), from what it left."""
    for i in range(filtered.shape[0]):
        gated[i] = as_input(filtered[i] * opening[i], gated)


@numba.njit(fastmath=EXACT, **OPTIONS)
def gate_gradient(
    gradient: np.ndarray, filtered: np.ndarray, opening: np.ndarray, to_filtered: np.ndarray, to_opening: np.ndarray
) -> None:  # fmt: skip
    """Gradients (elements) before the gate from that of its output, tanh and sigmoid as `gate` left them.

    In float32 they take the place of tanh and sigmoid: `to_filtered` and `to_opening` are the same arrays then.
    """
    one = np.float32(1)
    if to_filtered.itemsize == 4:  # named once each: loops over arrays that overlap do not vectorise
        for i in range(gradient.shape[0]):
            t, s = filtered[i], opening[i]
            through = gradient[i] * s
            filtered[i] = through * (one - t * t)
            opening[i] = through * t * (one - s)
        return
    for i in range(gradient.shape[0]):
        t, s = filtered[i], opening[i]
        through = gradient[i] * s
        to_filtered[i] = as_input(through * (one - t * t), to_filtered)
        to_opening[i] = as_input(through * t * (one - s), to_opening)


@numba.njit(fastmath=EXACT, **OPTIONS)
def add_residual(x: np.ndarray, moved: np.ndarray, scale: float, following: np.ndarray) -> None:
    """`following = (x + moved) * scale`, elements but for `moved`."""
    for i in range(x.shape[0]):
        following[i] = as_input((float_of(x[i]) + moved[i]) * scale, following)


@numba.njit(fastmath=EXACT, **OPTIONS)
def scale_into(values: np.ndarray, scale: float, scaled: np.ndarray) -> None:
    """`values *= scale`, and the same as elements in `scaled`."""
    for i in range(values.shape[0]):
        value = values[i] * scale
        values[i] = value
        scaled[i] = as_input(value, scaled)


@numba.njit(fastmath=EXACT, **OPTIONS)
def rectify(values: np.ndarray, scale: float, rectified: np.ndarray) -> None:
    """`rectified = max(0, scale * values)`, elements."""
    for i in range(values.shape[0]):
        rectified[i] = as_input(max(values[i] * scale, np.float32(0)), rectified)


@numba.njit(fastmath=EXACT, **OPTIONS)
def rectify_gradient(gradient: np.ndarray, scale: float, rectified: np.ndarray, passed: np.ndarray) -> None:
    """`passed = scale * gradient` where the rectifier let through, else 0; elements."""
    for i in range(gradient.shape[0]):
        value = gradient[i] * scale
        passed[i] = as_input(value if rectified[i] > 0 else np.float32(0), passed)


@numba.njit(fastmath=EXACT, **OPTIONS)
def add_bias(values: np.ndarray, bias: np.ndarray) -> None:
    """`values += bias` of (rows, columns)."""
    columns = bias.shape[0]
    for row in range(values.shape[0] // columns):
        of_row = values[row * columns : (row + 1) * columns]
        for j in range(columns):
            of_row[j] += bias[j]


@numba.njit(fastmath=EXACT, **OPTIONS)
def add_columns(values: np.ndarray, columns: int, sums: np.ndarray) -> None:
    """`sums += values.sum(0)` of elements (rows, columns)."""
    rows = values.shape[0] // columns
    row = 0
    while row + 8 <= rows:  # eight at once: each sum is loaded and stored once for all of them
        part = values[row * columns : (row + 8) * columns]
        for j in range(columns):
            upper = (float_of(part[j]) + float_of(part[columns + j])) + (
                float_of(part[2 * columns + j]) + float_of(part[3 * columns + j])
            )
            lower = (float_of(part[4 * columns + j]) + float_of(part[5 * columns + j])) + (
                float_of(part[6 * columns + j]) + float_of(part[7 * columns + j])
            )
            sums[j] += upper + lower
        row += 8
    while row < rows:
        of_row = values[row * columns : (row + 1) * columns]
        for j in range(columns):
            sums[j] += float_of(of_row[j])
        row += 1


@numba.njit(fastmath=ANY_ORDER, **OPTIONS)
def softmax_gradient(logits: np.ndarray, target: int, weight: float, gradient: np.ndarray) -> float:
    """-log p(target) of one position, nats; `gradient` (elements) is that of `weight` times it, to the logits.

    The logits are overwritten.
    """
    top = logits[0]
    for q in range(1, logits.shape[0]):
        top = max(top, logits[q])
    of_target = logits[target]
    total = np.float32(0)
    for q in range(logits.shape[0]):
        logits[q] = exp(max(logits[q] - top, np.float32(-87)))
    for q in range(logits.shape[0]):
        total += logits[q]
    scale = weight / total
    own = logits[target] * scale - weight
    for q in range(logits.shape[0]):
        gradient[q] = as_input(logits[q] * scale, gradient)
    gradient[target] = as_input(own, gradient)
    return math.log(total) + np.float64(top) - np.float64(of_target)
