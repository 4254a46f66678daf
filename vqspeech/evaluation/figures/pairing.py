"""Two models on the same trials: how far their figures differ, and how sure that is."""

# R trials.
from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.evaluation.figures.statistics import LOWERED, STATISTICS, interval, resamples
from vqspeech.evaluation.figures.types import Figure, missing

ByTrial = dict[tuple[str, ...], list[Any]]  # (speaker, utterance, what tells it apart) -> its values
_SHOWN = 60  # characters of a basis


def paired(a: Figure, b: Figure, seed: int, times: int = 1000) -> Figure:
    """The difference a - b on the trials that both have; its interval draws the same trials for both.

    A trial is known by its name alone: speaker, utterance, and what tells it apart from others of that utterance. What
    one model's trial could not be measured for is left out of both; a trial with several values, such as the lengths of
    its runs, keeps all of them on either side. Figures of another basis have no difference.
    """
    name, unit = f"{a.name}: difference", _unit(a, b)
    if not (a.is_measured and b.is_measured):
        return missing(name, "not measured for both", unit=unit, higher_is_better=a.higher_is_better)
    if a.basis != b.basis:
        why = f"not comparable: {_short(a.basis)} here, {_short(b.basis)} there"
        return missing(name, why, unit=unit, higher_is_better=a.higher_is_better)
    whole = Figure(name, a.value - b.value, unit=unit, higher_is_better=a.higher_is_better, note="no paired interval")
    if a.draws and len(a.draws) == len(b.draws) and a.drawn == b.drawn:
        difference = np.array(a.draws) - np.array(b.draws)
        low, high = interval(difference - np.nanmean(difference) + whole.value)
        return replace(whole, low=low, high=high, count=a.count, note="")
    mine, theirs = _by_trial(a), _by_trial(b)
    shared = [trial for trial in mine if trial in theirs]
    function = STATISTICS.get(a.statistic)
    if not shared or function is None or a.statistic != b.statistic:
        return whole
    here, there = (_Side([own[trial] for trial in shared]) for own in (mine, theirs))
    everyone = np.arange(len(shared))
    value = float(function(here.of(everyone))) - float(function(there.of(everyone)))
    low = high = math.nan
    if len({trial[:2] for trial in shared}) >= 2:
        speakers, utterances = [trial[0] for trial in shared], [trial[1] for trial in shared]
        draws = resamples(speakers, utterances, seed=seed, times=times)
        drawn = np.array([function(here.of(chosen)) - function(there.of(chosen)) for chosen in draws])
        low, high = interval(drawn + (value - np.nanmean(drawn)) if a.statistic in LOWERED else drawn)
    most = max(len(mine), len(theirs))
    note = f"{len(shared)} of {most} trials are in both" if len(shared) < most else ""
    return Figure(name, value, low, high, unit, len(shared), a.higher_is_better, note=note)


class _Side:
    """One model's values of the shared trials, in their order, to be drawn trial by trial."""

    def __init__(self, values: list[list[Any]]) -> None:
        self._rows = np.array([value for own in values for value in own])
        sizes = np.array([len(own) for own in values])
        self._sizes, self._starts = sizes, np.cumsum(sizes) - sizes

    def of(self, chosen: NDArray[np.int64]) -> NDArray[Any]:
        """All values of the chosen trials (positions, with repetitions)."""
        sizes = self._sizes[chosen]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self._rows[np.repeat(self._starts[chosen], sizes) + within]


def _by_trial(figure: Figure) -> ByTrial:
    found: ByTrial = defaultdict(list)
    for value, *name in figure.samples:
        found[tuple(name)].append(value)
    return found


def _unit(a: Figure, b: Figure) -> str:
    """Of a difference; numbers of codes may be "of 64" and "of 128"."""
    return "codes" if a.unit.startswith("of ") else a.unit if a.unit == b.unit else ""


def _short(basis: str) -> str:
    return basis if len(basis) <= _SHOWN else basis[: _SHOWN - 4] + " ..."
