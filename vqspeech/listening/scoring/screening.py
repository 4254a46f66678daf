"""Which listeners count: attention checks, repeated trials, hidden references, enough answers, and why."""

from __future__ import annotations

from dataclasses import dataclass

from vqspeech.listening.answers import Answer, Results
from vqspeech.listening.key import Expected, Key
from vqspeech.listening.kinds import KINDS

MOST_MISSED = 0.25  # of the attention checks
LEAST_ANSWERED = 0.5  # of the main trials of the listener's order
HIDDEN_REFERENCE = 90.0  # [BS.1534-3 §4.1.2]: rated below this ...
MOST_BELOW = 0.15  # ... for more than this share of the items
# Repeated ratings may differ by this share of the scale on average, and by more where few were repeated: such a mean
# tells little. Who answers at random differs by 0.4 of a scale of five, and by a third of a continuous one.
INCONSISTENT, INCONSISTENT_ONCE = 0.3, 0.2
MOST_CHANGED, LEAST_REPEATED = 0.75, 3  # of choices: honest listeners change those of what they cannot hear


@dataclass(frozen=True)
class Verdict:
    """One listener, and why the answers do not count; without reasons they do."""

    listener: str
    answered: int  # main trials
    asked: int  # main trials of the listener's order
    finished: bool
    reasons: tuple[str, ...]

    @property
    def counts(self) -> bool:
        """Whether the answers are kept."""
        return not self.reasons


def screen(key: Key, results: Results) -> Verdict:
    """Judge one listener by the rules above."""
    answers = {answer.trial: answer for answer in results.answers}
    asked = {name for name in key.orders[results.place] if key.trials[name].role == "main"}
    answered = {name for name in answers if key.trials[name].role == "main"}
    reasons = [_attention(key, answers), _repeats(key, answers), _hidden_reference(key, answers)]
    if not answered or len(answered) < LEAST_ANSWERED * len(asked):
        reasons.append(f"too few answers: {len(answered)} of {len(asked)} trials" + (
            "" if results.finished else ", unfinished"))  # fmt: skip
    return Verdict(
        results.listener, len(answered), len(asked), results.finished, tuple(reason for reason in reasons if reason)
    )


def is_expected(answer: Answer, expected: Expected) -> bool:
    """Whether an attentive listener may answer so."""
    if expected.choice is not None and answer.choice != expected.choice:
        return False
    return all(low <= answer.ratings.get(name, -1.0) <= high for name, (low, high) in expected.ratings.items())


def _attention(key: Key, answers: dict[str, Answer]) -> str:
    checks = [
        is_expected(answer, trial.expected)
        for name, answer in answers.items()
        if (trial := key.trials[name]).role == "attention" and trial.expected is not None
    ]
    missed = checks.count(False)
    return f"attention checks missed: {missed} of {len(checks)}" if missed > MOST_MISSED * len(checks) else ""


def _repeats(key: Key, answers: dict[str, Answer]) -> str:
    pairs = [
        (answers[trial.repeats], answer)
        for name, answer in answers.items()
        if (trial := key.trials[name]).role == "repeat" and trial.repeats in answers
    ]
    if not pairs:
        return ""
    if scale := KINDS[key.kind].scale:
        differences = [
            abs(again.ratings[name] - rating)
            for first, again in pairs
            for name, rating in first.ratings.items()
            if name in again.ratings
        ]
        if not differences:
            return ""
        mean = sum(differences) / len(differences)
        limit = (scale[1] - scale[0]) * (INCONSISTENT + INCONSISTENT_ONCE / len(differences))
        if mean <= limit:
            return ""
        return (
            f"inconsistent repeats: {len(differences)} ratings differ by {mean:.1f} on average, more than {limit:.1f}"
        )
    changed = sum(first.choice != again.choice for first, again in pairs)
    if len(pairs) < LEAST_REPEATED or changed <= MOST_CHANGED * len(pairs):
        return ""
    return f"inconsistent repeats: {changed} of {len(pairs)} choices changed"


def _hidden_reference(key: Key, answers: dict[str, Answer]) -> str:
    ratings = [
        answer.ratings[name]
        for trial, answer in ((key.trials[name], answer) for name, answer in answers.items())
        if trial.role == "main"
        for name in KINDS[key.kind].hidden_originals(key, trial)
    ]
    below = sum(rating < HIDDEN_REFERENCE for rating in ratings)
    if below <= MOST_BELOW * len(ratings):
        return ""
    return f"hidden reference rated below {HIDDEN_REFERENCE:.0f} for {below} of {len(ratings)} items (BS.1534-3)"
