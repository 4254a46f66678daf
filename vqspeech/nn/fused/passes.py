"""Forward and backward pass of a WaveNet with its loss over one utterance, tile by tile of positions."""

# R residual channels, S skip channels, L layers, Q output classes, hop positions per conditioning frame.

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from vqspeech.nn.fused.block import BIAS, OPTIONS, SUMS, ZEROS, multiply
from vqspeech.nn.fused.layout import Gradients, Memory, Scratch, Shape, Weights
from vqspeech.nn.fused.rows import (
    add_bias,
    add_columns,
    add_residual,
    gate,
    gate_again,
    gate_gradient,
    rectify,
    rectify_gradient,
    scale_into,
    softmax_gradient,
)
from vqspeech.vectors import as_input

FIRST, ONE, TWO = np.int64(0), np.int64(1), np.int64(2)  # no literals, see `block`
SQRT_HALF = np.float32(math.sqrt(0.5))


@numba.njit(**OPTIONS)
def pair_of(elements: np.ndarray) -> Any:
    """Inputs that one instruction takes together: 2 in bfloat16."""
    return TWO if elements.itemsize == 2 else ONE


@numba.njit(**OPTIONS)
def product(
    rows: int, x: np.ndarray, x_at: Any, inputs: int, weights: np.ndarray, weights_at: Any, outputs: int,
    out: np.ndarray, begin: int,
) -> None:  # fmt: skip
    """`out = x @ weights` of tiles (rows, inputs), summed over segments, or added to `out`; see `multiply`."""
    pair = pair_of(x)
    multiply(rows, outputs, inputs // pair, x, x_at, inputs, pair, weights, weights_at, pair * outputs,
             out, FIRST, outputs, begin, out, FIRST)  # fmt: skip


@numba.njit(**OPTIONS)
def biased_product(
    rows: int, x: np.ndarray, x_at: Any, inputs: int, weights: np.ndarray, weights_at: Any, outputs: int,
    out: np.ndarray, bias: np.ndarray, bias_at: int,
) -> None:  # fmt: skip
    """`out = x @ weights + bias[bias_at : bias_at + outputs]`, as `product`."""
    pair = pair_of(x)
    multiply(rows, outputs, inputs // pair, x, x_at, inputs, pair, weights, weights_at, pair * outputs,
             out, FIRST, outputs, BIAS, bias, bias_at)  # fmt: skip


