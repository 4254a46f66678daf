"""How sure a mean is, for the population of listeners and of items: both are samples, crossed with one another.

The variance of a mean of crossed data is that between listeners plus that between items less what both count
(Cameron, Gelbach & Miller 2011, two-way clusters). The bootstrap that draws listeners and items, each with replacement
(the pigeonhole bootstrap, Owen 2007), has the shape of the mean's distribution, but counts the noise of single
judgements three times; drawing listeners alone forgets the items. So the pigeonhole's draws are scaled to the crossed
variance, with Student's t at Satterthwaite's degrees of freedom. `benchmarks/listening_score.py` measures how often
each covers the truth.
"""

# L listeners, I items, R draws.
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vqspeech.listening.scoring.observations import Grid

CONFIDENCE = 0.95
DRAWS = 2000
_NORMAL = float(stats.norm.ppf((1 + CONFIDENCE) / 2))


class Interval(NamedTuple):
    """Bounds of a 95 % interval, both nan where there is none."""

    low: float
    high: float


NOWHERE = Interval(math.nan, math.nan)


@dataclass(frozen=True)
class VarianceComponents:
    """Variance of an estimate from crossed data, by its parts.

    Attributes
    ----------
    listener, item, cell : variance of the estimate if listeners, items, or single judgements alone were drawn; noise of
        single judgements is in all three
    num_listeners, num_items : that contribute
    """

    listener: float
    item: float
    cell: float
    num_listeners: int
    num_items: int

    @property
    def variance(self) -> float:
        """Of the estimate; never below that of either sample alone."""
        return max(
            self.listener + self.item - self.cell,
            self.listener * (1 - 1 / self.num_items),
            self.item * (1 - 1 / self.num_listeners),
        )

    @property
    def degrees(self) -> float:
        """Degrees of freedom by Satterthwaite, at least those of the smaller sample."""
        of_listeners, of_items = self.num_listeners - 1, self.num_items - 1
        parts = self.listener**2 / of_listeners + self.item**2 / of_items + self.cell**2 / (of_listeners * of_items)
        return max(self.variance**2 / parts if parts else math.inf, min(of_listeners, of_items))

    @property
    def quantile(self) -> float:
        """Student's t that leaves 5 % outside."""
        return float(stats.t.ppf((1 + CONFIDENCE) / 2, self.degrees))


def variance_components(contributions: NDArray[np.float64], took_part: NDArray[np.bool_]) -> VarianceComponents | None:
    """The variance of the sum of contributions (L, I) whose expectation is zero.

    Parameters
    ----------
    took_part : (L, I), where there were judgements

    Returns
    -------
    variances : None where fewer than two listeners, or two items, took part
    """
    num_listeners, num_items = int(took_part.any(1).sum()), int(took_part.any(0).sum())
    if num_listeners < 2 or num_items < 2:
        return None
    # Deviations from an estimated mean are too small; in a complete test by exactly this much.
    factor = num_listeners * num_items / ((num_listeners - 1) * (num_items - 1))
    return VarianceComponents(
        float((contributions.sum(1) ** 2).sum() * factor),
        float((contributions.sum(0) ** 2).sum() * factor),
        float((contributions**2).sum() * factor),
        num_listeners,
        num_items,
    )


class BootstrapWeights:
    """Bootstrap weights of listeners and of items, the same for all estimates from one grid."""

    def __init__(self, grid: Grid, seed: int, times: int = DRAWS) -> None:
        random = np.random.default_rng(seed)
        num_listeners, num_items = len(grid.listeners), len(grid.items)
        self.listeners = random.multinomial(num_listeners, [1 / num_listeners] * num_listeners, times).astype(float)
        self.items = random.multinomial(num_items, [1 / num_items] * num_items, times).astype(float)

    def sums(self, cells: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of cells (L, I) in each draw, (R,)."""
        return ((self.listeners @ cells) * self.items).sum(1)


def mean_contributions(grid: Grid, condition: int) -> NDArray[np.float64]:
    """What each cell (L, I) adds to the deviation of a condition's mean from its expectation."""
    total = grid.counts[condition].sum()
    return (grid.sums[condition] - grid.counts[condition] * grid.mean(condition)) / total


def mean_interval(grid: Grid, condition: int, draws: BootstrapWeights) -> Interval:
    """Interval of a mean rating."""
    contributions = mean_contributions(grid, condition)
    known = variance_components(contributions, grid.counts[condition] > 0)
    weights = draws.sums(grid.counts[condition])
    drawn = draws.sums(contributions)[weights > 0] * grid.total(condition) / weights[weights > 0]
    return scaled(grid.mean(condition), drawn, known)


def scaled(value: float, drawn: NDArray[np.float64], known: VarianceComponents | None) -> Interval:
    """The interval of an estimate from the bootstrap's deviations (R,), scaled to the crossed variance."""
    if known is None or known.variance <= 1e-24 or not drawn.std() > 0:
        return NOWHERE
    factor = math.sqrt(known.variance) / drawn.std() * known.quantile / _NORMAL
    low, high = np.percentile(drawn, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]) * factor
    return Interval(value + float(low), value + float(high))


def share_interval(grid: Grid, condition: int) -> Interval:
    """Interval of a share: Wilson's score interval, at the number of independent judgements that are worth as much.

    That number is p (1 - p) / variance; where all judgements agree, which tells no variance, the number of listeners.
    """
    from statsmodels.stats.proportion import proportion_confint

    share = grid.mean(condition)
    known = variance_components(mean_contributions(grid, condition), grid.counts[condition] > 0)
    if known is None:
        return NOWHERE
    quantile, worth = _NORMAL, float(known.num_listeners)
    if known.variance > 1e-24 and 0 < share < 1:
        quantile, worth = known.quantile, share * (1 - share) / known.variance
    alpha = 2 * float(stats.norm.sf(quantile))
    low, high = proportion_confint(share * worth, worth, alpha=alpha, method="wilson")
    return Interval(float(low), float(high))
