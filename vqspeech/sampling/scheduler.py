"""Many streams through a few threads: each keeps several in step and fills the places of those that end."""

# U streams, N conditioning frames, C conditioning channels.

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vqspeech.sampling.interface import Sampler
from vqspeech.sampling.rules import check_condition

FRAMES_AT_A_TIME = 32  # conditioning frames between two looks at who has ended


def _raise(error: Exception) -> None:
    raise error


@dataclass
class Stream:
    """What one stream draws: the samples of an utterance, or of a part of one.

    Attributes
    ----------
    utterance, first_sample : see `Streams.open`
    frames : gives the conditioning frames in pieces (n, C), n > 0, each when it is needed; its end is the stream's
    receive : takes the classes drawn, in order, in pieces (m * hop_length,) of any m > 0
    fail : receives the error that either of the two raised; re-raises what should end all streams
    """

    utterance: int
    first_sample: int
    frames: Generator[np.ndarray, None, None]
    receive: Callable[[np.ndarray], None]
    fail: Callable[[Exception], None] = _raise


class StreamQueue(Protocol):
    """Where streams come from; this and `Stream.fail` are called by one thread at a time."""

    def take(self) -> Stream | None:
        """The next stream, if there is one at the moment."""

    def is_exhausted(self) -> bool:
        """Whether no more streams will ever come."""

    def stop(self) -> None:
        """Let a `take` that is under way in another thread end soon, with any error."""


class Scheduler:
    """Threads that run streams until none are left.

    Parameters
    ----------
    sampler : Sampler, whose `width` says how many streams each thread keeps in step
    queue : StreamQueue
    num_threads : int
    seed, temperature : see `Sampler.streams`
    """

    def __init__(
        self, sampler: Sampler, queue: StreamQueue, *, num_threads: int, seed: int, temperature: float = 1.0
    ) -> None:
        self._sampler, self._queue = sampler, queue
        self._seed, self._temperature = seed, temperature
        self._changed = threading.Condition()
        self._counts = [0] * num_threads
        self._stopping = False

    def run(self) -> None:
        """Return when all streams have ended; an error that `Stream.fail` lets through, or an interrupt, ends
        all."""
        with ThreadPoolExecutor(len(self._counts)) as pool:
            try:  # around the submissions too: the first thread is at work while the others are begun
                running = [pool.submit(self._work, number) for number in range(len(self._counts))]
                while running:
                    # With a time-out, so that an interrupt is noticed while all threads are at work.
                    done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                    for future in done:
                        running.remove(future)
                        future.result()
            except BaseException:
                # Without the lock: a thread may hold it while it reads a long recording.
                self._stopping = True
                self._queue.stop()
                raise

    def _work(self, number: int) -> None:
        """One thread: fill the free places, draw the next frames of all streams in step, hand on what was drawn."""
        places = self._sampler.streams(self._sampler.width, seed=self._seed, temperature=self._temperature)
        live: dict[int, _Live] = {}  # by place
        try:
            while not self._stopping:
                while stream := self._take(number, is_idle=not live):
                    begun = _Live(stream)
                    if self._goes_on(begun):
                        live[places.open(stream.utterance, stream.first_sample)] = begun
                    else:
                        self._leave(number)
                if not live:
                    return
                count = min(FRAMES_AT_A_TIME, *(len(one.frames) for one in live.values()))
                condition = np.stack([one.frames[:count] for one in live.values()])
                drawn = places.generate(list(live), condition)
                for place, classes in zip(list(live), drawn, strict=True):
                    live[place].frames = live[place].frames[count:]
                    if not self._goes_on(live[place], classes):
                        del live[place]
                        places.close(place)
                        self._leave(number)
        finally:
            for one in live.values():
                one.stream.frames.close()

    def _goes_on(self, one: _Live, drawn: np.ndarray | None = None) -> bool:
        """Hand on what was drawn and see that frames wait; False when the stream has ended or failed."""
        try:
            if drawn is not None:
                one.stream.receive(drawn)
            if not len(one.frames):
                frames = next(one.stream.frames, _NO_FRAMES)
                one.frames = check_condition(frames, frames.shape[-1])
            return len(one.frames) > 0
        except Exception as error:
            one.stream.frames.close()
            with self._changed:
                one.stream.fail(error)
            return False

    def _take(self, number: int, is_idle: bool) -> Stream | None:
        """A stream for this thread, unless it is full or others have fewer; an idle one waits for what may come."""
        with self._changed:
            while not self._stopping:
                if self._counts[number] < self._sampler.width and self._counts[number] <= min(self._counts):
                    if stream := self._queue.take():
                        self._counts[number] += 1
                        return stream
                if not is_idle or self._queue.is_exhausted():
                    return None
                self._changed.wait(0.2)
            return None

    def _leave(self, number: int) -> None:
        with self._changed:
            self._counts[number] -= 1
            self._changed.notify_all()


_NO_FRAMES = np.zeros((0, 0), np.float32)


@dataclass
class _Live:
    """A stream in its place, with the frames that wait."""

    stream: Stream
    frames: np.ndarray = field(default_factory=lambda: _NO_FRAMES)


def run_streams(
    sampler: Sampler, streams: Iterable[Stream], *, num_threads: int, seed: int, temperature: float = 1.0
) -> None:
    """Run streams that need not wait for anything; the first error ends all."""
    Scheduler(sampler, _Given(iter(streams)), num_threads=num_threads, seed=seed, temperature=temperature).run()


class _Given:
    """See `StreamQueue`."""

    def __init__(self, streams: Iterator[Stream]) -> None:
        self._streams, self._exhausted = streams, False

    def take(self) -> Stream | None:
        stream = next(self._streams, None)
        self._exhausted = stream is None
        return stream

    def is_exhausted(self) -> bool:
        return self._exhausted

    def stop(self) -> None:
        """Nothing is ever waited for."""
