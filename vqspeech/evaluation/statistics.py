"""How sure a figure is: a bootstrap that draws speakers, and utterances within each.

Trials of one speaker, and of one utterance, resemble one another: an interval that took them for independent would be
too narrow. So whole speakers are drawn with replacement, then whole utterances of each (Davison & Hinkley 1997, §3.8).
"""

# R trials, S speakers, U utterances.
from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.evaluation.figures import Figure

Statistic = Callable[[NDArray[Any]], float]
Sample = tuple[Any, str, str]  # value (a number, or a row of numbers for the statistic), speaker, utterance


def ratio(values: NDArray[Any]) -> float:
    """Sum of the first column over the sum of the second: right frames over frames, of utterances (R, 2)."""
    part, whole = np.asarray(values, float).sum(0)
    return float(part / whole) if whole else math.nan


def entropy(counts: NDArray[Any]) -> float:
    """Bits a symbol, of counts (R, K) of K symbols, taken together."""
    total = counts.sum(0)
    share = total[total > 0] / total.sum()
    return float(-(share * np.log2(share)).sum())


def perplexity(counts: NDArray[Any]) -> float:
    """2 to the entropy, 1 ... K, of counts (R, K)."""
    return 2.0 ** entropy(counts)


def usage(counts: NDArray[Any]) -> float:
    """Share of the K symbols that occur, of counts (R, K)."""
    return float((counts.sum(0) > 0).mean())


STATISTICS: dict[str, Statistic] = {
    "mean": np.mean,
    "median": np.median,
    "ratio": ratio,
    "perplexity": perplexity,
    "usage": usage,
}


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
    return _interval(drawn + (statistic(values) - np.nanmean(drawn)) if centred else drawn)


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
) -> Figure:
    """A figure with its interval, from per-trial values.

    Trials whose value is not finite are left out, and the note says how many.

    Parameters
    ----------
    samples : (value, speaker, utterance) of each trial
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
    return Figure(
        name,
        value,
        low,
        high,
        unit,
        len(whole),
        higher_is_better,
        tuple(controls),
        note,
        tuple(whole),
        is_ceiling,
        statistic if isinstance(statistic, str) else next((k for k, f in STATISTICS.items() if f is statistic), ""),
    )


def paired(a: Figure, b: Figure, seed: int, times: int = 1000) -> Figure:
    """The difference a - b on the trials that both have; its interval draws the same trials for both.

    Where they have none in common, or no statistic with a name, it is the difference of their values, without interval.
    Trials are the same where speaker and utterance are; several of one utterance are matched in their order.
    """
    name = f"{a.name}: difference"
    mine, theirs = _by_trial(a), _by_trial(b)
    shared = [key for key in mine if key in theirs]
    function = STATISTICS.get(a.statistic)
    if not shared or function is None or a.statistic != b.statistic:
        value = a.value - b.value if a.is_measured and b.is_measured else math.nan
        note = "no paired interval" if math.isfinite(value) else "not measured for both"
        return Figure(name, value, unit=a.unit, higher_is_better=a.higher_is_better, note=note)
    here, there = (np.array([own[key] for key in shared]) for own in (mine, theirs))
    speakers, utterances = [key[0] for key in shared], [key[1] for key in shared]
    value = float(function(here)) - float(function(there))
    low = high = math.nan
    if len({key[:2] for key in shared}) >= 2:
        draws = resamples(speakers, utterances, seed=seed, times=times)
        low, high = _interval(np.array([function(here[chosen]) - function(there[chosen]) for chosen in draws]))
    return Figure(name, value, low, high, a.unit, len(shared), a.higher_is_better)


def _by_trial(figure: Figure) -> dict[tuple[str, str, int], Any]:
    seen: dict[tuple[str, str], int] = defaultdict(int)
    found = {}
    for value, speaker, utterance in figure.samples:
        found[speaker, utterance, seen[speaker, utterance]] = value
        seen[speaker, utterance] += 1
    return found


def _interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
