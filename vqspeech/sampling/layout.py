"""How a WaveNet's weights and memory lie for the kernel.

The weights stand in one array in the order of use, so that a sample reads it once from end to end. Every matrix is cut
into tiles of as many outputs as fit into the vector registers.
"""

# R residual channels, S skip channels, L layers, Q output classes, C conditioning channels.

from __future__ import annotations

from typing import NamedTuple, cast

import llvmlite.binding
import numpy as np
from torch import Tensor

from vqspeech.nn.wavenet import GatedLayer, WaveNet

# Floats per vector register, and tile widths: eight registers hold a tile's sums (or, in narrow tiles, two or four
# partial sums each), which hides the latency of a multiply-add and still fits the sixteen registers of AVX2.
LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8
WIDE, HALF, QUARTER, NARROW = 8 * LANES, 4 * LANES, 2 * LANES, LANES
WIDTHS = (WIDE, HALF, QUARTER, NARROW)
PARTIAL_SUMS = 4  # inputs are padded to a multiple of this


class Weights(NamedTuple):
    """A WaveNet's weights as the kernel reads them, all float32; `stream` and `condition` hold tiles (`pack`)."""

    stream: np.ndarray  # all layers' gates and residuals, the skips, the head, in the order of use
    condition: np.ndarray  # C -> L 2R
    condition_bias: np.ndarray  # (L 2R,), padded
    embedding: np.ndarray  # (classes, R)
    skip_bias: np.ndarray  # (S,), padded
    hidden_bias: np.ndarray  # (S,), padded
    head_bias: np.ndarray  # (Q,), padded
    dilations: np.ndarray  # (L,) int64
    skip_channels: int  # S, padded as an input


class Buffers(NamedTuple):
    """What one stream remembers (`history`, `position`) and the scratch space of one step, all float32."""

    history: np.ndarray  # the inputs of every layer's last `dilation` samples, rings one after the other
    position: np.ndarray  # (2,) int64: samples done, and the class of the last one
    frame: np.ndarray  # one frame's conditioning of all layers, (L 2R,) padded
    taps: np.ndarray  # a layer's delayed and present input, (2R,) padded
    gates: np.ndarray  # (2R,) padded
    gated: np.ndarray  # all layers' gated outputs, (L, R padded)
    residual: np.ndarray  # (R,) padded
    skip: np.ndarray  # (S,) padded
    hidden: np.ndarray  # (S,) padded
    logits: np.ndarray  # (Q,) padded
    masses: np.ndarray  # (Q,) exponentials of the logits


def pad(size: int, multiple: int) -> int:
    """The next multiple at or above `size`."""
    return -(-size // multiple) * multiple


def pack(matrix: np.ndarray) -> np.ndarray:
    """Cut a matrix of shape (inputs, outputs) into the tiles that `product` reads, padded with zeros, flat."""
    inputs, outputs = matrix.shape
    padded = np.zeros((pad(inputs, PARTIAL_SUMS), pad(outputs, NARROW)), np.float32)
    padded[:inputs, :outputs] = matrix
    tiles = []
    start = 0
    for width in WIDTHS:
        while padded.shape[1] - start >= width:
            tiles.append(padded[:, start : start + width].ravel())
            start += width
    return np.concatenate(tiles)


def pack_weights(wavenet: WaveNet) -> Weights:
    """Lay out a WaveNet's weights for the kernel."""
    layers = cast(list[GatedLayer], list(wavenet.layers))
    residual_channels = wavenet.embedding.embedding_dim
    matrices = []
    for layer in layers:
        # One product for both taps: inputs are the delayed and the present sample, (2R, 2R).
        matrices.append(np.concatenate([_matrix(layer.past.weight), _matrix(layer.present.weight)]))
        if layer.residual is not None:
            matrices.append(_matrix(layer.residual.weight))  # (R, R)
    skip = _matrix(wavenet.skip.weight).reshape(len(layers), residual_channels, -1)
    padding = pad(residual_channels, PARTIAL_SUMS) - residual_channels
    matrices.append(np.pad(skip, ((0, 0), (0, padding), (0, 0))).reshape(-1, skip.shape[-1]))
    matrices += [_matrix(wavenet.head_hidden.weight), _matrix(wavenet.head.weight)]
    return Weights(
        stream=np.concatenate([pack(matrix) for matrix in matrices]),
        condition=pack(_matrix(wavenet.condition.weight)),
        condition_bias=padded(_array(wavenet.condition.bias), pad(wavenet.condition.out_features, NARROW)),
        embedding=_array(wavenet.embedding.weight),
        skip_bias=padded(_array(wavenet.skip.bias), pad(wavenet.skip.out_features, NARROW)),
        hidden_bias=padded(_array(wavenet.head_hidden.bias), pad(wavenet.head_hidden.out_features, NARROW)),
        head_bias=padded(_array(wavenet.head.bias), pad(wavenet.num_outputs, NARROW)),
        dilations=np.array(wavenet.dilations, np.int64),
        skip_channels=pad(wavenet.skip.out_features, PARTIAL_SUMS),
    )


def make_buffers(wavenet: WaveNet, start: int) -> Buffers:
    """The memory of a stream before its first sample: silence, preceded by the class `start`."""
    residual_channels, skip_channels = wavenet.embedding.embedding_dim, wavenet.head_hidden.in_features

    def zeros(size: int, multiple: int = 1) -> np.ndarray:
        return np.zeros(pad(size, multiple), np.float32)

    return Buffers(
        history=zeros(sum(wavenet.dilations) * residual_channels),
        position=np.array([0, start], np.int64),
        # The last layer's gates are read in whole registers, which may reach beyond its end.
        frame=zeros(wavenet.condition.out_features + NARROW, NARROW),
        taps=zeros(2 * residual_channels, PARTIAL_SUMS),
        gates=zeros(2 * residual_channels, NARROW),
        gated=np.zeros((len(wavenet.dilations), pad(residual_channels, PARTIAL_SUMS)), np.float32),
        residual=zeros(residual_channels, NARROW),
        skip=zeros(skip_channels, NARROW),
        hidden=zeros(skip_channels, NARROW),
        logits=zeros(wavenet.num_outputs, NARROW),
        masses=zeros(wavenet.num_outputs),
    )


def _array(parameter: Tensor) -> np.ndarray:
    return np.array(parameter.detach().float().cpu().numpy())  # a copy: training may go on


def _matrix(weight: Tensor) -> np.ndarray:
    """A linear layer's weight as (inputs, outputs)."""
    return _array(weight).T


def padded(array: np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros((*array.shape[:-1], size), np.float32)
    padded[..., : array.shape[-1]] = array
    return padded
