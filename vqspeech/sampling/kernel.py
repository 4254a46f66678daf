"""The compiled loop of the numba engine: one WaveNet, several streams in step, one sample after the other.

A sample costs one pass over all weights. One stream is bound by how fast they come from the caches; several in step
share each pass and are bound by arithmetic.
"""

# U streams, T samples, N conditioning frames, R residual channels, S skip channels, L layers, Q output classes.

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.registry import cpu_target

from vqspeech.sampling.arithmetic import as_input, draw, draw_likely, gate
from vqspeech.sampling.layout import Buffers, Choice, Weights
from vqspeech.sampling.tile import product

SQRT_HALF = np.float32(math.sqrt(0.5))


def _run(
    weights: Weights,
    buffers: Buffers,
    slots: np.ndarray,
    condition: np.ndarray,
    hop_length: int,
    choice: Choice,
    classes: np.ndarray,
    logits: np.ndarray,
) -> None:
    """See `run`. One function, although it is long: calls for every layer and stream take up to a fifth more time."""
    # `product` is compiled anew for every combination of types. So it gets slices of matrices everywhere (whether a
    # slice is contiguous is no part of its type), and zero as an integer like any other (a literal has a type of its
    # own).
    zero = np.int64(0)
    num, num_layers, channels = slots.shape[0], weights.dilations.shape[0], weights.embedding.shape[1]
    stream, history, position, frame = weights.stream, buffers.history, buffers.position, buffers.frame
    taps, gates, gated, residual = buffers.taps, buffers.gates, buffers.gated, buffers.residual
    skip, hidden, inner = buffers.skip, buffers.hidden, buffers.inner
    frame_rows, taps_rows, gates_rows, gated_rows = frame[:num, :], taps[:num, :], gates[:num, :], gated[:num, :]
    residual_rows, skip_rows, hidden_rows = residual[:num, :], skip[:num, :], hidden[:num, :]
    inner_rows, logits_rows = inner[:num, :], buffers.logits[:num, :]
    condition_bias, skip_bias = weights.condition_bias.reshape(1, -1)[:, :], weights.skip_bias.reshape(1, -1)[:, :]
    hidden_bias, head_bias = weights.hidden_bias.reshape(1, -1)[:, :], weights.head_bias.reshape(1, -1)[:, :]
    layer_inputs, skip_scale = gated.shape[1] // num_layers, np.float32(1 / math.sqrt(num_layers))
    num_outputs, t = buffers.masses.shape[0], 0
    uniforms, temperature, top_p, forced = choice
    for n in range(condition.shape[0]):
        # The conditioning of all layers changes once per frame.
        product(weights.condition, zero, condition[n, :, :], condition_bias, frame_rows)
        for _ in range(hop_length):
            for u in range(num):
                previous = position[slots[u], 1]
                for r in range(channels):
                    residual[u, r] = weights.embedding[previous, r]
            at, ring = zero, zero
            for layer in range(num_layers):
                dilation, begin = weights.dilations[layer], layer * layer_inputs
                for u in range(num):
                    slot = slots[u]
                    place = ring + position[slot, 0] % dilation * channels
                    delayed, now, then = history[slot, place : place + channels], residual[u], taps[u]
                    for r in range(channels):
                        then[r] = delayed[r]
                        delayed[r] = as_input(now[r], taps)
                        then[channels + r] = delayed[r]
                ring += dilation * channels
                bias = layer * 2 * channels
                at = product(stream, at, taps_rows, frame_rows[:, bias:], gates_rows)
                for u in range(num):
                    gate(gates[u], gated[u, begin : begin + channels])
                if layer < num_layers - 1:
                    layer_rows = gated_rows[:, begin : begin + layer_inputs]
                    at = product(stream, at, layer_rows, residual_rows, residual_rows)
                    for u in range(num):
                        for r in range(channels):
                            residual[u, r] *= SQRT_HALF
            at = product(stream, at, gated_rows, skip_bias, skip_rows)
            for u in range(num):
                for s in range(inner.shape[1]):
                    inner[u, s] = as_input(max(skip[u, s] * skip_scale, np.float32(0)), inner)
            at = product(stream, at, inner_rows, hidden_bias, hidden_rows)
            for u in range(num):
                for s in range(inner.shape[1]):
                    inner[u, s] = as_input(max(hidden[u, s], np.float32(0)), inner)
            product(stream, at, inner_rows, head_bias, logits_rows)
            for u in range(num):
                slot = slots[u]
                if logits.shape[1]:
                    for q in range(num_outputs):
                        logits[u, t, q] = buffers.logits[u, q]
                if forced.shape[1]:
                    previous = np.int64(forced[u, t])
                elif top_p < 1.0 and temperature > 0.0:
                    previous = np.int64(
                        draw_likely(buffers.logits[u], buffers.masses, uniforms[u, t], temperature, top_p)
                    )
                else:
                    previous = np.int64(draw(buffers.logits[u], buffers.masses, uniforms[u, t], temperature))
                classes[u, t] = previous
                position[slot, 0] += 1
                position[slot, 1] = previous
            t += 1


def _loop(name: str, **options: Any) -> Callable[..., None]:
    """`_run`, compiled under a name, which is that of its files on disk."""
    loop = types.FunctionType(_run.__code__, globals(), name)
    loop.__qualname__ = name
    return numba.njit(loop, nogil=True, error_model="numpy", **options)


@functools.cache
def _kept(element: str) -> Callable[..., None]:
    """The loop for one type of weights, compiled at its first call and kept on disk where there is a folder for it.

    numba's own key watches this file alone, so the name holds what its neighbours say. And it numbers the files that
    one function has for several types and processors, which processes that start together may number alike, so each
    type and each processor (see `vqspeech.processor`) has a function of its own.
    """
    folder = Path(__file__).parent
    sources = [(folder / f"{name}.py").read_bytes() for name in ("kernel", "tile", "arithmetic", "layout")]
    processor = repr(cpu_target.target_context.codegen().magic_tuple()).encode()  # its name and features
    digest = hashlib.sha256(b"".join([*sources, processor])).hexdigest()
    try:
        return _loop(f"loop_{element}_{digest[:16]}", cache=True)
    except RuntimeError:  # numba found no folder it may write to
        return _in_memory()


@functools.cache
def _in_memory() -> Callable[..., None]:
    return _loop("loop")


def run(weights: Weights, *arguments: Any) -> None:
    """Advance streams by N * hop_length samples; the arguments are those of `_run`, in its order.

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
    element = weights.stream.dtype.name
    try:
        _kept(element)(weights, *arguments)
    except Exception:  # what is kept on disk cannot be read, is damaged, or does not fit; nothing has run yet
        _discard(element)
        _in_memory()(weights, *arguments)


def _discard(element: str) -> None:
    """Remove what is kept, so that the next process keeps it anew."""
    with contextlib.suppress(AttributeError, OSError):
        for file in Path(_kept(element).stats.cache_path).glob(f"*loop_{element}_*.nb?"):  # type: ignore[attr-defined]
            file.unlink()
