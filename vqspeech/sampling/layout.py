"""How a WaveNet's weights and memory lie for the kernel.

The weights stand in one array in the order of use, so that a sample reads it once from end to end. Every matrix is cut
into tiles of as many outputs as fit into the vector registers.
"""

# W streams at most, R residual channels, S skip channels, L layers, Q output classes, C conditioning channels,
# K samples a pass.

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
from torch import Tensor

from vqspeech.nn.wavenet import GatedLayer, WaveNet
from vqspeech.vectors import LANES

# Widths of tiles: eight registers hold a tile's sums (or, in narrow tiles, two or four partial sums each), which hides
# the latency of a multiply-add and still fits the sixteen registers of AVX2.
WIDE, HALF, QUARTER, NARROW = 8 * LANES, 4 * LANES, 2 * LANES, LANES
WIDTHS = (WIDE, HALF, QUARTER, NARROW)
PARTIAL_SUMS = 4  # rows are padded to a multiple of this

# Types of weights by precision. numba has neither bfloat16 nor arrays of float16, so these two are integers of their
# bits, told apart by the sign.
BFLOAT16, FLOAT16 = np.uint16, np.int16
ELEMENTS: dict[str, type] = {"float32": np.float32, "bfloat16": BFLOAT16, "float16": FLOAT16}


class Weights(NamedTuple):
    """A WaveNet's weights as the kernel reads them; `stream` and `condition` hold tiles (`pack`)."""

    stream: np.ndarray  # all layers' gates and residuals, the skips, the head, in the order of use
    condition: np.ndarray  # C -> L 2R
    condition_bias: np.ndarray  # (L 2R,), padded
    embedding: np.ndarray  # (K, classes, R)
    drawn: np.ndarray  # (K (K - 1) / 2, classes, S): for each sample of a pass what it adds of each sample before it
    skip_bias: np.ndarray  # (S,), padded
    hidden_bias: np.ndarray  # (K times S padded,)
    head_bias: np.ndarray  # (K, Q padded)
    dilations: np.ndarray  # (L,) int64
    period_ago: np.ndarray  # (G, classes + 1, R), see `PeriodTables`; G = 0 without
    first_tap: int
    period_channel: int  # of the conditioning frames


class Buffers(NamedTuple):
    """What streams remember (`history`, `position`, `past`), and the scratch space of one step, a row for each stream.

    Inputs of products are bfloat16 where the weights are, all else is float32.
    """

    history: np.ndarray  # (W, ...): inputs of every layer's last `dilation` passes, rings one after the other
    position: np.ndarray  # (W,) int64: samples done
    past: np.ndarray  # (W, ...) int32: a ring of the last classes, K or as many as the longest period needs
    frame: np.ndarray  # one frame's conditioning of all layers, (W, L 2R padded)
    taps: np.ndarray  # inputs: a layer's delayed and present input, (W, 2R padded)
    gates: np.ndarray  # (W, 2R padded)
    gated: np.ndarray  # inputs: all layers' gated outputs, (W, L times R padded)
    residual: np.ndarray  # (W, R padded)
    skip: np.ndarray  # (W, S padded)
    hidden: np.ndarray  # (W, K times S padded)
    inner: np.ndarray  # inputs: of the head's products, (W, S padded)
    logits: np.ndarray  # (W, Q padded)
    masses: np.ndarray  # (Q,) exponentials of the logits


class Choice(NamedTuple):
    """How the classes of T samples are chosen; `uniforms` is empty where `forced` is given, and the reverse."""

    uniforms: np.ndarray  # (U, T) float64
    temperature: float
    top_p: float
    forced: np.ndarray  # (U, T) int32: the classes to take instead of drawing, or (U, 0)


