"""How many listeners a difference needs, from the variance that was seen between listeners, items and judgements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vqspeech.listening.scoring.comparisons import ALPHA
from vqspeech.listening.scoring.intervals import VarianceComponents

POWER = 0.8
MOST = 10_000  # listeners or items that are considered


@dataclass(frozen=True)
class Need:
    """What would find a difference with a power of 80 %.

    Attributes
    ----------
    listeners : in all, each judging as much as those of this test did; None where no number is enough with these items
    items : in all, with the listeners of this test; None where no number is enough
    power : of this test as it is
    """

    listeners: int | None
    items: int | None
    power: float


def pooled(spreads: Sequence[VarianceComponents]) -> VarianceComponents:
    """Mean variances of several comparisons of one test, as if of one."""
    parts = np.mean([(one.listener, one.item, one.cell) for one in spreads], 0)
    listeners = round(np.mean([one.num_listeners for one in spreads]))
    items = round(np.mean([one.num_items for one in spreads]))
    return VarianceComponents(float(parts[0]), float(parts[1]), float(parts[2]), listeners, items)


def needed(variances: VarianceComponents, difference: float, alpha: float = ALPHA) -> Need:
    """Listeners, or items, needed for a true difference.

    Parameters
    ----------
    variances : of the estimated difference, in this test
    alpha : two-sided error of a single test; for m comparisons give 0.05 / m, what Holm's first step asks
    """
    return Need(
        _least(lambda number: power(variances, difference, alpha, num_listeners=number)),
        _least(lambda number: power(variances, difference, alpha, num_items=number)),
        power(variances, difference, alpha),
    )


def power(
    variances: VarianceComponents,
    difference: float,
    alpha: float = ALPHA,
    *,
    num_listeners: int | None = None,
    num_items: int | None = None,
) -> float:
    """Chance that a true difference is found with so many listeners and items [as many as there were].

    The parts of the variance shrink with what they are drawn from: those of listeners with their number, those of items
    with theirs, noise with both. The test statistic is taken for Student's t, not central.
    """
    listeners = num_listeners or variances.num_listeners
    items = num_items or variances.num_items
    by_listener, by_item = variances.num_listeners / listeners, variances.num_items / items
    noise = variances.cell * by_listener * by_item
    of_listeners = max(variances.listener - variances.cell, 0.0) * by_listener + noise
    of_items = max(variances.item - variances.cell, 0.0) * by_item + noise
    planned = VarianceComponents(of_listeners, of_items, noise, listeners, items)
    if planned.variance <= 0:
        return 1.0
    centre = abs(difference) / math.sqrt(planned.variance)
    critical = float(stats.t.ppf(1 - alpha / 2, planned.degrees))
    found = float(stats.nct.sf(critical, planned.degrees, centre))
    # The distribution's far tail underflows to nan, where all of it lies beyond.
    return found if math.isfinite(found) else 1.0


def _least(chance: Callable[[int], float]) -> int | None:
    """The least number from 2 to MOST whose chance is enough, by bisection."""
    if chance(MOST) < POWER:
        return None
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) >= POWER else (middle, high)
    return high
