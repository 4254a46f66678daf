"""How near something is to what was learned: edit distances and warped distances against naive loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.evaluation.novelty import nearest_codes, nearest_sound, warped_distance

RATE = 8000
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


def warp_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    cost = np.linalg.norm(a.T[:, None] - b.T[None], axis=-1)
    best = np.full(cost.shape, np.inf)
    for i in range(len(cost)):
        for j in range(cost.shape[1]):
            before = [
                best[i - 1, j - 1] + 2 * cost[i, j] if i and j else np.inf,
                best[i, j - 1] + cost[i, j] if j else np.inf,
                best[i - 1, j] + cost[i, j] if i else np.inf,
            ]
            best[i, j] = min(before) if i or j else cost[i, j]
    return float(best[-1, -1] / sum(cost.shape))


def test_the_warped_distance_is_that_of_a_naive_loop():
    random = np.random.default_rng(0)
    for lengths in ((5, 9), (12, 4), (1, 6)):
        a, b = (random.standard_normal((3, length)) for length in lengths)
        assert warped_distance(a, b) == pytest.approx(warp_by_hand(a, b), rel=1e-6)


def hum(*hertz: float) -> np.ndarray:
    """Harmonics with formants that move with the second of each pair of numbers, 0.2 s each."""
    time_s = np.arange(RATE // 5) / RATE
    pieces = [
        sum(np.sin(2 * np.pi * 110 * k * time_s) * np.exp(-(((110 * k - f) / 300) ** 2)) for k in range(1, 30))
        for f in hertz
    ]
    return (0.05 * np.concatenate(pieces)).astype(np.float32)


def test_the_same_said_louder_or_slower_is_nearer_than_something_else():
    said = hum(500, 1500, 900)
    slower = hum(500, 500, 1500, 1500, 900, 900)
    other = hum(2500, 700, 2000)
    copy, tempo, different = nearest_sound([said] * 3, [[0.3 * said, other], [slower, other], [other]], RATE)
    assert copy < 0.1 * different and tempo < 0.5 * different
