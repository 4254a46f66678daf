"""Scheduler: every stream comes out as alone, places are filled again, work is even, and all ends when it must."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patience import hung, wait_until
from vqspeech.errors import VQSpeechError
from vqspeech.sampling import scheduler
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.scheduler import FRAMES_AT_A_TIME, Scheduler, Stream, run_streams
from wavenets import CONDITION, HOP, make_condition, make_wavenet


class Queue:
    """Streams from a list; notes what fails, and re-raises what is no VQSpeechError."""

    def __init__(self, works=()) -> None:
        self.waiting, self.failed, self.stopped = [], [], False
        for number, work in enumerate(works):
            self.add(number, work)

    def add(self, number: int, work, receive=lambda classes: None, first_sample: int = 0) -> None:
        def fail(error: Exception) -> None:
            self.failed.append((number, error))
            if not isinstance(error, VQSpeechError):
                raise error

        self.waiting.append(Stream(number, first_sample, work, receive, fail))

    def take(self) -> Stream | None:
        return self.waiting.pop(0) if self.waiting else None

    def is_exhausted(self) -> bool:
        return not self.waiting

    def stop(self) -> None:
        self.stopped = True


class CountingSampler:
    """Stands for a sampler: draws zeros, and notes how many streams each thread had in step."""

    def __init__(self, width: int = 12) -> None:
        self.width = width
        self.in_step: dict[int, list[int]] = {}

    def streams(self, width: int, *, seed: int, temperature: float = 1.0) -> CountingSampler._Streams:
        return self._Streams(self.in_step, width)

    class _Streams:
        def __init__(self, in_step: dict[int, list[int]], width: int) -> None:
            self.in_step, self.free = in_step, list(range(width))

        def open(self, utterance: int, first_sample: int = 0) -> int:
            return self.free.pop()  # an error where there are more than `width`

        def close(self, stream: int) -> None:
            self.free.append(stream)

        def generate(self, streams: list[int], condition: np.ndarray) -> np.ndarray:
            self.in_step.setdefault(threading.get_ident(), []).append(len(streams))
            return np.zeros((len(streams), condition.shape[1] * HOP), np.int32)


def steps(count: int):
    """`count` frames, one at a time."""
    for _ in range(count):
        yield np.zeros((1, CONDITION), np.float32)


def until(condition: Callable[[], bool], ended: list[bool] | None = None):
    """Frames that go on until a condition holds; `ended` learns that it was closed."""
    try:
        while not condition():
            yield np.zeros((1, CONDITION), np.float32)
    finally:
        if ended is not None:
            ended.append(True)


def run(queue: Queue, num_threads: int = 2, sampler=None) -> None:
    Scheduler(sampler or CountingSampler(), queue, num_threads=num_threads, seed=4).run()


@settings(max_examples=20)
@given(
    lengths=st.lists(st.lists(st.integers(1, 2 * FRAMES_AT_A_TIME), max_size=3), max_size=9),
    num_threads=st.integers(1, 4),
    width=st.integers(1, 13),
)
def test_every_stream_is_drawn_as_if_it_were_alone(lengths, num_threads, width):
    sampler = get_engine("numba", "float32").load(make_wavenet(6, 8, 1, 2), HOP)
    sampler.width = width
    conditions = [[make_condition(length, seed) for seed, length in enumerate(pieces)] for pieces in lengths]
    heard: list[list[np.ndarray]] = [[] for _ in lengths]
    queue = Queue()
    for number, pieces in enumerate(conditions):
        queue.add(number, (condition for condition in pieces), heard[number].append, first_sample=7 * number)
    run(queue, num_threads, sampler)
    for number, pieces in enumerate(conditions):
        streams = sampler.streams(1, seed=4)
        stream = [streams.open(number, first_sample=7 * number)]
        alone = [streams.generate(stream, condition[None])[0] for condition in pieces]
        assert np.array_equal(np.concatenate([*heard[number], []]), np.concatenate([*alone, []]))


def test_streams_that_are_all_given_are_drawn_as_if_each_were_alone():
    sampler = get_engine("numba", "float32").load(make_wavenet(6, 8, 1, 2), HOP)
    conditions = [make_condition(length, length) for length in (3, 40, 1)]
    heard: list[list[np.ndarray]] = [[] for _ in conditions]
    given = (Stream(n, 0, (each for each in [conditions[n]]), heard[n].append) for n in range(3))
    run_streams(sampler, given, num_threads=2, seed=4)
    for number, condition in enumerate(conditions):
        streams = sampler.streams(1, seed=4)
        alone = streams.generate([streams.open(number)], condition[None])[0]
        assert np.array_equal(np.concatenate(heard[number]), alone)


def test_of_streams_that_are_all_given_the_first_error_ends_all():
    def bad():
        yield from steps(5)
        raise VQSpeechError("spoilt")

    with pytest.raises(VQSpeechError, match="spoilt"):
        works = [bad(), until(lambda: False), until(lambda: False)]
        given = (Stream(number, 0, work, lambda classes: None) for number, work in enumerate(works))
        run_streams(CountingSampler(), given, num_threads=2, seed=4)


def test_the_place_of_a_stream_that_ends_is_given_to_the_next():
    sampler = CountingSampler(width=2)
    run(Queue([steps(length) for length in [1, 9, 3, 2, 4, 5]]), 1, sampler)
    (counts,) = sampler.in_step.values()
    # One place serves the streams of 1, 3, 2 and 4 frames, the other those of 9 and 5: the last 4 frames are alone.
    assert counts == [2] * 10 + [1] * 4


def test_work_is_spread_evenly_over_threads():
    started: list[int] = []

    def work(number):
        started.append(number)
        yield from until(lambda: len(started) == 8)  # all eight are at work before one ends
        yield from steps(20)

    sampler = CountingSampler()
    run(Queue([work(number) for number in range(8)]), 4, sampler)
    assert [max(counts) for counts in sampler.in_step.values()] == [2, 2, 2, 2]


def test_a_thread_without_work_waits_for_streams_that_may_still_come():
    queue, done = Queue(), []
    queue.is_exhausted = lambda: len(done) == 2

    def first():
        yield from steps(3)
        done.append("first")
        queue.add(1, second())

    def second():
        yield from steps(3)
        done.append("second")

    queue.add(0, first())
    run(queue, 3)
    assert done == ["first", "second"]


@pytest.mark.parametrize("bad_after", [0, 1, 5])
def test_a_failing_stream_leaves_the_others_unharmed(bad_after):
    done = []

    def good(number):
        yield from steps(8)
        done.append(number)

    def bad():
        yield from steps(bad_after)
        raise VQSpeechError("spoilt")

    def not_finite():
        yield from steps(bad_after)
        yield np.full((1, CONDITION), np.nan, np.float32)

    def refuse(classes):
        raise VQSpeechError("no room")

    queue = Queue([good(0), bad(), good(1), not_finite(), good(2)])
    queue.add(5, steps(8), refuse)
    run(queue)
    assert sorted(done) == [0, 1, 2]
    assert {(number, str(error)[:6]) for number, error in queue.failed} == {(1, "spoilt"), (3, "condit"), (5, "no roo")}


@pytest.mark.parametrize("num_threads", [1, 3])
def test_an_error_that_is_let_through_ends_everything(num_threads):
    ended: list[bool] = []
    endless = [until(lambda: False, ended) for _ in range(4)]

    def bad():
        yield from steps(5)
        raise ZeroDivisionError("our own mistake")

    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError, match="our own mistake"):
        run(Queue([*endless, bad(), until(lambda: False, ended)]), num_threads)
    assert set(threading.enumerate()) == before
    assert len(ended) >= 4  # whatever was begun is closed


def test_an_interrupt_ends_all_threads_and_closes_what_was_begun(monkeypatch):
    started, ended = [], []

    def work(number):
        started.append(number)
        yield from until(lambda: False, ended)

    def interrupt(*arguments, **options):
        wait_until(lambda: len(started) == 6)
        raise KeyboardInterrupt

    monkeypatch.setattr("vqspeech.sampling.scheduler.wait", interrupt)
    before = set(threading.enumerate())
    queue = Queue([work(number) for number in range(6)])
    with pytest.raises(KeyboardInterrupt):
        run(queue, 3)
    assert queue.stopped  # so that a long reading ends too
    assert set(threading.enumerate()) == before
    assert len(ended) == 6


def test_an_interrupt_ends_threads_that_are_at_work_while_others_are_still_being_begun(monkeypatch):
    submitted, started, ended, hangs = [], [], [], hung()
    submit = scheduler.ThreadPoolExecutor.submit

    def work(number):
        started.append(number)
        yield from until(hangs, ended)

    def interrupted_at_the_second(pool, *arguments):
        if not submitted:
            submitted.append(submit(pool, *arguments))
            return submitted[0]
        wait_until(lambda: started)
        raise KeyboardInterrupt

    monkeypatch.setattr(scheduler.ThreadPoolExecutor, "submit", interrupted_at_the_second)
    queue = Queue([work(number) for number in range(2)])
    with pytest.raises(KeyboardInterrupt):
        run(queue)
    assert queue.stopped
    assert ended
    assert not hangs()


def test_a_temperature_that_makes_no_sense_is_told_before_any_work():
    sampler = get_engine("numba", "float32").load(make_wavenet(6, 8, 1, 2), HOP)
    queue = Queue([steps(1)])
    with pytest.raises(VQSpeechError, match="temperature -1 is not a number"):
        Scheduler(sampler, queue, num_threads=2, seed=0, temperature=-1).run()
    assert len(queue.waiting) == 1
