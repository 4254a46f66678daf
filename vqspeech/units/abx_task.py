"""Which triplets an ABX task asks for: the cells of items A, B and X, drawn within bounds, and the pairs to compare.

A cell has all items of one phone (A) and of another (B) in one context by one speaker. Within speakers X are the items
of A, each compared with the others; across speakers X are items of A's phone in the same context by another speaker
(Schatz et al. 2013; ZeroSpeech 2015 to 2021).
"""

# I items, C cells, G groups: items of one context (and within speakers of one speaker), compared with each other.
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.units.items import Item

WITHIN, ACROSS = "within", "across"
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Limits:
    """How much of a task is done.

    Attributes
    ----------
    max_items : of one phone, context and speaker, drawn at random; ZeroSpeech 2021 takes 10
    max_x : across speakers, speakers of X for one speaker, context and phone of A; ZeroSpeech 2021 takes 5
    """

    max_items: int = 10
    max_x: int = 5


@dataclass(frozen=True)
class Cell:
    """Items (positions in the task's) of one comparison, and what they have in common."""

    phone: str
    other: str
    speaker: str
    context: str
    a: Indices
    b: Indices
    x: Indices


@dataclass(frozen=True)
class AbxTask:
    """What is compared.

    Attributes
    ----------
    items : all that were given
    mode : "within" or "across" speakers
    cells : C of them
    group_of : position in `groups` of each cell
    groups : items of each group, ascending
    """

    items: tuple[Item, ...]
    mode: str
    cells: tuple[Cell, ...]
    group_of: Indices
    groups: tuple[Indices, ...]

    @property
    def num_pairs(self) -> int:
        """Ordered pairs of phones that are compared."""
        return len({(cell.phone, cell.other) for cell in self.cells})

    @property
    def num_contexts(self) -> int:
        """Contexts that occur."""
        return len({cell.context for cell in self.cells})


def plan_task(
    items: Sequence[Item], mode: str, *, any_context: bool = False, limits: Limits | None = None, seed: int = 0
) -> AbxTask:
    """Find the cells of a task.

    Parameters
    ----------
    items : with at least a frame each, see `abx.with_frames`
    mode : "within" or "across" speakers
    any_context : compare phones whatever is beside them, as is done with items that are phones; False for triphones
    limits : see `Limits`; None: ZeroSpeech 2021's
    seed : of what is drawn

    Returns
    -------
    task : AbxTask
        Without cells where no phone is said twice (within) or by two speakers (across) beside another phone.
    """
    limits, random = limits or Limits(), np.random.default_rng(seed)
    # context -> speaker -> phone -> items, in the order in which they come
    found: dict[str, dict[str, dict[str, list[int]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for number, item in enumerate(items):
        context = "" if any_context else f"{item.before} {item.after}"
        found[context][item.speaker][item.phone].append(number)
    kept = {
        context: {
            speaker: {phone: _drawn(numbers, limits.max_items, random) for phone, numbers in phones.items()}
            for speaker, phones in speakers.items()
        }
        for context, speakers in found.items()
    }
    cells: list[Cell] = []
    group_of: list[int] = []
    groups: list[Indices] = []
    for context, speakers in kept.items():
        # Within speakers a group is one speaker's, across speakers all of them.
        for names in [[name] for name in speakers] if mode == WITHIN else [list(speakers)]:
            made = [cell for name in names for cell in _cells(context, name, speakers, mode, limits, random)]
            if made:
                cells += made
                group_of += [len(groups)] * len(made)
                groups.append(np.unique(np.concatenate([part for cell in made for part in (cell.a, cell.b, cell.x)])))
    return AbxTask(tuple(items), mode, tuple(cells), np.array(group_of, np.int64), tuple(groups))


def _drawn(numbers: list[int], most: int, random: np.random.Generator) -> Indices:
    chosen = np.array(numbers, np.int64)
    return np.sort(random.choice(chosen, most, replace=False)) if len(chosen) > most else chosen


def _cells(
    context: str,
    speaker: str,
    speakers: dict[str, dict[str, Indices]],
    mode: str,
    limits: Limits,
    random: np.random.Generator,
) -> list[Cell]:
    """All cells whose A and B are by this speaker in this context."""
    phones = speakers[speaker]
    made: list[Cell] = []
    if len(phones) < 2:
        return made
    for phone, a in phones.items():
        if mode == WITHIN:
            sources = [a] if len(a) > 1 else []
        else:
            others = [name for name, own in speakers.items() if name != speaker and phone in own]
            if len(others) > limits.max_x:
                others = [others[place] for place in np.sort(random.permutation(len(others))[: limits.max_x])]
            sources = [speakers[name][phone] for name in others]
        made += [
            Cell(phone, other, speaker, context, a, b, x)
            for x in sources
            for other, b in phones.items()
            if other != phone
        ]
    return made


def pairs_of(task: AbxTask, group: int, cells: Sequence[Cell]) -> Indices:
    """Pairs (P, 2) of places in a group, the lower first, whose distance its cells need."""
    members = task.groups[group]
    needed = np.zeros((len(members), len(members)), bool)
    for cell in cells:
        a, b, x = (np.searchsorted(members, part) for part in (cell.a, cell.b, cell.x))
        needed[np.ix_(x, a)] = True
        needed[np.ix_(x, b)] = True
    return np.argwhere(np.triu(needed | needed.T, k=1)).astype(np.int64)
