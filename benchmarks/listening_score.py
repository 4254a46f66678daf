"""Does `vqspeech listening-test score` tell the truth? Simulated listeners whose true scores are known.

    python benchmarks/listening_score.py --json listening_score.json

Each kind of test is simulated many times, with effects of listeners, items and their tastes, rounding and the scale's
ends (`simulated_listeners`), and scored, screening included. Measured: how far means lie from the
truth; how
often 95 % intervals cover it, those of the two textbook bootstraps beside them; how often systems that are alike are
told apart; how often a difference is found, and how often the power calculation said it would be.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from simulated_listeners import Effects, simulate, true_scores

from vqspeech.listening import KindName
from vqspeech.listening.answers import Results
from vqspeech.listening.key import Key
from vqspeech.listening.kinds import KINDS
from vqspeech.listening.scoring.comparisons import ALPHA, Comparison
from vqspeech.listening.scoring.intervals import BootstrapWeights, mean_contributions
from vqspeech.listening.scoring.observations import observe, tabulate
from vqspeech.listening.scoring.power import needed, pooled
from vqspeech.listening.scoring.score import Scores, compute
from vqspeech.listening.scoring.screening import screen

LISTENERS = 20
DRAWS, PERMUTATIONS = 500, 999


class Setting(NamedTuple):
    """One simulated test."""

    kind: KindName
    qualities: dict[str, float]
    num_items: int
    effects: Effects = Effects()


LATENT = Effects(0.3, 0.2, 0.4, 0.3, 1.0)
POINTS = Effects(8, 5, 6, 5, 10)
DIFFERENT = {
    "mos": Setting("mos", {"a": 2.5, "b": 3.2, "c": 3.2, "real": 4.5}, 20),
    "mos, 8 items": Setting("mos", {"a": 2.5, "b": 3.2, "c": 3.2, "real": 4.5}, 8),
    "similarity": Setting("similarity", {"a": 1.8, "b": 2.6, "c": 3.3}, 20, Effects(0.3, 0.25, 0.25, 0.25, 0.7)),
    "mushra": Setting("mushra", {"anchor": 25, "a": 45, "b": 60, "c": 60, "real": 94}, 8, POINTS),
    "abx": Setting("abx", {"a": 0.0, "b": 0.8, "c": 1.6}, 20, LATENT),
    "preference": Setting("preference", {"a": 0.0, "b": 0.3, "c": 1.2}, 20, LATENT),
}
ALIKE = {
    "mos": Setting("mos", dict.fromkeys("abcd", 3.2), 20),
    "mos, 8 items": Setting("mos", dict.fromkeys("abcd", 3.2), 8),
    "mos, strong tastes": Setting("mos", dict.fromkeys("abcd", 3.2), 20, Effects(0.4, 0.5, 0.3, 0.5, 0.5)),
    "mushra": Setting("mushra", dict.fromkeys("abcd", 60), 8, POINTS),
    "abx": Setting("abx", dict.fromkeys("abc", 0.0), 20, LATENT),
    "preference": Setting("preference", dict.fromkeys("abc", 0.0), 20, LATENT),
}
FINDABLE = {
    "mos": Setting("mos", {"a": 3.0, "b": 3.3}, 20),
    "abx": Setting("abx", {"a": 0.35}, 20, LATENT),
}


class Run(NamedTuple):
    """One simulated test, scored; `kept` are its listeners that were not screened out."""

    key: Key
    kept: list[Results]
    scores: Scores


def run(setting: Setting, seed: int, listeners: int = LISTENERS) -> Run:
    """Simulate one test, screen its listeners and score it."""
    key, results = simulate(
        setting.kind,
        setting.qualities,
        num_listeners=listeners,
        num_items=setting.num_items,
        effects=setting.effects,
        seed=seed,
    )
    kept = [one for one in results if screen(key, one).counts]
    return Run(key, kept, compute(key, kept, seed=seed, draws=DRAWS, permutations=PERMUTATIONS, by_sexes=False))


def textbook(scored: Run, seed: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Percentile intervals of each condition by the bootstraps of listeners alone and of listeners and items."""
    grid = tabulate(observe(scored.key, scored.kept))
    draws = BootstrapWeights(grid, seed, DRAWS)
    found: dict[str, dict[str, tuple[float, float]]] = {"pigeonhole": {}, "listeners": {}}
    for name in found:
        if name == "listeners":
            draws.items = np.ones_like(draws.items)
        for number, condition in enumerate(grid.conditions):
            weights = draws.sums(grid.counts[number])
            kept = weights > 0
            drawn = draws.sums(mean_contributions(grid, number))[kept] * grid.total(number) / weights[kept]
            low, high = grid.mean(number) + np.percentile(drawn, [2.5, 97.5])
            found[name][condition] = float(low), float(high)
    return found


