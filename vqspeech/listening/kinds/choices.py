"""Kinds whose answers are choices between two sounds: "abx" and "preference"."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

from vqspeech.listening.answers import Answer
from vqspeech.listening.key import Key, ListeningTrial
from vqspeech.listening.kinds import base
from vqspeech.listening.kinds.base import CLEAN, NOISE, SOURCE, TARGET, Condition, Observation, Page, PageSound, PathOf

CHANCE = 0.5
# webMUSHRA's paired comparison shows one of its pair openly as the reference too, and asks which of A and B it is. We
# ask another question about the same A and B: the column and the question are hidden.
BLIND_PAIR = (
    "<style>#table_ab tr:nth-child(-n+2) td:first-child, #table_ab tr:nth-child(3) {display: none}</style>"
)  # fmt: skip
SPEAKERS = PageSound(SOURCE, "beside"), PageSound(TARGET, "beside")


def pair_name(first: str, second: str) -> str:
    """How a pair of systems is called whose share is that of the first."""
    return f"{first} over {second}"


def share_won(answer: Answer, name: str) -> float:
    """What a sound has of a choice: 1, 0, or half where there is no preference."""
    return CHANCE if answer.choice is None else float(answer.choice == name)


class ChoiceKind(base.Kind):
    """One of the page's two sounds, A and B, is chosen."""

    difference = 0.1

    def webmushra(self, page: dict[str, Any], key: Key, trial: ListeningTrial, path: PathOf) -> dict[str, Any]:
        """`paired_comparison`."""
        first, second = trial.rated
        if trial.reference:
            page["content"] += f'<br/>X: <audio controls src="{path(trial.reference)}"></audio>'
        page["content"] += BLIND_PAIR
        return {"type": "paired_comparison", **page, "showWaveform": False, "enableLooping": False,
                "reference": path(first), "stimuli": {second: path(second)}}  # fmt: skip

    def mistake(self, trial: ListeningTrial, answer: Answer) -> str:
        """A choice, and no ratings."""
        return f"a rating, where {self.name} asks for a choice" if answer.ratings else ""


class Abx(ChoiceKind):
    """Whose voice it is: X said by a system, A and B by the source and the target speaker."""

    name = "abx"
    title = "Who is speaking?"
    instructions = (
        "You will hear three recordings on each page: A and B are two speakers, X is one you are asked about.",
        "Decide whether the voice of X is that of A or of B. X may sound distorted, and says something else.",
    )
    question = "Whose voice is X?"
    labels = ("A", "A"), ("B", "B")
    # X is one of the two, sample by sample.
    checks = (
        Page(SPEAKERS, PageSound(TARGET, "copy"), choice=PageSound(TARGET, "beside")),
        Page(SPEAKERS, PageSound(SOURCE, "copy"), choice=PageSound(SOURCE, "beside")),
    )
    unit = "share of right answers"
    short_title = "ABX"
    axis = "right answers (%; dotted: chance)"
    folders = {SOURCE: "a real recording of the first speaker", TARGET: "one of the second"}
    example_lacks = "real recordings of the target"

    def systems(self, models: Sequence[str], converts: bool) -> tuple[str, ...]:
        """Conversions alone."""
        return tuple(models if converts else ())

    def conditions(self, systems: Sequence[str]) -> list[Condition]:
        """A system, and whether A is the source speaker or the target."""
        return [(system, first) for system in systems for first in (SOURCE, TARGET)]

    def turned(self, condition: Condition) -> Condition:
        """A and B change places."""
        return condition[0], TARGET if condition[1] == SOURCE else SOURCE

    def page(self, condition: Condition) -> Page:
        """X is the system's, and the target speaker the right answer."""
        rated = SPEAKERS if condition[1] == SOURCE else SPEAKERS[::-1]
        return Page(rated, PageSound(condition[0]), choice=PageSound(TARGET, "beside"))

    def mistake(self, trial: ListeningTrial, answer: Answer) -> str:
        """A choice has to be made."""
        return super().mistake(trial, answer) or ("no choice" if answer.choice is None else "")

    def observe(self, key: Key, trial: ListeningTrial, listener: str, answer: Answer) -> list[Observation]:
        """Whether the target was heard, by the system of X."""
        assert trial.reference is not None and trial.expected is not None, "abx has an X and a right answer"
        heard = key.stimuli[trial.reference]
        right = float(answer.choice == trial.expected.choice)
        return [Observation(heard.system, listener, trial.item, right, heard.sexes)]


class Preference(ChoiceKind):
    """Which of two systems sounds more natural."""

    name = "preference"
    title = "Which sounds more natural?"
    instructions = (
        "You will hear two recordings of the same words on each page.",
        "Choose the one that sounds more natural, as if a person were speaking.",
    )
    question = "Which recording sounds more natural?"
    labels = ("A", "A"), ("B", "B"), ("", "No preference")
    checks = Page((NOISE, CLEAN), choice=CLEAN), Page((CLEAN, NOISE), choice=CLEAN)
    unit = "share of choices won, no preference counted half"
    short_title = "Preference"
    axis = "choices won (%; dotted: chance)"
    fewest_systems = 2
    is_paired = True

    def systems(self, models: Sequence[str], converts: bool) -> tuple[str, ...]:
        """Models against each other; one alone against real speech."""
        return tuple(models) if converts and len(models) > 1 else super().systems(models, converts)

    def conditions(self, systems: Sequence[str]) -> list[Condition]:
        """Each pair in both orders."""
        return list(permutations(systems, 2))

    def turned(self, condition: Condition) -> Condition:
        """A and B change places."""
        return condition[::-1]

    def webmushra(self, page: dict[str, Any], key: Key, trial: ListeningTrial, path: PathOf) -> dict[str, Any]:
        """With "No preference" beside A and B."""
        return {**super().webmushra(page, key, trial, path), "unforced": self.labels[-1][1]}

    def observe(self, key: Key, trial: ListeningTrial, listener: str, answer: Answer) -> list[Observation]:
        """Whether the first system of the pair won; a pair of one system tells nothing."""
        first, second = sorted(trial.rated, key=lambda name: (key.stimuli[name].system, name))
        systems = key.stimuli[first].system, key.stimuli[second].system
        if systems[0] == systems[1]:
            return []
        sexes = key.stimuli[first].sexes
        return [Observation(pair_name(*systems), listener, trial.item, share_won(answer, first), sexes)]
