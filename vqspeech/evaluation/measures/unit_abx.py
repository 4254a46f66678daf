"""ABX errors of codes and of their vectors beside k-means on MFCCs, in a bounded time: figures for "Units"."""

# U utterances, N code frames of one, K codes, C cells of a task.
from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vqspeech.evaluation.figures.statistics import interval
from vqspeech.evaluation.figures.types import Figure, Table, missing
from vqspeech.units import dtw
from vqspeech.units.abx import Averages, Scores, score_task, with_frames
from vqspeech.units.abx_task import ACROSS, WITHIN, AbxTask, Limits, plan_task
from vqspeech.units.items import PHONE, TRIPHONE, Item, frames_of, make_items
from vqspeech.units.phones import Phone

MAX_FRAME_PAIRS = 200_000_000  # of a task: each kind of distance takes at most some seconds for so many
MIN_PAIRS = 30  # pairs of phones: with fewer triphones, phones are compared whatever is beside them
_PER_ITEM = 6  # frames: what comparing an item costs beside its frames
_LIMITS = (Limits(10, 5), Limits(7, 4), Limits(5, 3), Limits(3, 2), Limits(2, 1))  # the first is ZeroSpeech 2021's
_TIMES = 300  # resamples
CODES, VECTORS = "codes", "quantized vectors"
KMEANS, MFCCS = "k-means on MFCCs", "MFCCs, continuous"

Sequences = Mapping[str, NDArray]


@dataclass(frozen=True)
class Compared:
    """One way to represent the recordings.

    Attributes
    ----------
    sequences : of each recording, int array (N,) or float array (N, D)
    distance : of frames, as in `score_task`
    """

    sequences: Sequences
    distance: str | NDArray[np.float64]


@dataclass(frozen=True)
class AbxPlan:
    """The task of one mode, and how it came about.

    Attributes
    ----------
    task : None where it cannot be made; `note` says why
    kind : of its items
    """

    task: AbxTask | None
    kind: str
    note: str


def plan_abx(
    phones: Mapping[str, Sequence[Phone]], speakers: Mapping[str, str], lengths: Mapping[str, int], rate: float,
    mode: str, seed: int,
) -> AbxPlan:  # fmt: skip
    """Choose the items of one mode: triphones where there are enough, else phones in any context.

    Parameters
    ----------
    phones, speakers, lengths : of each recording: phones without gaps, who says it, and code frames
    rate : code frames a second
    mode : "within" or "across"
    seed : of what is drawn
    """
    num_speakers = len(set(speakers.values()))
    if mode == ACROSS and num_speakers < 2:
        return AbxPlan(None, "", "needs two speakers, and one speaks here")
    frames = {name: np.zeros(length, np.int64) for name, length in lengths.items()}
    for kind in (TRIPHONE, PHONE):
        made = [item for name, own in phones.items() for item in make_items(own, name, speakers[name], kind)]
        items = with_frames(made, frames, rate)
        task, drawn = _bounded(items, frames, rate, mode, kind == PHONE, seed)
        if task.num_pairs >= (MIN_PAIRS if kind == TRIPHONE else 1):
            few = "" if kind == TRIPHONE else " in any context: there are too few triphones"
            said = f"{len(task.cells)} cells of {task.num_pairs} pairs of {kind}s{few}; {drawn}"
            return AbxPlan(task, kind, said)
    where = "by two speakers" if mode == ACROSS else "twice by one speaker"
    return AbxPlan(None, "", f"no phone is said {where} beside another phone")


