"""Which items are taken of many: evenly spread, all where they are few, and the same each time."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.data.selection import golden_order, middles, spread, thin


def test_spread_takes_first_and_last_and_all_where_they_are_few():
    assert spread(range(100), 3) == [0, 50, 99]
    assert spread("ab", 3) == ["a", "b"] and spread([], 3) == []


def test_middles_take_all_or_the_middles_of_equal_shares():
    assert middles(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert np.arange(100, 108)[middles(8, 4)].tolist() == [101, 103, 105, 107]
    assert middles(0, 4).tolist() == []


@given(st.integers(1, 300), st.integers(1, 40))
def test_middles_lie_evenly_and_as_far_from_either_end(num, most):
    found = middles(num, most).tolist()
    assert len(found) == min(num, most) == len(set(found))
    assert np.ptp(np.diff(found)) <= 1 if len(found) > 1 else True
    assert abs(found[0] - (num - 1 - found[-1])) <= 1


@given(st.integers(1, 400), st.floats(0.1, 60), st.floats(0.1, 600))
def test_thinning_leaves_about_what_is_asked_for_and_all_of_a_little(num, each, most):
    kept = thin(range(num), num * each, most)
    assert kept[0] == 0 and (len(kept) == num if num * each <= most else (len(kept) - 1) * each <= most * (1 + 1e-9))


@given(st.integers(0, 200))
def test_first_ones_of_the_golden_order_are_spread(num):
    order = golden_order(num)
    assert sorted(order) == list(range(num))
    for count in range(2, num + 1):
        gaps = np.diff(sorted(order[:count]))
        assert gaps.max() <= 3 * math.ceil(num / count)
