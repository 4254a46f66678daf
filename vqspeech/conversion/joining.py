"""Join: what the streams of a recording's parts draw, put together in the recording's order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


class Abandoned(Exception):  # noqa: N818 - no error: another part of the recording had one
    """Raised wherever a recording that has failed, or that an interrupt ended, would go on."""


@dataclass
class _Expected:
    """A part whose sound has not all come.

    Attributes
    ----------
    unwanted : samples of its warm-up still to come, which are thrown away
    missing : samples after these still to come
    early : classes that came before the part's turn
    """

    unwanted: int
    missing: int
    early: list[NDArray[np.uint8]] = field(default_factory=list)


class Joiner:
    """Parts are begun in order; their sound may come from several threads and in any order between parts.

    Parameters
    ----------
    write : takes a part's number and its next classes (n,), part after part, in one thread at a time

    Attributes
    ----------
    waiting : int, samples that have come before the turn of their part
    is_closed : whether nothing more is taken or written
    """

    def __init__(self, write: Callable[[int, NDArray[np.integer]], None]) -> None:
        self.waiting = 0
        self.is_closed = False
        self._write = write
        self._lock = threading.Lock()
        self._expected: dict[int, _Expected] = {}
        self._begun = self._turn = 0  # parts, and the number of the one whose sound is written now

    @property
    def is_whole(self) -> bool:
        """Whether all sound of the parts begun so far has been written."""
        return self._turn == self._begun

    def begin(self, unwanted: int, wanted: int) -> int:
        """Expect the next part, whose first `unwanted` samples are thrown away; returns its number."""
        with self._lock:
            number = self._begun
            self._expected[number] = _Expected(unwanted, wanted)
            self._begun += 1
        return number

    def put(self, number: int, classes: NDArray[np.integer]) -> None:
        """Take the next classes (n,) of a part; raises Abandoned once it is closed."""
        with self._lock:
            if self.is_closed:
                raise Abandoned
            part = self._expected[number]
            wanted = classes[part.unwanted :]
            part.unwanted -= len(classes) - len(wanted)
            part.missing -= len(wanted)
            if number == self._turn:
                self._write(number, wanted)
            else:
                part.early.append(wanted.astype(np.uint8))
                self.waiting += len(wanted)
            while self._turn in self._expected and not self._expected[self._turn].missing:
                self._next_turn()

    def _next_turn(self) -> None:
        del self._expected[self._turn]
        self._turn += 1
        if following := self._expected.get(self._turn):
            early, following.early = following.early, []
            for classes in early:
                self.waiting -= len(classes)
                self._write(self._turn, classes)

    def close(self) -> None:
        """Take and write nothing more, but for a piece that is being written now."""
        self.is_closed = True

    def wait_for_write(self) -> None:
        """Return when no thread is writing."""
        with self._lock:
            pass