def _bounded(
    items: Sequence[Item], frames: Sequences, rate: float, mode: str, any_context: bool, seed: int
) -> tuple[AbxTask, str]:
    """A task that keeps to `MAX_FRAME_PAIRS`, and what was drawn for it: fewer items first, then fewer speakers."""
    every = sorted({item.speaker for item in items})
    names = list(np.random.default_rng(seed).permutation(every)) if every else []
    while True:
        chosen = set(names)
        own = [item for item in items if item.speaker in chosen]
        for limits in _LIMITS:
            cheap = most_frame_pairs(own, frames, rate, mode, any_context, limits) <= MAX_FRAME_PAIRS
            if cheap or (limits is _LIMITS[-1] and len(names) <= 2):
                drawn = f"at most {limits.max_items} items of a phone, context and speaker"
                if mode == ACROSS:
                    drawn += f", X by at most {limits.max_x} speakers"
                if len(names) < len(every):
                    drawn += f"; {len(names)} of {len(every)} speakers, drawn"
                return plan_task(own, mode, any_context=any_context, limits=limits, seed=seed), drawn
        names = names[: max(2, len(names) // 2)]


def most_frame_pairs(
    items: Sequence[Item], frames: Sequences, rate: float, mode: str, any_context: bool, limits: Limits
) -> float:
    """Frame pairs that the task of these items has at most, with the cost of comparing an item, however short."""
    found: dict[tuple, dict[tuple, list[int]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        start, stop = frames_of(item, rate, len(frames[item.file]))
        context = () if any_context else (item.before, item.after)
        group = (*context, item.speaker) if mode == WITHIN else context
        found[group][item.speaker, item.phone].append(stop - start + _PER_ITEM)
    total = 0.0
    for lengths in found.values():
        if len({phone for _, phone in lengths}) > 1:
            total += sum(sum(sorted(own)[-limits.max_items :]) for own in lengths.values()) ** 2 / 2
    return total


def abx_figures(
    plans: Mapping[str, AbxPlan], own: Mapping[str, Compared], clusters: Mapping[str, Compared], mfccs: Compared,
    rate: float, seed: int,
) -> tuple[list[Figure], Table]:  # fmt: skip
    """Figures of both modes and both kinds of distance, and a table of them with what was compared.

    Parameters
    ----------
    plans : by mode
    own, clusters : the model's and the k-means control's, by `CODES` and `VECTORS`
    mfccs : the reference
    """
    figures, rows = [], []
    for mode in (WITHIN, ACROSS):
        plan = plans[mode]
        names = {what: f"ABX error {mode} speakers, {what}" for what in own}
        if plan.task is None:
            figures += [missing(name, plan.note, unit="%", higher_is_better=False) for name in names.values()]
            continue
        reference = _figure(MFCCS, score_task(plan.task, mfccs.sequences, rate, mfccs.distance), "", seed)
        reference = replace(reference, is_ceiling=True, note="the same task on real-valued features, angular")
        chance = Figure("chance", 0.5, unit="%", note="by definition: no interval")
        for what, name in names.items():
            basis = f"{plan.kind}s, {'equality' if what == CODES else 'angular'}"
            made, control = (
                _figure(label, score_task(plan.task, given[what].sequences, rate, given[what].distance), basis, seed)
                for label, given in ((name, own), (KMEANS, clusters))
            )
            figures.append(replace(made, controls=(control, chance, reference), note=plan.note))
            shown = [f"{figure.value:.1%}" for figure in (made, control, reference)]
            rows.append((f"{mode} speakers, {what}", plan.kind, *shown, str(plan.task.num_pairs), str(made.count)))
    header = ("ABX error", "items", "model", KMEANS, MFCCS, "pairs of phones", "triplets")
    return figures, Table("ABX", header, tuple(rows))


def _figure(name: str, scores: Scores, basis: str, seed: int) -> Figure:
    draws = Averages(scores).draws(seed, _TIMES)
    low, high = interval(draws)
    task = scores.task
    told = [(cell.phone, cell.other, cell.speaker, cell.context, len(cell.a), len(cell.b)) for cell in task.cells]
    drawn = hashlib.sha256(repr((told, seed, _TIMES)).encode()).hexdigest()
    kept = tuple(draws.tolist()) if np.isfinite(draws).all() else ()
    return Figure(
        name, scores.error, low, high, "%", int(scores.triplets.sum()), False, statistic="", basis=basis, draws=kept,
        drawn=drawn,
    )  # fmt: skip


def code_table(num_codes: int) -> NDArray[np.float64]:
    """Distances (K, K) of codes that are equal or not."""
    return 1.0 - np.eye(num_codes)


def vector_table(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Angular distances (K, K) of codes by their vectors (K, D)."""
    return dtw.distance_table(vectors)
