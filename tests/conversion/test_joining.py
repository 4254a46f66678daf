"""Joining: whatever order the sound of parts comes in, it is written in theirs, without their warm-ups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.conversion.joining import Abandoned, Joiner


@given(data=st.data(), parts=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=5))
def test_parts_are_written_in_their_order_without_their_warm_ups(data, parts):
    written: list[int] = []
    joiner = Joiner(lambda _, classes: written.extend(classes.tolist()))
    left = {}
    for number, (unwanted, wanted) in enumerate(parts):
        assert joiner.begin(unwanted, wanted) == number
        left[number] = [200] * unwanted + [10 * number + i for i in range(wanted)]
    expected = [10 * number + i for number, (_, wanted) in enumerate(parts) for i in range(wanted)]
    while left:
        number = data.draw(st.sampled_from(sorted(left)))
        length = data.draw(st.integers(1, len(left[number])))
        joiner.put(number, np.array(left[number][:length], np.int32))
        left[number] = left[number][length:]
        if not left[number]:
            del left[number]
        assert written == expected[: len(written)]
        put = sum(wanted for _, wanted in parts) - sum(sum(one != 200 for one in rest) for rest in left.values())
        assert len(written) + joiner.waiting == put  # nothing is lost, nothing is held that could be written
        assert joiner.is_whole == (not left)
    assert written == expected


def test_a_part_that_begins_when_its_turn_has_come_is_written_at_once():
    written: list[int] = []
    joiner = Joiner(lambda _, classes: written.extend(classes.tolist()))
    joiner.put(joiner.begin(0, 2), np.array([1, 2]))
    assert joiner.is_whole
    number = joiner.begin(1, 2)
    assert not joiner.is_whole
    joiner.put(number, np.array([9, 3]))
    assert written == [1, 2, 3]
    assert joiner.waiting == 0


def test_after_closing_nothing_is_taken_or_written():
    written: list[int] = []
    joiner = Joiner(lambda _, classes: written.extend(classes.tolist()))
    first, second = joiner.begin(0, 2), joiner.begin(0, 2)
    joiner.put(first, np.array([1]))
    joiner.close()
    joiner.wait_for_write()
    for number in (first, second):
        with pytest.raises(Abandoned):
            joiner.put(number, np.array([2]))
    assert written == [1]
    assert joiner.waiting == 0