def study_intervals(setting: Setting, times: int, seed: int) -> dict[str, Any]:
    """Errors of means and coverage of intervals, by condition and of differences."""
    truth = true_scores(setting.kind, setting.qualities, setting.effects)
    errors, covered, widths = defaultdict(list), defaultdict(list), defaultdict(list)
    others: dict[str, dict[str, list[bool]]] = {"listeners": defaultdict(list), "pigeonhole": defaultdict(list)}
    differences = []
    excluded = []
    for number in range(times):
        scored = run(setting, seed + number)
        excluded.append(LISTENERS - len(scored.kept))
        for one in scored.scores.pairs or scored.scores.means:
            errors[one.name].append(one.value - truth[one.name])
            covered[one.name].append(one.interval.low <= truth[one.name] <= one.interval.high)
            widths[one.name].append(one.interval.high - one.interval.low)
        for pair in scored.scores.between:
            true = truth[pair.first] - truth[pair.second]
            differences.append(pair.interval.low <= true <= pair.interval.high)
        for name, intervals in textbook(scored, seed + number).items():
            for condition, (low, high) in intervals.items():
                others[name][condition].append(low <= truth[condition] <= high)
    return {
        "truth": truth,
        "mean_error": {name: float(np.mean(values)) for name, values in errors.items()},
        "error_deviation": {name: float(np.std(values)) for name, values in errors.items()},
        "coverage": {name: float(np.mean(values)) for name, values in covered.items()},
        "width": {name: float(np.mean(values)) for name, values in widths.items()},
        "coverage_of_differences": float(np.mean(differences)) if differences else None,
        "coverage_listeners_alone": {name: float(np.mean(each)) for name, each in others["listeners"].items()},
        "coverage_pigeonhole": {name: float(np.mean(each)) for name, each in others["pigeonhole"].items()},
        "excluded_listeners": float(np.mean(excluded)),
    }


def study_errors(setting: Setting, times: int, seed: int) -> dict[str, float]:
    """How often systems that are alike are told apart, by single tests and by any of a family under Holm."""
    single, family = [], []
    for number in range(times):
        scores = run(setting, seed + number).scores
        tests = scores.to_chance or scores.between
        single += [one.p <= ALPHA for one in tests]
        family.append(any(one.is_significant for one in tests))
    return {"single": float(np.mean(single)), "family": float(np.mean(family))}


def study_power(setting: Setting, times: int, seed: int) -> dict[str, Any]:
    """How often a difference is found, before and after asking as many listeners as the calculation says."""
    truth = list(true_scores(setting.kind, setting.qualities, setting.effects).values())
    true = abs(truth[0] - (truth[1] if len(truth) > 1 else 0.5))
    found, predicted, listeners, spreads = [], [], [], []
    for number in range(times):
        test = primary(run(setting, seed + number))
        assert test.variances is not None
        need = needed(test.variances, true)
        found.append(test.p <= ALPHA)
        predicted.append(need.power)
        listeners.append(need.listeners or 10_000)
        spreads.append(test.variances)
    asked = needed(pooled(spreads), true).listeners
    again = [run(setting, seed + times + number, listeners=asked) for number in range(times)] if asked else []
    return {
        "true_difference": true,
        "found": float(np.mean(found)),
        "predicted": float(np.mean(predicted)),
        "listeners_needed": asked,  # by the mean variances of all simulated tests
        "listeners_needed_by_single_tests": np.quantile(listeners, [0.25, 0.5, 0.75]).tolist(),
        "found_with_them": float(np.mean([primary(one).p <= ALPHA for one in again])) if again else None,
    }


