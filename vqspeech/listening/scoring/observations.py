"""From results to numbers: who judged what, of which item, and how; in grids of listeners and items."""

# K conditions (systems, or pairs of systems), L listeners, I items.
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.listening.answers import Answer, Results
from vqspeech.listening.key import Key, ListeningTrial
from vqspeech.listening.kinds import KINDS
from vqspeech.listening.kinds.base import Observation
from vqspeech.listening.kinds.choices import share_won


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
    return [
        one
        for trial, listener, answer in _main_answers(key, results)
        for one in KINDS[key.kind].observe(key, trial, listener, answer)
    ]


def observe_wins(key: Key, results: Iterable[Results]) -> list[Observation]:
    """The judgements of "preference" by system: 1 for the one chosen, 0 for the other, 0.5 each for no preference."""
    return [
        Observation(stimulus.system, listener, trial.item, share_won(answer, name), stimulus.sexes)
        for trial, listener, answer in _main_answers(key, results)
        for name, stimulus in ((name, key.stimuli[name]) for name in trial.rated)
    ]


def _main_answers(key: Key, results: Iterable[Results]) -> Iterator[tuple[ListeningTrial, str, Answer]]:
    for result in results:
        for answer in result.answers:
            if key.trials[answer.trial].role == "main":
                yield key.trials[answer.trial], result.listener, answer
