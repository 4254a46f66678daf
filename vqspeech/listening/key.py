"""The key of a listening test: what stands behind its blinded names. It lies beside the test's folder, never in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vqspeech.errors import ListeningTestError
from vqspeech.files import write_whole
from vqspeech.listening import KindName

KEY_SUFFIX = ".key.json"
Role = Literal["main", "training", "attention", "repeat"]


class Frozen(BaseModel):
    """What is read from a file, whole and with nothing more."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Stimulus(Frozen):
    """One sound of the test.

    `system` says what made it: real recordings ("source", "target"), "reconstruction", a model's name, "anchor-..."
    or "attention". Listeners and items are the units of the statistics.
    """

    system: str
    item: str  # the utterance, or the joined utterances, that it says
    source: str | None = None  # speaker who spoke the item
    target: str | None = None  # speaker whose voice it should have
    sexes: str | None = None  # "same", "cross", or None where it is not known
    sha256: str


class Expected(Frozen):
    """What an attentive listener answers: ratings of a stimulus within a range, or a choice."""

    ratings: dict[str, tuple[float, float]] = {}  # stimulus -> lowest and highest acceptable rating
    choice: str | None = None  # stimulus


class ListeningTrial(Frozen):
    """One page of the test.

    `rated` are the stimuli that are judged: one in "mos"; the judged one in "similarity", whose `reference` is the real
    recording beside it; A and B in "abx" (`reference` is X) and "preference"; all of the page in "mushra", whose
    `reference` is the open one.
    """

    role: Role = "main"
    rated: Annotated[tuple[str, ...], Field(min_length=1)]
    reference: str | None = None
    item: str
    repeats: str | None = None  # the trial that a "repeat" shows again
    expected: Expected | None = None  # "attention" has it, and "abx": the choice that is the target speaker


class Key(Frozen):
    """Everything that is hidden from listeners."""

    format: Literal["vqspeech-listening-test-key/1"] = "vqspeech-listening-test-key/1"
    test: str  # random identity of the test, that its results carry too
    kind: KindName
    seed: int
    stimuli: dict[str, Stimulus]  # by blinded name
    trials: dict[str, ListeningTrial]  # by blinded name
    orders: tuple[tuple[str, ...], ...]  # the trials of each listener's place, balanced; places are given out in turn


def write_key(path: str | Path, key: Key) -> None:
    """Write a key, whole or not at all."""
    with write_whole(path, ListeningTestError) as temporary:
        temporary.write_text(key.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_key(path: str | Path) -> Key:
    """Read a key.

    Raises
    ------
    ListeningTestError
        If it is missing, half-written, or not the key of a listening test.
    """
    path = Path(path)
    values = read_json(
        path,
        "The key is written beside the test's folder by `vqspeech listening-test export`; name it with --key",
        "Take the key of the test's export",
    )
    try:
        return Key.model_validate(values)
    except ValidationError as invalid:
        raise ListeningTestError(f"{path} is not the key of a listening test: {first_error(invalid)}") from None


def read_json(path: Path, if_unreadable: str, if_damaged: str) -> Any:
    """What a JSON file holds; the others are remedies that the ListeningTestError names."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        raise ListeningTestError(f"cannot read {path}: {reason.strerror}. {if_unreadable}") from None
    except (ValueError, RecursionError) as reason:
        raise ListeningTestError(f"{path} is no whole JSON file: {reason}. {if_damaged}") from None


def first_error(invalid: ValidationError, top: str = "its top") -> str:
    """Where values are wrong first, and how; `top` is how the whole is called."""
    error = invalid.errors()[0]
    return f"{'.'.join(map(str, error['loc'])) or top}: {error['msg']}"