def primary(scored: Run) -> Comparison:
    """The only comparison of a test of power."""
    return (scored.scores.to_chance or scored.scores.between)[0]


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=500, help="simulated tests of each kind [500]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="20 simulated tests of each kind")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    gc.freeze()  # multipletests collects garbage at each call: half the time, with all that is imported looked through
    times, begun = (20 if options.quick else options.times), time.monotonic()
    figures: dict[str, Any] = {"times": times, "seed": options.seed, "listeners": LISTENERS, "draws": DRAWS,
                               "permutations": PERMUTATIONS, "intervals": {}, "errors": {}, "power": {}}  # fmt: skip
    print(
        f"{'intervals':<20}{'largest error':>15}{'coverage':>16}{'differences':>13}{'listeners alone':>18}"
        f"{'pigeonhole':>14}"
    )
    for name, setting in DIFFERENT.items():
        one = figures["intervals"][name] = study_intervals(setting, times, options.seed)
        low, high = KINDS[setting.kind].scale or (0, 1)
        span = high - low
        worst = max(map(abs, one["mean_error"].values()))
        ranges = [
            f"{min(values):.1%} - {max(values):.1%}"
            for values in (one[k].values() for k in ("coverage", "coverage_listeners_alone", "coverage_pigeonhole"))
        ]
        of_differences = one["coverage_of_differences"]
        shown = "" if of_differences is None else f"{of_differences:.1%}"
        print(
            f"{name:<20}{worst:>8.3f} ({worst / span:.1%}){ranges[0]:>17}{shown:>9}{ranges[1]:>18}{ranges[2]:>18}",
            flush=True,
        )
        keep(figures, options.json)
    print(f"\n{'systems alike':<20}{'single tests':>14}{'family (Holm)':>16}")
    for name, setting in ALIKE.items():
        error = figures["errors"][name] = study_errors(setting, times, options.seed)
        print(f"{name:<20}{error['single']:>14.1%}{error['family']:>16.1%}", flush=True)
        keep(figures, options.json)
    print(f"\n{'power':<20}{'difference':>12}{'predicted':>11}{'found':>8}{'listeners for 80 %':>20}{'found':>8}")
    for name, setting in FINDABLE.items():
        one = figures["power"][name] = study_power(setting, times, options.seed)
        again = "" if one["found_with_them"] is None else f"{one['found_with_them']:.1%}"
        print(
            f"{name:<20}{one['true_difference']:>12.2f}{one['predicted']:>11.1%}{one['found']:>8.1%}"
            f"{one['listeners_needed']!s:>20}{again:>8}",
            flush=True,
        )
        keep(figures, options.json)
    figures["wall_s"] = time.monotonic() - begun
    coverage = [value for one in figures["intervals"].values() for value in one["coverage"].values()]
    figures["headline"] = {
        "least_coverage": min(coverage),
        "most_coverage": max(coverage),
        "most_single_error": max(one["single"] for one in figures["errors"].values()),
        "most_family_error": max(one["family"] for one in figures["errors"].values()),
    }
    print(
        f"95 % intervals cover the truth in {min(coverage):.1%} to {max(coverage):.1%} of {times} simulated tests; "
        f"errors of tests at most {figures['headline']['most_single_error']:.1%}, "
        f"of families {figures['headline']['most_family_error']:.1%}"
    )
    keep(figures, options.json)
    return 0


def keep(figures: dict[str, Any], path: Path | None) -> None:
    """Write what was measured so far."""
    if path:
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
