"""Kinds whose answers are ratings: "mos", "similarity" and "mushra"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from vqspeech.listening.answers import Answer
from vqspeech.listening.key import Key, ListeningTrial
from vqspeech.listening.kinds import base
from vqspeech.listening.kinds.base import CLEAN, NOISE, SOURCE, TARGET, Condition, Observation, Page, PageSound, PathOf


class RatingKind(base.Kind):
    """Each of the page's sounds is rated on a scale."""

    scale: ClassVar[tuple[int, int]]
    decimals = 2
    difference = 0.3

    def webmushra(self, page: dict[str, Any], key: Key, trial: ListeningTrial, path: PathOf) -> dict[str, Any]:
        """One sound and a few labelled values: `likert_single_stimulus`."""
        if trial.reference:
            page["content"] += f'<br/>1: <audio controls src="{path(trial.reference)}"></audio> 2: play below'
        return {"type": "likert_single_stimulus", **page, "mustRate": True, "mustPlayback": "ended",
                "stimuli": {trial.rated[0]: path(trial.rated[0])},
                "response": [{"value": int(value), "label": words} for value, words in self.labels[::-1]]}  # fmt: skip

    def mistake(self, trial: ListeningTrial, answer: Answer) -> str:
        """Ratings of all sounds, within the scale."""
        if answer.choice is not None:
            return f"a choice, where {self.name} asks for ratings"
        if missing := sorted(set(trial.rated) - set(answer.ratings)):
            return f"stimulus {missing[0]} has no rating"
        low, high = self.scale
        for name, rating in answer.ratings.items():
            if not low <= rating <= high:
                return f"the rating of {name} is {rating:g}, outside {low} to {high}"
        return ""

    def observe(self, key: Key, trial: ListeningTrial, listener: str, answer: Answer) -> list[Observation]:
        """Each rating, by system."""
        judged = [(key.stimuli[name], float(rating)) for name, rating in answer.ratings.items()]
        return [Observation(one.system, listener, one.item, rating, one.sexes) for one, rating in judged]


class Mos(RatingKind):
    """How natural it sounds, on the scale of absolute category rating, ITU-T P.800 and P.808."""

    name = "mos"
    title = "How natural does it sound?"
    instructions = (
        "You will hear short recordings of speech. Some were spoken by people, some were made by a computer.",
        "Rate how natural each one sounds, as if a person were speaking. What is said does not matter.",
    )
    question = "How natural is this recording?"
    labels = ("5", "Excellent"), ("4", "Good"), ("3", "Fair"), ("2", "Poor"), ("1", "Bad")
    checks = (Page((NOISE,), ratings={NOISE: (1, 2)}),)
    scale = 1, 5
    unit = "mean opinion score, 1 to 5"
    short_title = "Naturalness"
    axis = "mean opinion score"


class Similarity(RatingKind):
    """Whether it is the same speaker as in a real recording, on the scale of the Voice Conversion Challenges."""

    name = "similarity"
    title = "Is it the same speaker?"
    instructions = (
        "You will hear two recordings on each page. They say different things, and one may sound distorted.",
        "Decide whether both could have been spoken by the same person. Try to listen beyond the distortion.",
    )
    question = "Could recordings 1 and 2 have been spoken by the same person?"
    labels = (
        ("4", "Same, absolutely sure"),
        ("3", "Same, not sure"),
        ("2", "Different, not sure"),
        ("1", "Different, absolutely sure"),
    )
    # The real recording has the same speaker as itself.
    checks = (Page((PageSound(TARGET, "copy"),), PageSound(TARGET, "beside"), {PageSound(TARGET, "copy"): (3, 4)}),)
    scale = 1, 4
    unit = "mean similarity, 1 to 4"
    short_title = "Speaker similarity"
    axis = "similarity (1 to 4)"
    folders = {TARGET: "a real recording of the speaker that each sound should be"}
    example_lacks = "real recordings of the target"

    def systems(self, models: Sequence[str], converts: bool) -> tuple[str, ...]:
        """Real speech of both speakers stands at the two ends of the scale."""
        return (TARGET, SOURCE, *(models if converts else ()))


class Mushra(RatingKind):
    """How close it is to the original, on the continuous quality scale of ITU-R BS.1534."""

    name = "mushra"
    title = "How close is it to the reference?"
    instructions = (
        "On each page you will hear a reference and several versions of it. One version is the reference itself.",
        "Rate the quality of each version compared with the reference, from 0 to 100. Give 100 to the one that "
        "you think is the reference itself. Listen as often as you like before you go on.",
    )
    question = "How good is each version, compared with the reference?"
    labels = ("100", "Excellent"), ("80", "Good"), ("60", "Fair"), ("40", "Poor"), ("20", "Bad")
    checks = (
        Page((NOISE, CLEAN), PageSound(SOURCE, "open"), {NOISE: (0, 50), CLEAN: (80, 100)}),
        Page((CLEAN, NOISE), PageSound(SOURCE, "open"), {CLEAN: (80, 100), NOISE: (0, 50)}),
    )
    scale = 0, 100
    unit = "mean rating, 0 to 100"
    short_title = "MUSHRA"
    axis = "rating"
    decimals = 1
    difference = 5.0
    folders = {base.REFERENCE: "the real recording that each sound is compared with"}
    example_lacks = "reconstructions, of speakers whom the model knows"
    has_original = True
    answer_choices = "0-100"

    def systems(self, models: Sequence[str], converts: bool) -> tuple[str, ...]:
        """Models speak in the speaker's own voice; the original is among the rated sounds."""
        return (SOURCE, *(models if len(models) > 1 else [base.RECONSTRUCTION]))

    def conditions(self, systems: Sequence[str]) -> list[Condition]:
        """All systems stand on one page."""
        return [tuple(systems)]

    def webmushra(self, page: dict[str, Any], key: Key, trial: ListeningTrial, path: PathOf) -> dict[str, Any]:
        """`mushra`; webMUSHRA adds the hidden reference itself, and calls it "reference" in its results."""
        assert trial.reference
        hidden = self.hidden_originals(key, trial)
        return {"type": "mushra", **page, "showWaveform": False, "enableLooping": True, "strict": False,
                "reference": path(trial.reference), "createAnchor35": False, "createAnchor70": False,
                "randomize": True, "showConditionNames": False,
                "stimuli": {one: path(one) for one in trial.rated if one not in hidden}}  # fmt: skip

    def hidden_originals(self, key: Key, trial: ListeningTrial) -> list[str]:
        """The same sound as the open one; where none is, sample by sample, what the same system made."""
        if trial.reference is None:
            return []
        shown = key.stimuli[trial.reference]
        same = [name for name in trial.rated if key.stimuli[name].sha256 == shown.sha256]
        return same or [name for name in trial.rated if key.stimuli[name].system == shown.system]
