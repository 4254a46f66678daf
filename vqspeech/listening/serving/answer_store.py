"""Answers on disk: an SQLite file beside the test's folder, in which an answer is safe before it is acknowledged."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from pydantic import ValidationError

from vqspeech.errors import ListeningTestError
from vqspeech.files import write_whole
from vqspeech.listening.answers import Answer, Results
from vqspeech.listening.key import Key, first_error
from vqspeech.listening.kinds import find_mistake

PATIENCE_S = 3600.0  # a listener who answered nothing for so long after joining leaves their place to another

_TABLES = """
CREATE TABLE IF NOT EXISTS test (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS listeners (
    name TEXT PRIMARY KEY, place INTEGER NOT NULL, joined REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    listener TEXT NOT NULL REFERENCES listeners(name), trial TEXT NOT NULL, answer TEXT NOT NULL,
    PRIMARY KEY (listener, trial)
);
"""


class UnknownListenerError(ListeningTestError):
    """Nobody of this name has joined."""


class AnswerStore:
    """The answers to one test.

    Every change is one transaction, written through to the disk (`synchronous=FULL`) before the call returns: neither a
    killed process nor a power cut loses what a call has returned from.

    Parameters
    ----------
    path : SQLite file; made where there is none
    key : the test's

    Raises
    ------
    ListeningTestError
        If the file is damaged, or keeps the answers to another test.
    """

    def __init__(self, path: Path, key: Key) -> None:
        self.path, self.key = path, key
        self._lock = threading.Lock()
        try:
            # Called from the server's threads, one at a time.
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute("PRAGMA foreign_keys=ON")
            self._database.executescript(_TABLES)
            known = self._database.execute("SELECT id FROM test").fetchall()
            if not known:
                self._database.execute("INSERT INTO test VALUES (?)", (key.test,))
        except sqlite3.DatabaseError as reason:
            raise ListeningTestError(
                f"cannot keep answers in {path}: {reason}. Move the file away if it is damaged, and check the folder"
            ) from None
        if known and known != [(key.test,)]:
            self.close()
            raise ListeningTestError(f"{path} keeps the answers to another test. Move it away, or serve that test")

    def join(self, now: float | None = None) -> tuple[str, int]:
        """A new listener's random name, and their place: the one that the fewest have taken, the first of these."""
        now = time.time() if now is None else now
        name = secrets.token_hex(8)
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            taken = dict(
                self._database.execute(
                    "SELECT place, count(*) FROM listeners WHERE joined > ? "
                    "OR EXISTS (SELECT 1 FROM answers WHERE listener = name) GROUP BY place",
                    (now - PATIENCE_S,),
                )
            )
            place = min(range(len(self.key.orders)), key=lambda one: (taken.get(one, 0), one))
            self._database.execute("INSERT INTO listeners VALUES (?, ?, ?)", (name, place, now))
        return name, place

    def add(self, listener: str, answer: Answer) -> None:
        """Keep an answer. One that comes again for the same trial is acknowledged, and the first one kept.

        Raises
        ------
        UnknownListenerError
            If nobody of this name has joined.
        ListeningTestError
            If the listener has no such trial, or it cannot be answered so.
        """
        (refusal,) = self.add_all([(listener, answer)])
        if refusal:
            raise refusal

    def add_all(self, given: Sequence[tuple[str, Answer]]) -> list[ListeningTestError | None]:
        """Keep answers in one transaction: however many come at once, the disk is waited for once.

        Returns
        -------
        refusals : for each what `add` would raise, or None where it is kept
        """
        refusals: list[ListeningTestError | None] = []
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for listener, answer in given:
                try:
                    self._insert(listener, answer)
                    refusals.append(None)
                except ListeningTestError as refusal:
                    refusals.append(refusal)
        return refusals

    def _insert(self, listener: str, answer: Answer) -> None:
        row = self._database.execute("SELECT place FROM listeners WHERE name = ?", (listener,)).fetchone()
        if row is None:
            raise UnknownListenerError("no listener of this name has joined this test")
        check_answer(self.key, row[0], answer)
        self._database.execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", (listener, answer.trial, answer.model_dump_json())
        )

    def results(self) -> list[Results]:
        """What each listener answered, in the order in which they joined; those without an answer are left out."""
        with self._lock:
            rows = self._database.execute(
                "SELECT name, place, answer FROM listeners JOIN answers ON listener = name "
                "ORDER BY joined, name, answers.rowid"
            ).fetchall()
        answers: dict[tuple[str, int], list[Answer]] = {}
        for name, place, answer in rows:
            answers.setdefault((name, place), []).append(Answer.model_validate_json(answer))
        return [
            Results(
                test=self.key.test,
                kind=self.key.kind,
                listener=name,
                place=place,
                consented=True,
                finished={answer.trial for answer in own} == set(self.key.orders[place]),
                answers=tuple(own),
            )
            for (name, place), own in answers.items()
        ]

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def check_answer(key: Key, place: int, answer: Answer) -> None:
    """See that a listener at this place can answer so.

    Raises
    ------
    ListeningTestError
        If the trial is not theirs, or ratings or choice are not among what the page offers.
    """
    trial = key.trials.get(answer.trial)
    if trial is None or answer.trial not in key.orders[place]:
        raise ListeningTestError("this listener has no trial of this name")
    if mistake := find_mistake(answer, key):
        raise ListeningTestError(mistake)
    if broken := [rating for rating in answer.ratings.values() if rating != round(rating)]:
        raise ListeningTestError(f"a rating is {broken[0]:g}, and no whole number")


def write_results(path: Path, key: Key, out: Path) -> list[Path]:
    """Write what a server kept as one JSON file a listener; gives the files."""
    if not path.is_file():
        raise ListeningTestError(f"no answers at {path}: nobody has joined the test yet, or it was served elsewhere")
    files = []
    with closing(AnswerStore(path, key)) as store:
        for results in store.results():
            file = out / f"{results.listener}.json"
            with write_whole(file, ListeningTestError) as temporary:
                temporary.write_text(results.model_dump_json(indent=1) + "\n", encoding="utf-8")
            files.append(file)
    return files


def parse_answer(body: bytes) -> tuple[str, Answer]:
    """A listener's name and answer, as the page sends them.

    Raises
    ------
    ListeningTestError
        If the bytes are no JSON, or not of that form.
    """
    try:
        values = json.loads(body)
        if not isinstance(values, dict) or not isinstance(values.get("listener"), str):
            raise ListeningTestError("expected an object with a listener and an answer")
        return values["listener"], Answer.model_validate(values.get("answer"))
    except ValidationError as invalid:
        raise ListeningTestError(first_error(invalid, "answer")) from None
    except (ValueError, RecursionError):
        raise ListeningTestError("expected JSON") from None
