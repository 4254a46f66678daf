"""Long-term prediction: what a pass of the WaveNet is told of the samples around one pitch period ago.

A voiced sound nearly repeats itself after a period. Speech codecs keep those samples as an adaptive codebook; a network
that is shown them need not find them among hundreds [QPNet, arXiv 1907.00797]. Conditioning frames bring the period as
one channel more, in samples, 0 where there is none.
"""

# B batch, T positions, N conditioning frames, K positions a pass, M passes, G taps, R residual channels.

from __future__ import annotations

import torch
from torch import Tensor, nn


class PeriodTables(nn.Embedding):
    """G tables (classes + 1, R), one for each place around a period ago; the last row stands for no period.

    Parameters
    ----------
    num_classes, channels : int
        Classes of a sample, and R.
    taps : int
        G, samples that are seen, those of the whole pass one period earlier in their middle.
    longest : int
        Period, in samples, that may come.
    samples_per_step : int
        K.
    """

    def __init__(self, num_classes: int, channels: int, taps: int, longest: int, samples_per_step: int) -> None:
        super().__init__(taps * (num_classes + 1), channels)
        self.num_classes, self.taps, self.longest = num_classes, taps, longest
        self.samples_per_step = samples_per_step
        self.first = -((taps - samples_per_step) // 2)  # tap, counted from one period before a pass's first position

    @property
    def reach(self) -> int:
        """Positions before a pass that it is told of, at most."""
        return self.longest - self.first

    def per_tap(self, values: Tensor) -> Tensor:
        """The tables apart: (G (classes + 1), ...) -> (G, classes + 1, ...)."""
        return values.unflatten(0, (self.taps, self.num_classes + 1))

    def around(self, previous: Tensor, period: Tensor) -> tuple[Tensor, Tensor]:
        """The classes (B, M, G) around one period before each pass, and the passes' periods (B, M).

        Parameters
        ----------
        previous : LongTensor, shape (B, T), the class one position earlier; its first stands for all before it
        period : LongTensor, shape (B, N)
        """
        length = previous.shape[1]
        passes = period.repeat_interleave(length // self.samples_per_step // period.shape[1], dim=1)  # (B, M)
        first = torch.arange(0, length, self.samples_per_step, device=previous.device)[:, None]
        place = first - passes[..., None] + self._offsets(previous) + 1  # `previous` has a class one place later
        place = place.clamp(min=0).minimum(first)  # nothing of the pass itself
        return previous.gather(1, place.flatten(1)).view_as(place), passes

    def before(self, recent: Tensor, period: Tensor) -> Tensor:
        """The classes (B, 1, G) around one period before a pass, of those before it (B, `reach` or more)."""
        place = recent.shape[1] - period[:, None] + self._offsets(recent)
        return recent.gather(1, place.clamp(0, recent.shape[1] - 1))[:, None]

    def forward(self, classes: Tensor, period: Tensor) -> Tensor:  # type: ignore[override]
        """What passes are told: classes (B, M, G) and periods (B, M) -> (B, M, R)."""
        rows = torch.where(period[..., None] > 0, classes, self.num_classes)
        tables = (self.num_classes + 1) * torch.arange(self.taps, device=rows.device)
        return super().forward(rows + tables).sum(2)

    def _offsets(self, classes: Tensor) -> Tensor:
        return torch.arange(self.first, self.first + self.taps, device=classes.device)


def split_periods(condition: Tensor) -> tuple[Tensor, Tensor]:
    """Conditioning frames (..., C + 1) apart: (..., C), and periods (...), LongTensor."""
    return condition[..., :-1], condition[..., -1].detach().round().long()
