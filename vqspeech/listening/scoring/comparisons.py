"""Whether systems differ, and by how much: permutation within listeners, Holm's correction, effect sizes.

The test swaps the systems within each listener at random: the sign of the listener's difference. That is exact for
these items; but items that suit one system better than the other are a second sample, and a test that forgets them
finds differences between systems that are differences between items (Clark 1973). So the difference over its crossed
standard error is referred to Student's t as well, and the larger p-value counts.
"""

# L listeners, I items, N judgements of both systems.
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vqspeech.listening.kinds.base import Observation
from vqspeech.listening.kinds.choices import CHANCE
from vqspeech.listening.scoring.intervals import (
    BootstrapWeights,
    Interval,
    VarianceComponents,
    scaled,
    variance_components,
)
from vqspeech.listening.scoring.observations import Grid

ALPHA = 0.05
PERMUTATIONS = 9999


@dataclass(frozen=True)
class Comparison:
    """A difference and whether it may be chance.

    Attributes
    ----------
    first, second : systems; `second` is "chance" for shares
    difference : mean of `first` less that of `second`, within listeners and items
    interval : of the difference
    effect, effect_name : Cohen's d (difference over the standard deviation of single ratings) or h (of shares)
    p : see `p_value`
    p_holm : corrected over all comparisons of the same question
    variances : of the difference
    """

    first: str
    second: str
    difference: float
    interval: Interval
    effect: float
    effect_name: str
    p: float
    p_holm: float
    variances: VarianceComponents | None

    @property
    def is_significant(self) -> bool:
        """Whether chance is an unlikely explanation, all comparisons considered."""
        return self.p_holm <= ALPHA


def compare_pairs(
    observations: list[Observation], grid: Grid, draws: BootstrapWeights, *, seed: int, times: int, shares: bool = False
) -> list[Comparison]:
    """All pairs of conditions; `shares` says that values are shares and effects Cohen's h."""
    order = sorted(range(len(grid.conditions)), key=lambda number: (-grid.mean(number), grid.conditions[number]))
    found = []
    for a, b in combinations(order, 2):
        first, second = grid.conditions[a], grid.conditions[b]
        cells, difference, noise = _difference(observations, grid, first, second)
        took_part = (grid.counts[a] + grid.counts[b]) > 0
        known = variance_components(noise, took_part)
        if shares:
            effect = cohens_h(grid.mean(a), grid.mean(b))
        else:
            effect = cohens_d(observations, first, second, difference)
        found.append(
            Comparison(
                first,
                second,
                difference,
                scaled(difference, draws.sums(noise), known),
                effect,
                "h" if shares else "d",
                p_value(cells, difference, known, seed=seed, times=times),
                math.nan,
                known,
            )
        )
    return holm(found)


def compare_to_chance(grid: Grid, intervals: list[Interval], *, seed: int, times: int) -> list[Comparison]:
    """Shares of each condition against one half; their intervals are given."""
    found = []
    for number, condition in enumerate(grid.conditions):
        share, total = grid.mean(number), grid.total(number)
        took_part = grid.counts[number] > 0
        cells = (grid.sums[number] - CHANCE * grid.counts[number]) / total
        known = variance_components((grid.sums[number] - share * grid.counts[number]) / total, took_part)
        found.append(
            Comparison(
                condition,
                "chance",
                share - CHANCE,
                Interval(*(bound - CHANCE for bound in intervals[number])),
                cohens_h(share, CHANCE),
                "h",
                p_value(cells, share - CHANCE, known, seed=seed, times=times),
                math.nan,
                known,
            )
        )
    return holm(found)


def holm(comparisons: list[Comparison]) -> list[Comparison]:
    """The comparisons with p-values corrected over those that have one."""
    from statsmodels.stats.multitest import multipletests

    tested = [number for number, one in enumerate(comparisons) if math.isfinite(one.p)]
    if not tested:
        return comparisons
    corrected = multipletests([comparisons[number].p for number in tested], alpha=ALPHA, method="holm")[1]
    found = list(comparisons)
    for number, p in zip(tested, corrected):
        found[number] = replace(found[number], p_holm=float(p))
    return found


