"""How long each stage of an evaluation took; kept beside the report, which is the same whatever the machine."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vqspeech.evaluation.report.sections import write_json
from vqspeech.progress import Advance, Notify

FILE = "seconds.json"
LONG_S = 60.0  # of conversions to come: worth a sentence


class Stages:
    """Seconds a stage, of this run and of earlier ones whose results were kept.

    Parameters
    ----------
    folder : of the report; `FILE` lies there

    Attributes
    ----------
    seconds : stage to its wall-clock time
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.seconds: dict[str, float] = _read(self._path)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Time what happens within; written at once, so that an interrupted run keeps it."""
        begun = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - begun, 1)
        write_json(self._path, self.seconds)

    def describe(self, stages: list[str]) -> str:
        """The stages in a sentence, the longest first: "content 81 s, sound 12 s"."""
        known = sorted((stage for stage in stages if stage in self.seconds), key=lambda stage: -self.seconds[stage])
        return ", ".join(f"{stage} {self.seconds[stage]:.0f} s" for stage in known)


def pace_of(total: int, notify: Notify) -> Advance:
    """A function that is told how many of `total` are done, and says once how long all will take, if that is long."""
    begun = time.perf_counter()
    told = False

    def tell(done: int) -> None:
        nonlocal told
        took = time.perf_counter() - begun
        left = took / max(1, done) * (total - done)
        if not told and left > LONG_S:
            notify(f"{done} of {total} conversions took {took:.0f} s: {left / 60:.0f} minutes more for the others")
            told = True

    return tell


def _read(path: Path) -> dict[str, float]:
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        return {str(stage): float(took) for stage, took in written.items() if math.isfinite(float(took))}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
