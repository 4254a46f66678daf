"""Which of many items are taken where all would take too long: evenly spread and always the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Element = TypeVar("Element")


def spread(items: Sequence[Element], most: int) -> list[Element]:
    """At most so many of the items, evenly spread, first and last among them.

    Examples
    --------
    >>> spread("abcdefg", 3)
    ['a', 'd', 'g']
    """
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[place] for place in places]


def middles(num: int, most: int) -> NDArray[np.int64]:
    """Positions of at most `most` of `num` items: the middles of as many equal shares.

    Examples
    --------
    >>> middles(8, 4).tolist()
    [1, 3, 5, 7]
    """
    count = min(most, num)
    return (2 * np.arange(count, dtype=np.int64) + 1) * num // (2 * max(1, count))


def thin(items: Sequence[Element], amount: float, most: float) -> Sequence[Element]:
    """Every so many items, from the first on, so that of an `amount` of work about `most` is left.

    Examples
    --------
    >>> thin("abcdef", amount=90.0, most=40.0)
    'ad'
    """
    return items[:: max(1, math.ceil(amount / most))]


def golden_order(num: int) -> list[int]:
    """An order of `num` positions of which any number of first ones is evenly spread: the golden-ratio sequence.

    Examples
    --------
    >>> golden_order(5)
    [0, 2, 4, 1, 3]
    """
    return sorted(range(num), key=lambda place: place * 0.6180339887498949 % 1.0)
