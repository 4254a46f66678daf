"""From results to numbers: who judged what, of which item, and how; in grids of listeners and items."""

# K conditions (systems, or pairs of systems), L listeners, I items.
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.listening.answers import Results
from vqspeech.listening.key import Key
from vqspeech.listening.kinds import KINDS
from vqspeech.listening.kinds.base import Observation
from vqspeech.listening.kinds.choices import CHANCE


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
                found += KINDS[key.kind].observe(key, trial, result.listener, answer)
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
