"""Who hears what, and when: Latin squares that balance conditions over items, and items over positions."""

# L listeners, N items, C conditions.
from __future__ import annotations

import numpy as np


def assign_conditions(num_listeners: int, num_items: int, num_conditions: int) -> list[list[int]]:
    """For each listener the condition (a system, or a pair of them) under which each item is heard: a Latin square.

    A listener hears every item once and every condition about equally often. Every `num_conditions` listeners in
    succession hear every item under every condition once.

    Examples
    --------
    >>> assign_conditions(3, 3, 3)
    [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    return [[(item + listener) % num_conditions for item in range(num_items)] for listener in range(num_listeners)]


def williams_square(num: int) -> list[list[int]]:
    """Orders of `num` items: each stands at each place and follows each other one equally often (Williams, 1949).

    Returns
    -------
    orders : `num` of them where it is even, twice as many where it is odd (the square and its mirror image)

    Examples
    --------
    >>> williams_square(4)
    [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    """
    first = [(place + 1) // 2 if place % 2 else (num - place // 2) % num for place in range(num)]
    square = [[(item + row) % num for item in first] for row in range(num)]
    return square if num % 2 == 0 else square + [row[::-1] for row in square]


def item_orders(num_listeners: int, num_items: int, seed: int) -> list[list[int]]:
    """For each listener the order of the items: rows of a Williams square in turn, the items numbered at random.

    The random numbers keep position and condition apart, which both advance with the listener.
    """
    generator = np.random.default_rng([seed, 1])
    names = generator.permutation(num_items)
    rows = williams_square(num_items)
    rows = [rows[row] for row in generator.permutation(len(rows))]
    return [[int(names[item]) for item in rows[listener % len(rows)]] for listener in range(num_listeners)]


def whole_squares(num_listeners: int, num_conditions: int) -> int:
    """The listeners, rounded up so that all conditions are heard equally often."""
    return -(-num_listeners // num_conditions) * num_conditions
