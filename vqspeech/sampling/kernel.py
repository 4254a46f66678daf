"""The compiled loop of the numba engine: one WaveNet, several streams in step, one sample after the other.

A pass over all weights gives K samples (`samples_per_step`, mostly one). One stream is bound by how fast the weights
come from the caches; several in step share each pass and are bound by arithmetic.
"""

# U streams, T samples, K samples a pass, N conditioning frames, R residual channels, S skip channels, L layers,
# Q output classes.

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numba
import numpy as np

from vqspeech.numba_cache import Kept
from vqspeech.sampling.arithmetic import draw, draw_likely, gate
from vqspeech.sampling.layout import Buffers, Choice, Weights
from vqspeech.sampling.tile import product
from vqspeech.vectors import BORROWED, as_input

SQRT_HALF = np.float32(math.sqrt(0.5))
PLAIN = {"error_model": "numpy", **BORROWED}
_part = numba.njit(forceinline=True, **PLAIN)  # of `loop`; as a call, for every layer, it takes up to a fifth more time


def loop(
    weights: Weights,
    buffers: Buffers,
    slots: np.ndarray,
    condition: np.ndarray,
    hop_length: int,
    choice: Choice,
    classes: np.ndarray,
    logits: np.ndarray,
) -> None:
    """See `run`."""
    # `product` is compiled anew for every combination of types. So it gets zero as an integer like any other (a literal
    # has a type of its own), and matrices as slices of both axes: whether such a slice is contiguous is no part of its
    # type. All else gets contiguous arrays, for loops over others do not vectorise.
    zero = np.int64(0)
    num, num_layers, channels = slots.shape[0], weights.dilations.shape[0], weights.embedding.shape[2]
    frame, taps, gates, gated = buffers.frame[:num], buffers.taps[:num], buffers.gates[:num], buffers.gated[:num]
    residual, skip, hidden = buffers.residual[:num], buffers.skip[:num], buffers.hidden[:num]
    passes = hop_length // weights.embedding.shape[0]
    condition_bias, skip_bias = weights.condition_bias.reshape(1, -1), weights.skip_bias.reshape(1, -1)
    inner, hidden_bias = buffers.inner[:num], weights.hidden_bias.reshape(1, -1)
    layer_inputs, skip_scale = gated.shape[1] // num_layers, np.float32(1 / math.sqrt(num_layers))
    for n in range(condition.shape[0]):
        # The conditioning of all layers changes once per frame.
        product(weights.condition, zero, condition[n, :, :], condition_bias[:, :], frame[:, :])
        for number in range(n * passes, (n + 1) * passes):
            _embed(weights.embedding, slots, buffers, residual)
            _embed_period(weights, condition[n], slots, buffers, residual)
            at, ring = zero, zero
            for layer in range(num_layers):
                dilation, begin = weights.dilations[layer], layer * layer_inputs
                _delay(residual, weights.embedding, dilation, ring, slots, buffers.position, buffers.history, taps)
                ring += dilation * channels
                at = product(weights.stream, at, taps[:, :], frame[:, layer * 2 * channels :], gates[:, :])
                for u in range(num):
                    gate(gates[u], gated[u, begin : begin + channels])
                if layer < num_layers - 1:
                    outputs = gated[:, begin : begin + layer_inputs]
                    at = product(weights.stream, at, outputs, residual[:, :], residual[:, :])
                    for u in range(num):
                        for r in range(channels):
                            residual[u, r] *= SQRT_HALF
            at = product(weights.stream, at, gated[:, :], skip_bias[:, :], skip[:, :])
            _rectify(skip, zero, skip_scale, inner)
            at = product(weights.stream, at, inner[:, :], hidden_bias[:, :], hidden[:, :])
            _classify(weights, buffers, at, number, slots, hidden, choice, classes, logits)


@_part
def _class_ago(buffers: Buffers, slot: int, samples: int) -> Any:
    """The class that a stream drew so many samples ago, from 1, the last."""
    return np.int64(buffers.past[slot, (buffers.position[slot] - samples) % buffers.past.shape[1]])


@_part
def _embed(embedding: np.ndarray, slots: np.ndarray, buffers: Buffers, residual: np.ndarray) -> None:
    """The first layer's input: what the tables (K, classes, R) say of the last K samples, summed."""
    samples, _, channels = embedding.shape
    for u in range(slots.shape[0]):
        previous = _class_ago(buffers, slots[u], samples)
        for r in range(channels):
            residual[u, r] = embedding[0, previous, r]
        for k in range(1, samples):
            previous = _class_ago(buffers, slots[u], samples - k)
            for r in range(channels):
                residual[u, r] += embedding[k, previous, r]


@_part
def _embed_period(
    weights: Weights, frame: np.ndarray, slots: np.ndarray, buffers: Buffers, residual: np.ndarray
) -> None:
    """Add what the tables (G, classes + 1, R) say of the samples around one pitch period ago."""
    tables = weights.period_ago
    for g in range(tables.shape[0]):
        for u in range(slots.shape[0]):
            period, row = np.int64(frame[u, weights.period_channel] + np.float32(0.5)), tables.shape[1] - 1
            if period > 0:
                row = _class_ago(buffers, slots[u], max(period - weights.first_tap - g, np.int64(1)))
            for r in range(tables.shape[2]):
                residual[u, r] += tables[g, row, r]


