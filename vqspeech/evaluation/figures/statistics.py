"""How sure a figure is: a bootstrap that draws speakers, and utterances within each.

Trials of one speaker, and of one utterance, resemble one another: an interval that took them for independent would be
too narrow. So whole speakers are drawn with replacement, then whole utterances of each (Davison & Hinkley 1997, §3.8).
"""

# R trials, S speakers, U utterances.
from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.evaluation.figures.types import Figure
from vqspeech.units.quality import entropy
from vqspeech.units.segmentation import Boundaries

Statistic = Callable[[NDArray[Any]], float]
# Value (a number, or a row of numbers for the statistic), speaker, utterance; and what tells the trials of an utterance
# apart where it has several, such as the target. Two models are compared on trials of the same names.
Sample = tuple[Any, str, str] | tuple[Any, str, str, str]


def ratio(values: NDArray[Any]) -> float:
    """Sum of the first column over the sum of the second: right frames over frames, of utterances (R, 2)."""
    part, whole = np.asarray(values, float).sum(0)
    return float(part / whole) if whole else math.nan


def perplexity(counts: NDArray[Any]) -> float:
    """2 to the entropy, 1 ... K, of counts (R, K)."""
    return 2.0 ** entropy(counts.sum(0))


def usage(counts: NDArray[Any]) -> float:
    """Share of the K symbols that occur, of counts (R, K)."""
    return float((counts.sum(0) > 0).mean())


def bit_rate(rows: NDArray[Any]) -> float:
    """Entropy of counts in bits a second, of rows (codes a second, counts of K symbols): shape (R, 1 + K)."""
    return float(rows[0, 0]) * entropy(rows[:, 1:].sum(0))


def equal_error_rate(genuine: NDArray[np.floating], impostor: NDArray[np.floating]) -> float:
    """Where as many genuine trials are refused as impostors are accepted, for scores that are higher for genuine ones.

    Between two thresholds the rates are joined by straight lines, and their crossing is taken.

    Returns
    -------
    rate : in [0, 1], 0.5 where the two cannot be told apart, more where impostors score higher; nan without trials

    Examples
    --------
    >>> equal_error_rate(np.array([0.9, 0.8, 0.4]), np.array([0.5, 0.3, 0.2]))
    0.3333333333333333
    """
    if not len(genuine) or not len(impostor):
        return math.nan
    thresholds = np.concatenate([np.unique(np.concatenate([genuine, impostor])), [np.inf]])
    refused = np.searchsorted(np.sort(genuine), thresholds, side="left") / len(genuine)  # genuine below, rising
    accepted = 1 - np.searchsorted(np.sort(impostor), thresholds, side="left") / len(impostor)  # falling
    gap = refused - accepted  # from -1 to 1
    after = int(np.argmax(gap >= 0))
    if gap[after] == 0 or after == 0:
        return float(refused[after])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(refused[after - 1] + share * (refused[after] - refused[after - 1]))


def error_rate(rows: NDArray[Any]) -> float:
    """Equal error rate of rows (score, 1 for a genuine trial and 0 for an impostor): shape (R, 2)."""
    return equal_error_rate(rows[rows[:, 1] == 1, 0], rows[rows[:, 1] == 0, 0])


def r_value(rows: NDArray[Any]) -> float:
    """R-value of boundaries, of rows (hits, found, true): shape (R, 3)."""
    return Boundaries(*map(int, np.asarray(rows).sum(0))).r_value


STATISTICS: dict[str, Statistic] = {
    "mean": np.mean,
    "median": np.median,
    "ratio": ratio,
    "perplexity": perplexity,
    "usage": usage,
    "bit rate": bit_rate,
    "equal error rate": error_rate,
    "R-value": r_value,
}
# Lower in any resample than in the whole, since a resample has fewer kinds: their intervals are centred.
LOWERED = ("perplexity", "usage", "bit rate")
COUNTS_TIMES = 200  # resamples of tables of counts, which take time to add up


def bootstrap(
    values: ArrayLike,
    speakers: Sequence[Hashable],
    utterances: Sequence[Hashable],
    statistic: Statistic = np.mean,
    *,
    seed: int,
    times: int = 1000,
    centred: bool = False,
) -> tuple[float, float]:
    """95 % percentile interval of a statistic, clustered by utterance within speaker.

    Parameters
    ----------
    values : one number, or one row of numbers, a trial: shape (R,) or (R, ...)
    speakers, utterances : of each trial; trials of one utterance are drawn together
    statistic : function of such an array of values
    seed : of the draws
    times : resamples
    centred : move the interval so that its resamples' mean is the value: for statistics that are lower in any
        resample than in the whole, such as an entropy or a number of kinds

    Returns
    -------
    low, high : nan where there are fewer than two utterances, or the statistic has no value
    """
    values = np.asarray(values)
    if len({*zip(speakers, utterances, strict=True)}) < 2:
        return math.nan, math.nan
    drawn = np.array([statistic(values[chosen]) for chosen in resamples(speakers, utterances, seed=seed, times=times)])
    return interval(drawn + (statistic(values) - np.nanmean(drawn)) if centred else drawn)