def p_value(
    cells: NDArray[np.float64],
    difference: float,
    known: VarianceComponents | None,
    *,
    seed: int,
    times: int = PERMUTATIONS,
) -> float:
    """Two-sided p-value of "no difference": the larger of the permutation's and the crossed t's.

    Parameters
    ----------
    cells : (L, I), what each cell adds to the difference
    known : the variances of the difference; where None, so that nothing can be tested, the p-value is nan
    """
    if known is None:
        return math.nan
    if not np.abs(cells).max() > 1e-12:
        return 1.0
    crossed = 0.0
    if known.variance > 1e-24:
        crossed = 2 * float(stats.t.sf(abs(difference) / math.sqrt(known.variance), known.degrees))
    rows = cells.sum(1)
    return max(sign_flip_p(rows[np.abs(cells).max(1) > 0], seed=seed, times=times), crossed)


def sign_flip_p(values: NDArray[np.float64], *, seed: int, times: int = PERMUTATIONS) -> float:
    """Two-sided p-value of a sum, by flipping signs; exact where 2 to the number of values is at most `times`."""
    # As scipy.stats.permutation_test(permutation_type="samples"), whose draws are made one by one: 100 times slower.
    number = len(values)
    if 2**number <= times:
        signs = 1.0 - 2.0 * (np.arange(2**number)[:, None] >> np.arange(number) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (times, number))
        signs = np.concatenate([np.ones((1, number)), signs])  # what was observed is one of the permutations
    sums = np.abs(signs @ values)
    return float((sums >= sums[0] * (1 - 1e-9)).mean())


def cohens_d(observations: list[Observation], first: str, second: str, difference: float) -> float:
    """The difference over the pooled standard deviation of single ratings; nan where all are alike."""
    groups = [[one.value for one in observations if one.condition == name] for name in (first, second)]
    degrees = sum(len(group) - 1 for group in groups)
    squares = sum(float(np.var(group)) * len(group) for group in groups)
    return difference / math.sqrt(squares / degrees) if degrees > 0 and squares > 0 else math.nan


def cohens_h(share: float, other: float) -> float:
    """The difference of two shares on the scale where their variance is constant."""
    from statsmodels.stats.proportion import proportion_effectsize

    return float(proportion_effectsize(share, other))


def _difference(
    observations: list[Observation], grid: Grid, first: str, second: str
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """The difference of two conditions by least squares, effects of listeners and items taken out.

    Where each listener judges each system, and each system has each item, equally often, it is the difference of means.

    Returns
    -------
    cells : (L, I), what each cell adds to the difference
    difference : the estimate
    noise : (L, I), the same without the difference itself
    """
    rows = [one for one in observations if one.condition in (first, second)]
    listener = np.array([grid.listeners.index(one.listener) for one in rows])
    item = np.array([grid.items.index(one.item) for one in rows])
    z = np.array([1.0 if one.condition == first else 0.0 for one in rows])
    y = np.array([one.value for one in rows])
    others = np.concatenate([np.eye(len(grid.listeners))[listener], np.eye(len(grid.items))[item]], 1)
    basis, values, _ = np.linalg.svd(others, full_matrices=False)
    basis = basis[:, values > 1e-9 * values[0]]
    if np.sum((z - basis @ (basis.T @ z)) ** 2) < 1e-9 * len(z):  # each listener, or item, has one system alone
        basis = np.full((len(z), 1), 1 / math.sqrt(len(z)))
    inner_z, inner_y = z - basis @ (basis.T @ z), y - basis @ (basis.T @ y)
    weights = inner_z / (inner_z @ inner_z)
    difference = float(weights @ y)
    # Fitted residuals are too small by their leverage (HC2 of MacKinnon & White 1985).
    leverage = (basis**2).sum(1) + inner_z**2 / (inner_z @ inner_z)
    residual = (inner_y - difference * inner_z) / np.sqrt(np.maximum(1 - leverage, 1e-6))
    residual[leverage > 1 - 1e-6] = 0.0  # the fit passes through them: they tell nothing of noise
    noise, cells = np.zeros((2, len(grid.listeners), len(grid.items)))
    np.add.at(noise, (listener, item), weights * residual)
    np.add.at(cells, (listener, item), weights * (residual + difference * (z - 0.5)))
    return cells, difference, noise
