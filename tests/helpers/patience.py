"""How tests wait: for what happens, never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable

# Only a test that hangs reaches this, and then it has to end. Everything else takes as long as it takes: on a machine
# that compiles in one process, trains in the next and is loaded by a third, minutes pass between two lines of a test.
HUNG_S = 20 * 60


def wait_until(condition: Callable[[], object], is_alive: Callable[[], bool] = lambda: True) -> None:
    """Return once a condition holds; fail if whoever is to bring it about is no longer alive, or seems to hang."""
    hangs = hung()
    while not condition():
        assert is_alive(), "ended before it happened"
        assert not hangs(), f"nothing happened in {HUNG_S} s"
        time.sleep(0.005)


def hung() -> Callable[[], bool]:
    """A question: has so much time passed since this call that something must hang?"""
    end = time.monotonic() + HUNG_S
    return lambda: time.monotonic() > end
