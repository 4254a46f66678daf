"""From results to numbers: who judged what, of which item, and how; in grids of listeners and items."""

# K conditions (systems, or pairs of systems), L listeners, I items.
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqspeech.listening.answers import Answer, Results
from vqspeech.listening.key import Key, Trial

CHANCE = 0.5  # of the choices between two


class Observation(NamedTuple):
    """One judgement. `condition` is a system, or "a over b"; `value` a rating, or 1, 0.5, 0 of a choice."""

    condition: str
    listener: str
    item: str
    value: float
    sexes: str | None = None


@dataclass(frozen=True)
class Grid:
    """Sums and numbers of the judgements of each listener on each item, (K, L, I)."""

    conditions: tuple[str, ...]
    listeners: tuple[str, ...]
    items: tuple[str, ...]
    sums: NDArray[np.float64]
    counts: NDArray[np.float64]

    def total(self, condition: int) -> int:
        """Judgements of a condition."""
        return int(self.counts[condition].sum())

    def mean(self, condition: int) -> float:
        """Mean of all judgements of a condition."""
        return float(self.sums[condition].sum() / self.counts[condition].sum())


def tabulate(observations: Sequence[Observation]) -> Grid:
    """Sort judgements into a grid; names are in alphabetical order."""
    names = [
        sorted({one.condition for one in observations}),
        sorted({one.listener for one in observations}),
        sorted({one.item for one in observations}),
    ]
    places = [{name: number for number, name in enumerate(each)} for each in names]
    shape = tuple(map(len, names))
    sums, counts = np.zeros(shape), np.zeros(shape)
    for one in observations:
        at = places[0][one.condition], places[1][one.listener], places[2][one.item]
        sums[at] += one.value
        counts[at] += 1
    return Grid(tuple(names[0]), tuple(names[1]), tuple(names[2]), sums, counts)


def observe(key: Key, results: Iterable[Results]) -> list[Observation]:
    """All judgements of main trials: ratings by system, "abx" by the system of X, "preference" by pair."""
    found = []
    for result in results:
        for answer in result.answers:
            trial = key.trials[answer.trial]
            if trial.role == "main":
                found += _judgements(key, trial, result.listener, answer)
    return found


def observe_wins(key: Key, results: Iterable[Results]) -> list[Observation]:
    """The judgements of "preference" by system: 1 for the one chosen, 0 for the other, 0.5 each for no preference."""
    found = []
    for result in results:
        for answer in result.answers:
            trial = key.trials[answer.trial]
            if trial.role != "main":
                continue
            for name in trial.rated:
                value = CHANCE if answer.choice is None else float(answer.choice == name)
                stimulus = key.stimuli[name]
                found.append(Observation(stimulus.system, result.listener, trial.item, value, stimulus.sexes))
    return found


def _judgements(key: Key, trial: Trial, listener: str, answer: Answer) -> list[Observation]:
    if key.kind == "abx":
        assert trial.reference is not None and trial.expected is not None, "abx has an X and a right answer"
        heard = key.stimuli[trial.reference]
        right = float(answer.choice == trial.expected.choice)
        return [Observation(heard.system, listener, trial.item, right, heard.sexes)]
    if key.kind == "preference":
        first, second = sorted(trial.rated, key=lambda name: (key.stimuli[name].system, name))
        systems = key.stimuli[first].system, key.stimuli[second].system
        if systems[0] == systems[1]:  # tells nothing of systems
            return []
        value = CHANCE if answer.choice is None else float(answer.choice == first)
        return [Observation(pair_name(*systems), listener, trial.item, value, key.stimuli[first].sexes)]
    return [
        Observation(key.stimuli[name].system, listener, key.stimuli[name].item, float(rating), key.stimuli[name].sexes)
        for name, rating in answer.ratings.items()
    ]


def pair_name(first: str, second: str) -> str:
    """How a pair of systems is called whose share is that of the first."""
    return f"{first} over {second}"
