"""The pages of a test: what is judged beside what, which of them check the listener, and each listener's own order."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field

from vqspeech.listening.design.anchors import speech_shaped_noise
from vqspeech.listening.design.items import Item, ItemSet, Wav
from vqspeech.listening.design.orders import assign_conditions, item_orders
from vqspeech.listening.key import Expected, ListeningTrial, Role, Stimulus
from vqspeech.listening.kinds.base import ATTENTION, SOURCE, Page, PageSound

CHECK_EVERY = 10  # trials for each attention check and each repeated trial
FEWEST_FOR_REPEATS = 4  # trials: with fewer a repeat would follow its original at once


@dataclass(frozen=True)
class BlindedSound:
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
class Design:
    """Sounds, trials and orders under blinded names.

    Attributes
    ----------
    groups : names of the sounds that are compared with each other
    volume : name of the sound by which listeners set their volume
    """

    sounds: dict[str, BlindedSound] = field(default_factory=dict)
    trials: dict[str, ListeningTrial] = field(default_factory=dict)
    orders: list[list[str]] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    volume: str = ""


def blind_name(letter: str) -> str:
    """A name that says nothing: a letter and twelve random hexadecimal digits, not drawn from the test's seed."""
    return letter + secrets.token_hex(6)


def design_trials(item_set: ItemSet, num_listeners: int, seed: int) -> Design:
    """One page for each item and condition that some listener is given, and each listener's pages in order.

    A listener hears a training page first, then every item once, the conditions balanced by a Latin square. Every tenth
    page is an attention check, and every tenth trial comes again after half of the test, its pair the other way round.
    """
    blinding, kind = _Blinding(item_set, seed), item_set.kind
    num = len(item_set.items)
    conditions = kind.conditions(item_set.systems)
    others = [*item_set.spare, *item_set.items]
    training = blinding.page(others[0], kind.page(conditions[-1]), "training")
    most_natural = SOURCE if SOURCE in others[0].wavs else next(iter(others[0].wavs))
    blinding.design.volume = blinding.sound(others[0], PageSound(most_natural))
    num_checks = math.ceil(num / CHECK_EVERY)
    checks = [
        blinding.page(others[(1 + n) % len(others)], kind.checks[n % len(kind.checks)], "attention", number=n)
        for n in range(num_checks)
    ]
    repeats = num_checks if num >= FEWEST_FOR_REPEATS else 0
    assigned = assign_conditions(num_listeners, num, len(conditions))
    for order, given in zip(item_orders(num_listeners, num, seed), assigned, strict=True):
        main = [blinding.page(item_set.items[item], kind.page(conditions[given[item]]), "main") for item in order]
        again = {}
        for number in range(repeats):
            place = int((number + 0.5) * (num / 2) / repeats)
            item = order[place]
            again[place + num // 2] = blinding.page(
                item_set.items[item], kind.page(kind.turned(conditions[given[item]])), "repeat", repeats=main[place]
            )
        after = {min(num - 1, int((number + 0.5) * num / num_checks)): check for number, check in enumerate(checks)}
        pages = [training]
        for place, page in enumerate(main):
            pages += [page, *[more[place] for more in (again, after) if place in more]]
        blinding.design.orders.append(pages)
    return blinding.design


class _Blinding:
    """Gives each sound and each page its name, once."""

    def __init__(self, item_set: ItemSet, seed: int) -> None:
        self.design = Design()
        self._kind, self._rate, self._seed = item_set.kind, item_set.sample_rate, seed
        self._names: dict[tuple[str, ...], str] = {}
        self._pages: dict[tuple[object, ...], str] = {}

    def page(self, item: Item, page: Page, role: Role, *, number: int = 0, repeats: str | None = None) -> str:
        """The name of a page; `number` is that of an attention check, `repeats` the page that is shown again."""
        rated = [self.sound(item, one, number) for one in page.rated]
        if self._kind.has_original:
            rated.sort()  # by their random names: the order in which they stand in the public files tells nothing
        reference = self.sound(item, page.reference, number) if page.reference else None
        known = role, tuple(rated), reference, repeats
        if known not in self._pages:
            expected = None
            if page.ratings or page.choice:
                ratings = {self.sound(item, one, number): bounds for one, bounds in page.ratings.items()}
                choice = self.sound(item, page.choice, number) if page.choice else None
                expected = Expected(ratings=ratings, choice=choice)
            name = self._pages[known] = blind_name("t")
            self.design.trials[name] = ListeningTrial(
                role=role, rated=tuple(rated), reference=reference, item=item.name, repeats=repeats, expected=expected
            )
        return self._pages[known]

    def sound(self, item: Item, sound: PageSound, number: int = 0) -> str:
        """The name of one of an item's sounds."""
        system, form = sound
        says, wav = item.name, item.plain
        variant: tuple[str, ...] = (form,) if form else ()
        if form in ("beside", "copy") and system != ATTENTION:
            says, wav = item.references[system].name, item.references[system].wav
        elif form == "noise":
            wav = speech_shaped_noise(item.plain, self._rate, self._seed + number)
        elif system != ATTENTION:
            wav = item.wavs[system]
        if form in ("copy", "noise"):
            system, variant = ATTENTION, (form, str(number))
        known = item.name, system, says, *variant
        if known not in self._names:
            name = self._names[known] = blind_name("s")
            self.design.sounds[name] = BlindedSound(system, says, wav, item)
            self.design.groups.setdefault(item.name, []).append(name)
        return self._names[known]
