"""Many utterances through a few threads: each keeps several streams in step and fills the places of those that end."""

# U streams, N conditioning frames, C conditioning channels.

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vqspeech.sampling.interface import Sampler
from vqspeech.sampling.rules import check_condition

FRAMES_AT_A_TIME = 32  # conditioning frames between two looks at who has ended


@dataclass
class Task:
    """One utterance, or a part of one, to be sampled.

    Attributes
    ----------
    utterance, first_sample : see `Streams.open`
    work : gives conditioning frames (N, C), N > 0, and takes the classes (N * hop_length,) sampled from them, until it
        ends
    """

    utterance: int
    first_sample: int
    work: Generator[np.ndarray, np.ndarray, None]


class Tasks(Protocol):
    """Where tasks come from; called by one thread at a time."""

    def take(self) -> Task | None:
        """The next task, if there is one at the moment."""

    def is_exhausted(self) -> bool:
        """Whether no more tasks will ever come."""

    def fail(self, task: Task, error: Exception) -> None:
        """Learn that a task cannot go on; re-raises what should end everything."""

    def stop(self) -> None:
        """Let a `take` that is under way in another thread end soon, with any error."""


@dataclass
class _Running:
    """A task in its stream, with the frames that wait and the classes of those that are done."""

    task: Task
    frames: np.ndarray
    done: list[np.ndarray] = field(default_factory=list)


class Workers:
    """Threads that run tasks until none are left.

    Parameters
    ----------
    sampler : Sampler
    tasks : Tasks
    num_threads : int
    width : int, streams in step in each thread
    seed, temperature : see `Sampler.streams`
    """

    def __init__(
        self, sampler: Sampler, tasks: Tasks, *, num_threads: int, width: int, seed: int, temperature: float = 1.0
    ) -> None:
        self._sampler, self._tasks, self._width = sampler, tasks, width
        self._seed, self._temperature = seed, temperature
        self._changed = threading.Condition()
        self._counts = [0] * num_threads
        self._stopping = False

    def run(self) -> None:
        """Return when all tasks are done; an error that `Tasks.fail` lets through, or an interrupt, ends all."""
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
                self._tasks.stop()
                raise

    def _work(self, number: int) -> None:
        streams = self._sampler.streams(self._width, seed=self._seed, temperature=self._temperature)
        live: dict[int, _Running] = {}
        try:
            while not self._stopping:
                while task := self._take(number, is_idle=not live):
                    first = self._advance(task, None)
                    if first is None:
                        self._leave(number)
                    else:
                        live[streams.open(task.utterance, task.first_sample)] = _Running(task, first)
                if not live:
                    return
                count = min(FRAMES_AT_A_TIME, *(len(running.frames) for running in live.values()))
                condition = np.stack([running.frames[:count] for running in live.values()])
                classes = streams.generate(list(live), condition)
                for stream, drawn in zip(list(live), classes, strict=True):
                    running = live[stream]
                    running.frames = running.frames[count:]
                    running.done.append(drawn)
                    if len(running.frames):
                        continue
                    following = self._advance(running.task, np.concatenate(running.done))
                    if following is None:
                        del live[stream]
                        streams.close(stream)
                        self._leave(number)
                    else:
                        live[stream] = _Running(running.task, following)
        finally:
            for running in live.values():
                running.task.work.close()

    def _take(self, number: int, is_idle: bool) -> Task | None:
        """A task for this thread, unless it is full or others have fewer; an idle one waits for what may still come."""
        with self._changed:
            while not self._stopping:
                if self._counts[number] < self._width and self._counts[number] <= min(self._counts):
                    if task := self._tasks.take():
                        self._counts[number] += 1
                        return task
                if not is_idle or self._tasks.is_exhausted():
                    return None
                self._changed.wait(0.2)
            return None

    def _leave(self, number: int) -> None:
        with self._changed:
            self._counts[number] -= 1
            self._changed.notify_all()

    def _advance(self, task: Task, classes: np.ndarray | None) -> np.ndarray | None:
        """The task's next frames, or None when it has ended or failed."""
        try:
            frames = next(task.work) if classes is None else task.work.send(classes)
            return check_condition(frames, frames.shape[-1])
        except StopIteration:
            return None
        except Exception as error:
            with self._changed:
                self._tasks.fail(task, error)
            return None
