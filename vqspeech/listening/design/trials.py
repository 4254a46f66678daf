"""The pages of a test: what is judged beside what, which of them check the listener, and each listener's own order."""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from vqspeech.listening.design.anchors import speech_shaped_noise
from vqspeech.listening.design.items import ATTENTION, SOURCE, TARGET, Item, Material, Wav
from vqspeech.listening.design.orders import assign_conditions, item_orders
from vqspeech.listening.key import Expected, Role, Stimulus, Trial

CHECK_EVERY = 10  # trials for each attention check and each repeated trial
FEWEST_FOR_REPEATS = 4  # trials: with fewer a repeat would follow its original at once

Condition = tuple[str, ...]  # systems of one page, in the order shown


@dataclass(frozen=True)
class Sound:
    """A stimulus before it has a file: what the key says of it, and its waveform (T,)."""

    system: str
    item: str
    wav: Wav
    of: Item

    def entry(self, digest: str) -> Stimulus:
        """What the key says of it."""
        return Stimulus(
            system=self.system,
            item=self.item,
            source=self.of.source,
            target=self.of.target,
            sexes=self.of.sexes,
            sha256=digest,
        )


@dataclass
class Plan:
    """Sounds, trials and orders under blinded names.

    Attributes
    ----------
    groups : names of the sounds that are compared with each other
    volume : name of the sound by which listeners set their volume
    """

    sounds: dict[str, Sound] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    orders: list[list[str]] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    volume: str = ""


def blind_name(letter: str) -> str:
    """A name that says nothing: a letter and twelve random hexadecimal digits, not drawn from the test's seed."""
    return letter + secrets.token_hex(6)


def conditions_of(material: Material) -> list[Condition]:
    """Under which conditions an item can be heard: a system, an ordered pair of systems, or all of them on one page."""
    systems = material.systems
    if material.kind == "mushra":
        return [systems]
    if material.kind == "preference":
        return list(itertools.permutations(systems, 2))
    if material.kind == "abx":  # whether the source speaker is A or B
        return [(system, first) for system in systems for first in (SOURCE, TARGET)]
    return [(system,) for system in systems]


def plan_trials(material: Material, num_listeners: int, seed: int) -> Plan:
    """One page for each item and condition that some listener is given, and each listener's pages in order.

    A listener hears a training page first, then every item once, the conditions balanced by a Latin square. Every tenth
    page is an attention check, and every tenth trial comes again after half of the test, its pair the other way round.
    """
    booth = _Booth(material)
    num = len(material.items)
    conditions = conditions_of(material)
    others = [*material.spare, *material.items]
    training = booth.page(others[0], conditions[-1], "training")
    booth.plan.volume = booth.volume(others[0])
    num_checks = math.ceil(num / CHECK_EVERY)
    checks = [booth.check(others[(1 + n) % len(others)], n, seed) for n in range(num_checks)]
    repeats = num_checks if num >= FEWEST_FOR_REPEATS else 0
    assigned = assign_conditions(num_listeners, num, len(conditions))
    for order, given in zip(item_orders(num_listeners, num, seed), assigned, strict=True):
        main = [booth.page(material.items[item], conditions[given[item]], "main") for item in order]
        again = {}
        for number in range(repeats):
            place = int((number + 0.5) * (num / 2) / repeats)
            item = order[place]
            again[place + num // 2] = booth.page(
                material.items[item], _turned(conditions[given[item]], material.kind), "repeat", repeats=main[place]
            )
        after = {min(num - 1, int((number + 0.5) * num / num_checks)): check for number, check in enumerate(checks)}
        pages = [training]
        for place, page in enumerate(main):
            pages += [page, *[more[place] for more in (again, after) if place in more]]
        booth.plan.orders.append(pages)
    return booth.plan


def _turned(condition: Condition, kind: str) -> Condition:
    if kind == "preference":
        return condition[::-1]
    if kind == "abx":
        return condition[0], TARGET if condition[1] == SOURCE else SOURCE
    return condition


