"""The five kinds of listening test by name; each says all that sets it apart from the others."""

from __future__ import annotations

from vqspeech.listening.answers import Answer
from vqspeech.listening.key import Key
from vqspeech.listening.kinds.base import Kind
from vqspeech.listening.kinds.choices import Abx, Preference
from vqspeech.listening.kinds.ratings import Mos, Mushra, Similarity

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Mos(), Similarity(), Abx(), Preference(), Mushra())}


def find_mistake(answer: Answer, key: Key) -> str:
    """What the test does not allow about an answer to one of its trials; "" if nothing."""
    trial = key.trials[answer.trial]
    for name in [*answer.ratings, *([answer.choice] if answer.choice is not None else [])]:
        if name not in trial.rated:
            return f"stimulus {name} is not judged there"
    return KINDS[key.kind].mistake(trial, answer)
