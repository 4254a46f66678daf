"""Tables that begin smooth over mu-law classes: what a network learns of one class it then says of its neighbours too.

Random tables have nothing in common for neighbouring classes, whose sounds are nearly the same; a training has to find
out from samples alone that they lie on a line.
"""

# Q classes, F functions.

from __future__ import annotations

import math

import torch
from torch import Tensor

from vqspeech.mu_law import MU_LAW_CLASSES, mu_law_decode
from vqspeech.nn.wavenet import WaveNet

INPUT_WAVES, OUTPUT_WAVES = 5, 23  # cosines of the tables that take classes, and of those that predict them
DRAWN_SCALE = 0.2  # of a table of classes drawn within a bunch: its sum comes on top of what the layers say


@torch.no_grad()
def begin_smoothly(wavenet: WaveNet) -> None:
    """Give a WaveNet over mu-law classes tables that are random combinations of smooth functions of the class.

    Embeddings keep their scale, 1 over all tables of a pass, and so does the output layer, whose bias begins at zero.
    """
    assert wavenet.num_classes == wavenet.num_outputs == MU_LAW_CLASSES, (wavenet.num_classes, wavenet.num_outputs)
    given, predicted = input_functions(), output_functions()
    for tables, scale in ((wavenet.embedding, 1 / math.sqrt(wavenet.samples_per_step)), (wavenet.drawn, DRAWN_SCALE)):
        if tables is not None:
            _combine(tables.weight, given, scale)
    if (tables := wavenet.period_ago) is not None:
        values = torch.empty(tables.taps * MU_LAW_CLASSES, tables.embedding_dim)
        _combine(values, given, 1 / math.sqrt(tables.taps))
        rows = tables.per_tap(tables.weight)
        rows[:, :-1], rows[:, -1] = values.unflatten(0, (tables.taps, -1)), 0.0  # no period: nothing is added
    _combine(wavenet.head.weight, predicted, 1 / math.sqrt(3 * wavenet.head.in_features))
    wavenet.head.bias.zero_()


def input_functions() -> Tensor:
    """Amplitude, companded and linear, and low cosines and sines of the companded, each of mean 0: (Q, F)."""
    companded = torch.linspace(-1, 1, MU_LAW_CLASSES)
    linear = mu_law_decode(torch.arange(MU_LAW_CLASSES))
    waves = [
        wave(math.pi * k * companded / 2) / math.sqrt(1 + k)
        for k in range(1, 1 + INPUT_WAVES)
        for wave in (torch.cos, torch.sin)
    ]
    functions = torch.stack([companded / companded.std(), linear / linear.std(), *waves], dim=1)
    return functions - functions.mean(0)


def output_functions() -> Tensor:
    """Low cosines over the classes, the slow ones larger: (Q, F)."""
    place = (torch.arange(MU_LAW_CLASSES) + 0.5) / MU_LAW_CLASSES
    waves = [torch.cos(math.pi * k * place) / math.sqrt(1 + k) for k in range(1, 1 + OUTPUT_WAVES)]
    return torch.stack(waves, dim=1)


def _combine(tables: Tensor, functions: Tensor, scale: float) -> None:
    """Fill tables (tables * Q, channels) with combinations of functions (Q, F), their standard deviation `scale`."""
    num = len(tables) // len(functions)
    weights = torch.randn(num, functions.shape[1], tables.shape[1])
    values = (functions @ weights).flatten(0, 1)  # (tables * Q, channels)
    tables.copy_(values * (scale / values.std()))
