"""ABX discriminability of phones (Schatz et al. 2013; Schatz 2016): is X nearer to its own phone than to another?

The error of a cell (see `abx_task`) is the share of triplets (a, b, x) in which d(b, x) < d(a, x); ties count one half.
The mean is taken, as ZeroSpeech's is, over cells of one (A's phone, B's phone, A's speaker): that is over contexts, and
across speakers over X's speakers with them; then over speakers; then over ordered pairs of phones. Chance is one half.

Distances between items are those of `dtw`. libri-light, ZeroSpeech 2021 and fastabx do the same; fastabx 0.9.0 gives
the same errors within 1e-5, for codes and for features (`tests/units/test_abx.py`).
"""

# I items, F frames of all items together, C cells, N frames of a recording, D dimensions, K codes.
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.errors import CodesError, CorpusError
from vqspeech.units.abx_task import ACROSS, WITHIN, AbxTask, Cell, Limits, pairs_of, plan_task
from vqspeech.units.items import Item, frames_of

DISTANCES = ("angular", "kl", "euclidean")
_AT_ONCE = 1 << 14  # pairs that a thread warps between two looks at the others


@dataclass(frozen=True)
class Scores:
    """Errors of a task's cells.

    Attributes
    ----------
    task : AbxTask
    errors : float array, shape (C,), shares in [0, 1]
    triplets : int array, shape (C,)
    """

    task: AbxTask
    errors: NDArray[np.float64]
    triplets: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The task's error in [0, 1], averaged as ZeroSpeech does; nan without cells."""
        return Averages(self).mean()


def abx_error(
    items: Sequence[Item],
    features: Mapping[str, NDArray],
    frame_rate: float,
    *,
    mode: str = WITHIN,
    distance: str | NDArray[np.floating] = "angular",
    any_context: bool = False,
    limits: Limits | None = None,
    seed: int = 0,
    num_threads: int = 1,
) -> Scores:
    """The ABX error of features or codes.

    Parameters
    ----------
    items : from `items.make_items` or `items.read_items`; those without a frame are left out
    features : of each file: float array (N, D), or int array (N,) of codes
    frame_rate : frames a second
    mode : "within" or "across" speakers
    distance : of vectors "angular" (arc cosine over pi), "kl" (of distributions, symmetrised) or "euclidean"; of codes
        a table (K, K), such as `dtw.distance_table` of the codebook, or "identical": 0 for equal codes, 1 for others
    any_context, limits, seed : see `abx_task.plan_task`
    num_threads : that warp; the result does not depend on them

    Returns
    -------
    scores : Scores; `scores.error` is the one number

    Raises
    ------
    CorpusError
        If an item's file has no features, or features and distance do not fit.

    Examples
    --------
    >>> items = [Item("a", n / 10, n / 10 + 0.1, phone, "K", "T", "ann") for n, phone in enumerate("AABB")]
    >>> codes = {"a": np.repeat([3, 3, 5, 5], 5)}  # 50 codes a second
    >>> abx_error(items, codes, 50, distance="identical").error
    0.0
    """
    if mode not in (WITHIN, ACROSS):
        raise CorpusError(f"the ABX task {mode!r} is not known; expected {WITHIN} or {ACROSS}")
    kept = with_frames(items, features, frame_rate)
    task = plan_task(kept, mode, any_context=any_context, limits=limits, seed=seed)
    return score_task(task, features, frame_rate, distance, num_threads=num_threads)


def with_frames(items: Sequence[Item], features: Mapping[str, NDArray], frame_rate: float) -> list[Item]:
    """Items that have at least one frame; a CorpusError where a recording has no features at all."""
    for name in dict.fromkeys(item.file for item in items):
        if name not in features:
            raise CorpusError(
                f"the items name the recording {name!r}, of which there are no features. Give them for all recordings, "
                "by file names without folder and ending"
            )
    spans = [frames_of(item, frame_rate, len(features[item.file])) for item in items]
    return [item for item, (start, stop) in zip(items, spans, strict=True) if start < stop]


