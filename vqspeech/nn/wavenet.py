"""One WaveNet for samples and for codes: gated, dilated, causal, conditioned [WaveNet §2].

`forward` sees a whole sequence at once; `step` takes one position at a time and gives the same numbers.

One pass of the layers may serve several positions, a bunch [Vipperla et al. 2020, arXiv 2008.04574 §2]. The layers then
see the bunch before, and the head gives the positions one after the other, each knowing those before it in its bunch:
the distribution stays an exact product, p(x_t | x_<t, condition).
"""

# B batch, T positions, K positions a pass, M = T / K passes, N conditioning frames (T = N * hop),
# C conditioning channels, R residual channels, S skip channels, L layers, Q output classes.

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqspeech.nn.cross_entropy import cross_entropy
from vqspeech.nn.periods import PeriodTables, split_periods


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
    """What `step` remembers.

    Attributes
    ----------
    buffers : for each layer its inputs of the last `dilation` passes, (B, dilation, R)
    position : positions done
    recent : the classes of the last positions, (B, K), or as many as periods reach
    hidden : what the pass gave for its K positions, (B, 1, K S)
    """

    buffers: list[Tensor]
    position: int = 0
    recent: Tensor | None = None
    hidden: Tensor | None = None


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
    samples_per_step : int
        K, positions that one pass of the layers serves; dilations count passes.
    pitch_taps : int
        G, positions around one pitch period ago that a pass also sees: long-term prediction. Conditioning frames then
        have one channel more, the period in positions, at most `longest_period`; 0 where there is none.
    longest_period : int
    """

    fused = False  # whether `mean_nats` takes the fused way where it can; see `training.acceleration`
    # The loss of logits, or its compiled form.
    cross_entropy: Callable[[Tensor, Tensor, Tensor], Tensor] = staticmethod(cross_entropy)

    def __init__(
        self,
        num_classes: int,
        num_outputs: int,
        residual_channels: int,
        skip_channels: int,
        cycles: int,
        layers_per_cycle: int,
        condition_channels: int,
        samples_per_step: int = 1,
        pitch_taps: int = 0,
        longest_period: int = 0,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_outputs, self.samples_per_step = num_classes, num_outputs, samples_per_step
        self.dilations = [2**i for i in range(layers_per_cycle)] * cycles
        # K tables, one after the other: for the first of the K positions before a pass, for the second, ...
        self.embedding = nn.Embedding(samples_per_step * num_classes, residual_channels)
        self.period_ago = (
            PeriodTables(num_classes, residual_channels, pitch_taps, longest_period, samples_per_step)
            if pitch_taps
            else None
        )
        self.condition = nn.Linear(condition_channels, len(self.dilations) * 2 * residual_channels)
        self.layers = nn.ModuleList(
            GatedLayer(residual_channels, is_last=i == len(self.dilations) - 1) for i in range(len(self.dilations))
        )
        # All layers' 1x1 to the skips, summed: one product over their gated outputs side by side.
        self.skip = nn.Linear(len(self.dilations) * residual_channels, skip_channels)
        nn.init.uniform_(self.skip.weight, -1 / math.sqrt(residual_channels), 1 / math.sqrt(residual_channels))
        # A hidden layer and an output layer for each of the K positions, one after the other.
        self.head_hidden = nn.Linear(skip_channels, samples_per_step * skip_channels)
        self.head = nn.Linear(skip_channels, samples_per_step * num_outputs)
        # For each position j of a bunch and each i before it the table j (j - 1) / 2 + i, one after the other.
        num_pairs = samples_per_step * (samples_per_step - 1) // 2
        self.drawn = nn.Embedding(num_pairs * num_classes, skip_channels) if num_pairs else None

    @property
    def frame_channels(self) -> int:
        """Channels of the conditioning frames, the period's among them."""
        return self.condition.in_features + (self.period_ago is not None)

    @property
    def remembered(self) -> int:
        """Positions before a pass whose classes it is told: K, or as many as periods reach."""
        return max(self.samples_per_step, self.period_ago.reach if self.period_ago else 0)

    @property
    def receptive_field(self) -> int:
        """Previous positions that a prediction sees; with K > 1 the last position of a bunch, which sees most."""
        return self.samples_per_step * (1 + sum(self.dilations)) - 1 + self.remembered

    def hidden_matrices(self) -> list[Tensor]:
        """Weights between one hidden layer and another: all but embeddings, biases and output layer."""
        linear = [part for part in self.modules() if isinstance(part, nn.Linear) and part is not self.head]
        return [part.weight for part in linear]

    @torch.no_grad()
    def set_class_frequencies(self, counts: Tensor) -> None:
        """Begin at what the classes' frequencies alone say: counts (Q,) become the output layer's bias.

        It is log p of each class, one added to each count. The first steps need not learn it.
        """
        shares = (counts.double() + 1) / (counts.double() + 1).sum()
        self.head.bias.copy_(shares.log().repeat(self.samples_per_step))

    def forward(self, previous: Tensor, condition: Tensor) -> Tensor:
        """Logits of every position at once, given the true past.

        Parameters
        ----------
        previous : LongTensor, shape (B, T), the class one position earlier; before the start, the start class, which
            stands for all K positions before the first. T is a multiple of K.
        condition : Tensor, shape (B, N, C), or (B, N, C + 1) with periods; T / K a multiple of N

        Returns
        -------
        logits : Tensor, shape (B, T, Q)
        """
        frames, period = self.split(condition)
        biases = self.layer_conditions(frames).unbind(2)  # L times (B, N, 2R)
        x = self.embed(self._before(previous))  # (B, M, R)
        if self.period_ago is not None and period is not None:
            x = x + self.period_ago(*self.period_ago.around(previous, period))
        # Under autocast the residual stream travels in the reduced precision of the products: half the bytes.
        x = x.to(biases[0].dtype)
        outputs = []
        for layer, dilation, bias in zip(self.layers, self.dilations, biases, strict=True):
            x, gated = layer(x, dilation, bias)
            outputs.append(gated)
        hidden = self.head_inputs(torch.cat(outputs, dim=-1)).chunk(self.samples_per_step, dim=-1)
        bunches = previous.unflatten(1, (-1, self.samples_per_step))  # (B, M, K): place j has the position before it
        logits = [self.classify(place, part, bunches[..., 1 : place + 1]) for place, part in enumerate(hidden)]
        return logits[0] if len(logits) == 1 else torch.stack(logits, dim=2).flatten(1, 2)

    def _before(self, previous: Tensor) -> Tensor:
        """The K classes before each pass, the oldest first: (B, T) -> (B, M, K)."""
        num = self.samples_per_step
        if num > 1:
            previous = torch.cat([previous[:, :1].expand(-1, num - 1), previous[:, : 1 - num]], dim=1)
        return previous.unflatten(1, (-1, num))

    def split(self, condition: Tensor) -> tuple[Tensor, Tensor | None]:
        """What conditions the layers, (..., C), and the frames' periods (...), None where they have none."""
        return split_periods(condition) if self.period_ago is not None else (condition, None)

    def embed(self, classes: Tensor) -> Tensor:
        """The first layer's input, from the K classes before each pass: (B, M, K) -> (B, M, R)."""
        return self._look_up(self.embedding, classes, 0)

    def _look_up(self, tables: nn.Embedding, classes: Tensor, first: int) -> Tensor:
        """The sum of what the tables from number `first` on say of classes (B, M, tables) -> (B, M, channels)."""
        numbers = torch.arange(first, first + classes.shape[-1], device=classes.device)
        rows = tables(classes + self.num_classes * numbers)  # (B, M, tables, channels)
        return rows[:, :, 0] if len(numbers) == 1 else rows.sum(2)

    def mean_nats(self, previous: Tensor, condition: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Mean -log p(target), nats, over masked positions: `cross_entropy` of `forward`.

        Parameters
        ----------
        previous, condition : see `forward`
        target : LongTensor, shape (B, T), the classes that came
        mask : BoolTensor, shape (B, T), where they count
        """
        if self.fused and torch.is_grad_enabled():
            from vqspeech.nn.fused.function import mean_nats, takes

            if takes(previous.shape[1], condition.shape[1]):
                return mean_nats(self, previous, self.layer_conditions(condition), target, mask)
        return self.cross_entropy(self(previous, condition), target, mask)

    def layer_conditions(self, condition: Tensor) -> Tensor:
        """What each layer adds before its gate, once per frame: (B, N, C) -> (B, N, L, 2R)."""
        return self.condition(condition).unflatten(-1, (len(self.dilations), -1))

    def initial_state(self, batch: int = 1) -> WaveNetState:
        """The state before the first position: silence in every layer."""
        weight = self.embedding.weight
        return WaveNetState([weight.new_zeros(batch, d, weight.shape[1]) for d in self.dilations])

    def step(self, previous: Tensor, biases: Tensor, state: WaveNetState, period: Tensor | None = None) -> Tensor:
        """Logits of one position; advances `state`. Every K-th call passes through the layers.

        Parameters
        ----------
        previous : LongTensor, shape (B,)
        biases : Tensor, shape (B, L, 2R), one frame of `layer_conditions`
        state : WaveNetState
        period : LongTensor, shape (B,), the frame's, see `split`

        Returns
        -------
        logits : Tensor, shape (B, Q)
        """
        num = self.samples_per_step
        place = state.position % num
        if state.recent is None:
            state.recent = previous[:, None].expand(-1, self.remembered)
        state.recent = torch.cat([state.recent[:, 1:], previous[:, None]], dim=1)
        if place == 0:
            state.hidden = self._pass(state.recent, biases, state, period)
        assert state.hidden is not None
        state.position += 1
        drawn = state.recent[:, None, state.recent.shape[1] - place :]  # (B, 1, place)
        return self.classify(place, state.hidden.chunk(num, dim=-1)[place], drawn)[:, 0]

    def _pass(self, recent: Tensor, biases: Tensor, state: WaveNetState, period: Tensor | None) -> Tensor:
        """One pass of `step` through the layers, given the classes before it: (B, K or more) -> (B, 1, K S)."""
        x = self.embed(recent[:, None, -self.samples_per_step :])  # (B, 1, R)
        if self.period_ago is not None and period is not None:
            x = x + self.period_ago(self.period_ago.before(recent, period), period[:, None])
        outputs = []
        for i, (layer, buffer) in enumerate(zip(self.layers, state.buffers, strict=True)):
            slot = state.position // self.samples_per_step % buffer.shape[1]
            delayed = buffer[:, slot : slot + 1].clone()
            buffer[:, slot] = x[:, 0]
            x, gated = cast(GatedLayer, layer).combine(x, delayed, biases[:, i : i + 1])
            outputs.append(gated)
        return self.head_inputs(torch.cat(outputs, dim=-1))

    def head_inputs(self, outputs: Tensor) -> Tensor:
        """What the layers say to each position: gated outputs of all side by side (B, M, L R) -> (B, M, K S)."""
        # Skips of L layers add up; dividing by sqrt(L) keeps the head's input of unit scale at any depth.
        skips = product(outputs, self.skip.weight, self.skip.bias) * (1 / math.sqrt(len(self.dilations)))
        return product(F.relu(skips), self.head_hidden.weight, self.head_hidden.bias)

    def classify(self, place: int, hidden: Tensor, drawn: Tensor) -> Tensor:
        """Logits (B, M, Q) of one position of each bunch.

        Parameters
        ----------
        place : of the position in its bunch, from 0
        hidden : Tensor, shape (B, M, S), this position's part of `head_inputs`
        drawn : LongTensor, shape (B, M, place), the classes before it in its bunch
        """
        if place:
            assert self.drawn is not None
            hidden = hidden + self._look_up(self.drawn, drawn, place * (place - 1) // 2).to(hidden.dtype)
        rows = slice(place * self.num_outputs, (place + 1) * self.num_outputs)
        return product(F.relu(hidden), self.head.weight[rows], self.head.bias[rows])