class _Booth:
    """Gives each sound and each page its name, once."""

    def __init__(self, material: Material) -> None:
        self.plan = Plan()
        self._kind = material.kind
        self._rate = material.sample_rate
        self._systems = material.systems
        self._names: dict[tuple[str, ...], str] = {}
        self._pages: dict[tuple[object, ...], str] = {}

    def page(self, item: Item, condition: Condition, role: Role, repeats: str | None = None) -> str:
        """The name of the page on which an item is judged under a condition."""
        expected = None
        reference = None
        if self._kind == "abx":
            reference = self._sound(item, condition[0])
            first, second = (SOURCE, TARGET) if condition[1] == SOURCE else (TARGET, SOURCE)
            rated = [self._beside(item, first), self._beside(item, second)]
            expected = Expected(choice=self._beside(item, TARGET))
        else:
            rated = [self._sound(item, system) for system in condition]
            if self._kind == "similarity":
                reference = self._beside(item, TARGET)
            if self._kind == "mushra":
                reference = self._sound(item, SOURCE, "open")
        return self._page(role, rated, reference, item, repeats, expected)

    def volume(self, item: Item) -> str:
        """The name of the most natural form of an item."""
        return self._sound(item, SOURCE if SOURCE in item.wavs else next(iter(item.wavs)))

    def check(self, item: Item, number: int, seed: int) -> str:
        """The name of a page that an attentive listener can only answer in one way."""
        if self._kind == "mos":
            name = self._noise(item, number, seed)
            return self._page("attention", [name], None, item, None, Expected(ratings={name: (1, 2)}))
        if self._kind == "similarity":  # the reference itself
            real = item.references[TARGET]
            name = self._add(item, ATTENTION, real.name, real.wav, "copy", str(number))
            expected = Expected(ratings={name: (3, 4)})
            return self._page("attention", [name], self._beside(item, TARGET), item, None, expected)
        if self._kind == "abx":  # X is one of the two, sample by sample
            title = (TARGET, SOURCE)[number % 2]
            real = item.references[title]
            x = self._add(item, ATTENTION, real.name, real.wav, "copy", str(number))
            rated = [self._beside(item, SOURCE), self._beside(item, TARGET)]
            return self._page("attention", rated, x, item, None, Expected(choice=self._beside(item, title)))
        plain = self._add(item, ATTENTION, item.name, item.plain, "copy", str(number))
        rated = [plain, self._noise(item, number, seed)][:: 1 if number % 2 else -1]
        if self._kind == "preference":
            return self._page("attention", rated, None, item, None, Expected(choice=plain))
        expected = Expected(ratings={name: (80, 100) if name == plain else (0, 50) for name in rated})
        return self._page("attention", rated, self._sound(item, SOURCE, "open"), item, None, expected)

    def _noise(self, item: Item, number: int, seed: int) -> str:
        wav = speech_shaped_noise(item.plain, self._rate, seed + number)
        return self._add(item, ATTENTION, item.name, wav, "noise", str(number))

    def _page(
        self,
        role: Role,
        rated: Sequence[str],
        reference: str | None,
        item: Item,
        repeats: str | None,
        expected: Expected | None,
    ) -> str:
        if self._kind == "mushra":
            rated = sorted(
                rated
            )  # by their random names: the order in which they stand in the public files tells nothing
        known = role, tuple(rated), reference, repeats
        if known not in self._pages:
            name = self._pages[known] = blind_name("t")
            self.plan.trials[name] = Trial(
                role=role, rated=tuple(rated), reference=reference, item=item.name, repeats=repeats, expected=expected
            )
        return self._pages[known]

    def _sound(self, item: Item, system: str, *variant: str) -> str:
        return self._add(item, system, item.name, item.wavs[system], *variant)

    def _beside(self, item: Item, title: str) -> str:
        real = item.references[title]
        return self._add(item, title, real.name, real.wav, "beside")

    def _add(self, item: Item, system: str, says: str, wav: Wav, *variant: str) -> str:
        known = item.name, system, says, *variant
        if known not in self._names:
            name = self._names[known] = blind_name("s")
            self.plan.sounds[name] = Sound(system, says, wav, item)
            self.plan.groups.setdefault(item.name, []).append(name)
        return self._names[known]
