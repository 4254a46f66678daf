"""How long work says what it does: the functions that it calls."""

from __future__ import annotations

from collections.abc import Callable

Notify = Callable[[str], None]  # a sentence for the user
ProgressCallback = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much
Advance = Callable[[int], None]  # how many are done