@numba.njit(**OPTIONS)
def turn(rows: int, x: np.ndarray, at: int, columns: int, turned: np.ndarray, place: int) -> tuple[np.ndarray, int]:
    """Where the tile (rows, columns) lies as `add_outer` takes it; in bfloat16 that is (rows / 2, columns, 2)."""
    if pair_of(x) == 1:
        return x, at
    for row in range(rows // 2):
        upper = x[at + 2 * row * columns : at + (2 * row + 1) * columns]
        lower = x[at + (2 * row + 1) * columns : at + (2 * row + 2) * columns]
        both = turned[place + 2 * row * columns : place + (2 * row + 2) * columns]
        for j in range(columns):
            both[2 * j] = upper[j]
            both[2 * j + 1] = lower[j]
    return turned, place


@numba.njit(**OPTIONS)
def add_outer(
    rows: int, x: tuple[np.ndarray, int], inputs: int, gradient: tuple[np.ndarray, int], outputs: int,
    out: np.ndarray, out_at: int,
) -> None:  # fmt: skip
    """`out += x.T @ gradient` of tiles (rows, inputs) and (rows, outputs) from `turn`: the gradient of a matrix."""
    pair = pair_of(x[0])
    multiply(inputs, outputs, rows // pair, x[0], (x[1],), pair, pair * inputs, gradient[0], (gradient[1],),
             pair * outputs, out, out_at, outputs, SUMS, out, FIRST)  # fmt: skip


@numba.njit(**OPTIONS)
def embed(at: int, rows: int, previous: np.ndarray, table: np.ndarray, channels: int, out: np.ndarray) -> None:
    """Vectors of the classes `previous[at:]`, as elements (rows, channels)."""
    for row in range(rows):
        begin = previous[at + row] * channels
        vector, into = table[begin : begin + channels], out[row * channels : (row + 1) * channels]
        for r in range(channels):
            into[r] = as_input(vector[r], into)


@numba.njit(**OPTIONS)
def layers_forward(
    at: int, rows: int, frame: int, previous: np.ndarray, condition: np.ndarray, shape: Shape, weights: Weights,
    memory: Memory, scratch: Scratch,
) -> None:  # fmt: skip
    """The tile from position `at` on through all layers; the sum of their skips is left in `scratch.skips`."""
    R, S, num = shape.residual, shape.skip, shape.layers
    size, sums, inputs, gated = rows * R, scratch.sums, memory.inputs, scratch.gated
    begin = (memory.starts[0] + at) * R
    embed(at, rows, previous, weights.embedding, R, inputs[begin : begin + size])
    for layer in range(num):
        now, taps, bias = (memory.starts[layer] + at) * R, layer * 4 * R * R, (frame * num + layer) * 2 * R
        both = (now - weights.dilations[layer] * R, now)
        to_filter, to_gate = (taps, taps + 2 * R * R), (taps + R * R, taps + 3 * R * R)
        filtered, opening = memory.filtered[now : now + size], memory.opening[now : now + size]
        biased_product(rows, inputs, both, R, weights.taps, to_filter, R, filtered, condition, bias)
        biased_product(rows, inputs, both, R, weights.taps, to_gate, R, opening, condition, bias + R)
        gate(filtered, opening, gated[:size])
        if layer < num - 1:
            product(rows, gated, (FIRST,), R, weights.residual, (layer * R * R,), R, sums, ZEROS)
            after = (memory.starts[layer + 1] + at) * R
            add_residual(inputs[now : now + size], sums[:size], SQRT_HALF, inputs[after : after + size])
        begin_skips = SUMS if layer else ZEROS
        product(rows, gated, (FIRST,), R, weights.skip, (layer * R * S,), S, scratch.skips, begin_skips)


@numba.njit(**OPTIONS)
def head_both_ways(
    at: int, rows: int, target: np.ndarray, share: np.ndarray, shape: Shape, weights: Weights, memory: Memory,
    scratch: Scratch, gradients: Gradients,
) -> float:  # fmt: skip
    """A tile from `scratch.skips` to the loss, and its gradient back to `memory.to_skip`; returns the loss."""
    S, Q, one, origin = shape.skip, shape.outputs, np.float32(1), (FIRST,)
    size, scale, half = rows * S, np.float32(1 / math.sqrt(shape.layers)), shape.tile * S
    skips, first, second = scratch.skips[:size], scratch.first[:size], scratch.second[:size]
    to_hidden, to_logits, turned = scratch.to_hidden[:size], scratch.to_logits, scratch.turned
    add_bias(skips, weights.skip_bias)
    rectify(skips, scale, first)
    biased_product(rows, first, origin, S, weights.hidden, origin, S, skips, weights.hidden_bias, FIRST)
    rectify(skips, one, second)
    biased_product(rows, second, origin, S, weights.head, origin, Q, scratch.logits, weights.head_bias, FIRST)
    loss = 0.0
    for row in range(rows):
        part, weight = slice(row * Q, (row + 1) * Q), share[at + row]
        nats = softmax_gradient(scratch.logits[part], target[at + row], weight, to_logits[part])
        loss += nats * np.float64(weight)
    left = turn(rows, second, FIRST, S, turned, FIRST)
    add_outer(rows, left, S, turn(rows, to_logits, FIRST, Q, turned, half), Q, gradients.head, FIRST)
    add_columns(to_logits[: rows * Q], Q, gradients.head_bias)
    product(rows, to_logits, origin, Q, weights.head_back, origin, S, skips, ZEROS)
    rectify_gradient(skips, one, second, to_hidden)
    left = turn(rows, first, FIRST, S, turned, FIRST)
    add_outer(rows, left, S, turn(rows, to_hidden, FIRST, S, turned, half), S, gradients.hidden, FIRST)
    add_columns(to_hidden, S, gradients.hidden_bias)
    product(rows, to_hidden, origin, S, weights.hidden_back, origin, S, skips, ZEROS)
    to_skip = memory.to_skip[at * S : at * S + size]
    rectify_gradient(skips, scale, first, to_skip)
    add_columns(to_skip, S, gradients.skip_bias)
    return loss


@numba.njit(**OPTIONS)
def layers_backward(
    at: int, rows: int, frame: int, previous: np.ndarray, shape: Shape, weights: Weights, memory: Memory,
    scratch: Scratch, gradients: Gradients,
) -> None:  # fmt: skip
    """The gradients of a tile, from `memory.to_skip` down through all layers; later tiles have been through it."""
    R, S, num = shape.residual, shape.skip, shape.layers
    size, stream, sums, scaled = rows * R, scratch.stream, scratch.sums, scratch.scaled
    turned, place = scratch.turned, rows * S
    to_skip = turn(rows, memory.to_skip, at * S, S, turned, FIRST)
    for layer in range(num - 1, -1, -1):
        now = (memory.starts[layer] + at) * R
        here = slice(now, now + size)
        product(rows, memory.to_skip, (at * S,), S, weights.skip_back, (layer * S * R,), R, sums, ZEROS)
        gate_again(memory.filtered[here], memory.opening[here], scratch.gated[:size])
        output = turn(rows, scratch.gated, FIRST, R, turned, place)
        add_outer(rows, output, R, to_skip, S, gradients.skip, layer * R * S)
        if layer < num - 1:
            scale_into(stream[:size], SQRT_HALF, scaled[:size])
            product(rows, scaled, (FIRST,), R, weights.residual_back, (layer * R * R,), R, sums, SUMS)
            moved = turn(rows, scaled, FIRST, R, turned, place + size)
            add_outer(rows, output, R, moved, R, gradients.residual, layer * R * R)
        gate_gradient(sums[:size], memory.filtered[here], memory.opening[here], memory.to_filtered[here],
                      memory.to_opening[here])  # fmt: skip
        begin = (frame * num + layer) * 2 * R
        add_columns(memory.to_filtered[here], R, gradients.condition[begin : begin + R])
        add_columns(memory.to_opening[here], R, gradients.condition[begin + R : begin + 2 * R])
        taps_backward(rows, layer, now, shape, weights, memory, scratch, gradients)
    for row in range(rows):
        begin = previous[at + row] * R
        into, added = gradients.embedding[begin : begin + R], stream[row * R : (row + 1) * R]
        for r in range(R):
            into[r] += added[r]


@numba.njit(**OPTIONS)
def taps_backward(
    rows: int, layer: int, now: int, shape: Shape, weights: Weights, memory: Memory, scratch: Scratch,
    gradients: Gradients,
) -> None:  # fmt: skip
    """Both taps' gradients of a tile, and through them that of the layer's input, added to `scratch.stream`."""
    R, turned, taps = shape.residual, scratch.turned, layer * 4 * shape.residual**2
    matrix, size, place, reach = R * R, rows * R, rows * shape.skip, weights.dilations[layer] * R
    past = turn(rows, memory.inputs, now - reach, R, turned, place)
    present = turn(rows, memory.inputs, now, R, turned, place + size)
    filtered = turn(rows, memory.to_filtered, now, R, turned, place + 2 * size)
    opening = turn(rows, memory.to_opening, now, R, turned, place + 3 * size)
    add_outer(rows, past, R, filtered, R, gradients.taps, taps)
    add_outer(rows, past, R, opening, R, gradients.taps, taps + matrix)
    add_outer(rows, present, R, filtered, R, gradients.taps, taps + 2 * matrix)
    add_outer(rows, present, R, opening, R, gradients.taps, taps + 3 * matrix)
    # The input was the past of the position one dilation later, and the present of its own.
    both, begin = (now + reach, now), SUMS if layer < shape.layers - 1 else ZEROS
    to_filter, to_gate = (taps, taps + 2 * matrix), (taps + matrix, taps + 3 * matrix)
    product(rows, memory.to_filtered, both, R, weights.taps_back, to_filter, R, scratch.stream, begin)
    product(rows, memory.to_opening, both, R, weights.taps_back, to_gate, R, scratch.stream, SUMS)


def train_utterance(
    previous: np.ndarray, target: np.ndarray, share: np.ndarray, condition: np.ndarray, shape: Shape, weights: Weights,
    memory: Memory, scratch: Scratch, gradients: Gradients,
) -> float:  # fmt: skip
    """The loss of one utterance, sum of `share[t]` times -log p(target[t]), nats; its gradients are added up.

    Parameters
    ----------
    previous, target : int64 arrays, shape (T,)
    share : float32 array, shape (T,)
    condition : float32 array, (N, L, 2, R) flat, what each layer adds before its gate, T = N * shape.hop
    """
    loss, frames = 0.0, previous.shape[0] // shape.hop
    for frame in range(frames):
        for within in range(0, shape.hop, shape.tile):
            at, rows = frame * shape.hop + within, min(shape.tile, shape.hop - within)
            layers_forward(at, rows, frame, previous, condition, shape, weights, memory, scratch)
            loss += head_both_ways(at, rows, target, share, shape, weights, memory, scratch, gradients)
    for frame in range(frames - 1, -1, -1):
        last = (shape.hop - 1) // shape.tile * shape.tile
        for within in range(last, -1, -shape.tile):
            at, rows = frame * shape.hop + within, min(shape.tile, shape.hop - within)
            layers_backward(at, rows, frame, previous, shape, weights, memory, scratch, gradients)
    return loss