def pad(size: int, multiple: int) -> int:
    """The next multiple at or above `size`."""
    return -(-size // multiple) * multiple


def padded(array: np.ndarray, size: int) -> np.ndarray:
    """The last axis filled up with zeros to `size`."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, size - array.shape[-1])])


def to_bfloat16(array: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16 values as uint16; ties go to the even neighbour."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def to_element(values: np.ndarray, dtype: type) -> np.ndarray:
    """The nearest values of one of `ELEMENTS`."""
    if dtype is BFLOAT16:
        return to_bfloat16(values)
    return values.astype(np.float16).view(FLOAT16) if dtype is FLOAT16 else values.astype(dtype)


def pack(matrix: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """Cut a matrix of shape (inputs, outputs) into the tiles that `product` reads, padded with zeros, flat.

    In bfloat16 the weights of two neighbouring inputs lie side by side.
    """
    pair = inputs_of_row(dtype)
    inputs, outputs = matrix.shape
    padded = np.zeros((pad(inputs, PARTIAL_SUMS * pair), pad(outputs, NARROW)), np.float32)
    padded[:inputs, :outputs] = matrix
    values = to_element(padded, dtype)
    tiles = []
    start = 0
    for width in WIDTHS:
        while values.shape[1] - start >= width:
            tile = values[:, start : start + width].reshape(-1, pair, width)  # rows, inputs of a row, outputs
            tiles.append(tile.swapaxes(1, 2).ravel())
            start += width
    return np.concatenate(tiles)


def in_huge_pages(array: np.ndarray) -> np.ndarray:
    """A copy that begins on a boundary of 2 MB, in memory for which numpy asks the system for pages of that size."""
    page = 2**21
    room = np.empty(pad(array.nbytes, page) + 2 * page, np.uint8)  # numpy asks from 4 MB on
    begin = -room.ctypes.data % page
    copy = room[begin : begin + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def inputs_of_row(dtype: type) -> int:
    """Inputs that one instruction takes together: 2 in bfloat16, else 1."""
    return 2 if dtype is BFLOAT16 else 1


def inputs_type(dtype: type) -> type:
    """The type of inputs that are multiplied with weights of a type: only bfloat16 has products of its own."""
    return BFLOAT16 if dtype is BFLOAT16 else np.float32


def pack_weights(wavenet: WaveNet, dtype: type = np.float32) -> Weights:
    """Lay out a WaveNet's weights for the kernel, its matrices as `dtype`.

    That of the conditioning stays float32 beside bfloat16: its inputs would be rounded, too, and it is used but once a
    frame. Beside float16 it is float16, so that the loop has one form of product and compiles faster.
    """
    layers = cast(list[GatedLayer], list(wavenet.layers))
    residual_channels, num = wavenet.embedding.embedding_dim, wavenet.samples_per_step
    matrices = []
    for layer in layers:
        # One product for both taps: inputs are the delayed and the present sample, (2R, 2R).
        matrices.append(np.concatenate([_matrix(layer.past.weight), _matrix(layer.present.weight)]))
        if layer.residual is not None:
            matrices.append(_matrix(layer.residual.weight))  # (R, R)
    skip = _matrix(wavenet.skip.weight).reshape(len(layers), residual_channels, -1)
    padding = pad(residual_channels, PARTIAL_SUMS * inputs_of_row(dtype)) - residual_channels
    matrices.append(np.pad(skip, ((0, 0), (0, padding), (0, 0))).reshape(-1, skip.shape[-1]))
    skip_channels = wavenet.head_hidden.in_features
    hidden_width, head_width = pad(skip_channels, NARROW), pad(wavenet.num_outputs, NARROW)
    hidden = _matrix(wavenet.head_hidden.weight).reshape(skip_channels, num, skip_channels)
    matrices.append(padded(hidden, hidden_width).reshape(skip_channels, -1))
    matrices += np.split(_matrix(wavenet.head.weight), num, axis=1)
    frame = _frame_width(wavenet)
    has_period = int(wavenet.period_ago is not None)  # a channel of the frames that no layer is told
    return Weights(
        stream=in_huge_pages(np.concatenate([pack(matrix, dtype) for matrix in matrices])),
        condition=pack(
            np.pad(padded(_matrix(wavenet.condition.weight), frame), ((0, has_period), (0, 0))),
            np.float32 if dtype is BFLOAT16 else dtype,
        ),
        condition_bias=padded(_array(wavenet.condition.bias), frame),
        embedding=_array(wavenet.embedding.weight).reshape(num, wavenet.num_classes, residual_channels),
        drawn=(_array(wavenet.drawn.weight) if wavenet.drawn else np.zeros(0, np.float32)).reshape(
            -1, wavenet.num_classes, skip_channels
        ),
        skip_bias=padded(_array(wavenet.skip.bias), hidden_width),
        hidden_bias=padded(_array(wavenet.head_hidden.bias).reshape(num, -1), hidden_width).ravel(),
        head_bias=padded(_array(wavenet.head.bias).reshape(num, -1), head_width),
        dilations=np.array(wavenet.dilations, np.int64),
        period_ago=(
            np.zeros((0, 1, residual_channels), np.float32)
            if wavenet.period_ago is None
            else _array(wavenet.period_ago.per_tap(wavenet.period_ago.weight))
        ),
        first_tap=wavenet.period_ago.first if wavenet.period_ago else 0,
        period_channel=wavenet.condition.in_features,
    )


def make_buffers(wavenet: WaveNet, num_streams: int, dtype: type = np.float32) -> Buffers:
    """The memory of streams; `history`, `position` and `past` of one have to be set before its first sample."""
    residual_channels, skip_channels = wavenet.embedding.embedding_dim, wavenet.head_hidden.in_features
    num_layers = len(wavenet.dilations)

    def inputs(size: int, times: int = 1) -> np.ndarray:
        return np.zeros((num_streams, times * pad(size, PARTIAL_SUMS * inputs_of_row(dtype))), inputs_type(dtype))

    def outputs(size: int) -> np.ndarray:
        return np.zeros((num_streams, pad(size, NARROW)), np.float32)

    return Buffers(
        history=np.zeros((num_streams, sum(wavenet.dilations) * residual_channels), inputs_type(dtype)),
        position=np.zeros(num_streams, np.int64),
        past=np.zeros((num_streams, wavenet.remembered), np.int32),
        frame=outputs(_frame_width(wavenet)),
        taps=inputs(2 * residual_channels),
        gates=outputs(2 * residual_channels),
        gated=inputs(residual_channels, num_layers),
        residual=outputs(residual_channels),
        skip=outputs(skip_channels),
        hidden=outputs(wavenet.samples_per_step * pad(skip_channels, NARROW)),
        inner=inputs(skip_channels),
        logits=outputs(wavenet.num_outputs),
        masses=np.zeros(wavenet.num_outputs, np.float32),
    )


def _frame_width(wavenet: WaveNet) -> int:
    # The last layer's gates are read in whole registers, which may reach beyond its end.
    return pad(wavenet.condition.out_features + NARROW, NARROW)


def _array(parameter: Tensor) -> np.ndarray:
    return np.array(parameter.detach().float().cpu().numpy())  # a copy: training may go on


def _matrix(weight: Tensor) -> np.ndarray:
    """A linear layer's weight as (inputs, outputs)."""
    return _array(weight).T
