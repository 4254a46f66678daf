"""Simulated listeners with known true scores: to plan a test, and to prove what is computed from one.

A judgement is a latent value: the system's quality, plus effects of the listener, of the item, of the listener with
this system, of the item with this system, and noise, all normal. "mos" and "similarity" round it to a whole point of
the scale, "mushra" to a whole of 0 to 100; "abx" is right where it is above zero; "preference" compares two of them.
The truth is the expected answer over the populations of listeners and items, rounding and the scale's ends included.
"""

# K systems, L listeners, I items.
from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vqspeech.listening import KindName
from vqspeech.listening.answers import Answer, Results
from vqspeech.listening.key import Expected, Key, ListeningTrial, Role, Stimulus
from vqspeech.listening.kinds import KINDS
from vqspeech.listening.kinds.base import SOURCE, Kind
from vqspeech.listening.kinds.choices import pair_name


@dataclass(frozen=True)
class Effects:
    """Standard deviations, in points of the scale; of "abx" and "preference" in units of the latent value."""

    listener: float = 0.4
    listener_system: float = 0.25
    item: float = 0.3
    item_system: float = 0.2
    noise: float = 0.7

    @property
    def total(self) -> float:
        """Of a single judgement."""
        return math.hypot(self.listener, self.listener_system, self.item, self.item_system, self.noise)


TIE = 0.3  # latent differences below this are "no preference"


def true_scores(kind: KindName, qualities: Mapping[str, float], effects: Effects) -> dict[str, float]:
    """Expected rating, or share of right choices, of each system; of "preference" the share of each pair's first."""
    if KINDS[kind].is_paired:
        deviation = math.sqrt(2) * math.hypot(effects.listener_system, effects.item_system, effects.noise)
        return {
            pair_name(a, b): float(
                0.5 * stats.norm.sf(TIE, qualities[a] - qualities[b], deviation)
                + 0.5 * stats.norm.sf(-TIE, qualities[a] - qualities[b], deviation)
            )
            for a, b in combinations(sorted(qualities), 2)
        }
    if scale := KINDS[kind].scale:
        steps = np.arange(*scale) + 0.5
        return {
            system: float(scale[0] + stats.norm.sf(steps, quality, effects.total).sum())
            for system, quality in qualities.items()
        }
    return {system: float(stats.norm.cdf(quality / effects.total)) for system, quality in qualities.items()}


def simulate(
    kind: KindName,
    qualities: Mapping[str, float],
    *,
    num_listeners: int,
    num_items: int,
    effects: Effects,
    seed: int,
    num_repeats: int = 2,
    careless: int = 0,
) -> tuple[Key, list[Results]]:
    """A test and its results.

    "mushra" has all systems on an item's page; in "mos", "similarity" and "abx" each listener hears each item from one
    system, in "preference" from one pair, in turn (a Latin square).

    Parameters
    ----------
    qualities : latent value of each system
    careless : listeners, the first ones, who answer at random, attention checks too
    """
    random = np.random.default_rng(seed)
    systems = sorted(qualities)
    shape = len(systems), num_listeners, num_items
    latent = (
        np.array([qualities[system] for system in systems])[:, None, None]
        + random.normal(0, effects.listener, (1, num_listeners, 1))
        + random.normal(0, effects.listener_system, (len(systems), num_listeners, 1))
        + random.normal(0, effects.item, (1, 1, num_items))
        + random.normal(0, effects.item_system, (len(systems), 1, num_items))
    )
    first, again = (latent + random.normal(0, effects.noise, shape) for _ in range(2))
    key, latin = _key(KINDS[kind], systems, num_listeners, num_items, num_repeats, seed)
    results = []
    for listener, order in enumerate(key.orders):
        answers = []
        for name in order:
            trial = key.trials[name]
            if listener < careless:
                answers.append(_careless(key, name, random))
            elif trial.role == "attention":
                assert trial.expected is not None
                ratings = {stimulus: bounds[1] for stimulus, bounds in trial.expected.ratings.items()}
                answers.append(Answer(trial=name, ratings=ratings, choice=trial.expected.choice))
            else:
                heard = again if trial.role == "repeat" else first
                item, own = latin[name]
                answers.append(_attentive(key, name, heard[own, listener, item]))
        results.append(
            Results(
                test=key.test,
                kind=kind,
                listener=f"l{listener:03d}",
                place=listener,
                consented=True,
                finished=True,
                answers=tuple(answers),
            )
        )
    return key, results


