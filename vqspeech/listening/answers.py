"""What listeners answered: one JSON file a listener, as the page lets them download it and the server exports it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vqspeech.listening import KindName
from vqspeech.listening.key import Frozen

FORMAT = "vqspeech-listening-test-results/1"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Answer(Frozen):
    """The answer to one trial: ratings ("mos", "similarity", "mushra") or a choice ("abx", "preference")."""

    trial: Name
    ratings: dict[Name, Annotated[float, Field(ge=0, le=100)]] = {}  # stimulus -> rating
    choice: Name | None = None  # stimulus; in "preference" None says: no preference
    milliseconds: Annotated[int, Field(ge=0)] = 0  # from the page's appearance to the answer
    comment: Annotated[str, Field(max_length=1000)] = ""


class Results(Frozen):
    """All answers of one listener; listeners are random names, nothing personal."""

    format: Literal["vqspeech-listening-test-results/1"] = "vqspeech-listening-test-results/1"
    test: Name  # `Key.test`
    kind: KindName
    listener: Name
    place: Annotated[int, Field(ge=0)]  # index into `Key.orders`
    consented: bool = False
    finished: bool = False
    answers: Annotated[tuple[Answer, ...], Field(max_length=10_000)] = ()
