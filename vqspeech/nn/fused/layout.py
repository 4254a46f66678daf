"""The arrays of a fused step: weights as its products read them, what an utterance leaves behind, gradients."""

# T positions, N conditioning frames (T = N hop), R residual channels, S skip channels, L layers, Q output classes.
# An "element" is what products take: float32, or uint16 with the bits of a bfloat16. All arrays are flat.

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Shape(NamedTuple):
    """R, S, Q, L, positions of a conditioning frame, and positions of a tile at most."""

    residual: int
    skip: int
    outputs: int
    layers: int
    hop: int
    tile: int


class Weights(NamedTuple):
    """Matrices for products from the left, (inputs, outputs); in bfloat16 two inputs lie side by side.

    "Back" are the transposed ones, through which gradients go.
    """

    embedding: np.ndarray  # float32, (classes, R)
    taps: np.ndarray  # (L, 2, 2, R, R): of past and present, to filter and gate
    taps_back: np.ndarray
    residual: np.ndarray  # (L - 1, R, R)
    residual_back: np.ndarray
    skip: np.ndarray  # (L, R, S)
    skip_back: np.ndarray  # (L, S, R)
    skip_bias: np.ndarray  # float32, (S,)
    hidden: np.ndarray  # (S, S)
    hidden_back: np.ndarray
    hidden_bias: np.ndarray  # float32, (S,)
    head: np.ndarray  # (S, Q)
    head_back: np.ndarray  # (Q, S)
    head_bias: np.ndarray  # float32, (Q,)
    dilations: np.ndarray  # int64, (L,)


class Gradients(NamedTuple):
    """Of one utterance, float32, matrices as (inputs, outputs)."""

    embedding: np.ndarray  # (classes, R)
    condition: np.ndarray  # (N, L, 2, R)
    taps: np.ndarray  # (L, 2, 2, R, R)
    residual: np.ndarray  # (L - 1, R, R)
    skip: np.ndarray  # (L, R, S)
    skip_bias: np.ndarray  # (S,)
    hidden: np.ndarray  # (S, S)
    hidden_bias: np.ndarray  # (S,)
    head: np.ndarray  # (S, Q)
    head_bias: np.ndarray  # (Q,)


class Memory(NamedTuple):
    """What the forward pass over one utterance leaves for the backward pass, of each layer (T, R) and zeros around.

    Layer l's position t is at `(starts[l] + t) * R`. Before its first position and after its last there are as many
    zeros as its dilation: the past of the first ones, and the future of the last ones.
    """

    starts: np.ndarray  # int64, (L,)
    inputs: np.ndarray  # elements: the layer's input
    filtered: np.ndarray  # float32: tanh
    opening: np.ndarray  # float32: sigmoid
    to_filtered: np.ndarray  # elements: gradient before tanh; in float32 the same array as `filtered`
    to_opening: np.ndarray  # elements: likewise
    to_skip: np.ndarray  # elements, (T, S): gradient of the skips' sum


class Scratch(NamedTuple):
    """Of one tile of positions."""

    sums: np.ndarray  # float32, (tile, R)
    gated: np.ndarray  # elements, (tile, R): a layer's output
    stream: np.ndarray  # float32, (tile, R): gradient of the residual stream
    scaled: np.ndarray  # elements, (tile, R): the same, scaled
    skips: np.ndarray  # float32, (tile, S)
    first: np.ndarray  # elements, (tile, S): the head's input
    second: np.ndarray  # elements, (tile, S): its hidden layer
    to_hidden: np.ndarray  # elements, (tile, S)
    logits: np.ndarray  # float32, (tile, Q)
    to_logits: np.ndarray  # elements, (tile, Q)
    turned: np.ndarray  # elements: tiles with two positions side by side


def make_memory(shape: Shape, dilations: np.ndarray, positions: int, element: type) -> Memory:
    """Memory for an utterance of so many positions, all zeros."""
    starts, at, before = [], 0, 0
    for dilation in dilations.tolist():
        at += max(before, dilation)
        starts.append(at)
        at, before = at + positions, dilation
    size = (at + before) * shape.residual
    filtered, opening = np.zeros(size, np.float32), np.zeros(size, np.float32)
    is_shared = element is np.float32
    return Memory(
        starts=np.array(starts, np.int64),
        inputs=np.zeros(size, element),
        filtered=filtered,
        opening=opening,
        to_filtered=filtered if is_shared else np.zeros(size, element),
        to_opening=opening if is_shared else np.zeros(size, element),
        to_skip=np.zeros(positions * shape.skip, element),
    )


def make_scratch(shape: Shape, element: type) -> Scratch:
    """Scratch space for tiles."""

    def sums(channels: int) -> np.ndarray:
        return np.zeros(shape.tile * channels, np.float32)

    def inputs(channels: int) -> np.ndarray:
        return np.zeros(shape.tile * channels, element)

    R, S, Q = shape.residual, shape.skip, shape.outputs
    return Scratch(
        sums(R), inputs(R), sums(R), inputs(R), sums(S), inputs(S), inputs(S), inputs(S), sums(Q), inputs(Q),
        inputs(max(S + max(S, Q), S + 4 * R)),
    )  # fmt: skip


def pack(matrices: Tensor, element: type) -> np.ndarray:
    """Matrices (..., inputs, outputs), flat."""
    values = matrices.detach().float()
    if element is np.float32:
        return values.contiguous().numpy().ravel()
    pairs = values.unflatten(-2, (-1, 2)).transpose(-1, -2).contiguous().to(torch.bfloat16)
    return pairs.view(torch.int16).numpy().view(np.uint16).ravel()
