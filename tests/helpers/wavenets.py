"""Small WaveNets and their conditioning, for the tests of sampling."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from vqspeech.nn.wavenet import WaveNet
from vqspeech.vectors import HAS_BFLOAT16, HAS_FLOAT16

# Of the compiled engine on this machine.
PRECISIONS = ["float32", *(["float16"] if HAS_FLOAT16 else []), *(["bfloat16"] if HAS_BFLOAT16 else [])]
WAYS = [("torch", "float32"), *(("numba", precision) for precision in PRECISIONS)]
HOP, CONDITION = 8, 3
BUNCHES = (1, 2, 4)  # samples a pass
LONGEST = 20  # of the periods


def make_wavenet(
    residual=12, skip=20, cycles=2, layers=3, classes=256, outputs=256, seed=0, bunch=1, taps=0
) -> WaveNet:
    """A small network whose logits spread over several units, as a trained one's do."""
    torch.manual_seed(seed)
    wavenet = WaveNet(classes, outputs, residual, skip, cycles, layers, CONDITION, bunch, taps, LONGEST)
    with torch.no_grad():
        for parameter in wavenet.parameters():
            parameter.mul_(2)
        wavenet.head.weight.mul_(4)
    return wavenet.eval()


def make_condition(frames: int, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, CONDITION)).astype(np.float32)


def with_periods(condition: np.ndarray, seed=0) -> np.ndarray:
    """The same frames, each with a pitch period from 9 on, a third of them with none."""
    random = np.random.default_rng(seed + 99)
    periods = np.where(random.random(len(condition)) < 0.33, 0, random.integers(9, LONGEST + 1, len(condition)))
    return np.concatenate([condition, periods[:, None]], axis=1).astype(np.float32)


def in_float16(wavenet: WaveNet) -> WaveNet:
    """The network whose matrices are the nearest that float16 has."""
    rounded = copy.deepcopy(wavenet)
    for layer in rounded.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.data = layer.weight.data.half().float()
    return rounded


def parallel_logits(wavenet, classes, condition, start) -> np.ndarray:
    previous = np.concatenate([[start], classes[:-1]]).astype(np.int64)
    with torch.inference_mode():
        return wavenet(torch.from_numpy(previous)[None], torch.from_numpy(condition)[None])[0].numpy()