def score_task(
    task: AbxTask,
    features: Mapping[str, NDArray],
    frame_rate: float,
    distance: str | NDArray[np.floating] = "angular",
    *,
    num_threads: int = 1,
) -> Scores:
    """Errors of the cells of a task that was planned; parameters and errors as in `abx_error`."""
    from vqspeech.units.cells import score_cells

    warp = _Warp(task.items, features, frame_rate, distance)
    errors = np.full(len(task.cells), math.nan)
    triplets = np.zeros(len(task.cells), np.int64)
    first = 0
    for group, members in enumerate(task.groups):
        stop = int(np.searchsorted(task.group_of, group, side="right"))
        cells = task.cells[first:stop]
        pairs = pairs_of(task, group, cells)
        distances = np.full((len(members), len(members)), math.nan)
        found = warp.distances(members[pairs], num_threads)
        distances[pairs[:, 0], pairs[:, 1]] = found[:, 0]  # the row is X's item
        distances[pairs[:, 1], pairs[:, 0]] = found[:, 1]
        if task.mode == WITHIN:  # of two items of one phone the first is the row, whichever is X
            phones = np.array([task.items[member].phone for member in members])
            same = phones[pairs[:, 0]] == phones[pairs[:, 1]]
            distances[pairs[same, 1], pairs[same, 0]] = found[same, 0]
        parts = [[np.searchsorted(members, getattr(cell, part)) for cell in cells] for part in "abx"]
        score_cells(distances, *map(_flat, parts), task.mode == WITHIN, errors[first:stop], triplets[first:stop])
        first = stop
    return Scores(task, errors, triplets)


