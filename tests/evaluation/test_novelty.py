"""How near something is to what was learned: edit distances against the recursion that defines them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from novelty import nearest_codes

codes = st.lists(st.sampled_from([0, 1, 2, 500, 60_000]), max_size=8).map(np.array)


def edits(a: list[int], b: list[int]) -> int:
    """The recursion as it is defined."""
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return edits(a[1:], b[1:])
    return 1 + min(edits(a[1:], b), edits(a, b[1:]), edits(a[1:], b[1:]))


@given(own=st.lists(codes, min_size=1, max_size=3), learned=st.lists(codes, min_size=1, max_size=4))
def test_the_nearest_codes_are_those_with_the_fewest_edits_for_their_length(own, learned):
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return edits(a.tolist(), b.tolist()) / max(1, len(a), len(b))

    expected = [min(distance(a, b) for b in learned) for a in own]
    assert nearest_codes(own, learned).tolist() == pytest.approx(expected)


def test_a_copy_is_at_no_distance_unless_it_is_left_out():
    learned = [np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5]), np.array([7, 7])]
    assert nearest_codes(learned, learned).tolist() == [0, 0, 0]
    assert nearest_codes(learned, learned, leave_out=[0, 1, 2]).tolist() == [0.25, 0.25, 1]
