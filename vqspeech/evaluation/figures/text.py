"""Words that notes share."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names in a sentence: "a, b, c, ..."."""
    return ", ".join(names[:most]) + ", ..." * (len(names) > most)