def _key(
    kind: Kind, systems: list[str], num_listeners: int, num_items: int, num_repeats: int, seed: int
) -> tuple[Key, dict[str, tuple[int, list[int]]]]:
    """The test's key, and of each trial its item and the systems that are judged, by number."""
    stimuli: dict[str, Stimulus] = {}
    trials: dict[str, ListeningTrial] = {}
    latin: dict[str, tuple[int, list[int]]] = {}

    def add_stimulus(system: str, item: str) -> str:
        name = f"{system}-{item}"
        sexes = None if system in ("attention", "source", "target") else ("same" if item[-1] in "02468" else "cross")
        stimuli[name] = Stimulus(
            system=system, item=item, sexes=sexes, sha256=hashlib.sha256(name.encode()).hexdigest()
        )
        return name

    def add_trial(name: str, item: str, heard: list[str], role: Role, repeats: str | None = None) -> None:
        if SOURCE in kind.speakers:  # A and B are the speakers, X is what is judged
            rated: tuple[str, ...] = (add_stimulus("target", item), add_stimulus("source", item))
            right = Expected(choice=rated[0])
            trials[name] = ListeningTrial(
                role=role, rated=rated, reference=heard[0], item=item, repeats=repeats, expected=right
            )
            return
        expected = None
        if role == "attention":
            best = kind.scale[1] if kind.scale else 1
            expected = Expected(choice=heard[0]) if kind.is_share else Expected(ratings={heard[0]: (best * 0.9, best)})
        trials[name] = ListeningTrial(role=role, rated=tuple(heard), item=item, repeats=repeats, expected=expected)

    groups: list[list[int]] = [[number] for number in range(len(systems))]
    if kind.is_paired:
        groups = [list(pair) for pair in combinations(range(len(systems)), 2)]
    elif kind.has_original:  # all on one page
        groups = [list(range(len(systems)))]
    for item in range(num_items):
        for number, group in enumerate(groups):
            heard = [add_stimulus(systems[own], f"i{item:02d}") for own in group]
            main, repeat = (f"{prefix}{item:02d}-{number}" for prefix in "tr")
            add_trial(main, f"i{item:02d}", heard, "main")
            add_trial(repeat, f"i{item:02d}", heard, "repeat", main)
            latin[main] = latin[repeat] = item, group
    for number in range(2):
        item_name = f"check{number}"
        rated = [add_stimulus("attention", item_name)]
        if kind.is_share:
            rated.append(add_stimulus("source", item_name))
        add_trial(f"a{number}", item_name, rated, "attention")
    orders = []
    for listener in range(num_listeners):
        own = [f"{item:02d}-{(listener + item) % len(groups)}" for item in range(num_items)]
        orders.append((*(f"t{name}" for name in own), "a0", "a1", *(f"r{name}" for name in own[:num_repeats])))
    test = f"simulated-{kind.name}-{seed}"
    return Key(test=test, kind=kind.name, seed=seed, stimuli=stimuli, trials=trials, orders=tuple(orders)), latin


def _attentive(key: Key, name: str, values: NDArray[np.float64]) -> Answer:
    """The answer to a trial, from the latent values of what is judged."""
    kind, rated = KINDS[key.kind], key.trials[name].rated
    if kind.scale:
        points = np.clip(np.floor(values + 0.5), *kind.scale)
        return Answer(trial=name, ratings=dict(zip(rated, map(float, points))))
    ahead = values[0] - values[1] if kind.is_paired else values[0]
    if kind.is_paired and abs(ahead) < TIE:
        return Answer(trial=name, choice=None)
    return Answer(trial=name, choice=rated[0 if ahead > 0 else 1])


def _careless(key: Key, name: str, random: np.random.Generator) -> Answer:
    rated = key.trials[name].rated
    if scale := KINDS[key.kind].scale:
        low, high = scale
        return Answer(trial=name, ratings={stimulus: float(random.integers(low, high + 1)) for stimulus in rated})
    return Answer(trial=name, choice=rated[int(random.integers(len(rated)))])