def _flat(parts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lists of places end to end, and where each begins and ends: (sum,) and (C + 1,)."""
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)])


class _Warp:
    """Distances between items, by what their frames are."""

    def __init__(
        self, items: Sequence[Item], features: Mapping[str, NDArray], frame_rate: float, distance: str | NDArray
    ) -> None:
        spans = [frames_of(item, frame_rate, len(features[item.file])) for item in items]
        lengths = np.array([stop - start for start, stop in spans], np.int64)
        if len(lengths) and lengths.min() < 1:
            raise CorpusError("an item has no frame at this rate. Leave out such items: abx.with_frames")
        self.stops = np.cumsum(lengths)
        self.starts = self.stops - lengths
        pieces = [features[item.file][start:stop] for item, (start, stop) in zip(items, spans, strict=True)]
        frames = np.concatenate(pieces) if pieces else np.zeros((0, 1))
        self.is_codes = frames.ndim == 1
        if self.is_codes:
            self.codes, self.table = _checked_codes(frames, distance)
        else:
            self.frames, self.logs, self.kind = _checked_features(frames, distance)

    def distances(self, pairs: NDArray[np.int64], num_threads: int) -> NDArray[np.float64]:
        """(P, 2): of pairs (P, 2) of items, with the first as the row and with the second."""
        from vqspeech.units import dtw

        found = np.empty((len(pairs), 2))

        def warp(start: int) -> None:
            part = slice(start, start + _AT_ONCE)
            if self.is_codes:
                dtw.warp_codes(self.codes, self.table, self.starts, self.stops, pairs[part], found[part])
            else:
                dtw.warp_features(
                    self.frames, self.logs, self.kind, self.starts, self.stops, pairs[part], found[part]
                )  # fmt: skip

        starts = range(0, len(pairs), _AT_ONCE)
        if num_threads > 1 and len(starts) > 1:
            with ThreadPoolExecutor(num_threads) as pool:
                list(pool.map(warp, starts))
        else:
            for start in starts:
                warp(start)
        return found


def _checked_codes(codes: NDArray, distance: str | NDArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if not np.issubdtype(codes.dtype, np.integer):
        raise CodesError(f"sequences of shape (N,) are codes, but these are {codes.dtype}. Give features as (N, D)")
    if not isinstance(distance, str):
        table = np.ascontiguousarray(distance, np.float64)
        is_square = table.ndim == 2 and len(table) == len(table.T)
        if not is_square or codes.min(initial=0) < 0 or codes.max(initial=0) >= len(table):
            raise CodesError(
                f"codes run from {codes.min()} to {codes.max()}, the table of distances has shape {table.shape}; "
                "expected (K, K) for codes in [0, K)"
            )
        return codes.astype(np.int64), table
    if distance != "identical":
        raise CodesError(f"codes have no distance {distance!r}: use identical, or a table such as dtw.distance_table's")
    values, codes = np.unique(codes, return_inverse=True)
    return codes.astype(np.int64), 1.0 - np.eye(max(1, len(values)))


def _checked_features(frames: NDArray, distance: str | NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    from vqspeech.units import dtw

    if not isinstance(distance, str) or distance not in DISTANCES:
        raise CorpusError(f"features have no distance {distance!r}; expected one of {', '.join(DISTANCES)}")
    frames = np.ascontiguousarray(frames, np.float64)
    if not np.isfinite(frames).all():
        raise CorpusError("the features hold values that are not finite. Make them again")
    if distance == "angular":
        return dtw.unit_length(frames), frames[:0], dtw.ANGULAR
    if distance == "euclidean":
        return frames, frames[:0], dtw.EUCLIDEAN
    if frames.min(initial=0) < 0:
        raise CorpusError("kl compares distributions, but a feature is negative. Use angular")
    return frames, dtw.log_probabilities(frames), dtw.KL


class Averages:
    """ZeroSpeech's mean over the cells of a task, again and again with other weights.

    Parameters
    ----------
    scores : Scores
    """

    def __init__(self, scores: Scores) -> None:
        cells = scores.task.cells
        self._errors = scores.errors
        self._key, keys = _numbered([(cell.phone, cell.other, cell.speaker) for cell in cells])
        self._pair, pairs = _numbered([key[:2] for key in keys])
        self._phones, names = _numbered([phone for pair in pairs for phone in pair])
        self._phones = self._phones.reshape(-1, 2)
        self._context, contexts = _numbered([cell.context for cell in cells])
        self.num_contexts, self.num_phones = len(contexts), len(names)

    def mean(self, cell_weights: NDArray | None = None, pair_weights: NDArray | None = None) -> float:
        """The error, nan where nothing has weight.

        Parameters
        ----------
        cell_weights : array, shape (C,); None: all alike
        pair_weights : array, shape (pairs,), in the order of first occurrence; likewise
        """
        if not len(self._errors):
            return math.nan
        weights = np.ones(len(self._errors)) if cell_weights is None else cell_weights
        whole = np.bincount(self._key, weights)
        by_speaker = np.bincount(self._key, weights * self._errors) / np.where(whole > 0, whole, 1)
        present = (whole > 0).astype(float)
        speakers = np.bincount(self._pair, present)
        by_pair = np.bincount(self._pair, present * by_speaker) / np.where(speakers > 0, speakers, 1)
        of_pairs = (speakers > 0) * (1.0 if pair_weights is None else pair_weights)
        return float((by_pair * of_pairs).sum() / of_pairs.sum()) if of_pairs.sum() else math.nan

    def draws(self, seed: int, times: int) -> NDArray[np.float64]:
        """Errors of `times` bootstrap resamples: contexts are drawn with replacement, or where there is one, phones.

        Drawing contexts tells how much the error hangs on what happened to be said; speakers and phones stay. A pair of
        phones counts by the product of how often each was drawn (Snijders & Borgatti 1999).
        """
        random = np.random.default_rng(seed)
        found = np.full(times, math.nan)
        for time in range(times):
            if self.num_contexts > 1:
                drawn = random.multinomial(self.num_contexts, np.full(self.num_contexts, 1 / self.num_contexts))
                found[time] = self.mean(cell_weights=drawn[self._context].astype(float))
            elif self.num_phones > 2:
                drawn = random.multinomial(self.num_phones, np.full(self.num_phones, 1 / self.num_phones))
                found[time] = self.mean(pair_weights=drawn[self._phones].prod(axis=1).astype(float))
        return found


def _numbered(names: Sequence) -> tuple[NDArray[np.int64], list]:
    """Each name's place among the distinct ones, in the order of first occurrence, and those."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], np.int64), list(places)


__all__ = [
    "ACROSS", "DISTANCES", "WITHIN", "Averages", "Cell", "Limits", "Scores", "abx_error", "plan_task", "score_task",
    "with_frames",
]  # fmt: skip