@_part
def _delay(
    now: np.ndarray,
    embedding: np.ndarray,
    dilation: int,
    ring: int,
    slots: np.ndarray,
    position: np.ndarray,
    history: np.ndarray,
    taps: np.ndarray,
) -> None:
    """Fill `taps` with the layer's input of `dilation` passes ago and the present one, which replaces it in the ring
    that begins at `history[slot, ring]`."""
    samples, channels = embedding.shape[0], embedding.shape[2]
    for u in range(slots.shape[0]):
        slot = slots[u]
        place = ring + position[slot] // samples % dilation * channels
        delayed, present, then = history[slot, place : place + channels], now[u], taps[u]
        for r in range(channels):
            then[r] = delayed[r]
            delayed[r] = as_input(present[r], taps)
            then[channels + r] = delayed[r]


@_part
def _rectify(outputs: np.ndarray, begin: int, scale: float, inputs: np.ndarray) -> None:
    """The next product's inputs: `max(scale * outputs[:, begin:], 0)`."""
    for u in range(outputs.shape[0]):
        own = outputs[u, begin : begin + inputs.shape[1]]
        for s in range(inputs.shape[1]):
            inputs[u, s] = as_input(max(own[s] * scale, np.float32(0)), inputs)


@_part
def _classify(
    weights: Weights,
    buffers: Buffers,
    at: int,
    number: int,
    slots: np.ndarray,
    hidden: np.ndarray,
    choice: Choice,
    classes: np.ndarray,
    logits: np.ndarray,
) -> None:
    """The samples of pass `number`, one after the other: each one's hidden layer also hears those before it."""
    num, samples = slots.shape[0], weights.embedding.shape[0]
    inner, last, width = buffers.inner[:num], buffers.logits[:num], hidden.shape[1] // samples
    for place in range(samples):
        _hear(weights.drawn, place, slots, buffers, hidden, place * width)
        _rectify(hidden, place * width, np.float32(1), inner)
        at = product(weights.stream, at, inner[:, :], weights.head_bias[place : place + 1, :], last[:, :])
        _choose(last, buffers, choice, number * samples + place, slots, classes, logits)


@_part
def _hear(drawn: np.ndarray, place: int, slots: np.ndarray, buffers: Buffers, hidden: np.ndarray, begin: int) -> None:
    """Add to `hidden[:, begin:]` what the tables (pairs, classes, S) say of the `place` samples drawn last."""
    first = place * (place - 1) // 2
    for u in range(slots.shape[0]):
        own = hidden[u, begin : begin + drawn.shape[2]]
        for i in range(place):
            said = drawn[first + i, _class_ago(buffers, slots[u], place - i)]
            for s in range(drawn.shape[2]):
                own[s] += said[s]


@_part
def _choose(
    last: np.ndarray,
    buffers: Buffers,
    choice: Choice,
    t: int,
    slots: np.ndarray,
    classes: np.ndarray,
    logits: np.ndarray,
) -> None:
    """Draw every stream's class, or take the one that is forced, and keep it."""
    uniforms, temperature, top_p, forced = choice
    masses, position, past = buffers.masses, buffers.position, buffers.past
    for u in range(slots.shape[0]):
        if logits.shape[1]:
            for q in range(masses.shape[0]):
                logits[u, t, q] = last[u, q]
        if forced.shape[1]:
            chosen = np.int64(forced[u, t])
        elif top_p < 1.0 and temperature > 0.0:
            chosen = np.int64(draw_likely(last[u], masses, uniforms[u, t], temperature, top_p))
        else:
            chosen = np.int64(draw(last[u], masses, uniforms[u, t], temperature))
        classes[u, t] = chosen
        past[slots[u], position[slots[u]] % past.shape[1]] = chosen
        position[slots[u]] += 1


_FOLDER = Path(__file__).parent
_SOURCES = [_FOLDER / f"{name}.py" for name in ("kernel", "tile", "arithmetic", "layout", "../vectors")]
LOOP = Kept(loop, _SOURCES, nogil=True, **PLAIN)


def run(weights: Weights, *arguments: Any) -> None:
    """Advance streams by N * hop_length samples; the arguments are those of `loop`, in its order.

    Parameters
    ----------
    weights : Weights
    buffers : Buffers, changed in place
    slots : int64 array, shape (U,), the streams' rows in `buffers.history` and `buffers.position`
    condition : float32 array, shape (N, U, C padded to a multiple of PARTIAL_SUMS)
    hop_length : int
    choice : Choice
    classes : int32 array, shape (U, T): receives the classes
    logits : float32 array, shape (U, T, Q): receives the logits, or shape (U, 0, Q)
    """
    LOOP(weights.stream.dtype.name, weights, *arguments)