def resamples(
    speakers: Sequence[Hashable], utterances: Sequence[Hashable], *, seed: int, times: int = 1000
) -> Iterator[NDArray[np.int64]]:
    """Draws of trials: positions (about R,), speakers first, then as many utterances of each as it has."""
    groups: dict[Hashable, dict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
    for trial, (speaker, utterance) in enumerate(zip(speakers, utterances, strict=True)):
        groups[speaker][utterance].append(trial)
    # Flat arrays, so that a draw is a few indexings: speakers own runs of utterances, which own runs of trials.
    num_utterances = np.array([len(own) for own in groups.values()])
    first_utterance = np.cumsum(num_utterances) - num_utterances
    runs = [trials for own in groups.values() for trials in own.values()]
    num_trials = np.array([len(trials) for trials in runs])
    first_trial = np.cumsum(num_trials) - num_trials
    trials_in_order = np.concatenate([np.array(trials, np.int64) for trials in runs]) if runs else np.zeros(0, np.int64)
    generator = np.random.default_rng(seed)
    for _ in range(times):
        drawn = generator.integers(len(groups), size=len(groups))
        share = generator.random(int(num_utterances[drawn].sum()))
        owner = np.repeat(drawn, num_utterances[drawn])
        utterance = first_utterance[owner] + (share * num_utterances[owner]).astype(np.int64)
        lengths = num_trials[utterance]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        yield trials_in_order[np.repeat(first_trial[utterance], lengths) + within]


def figure(
    name: str,
    samples: Sequence[Sample],
    *,
    seed: int,
    unit: str = "",
    statistic: str | Statistic = "mean",
    higher_is_better: bool | None = None,
    controls: Sequence[Figure] = (),
    note: str = "",
    is_ceiling: bool = False,
    times: int = 1000,
    centred: bool = False,
    basis: str = "",
) -> Figure:
    """A figure with its interval, from per-trial values.

    Trials whose value is not finite are left out, and the note says how many.

    Parameters
    ----------
    samples : (value, speaker, utterance) of each trial, or (value, speaker, utterance, trial)
    basis : see `Figure`
    statistic : a name in `STATISTICS`, or a function of the values (R,) or (R, ...); only named ones can be paired
    centred : see `bootstrap`
    """
    function = STATISTICS[statistic] if isinstance(statistic, str) else statistic
    whole = [sample for sample in samples if np.isfinite(np.asarray(sample[0], float)).all()]
    lost = len(samples) - len(whole)
    if lost:
        note = "; ".join(filter(None, [note, f"{lost} of {len(samples)} trials could not be measured"]))
    elif not samples:
        note = note or "no trials"
    value, low, high = math.nan, math.nan, math.nan
    if whole:
        values = np.array([sample[0] for sample in whole])
        value = float(function(values))
        speakers, utterances = [sample[1] for sample in whole], [sample[2] for sample in whole]
        if math.isfinite(value):
            low, high = bootstrap(values, speakers, utterances, function, seed=seed, times=times, centred=centred)
    named = statistic if isinstance(statistic, str) else next((k for k, f in STATISTICS.items() if f is statistic), "")
    return Figure(
        name, value, low, high, unit, len(whole), higher_is_better, tuple(controls), note, tuple(whole), is_ceiling,
        named, basis,
    )  # fmt: skip


def figure_of_counts(
    name: str,
    counts: NDArray[np.int64],
    statistic: Statistic,
    speakers: Sequence[str],
    utterances: Sequence[str],
    *,
    seed: int,
) -> Figure:
    """A figure in [0, 1] of the sum of counts, the higher the better, with an interval over utterances within speakers.

    Parameters
    ----------
    counts : shape (U, ...), of each utterance
    statistic : function of their sum
    """
    value = statistic(counts.sum(0))
    flat = counts.reshape(len(counts), -1).astype(np.float32)
    low = high = math.nan
    draws: list[float] = []
    if len(counts) > 1:
        for chosen in resamples(speakers, utterances, seed=seed, times=COUNTS_TIMES):
            times = np.bincount(chosen, minlength=len(counts)).astype(np.float32)
            draws.append(statistic((times @ flat).reshape(counts.shape[1:])))
    kept = tuple(draws) if np.isfinite(draws).all() else ()  # what JSON can hold
    if np.isfinite(draws).any():
        # Utterances drawn twice look like information: the draws lie too high by that bias, so they are centred anew.
        low, high = np.clip(np.array(interval(np.array(draws))) - np.nanmean(draws) + value, 0, 1).tolist()
    drawn = hashlib.sha256(repr((speakers, utterances, seed, COUNTS_TIMES)).encode()).hexdigest()
    return Figure(
        name, value, low, high, count=len(counts), higher_is_better=True, statistic="", draws=kept, drawn=drawn
    )


def interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic's draws, those without a value left out; nan where none has one."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
