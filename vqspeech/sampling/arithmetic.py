"""What lies between the products of the compiled loop, written so that it vectorises: gate and draw."""

from __future__ import annotations

import numba
import numpy as np

from vqspeech.vectors import BORROWED, as_input, exp


@numba.njit(fastmath={"contract"}, error_model="numpy", **BORROWED)
def gate(gates: np.ndarray, gated: np.ndarray) -> None:
    """`gated = tanh(gates[:R]) * sigmoid(gates[R:2R])` as (a - 1) / ((a + 1)(1 + b)), a = e^2x, b = e^-y."""
    channels = gated.shape[0]
    filtered, opening = gates[:channels], gates[channels:]
    for r in range(channels):
        # Beyond the limits tanh is 1 and sigmoid 0 to the last bit that matters, and nothing overflows.
        a = exp(min(max(np.float32(2) * filtered[r], np.float32(-30)), np.float32(30)))
        b = exp(min(max(-opening[r], np.float32(-50)), np.float32(50)))
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
        masses[q] = exp(max((logits[q] - top) * scale, np.float32(-87)))
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
        masses[q] = exp(max((logits[q] - top) * scale, np.float32(-87)))
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
