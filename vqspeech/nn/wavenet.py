"""One WaveNet for samples and for codes: gated, dilated, causal, conditioned [WaveNet §2].

`forward` sees a whole sequence at once; `step` takes one position at a time and gives the same numbers.
"""

# B batch, T positions, N conditioning frames (T = N * hop), C conditioning channels,
# R residual channels, S skip channels, L layers, Q output classes.

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` on (B, T, inputs), as one product an utterance.

    The weight's gradient is then a sum of B short products, which takes half the time of one over all B T positions.
    """
    y = torch.bmm(x, weight.t().expand(len(x), -1, -1))
    return y if bias is None else y + bias.to(y.dtype)


class GatedLayer(nn.Module):
    """Dilated convolution of kernel 2, gate, and 1x1 to the residual stream [WaveNet eq. 2, fig. 4].

    The 1x1 to the skips is `WaveNet.skip`. The residual needs no bias (the next layers' conditioning has one), and the
    last layer needs no residual.
    """

    def __init__(self, residual_channels: int, is_last: bool) -> None:
        super().__init__()
        # The kernel's two taps as two matrices: the delayed sample's and the present one's.
        self.past = nn.Linear(residual_channels, 2 * residual_channels, bias=False)
        self.present = nn.Linear(residual_channels, 2 * residual_channels, bias=False)
        self.residual = None if is_last else nn.Linear(residual_channels, residual_channels, bias=False)

    def forward(self, x: Tensor, dilation: int, condition: Tensor) -> tuple[Tensor, Tensor]:
        """As `combine`, with the delayed input taken from `x`, after silence."""
        # The dilation is an argument, not read from the layer: the compiled code of one layer then serves all.
        return self.combine(x, F.pad(x, (0, 0, dilation, 0))[:, : x.shape[1]], condition)

    def combine(self, x: Tensor, delayed: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Next layer's input (of the last layer: its own) and this layer's gated output, both (B, T, R).

        Parameters
        ----------
        x, delayed : Tensor, shape (B, T, R), the layer's input now and `dilation` positions ago
        condition : Tensor, shape (B, N, 2R), T a multiple of N
        """
        # Both taps in one product: twice the inner dimension costs less than two products and a sum.
        taps = torch.cat([self.past.weight, self.present.weight], dim=1)
        z = product(torch.cat([delayed, x], dim=-1), taps)
        # One conditioning frame serves all positions that fall into it.
        z = (z.unflatten(1, (condition.shape[1], -1)) + condition.unsqueeze(2)).flatten(1, 2)
        filtered, gate = z.chunk(2, dim=-1)
        # tanh(a) = 2 sigmoid(2a) - 1: compiled, the sigmoid costs a fraction of the tanh.
        gated = (2 * torch.sigmoid(2 * filtered) - 1) * torch.sigmoid(gate)
        return x if self.residual is None else (x + product(gated, self.residual.weight)) * math.sqrt(0.5), gated


@dataclass
class WaveNetState:
    """What `step` remembers: for each layer its inputs of the last `dilation` positions, (B, dilation, R)."""

    buffers: list[Tensor]
    position: int = 0


class WaveNet(nn.Module):
    """Autoregressive distribution over classes, p(x_t | x_<t, condition).

    Parameters
    ----------
    num_classes : int
        Classes that can be given as the previous position.
    num_outputs : int
        Classes that are predicted, Q.
    residual_channels, skip_channels : int
        R and S.
    cycles, layers_per_cycle : int
        Dilations are 1, 2, 4, ... doubled `layers_per_cycle` times, and that `cycles` times.
    condition_channels : int
        C, channels of the conditioning frames.
    """

    def __init__(
        self,
        num_classes: int,
        num_outputs: int,
        residual_channels: int,
        skip_channels: int,
        cycles: int,
        layers_per_cycle: int,
        condition_channels: int,
    ) -> None:
        super().__init__()
        self.dilations = [2**i for i in range(layers_per_cycle)] * cycles
        self.embedding = nn.Embedding(num_classes, residual_channels)
        self.condition = nn.Linear(condition_channels, len(self.dilations) * 2 * residual_channels)
        self.layers = nn.ModuleList(
            GatedLayer(residual_channels, is_last=i == len(self.dilations) - 1) for i in range(len(self.dilations))
        )
        # All layers' 1x1 to the skips, summed: one product over their gated outputs side by side.
        self.skip = nn.Linear(len(self.dilations) * residual_channels, skip_channels)
        nn.init.uniform_(self.skip.weight, -1 / math.sqrt(residual_channels), 1 / math.sqrt(residual_channels))
        self.head_hidden = nn.Linear(skip_channels, skip_channels)
        self.head = nn.Linear(skip_channels, num_outputs)

    @property
    def receptive_field(self) -> int:
        """Previous positions that a prediction sees."""
        return 1 + sum(self.dilations)

    @property
    def num_outputs(self) -> int:
        """Q, the classes that are predicted."""
        return self.head.out_features

    def hidden_matrices(self) -> list[Tensor]:
        """Weights between one hidden layer and another: all but embedding, biases and output layer."""
        linear = [part for part in self.modules() if isinstance(part, nn.Linear) and part is not self.head]
        return [part.weight for part in linear]

    def forward(self, previous: Tensor, condition: Tensor) -> Tensor:
        """Logits of every position at once, given the true past.

        Parameters
        ----------
        previous : LongTensor, shape (B, T), the class one position earlier; before the start, the start class
        condition : Tensor, shape (B, N, C), T a multiple of N

        Returns
        -------
        logits : Tensor, shape (B, T, Q)
        """
        biases = self.layer_conditions(condition).unbind(2)  # L times (B, N, 2R)
        # Under autocast the residual stream travels in the reduced precision of the products: half the bytes.
        x = self.embedding(previous).to(biases[0].dtype)  # (B, T, R)
        outputs = []
        for layer, dilation, bias in zip(self.layers, self.dilations, biases, strict=True):
            x, gated = layer(x, dilation, bias)
            outputs.append(gated)
        return self.classify(torch.cat(outputs, dim=-1))

    def layer_conditions(self, condition: Tensor) -> Tensor:
        """What each layer adds before its gate, once per frame: (B, N, C) -> (B, N, L, 2R)."""
        return self.condition(condition).unflatten(-1, (len(self.dilations), -1))

    def initial_state(self, batch: int = 1) -> WaveNetState:
        """The state before the first position: silence in every layer."""
        weight = self.embedding.weight
        return WaveNetState([weight.new_zeros(batch, d, weight.shape[1]) for d in self.dilations])

    def step(self, previous: Tensor, biases: Tensor, state: WaveNetState) -> Tensor:
        """Logits of one position; advances `state`.

        Parameters
        ----------
        previous : LongTensor, shape (B,)
        biases : Tensor, shape (B, L, 2R), one frame of `layer_conditions`
        state : WaveNetState

        Returns
        -------
        logits : Tensor, shape (B, Q)
        """
        x = self.embedding(previous)[:, None]  # (B, 1, R)
        outputs = []
        for i, (layer, buffer) in enumerate(zip(self.layers, state.buffers, strict=True)):
            slot = state.position % buffer.shape[1]
            delayed = buffer[:, slot : slot + 1].clone()
            buffer[:, slot] = x[:, 0]
            x, gated = cast(GatedLayer, layer).combine(x, delayed, biases[:, i : i + 1])
            outputs.append(gated)
        state.position += 1
        return self.classify(torch.cat(outputs, dim=-1))[:, 0]

    def classify(self, outputs: Tensor) -> Tensor:
        """Logits (B, T, Q) from the gated outputs of all layers side by side (B, T, L R)."""
        # Skips of L layers add up; dividing by sqrt(L) keeps the head's input of unit scale at any depth.
        skips = product(outputs, self.skip.weight, self.skip.bias) * (1 / math.sqrt(len(self.dilations)))
        hidden = product(F.relu(skips), self.head_hidden.weight, self.head_hidden.bias)
        return product(F.relu(hidden), self.head.weight, self.head.bias)
