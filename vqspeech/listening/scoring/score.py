"""`vqspeech listening-test score`: from result files to scores, with all that was decided on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vqspeech.errors import DependencyError, ListeningTestError
from vqspeech.listening.answers import Results
from vqspeech.listening.key import Key
from vqspeech.listening.kinds import KINDS
from vqspeech.listening.kinds.base import Observation
from vqspeech.listening.scoring.comparisons import ALPHA, PERMUTATIONS, Comparison, compare_pairs, compare_to_chance
from vqspeech.listening.scoring.intervals import DRAWS, BootstrapWeights, Interval, mean_interval, share_interval
from vqspeech.listening.scoring.observations import Grid, observe, observe_wins, tabulate
from vqspeech.listening.scoring.power import Need, needed, pooled
from vqspeech.listening.scoring.reading import read_returned
from vqspeech.listening.scoring.screening import Verdict, screen


@dataclass(frozen=True)
class Score:
    """The mean of one system, or pair of systems ("a over b"): a rating, or a share of 0 to 1.

    `by_listener` are the means of single listeners, by name.
    """

    name: str
    value: float
    interval: Interval
    judgements: int
    listeners: int
    items: int
    by_listener: dict[str, float] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Scores:
    """All that one set of listeners says.

    Attributes
    ----------
    means : by system, best first
    pairs : "preference": by pair of systems, share of the first
    by_sexes : "same" and "cross": means of conversions within a sex and across
    to_chance : shares against one half; of ratings empty
    between : all pairs of systems; of "preference" empty
    """

    means: tuple[Score, ...]
    pairs: tuple[Score, ...]
    by_sexes: dict[str, tuple[Score, ...]]
    to_chance: tuple[Comparison, ...]
    between: tuple[Comparison, ...]


@dataclass(frozen=True)
class ListeningScore:
    """A scored listening test.

    `screened` counts the listeners whose `verdicts` have no reasons against them, `unscreened` all. `need` says what
    would find `difference`; None where nothing is known of the variance.
    """

    key: Key
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    screened: Scores
    unscreened: Scores
    difference: float
    need: Need | None
    seed: int

    @property
    def kept(self) -> int:
        """Listeners that count."""
        return sum(verdict.counts for verdict in self.verdicts)


def score_files(
    sources: Sequence[Path], key_path: Path | None = None, *, seed: int = 0, difference: float | None = None
) -> ListeningScore:
    """Read results, screen listeners, score systems.

    Raises
    ------
    ListeningTestError
        If the files are not those of one test (see `read_returned`), or no listener is left.
    DependencyError
        If statsmodels is not installed.
    """
    try:
        import statsmodels  # noqa: F401
    except ImportError:
        raise DependencyError("scoring needs statsmodels. Install it with: pip install 'vqspeech[listening]'") from None
    returned = read_returned(sources, key_path)
    return score(returned.key, returned.results, notes=returned.notes, seed=seed, difference=difference)


def score(
    key: Key,
    results: Sequence[Results],
    *,
    notes: Sequence[str] = (),
    seed: int = 0,
    difference: float | None = None,
    draws: int = DRAWS,
    permutations: int = PERMUTATIONS,
) -> ListeningScore:
    """Score results that belong to the key.

    Parameters
    ----------
    difference : between two systems, or to chance, that the test should be able to find [that of the kind]
    """
    verdicts = tuple(screen(key, one) for one in results)
    kept = [one for one, verdict in zip(results, verdicts) if verdict.counts]
    if not kept:
        why = "; ".join(f"{verdict.listener}: {', '.join(verdict.reasons)}" for verdict in verdicts[:5])
        more = f"; and {len(verdicts) - 5} more" if len(verdicts) > 5 else ""
        raise ListeningTestError(
            f"all {len(verdicts)} listeners were screened out ({why}{more}). Nothing can be scored: ask more listeners"
        )
    screened = compute(key, kept, seed=seed, draws=draws, permutations=permutations)
    unscreened = screened
    if len(kept) < len(results):
        unscreened = compute(key, results, seed=seed, draws=draws, permutations=permutations)
    difference = KINDS[key.kind].difference if difference is None else difference
    return ListeningScore(
        key,
        verdicts,
        (*notes, *_warnings(screened, kept)),
        screened,
        unscreened,
        difference,
        need_for(screened, difference),
        seed,
    )


def need_for(scores: Scores, difference: float) -> Need | None:
    """What the difference needs, by the variances of all comparisons together: those of one alone are too uncertain."""
    asked = scores.to_chance or scores.between
    known = [one.variances for one in asked if one.variances is not None]
    if not known:
        return None
    together = pooled(known)
    return needed(together, difference, ALPHA / len(asked)) if together.variance > 0 else None


def compute(
    key: Key,
    results: Sequence[Results],
    *,
    seed: int,
    draws: int = DRAWS,
    permutations: int = PERMUTATIONS,
    by_sexes: bool = True,
) -> Scores:
    """The scores that these listeners give, whoever they are."""
    observations = observe(key, results)
    if not observations:
        raise ListeningTestError(
            f"the answers of {len(results)} listeners judge no system: the test has no trials that compare any. "
            "Check that the key is the one of the test"
        )
    grid = tabulate(observations)
    kind = KINDS[key.kind]
    weights = BootstrapWeights(grid, seed, draws)
    primary = _means(grid, weights, kind.is_share)
    to_chance: list[Comparison] = []
    between: list[Comparison] = []
    if kind.is_share:
        intervals = [share_interval(grid, number) for number in range(len(grid.conditions))]
        to_chance = compare_to_chance(grid, intervals, seed=seed, times=permutations)
    means, by_system = primary, observations
    pairs: tuple[Score, ...] = ()
    if kind.is_paired:
        by_system = observe_wins(key, results)
        wins = tabulate(by_system)
        means, pairs = _means(wins, BootstrapWeights(wins, seed, draws), True), primary
    else:
        between = compare_pairs(observations, grid, weights, seed=seed, times=permutations, shares=kind.is_share)
    parts = _by_sexes(by_system, seed, draws, kind.is_share) if by_sexes else {}
    return Scores(means, pairs, parts, tuple(to_chance), tuple(between))


def _by_sexes(observations: list[Observation], seed: int, draws: int, is_share: bool) -> dict[str, tuple[Score, ...]]:
    found = {}
    for sexes in ("same", "cross"):
        part = [one for one in observations if one.sexes == sexes]
        if part:
            grid = tabulate(part)
            found[sexes] = _means(grid, BootstrapWeights(grid, seed, draws), is_share)
    return found


def _means(grid: Grid, draws: BootstrapWeights, is_share: bool) -> tuple[Score, ...]:
    found = []
    for number, name in enumerate(grid.conditions):
        interval = share_interval(grid, number) if is_share else mean_interval(grid, number, draws)
        sums, counts = grid.sums[number], grid.counts[number]
        own = counts.sum(1) > 0
        by_listener = {
            grid.listeners[listener]: float(sums[listener].sum() / counts[listener].sum())
            for listener in own.nonzero()[0]
        }
        items = int((counts.sum(0) > 0).sum())
        found.append(Score(name, grid.mean(number), interval, grid.total(number), len(by_listener), items, by_listener))
    return tuple(sorted(found, key=lambda one: (-one.value, one.name)))


def _warnings(scores: Scores, kept: Sequence[Results]) -> list[str]:
    """What a reader of the scores has to know."""
    shown = scores.pairs or scores.means
    found = []
    if len(kept) == 1:
        found.append("one listener: no intervals and no tests; the scores speak of this listener alone")
    if all(one.items == 1 for one in shown):
        found.append("one item: no intervals and no tests; the scores speak of this item alone")
    for comparisons in (scores.to_chance, scores.between):
        sizes = [one.variances.num_listeners for one in comparisons if one.variances is not None]
        # The least p-value of n sign flips is 2 / 2^n, and Holm's first step multiplies it by the number of tests.
        enough = math.ceil(math.log2(2 * len(comparisons) / ALPHA)) if comparisons else 0
        if sizes and min(sizes) < enough:
            found.append(
                f"{min(sizes)} listeners are too few for {len(comparisons)} tests to reach p = {ALPHA:g} under Holm's "
                f"correction: ask at least {enough}"
            )
    for one in shown:
        if not math.isfinite(one.interval.low) and one.listeners > 1 and one.items > 1:
            found.append(f"{one.name}: no interval, all its ratings are alike")
    unfinished = [one.listener for one in kept if not one.finished]
    if unfinished:
        found.append(f"unfinished, but with enough answers: {', '.join(unfinished)}")
    return found
