"""A recording on its way through the model: encoded, cut into parts, sampled side by side, put together in order."""

# T samples, N code frames.

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.audio import mu_law_decode
from vqspeech.conversion.cuts import Cuts
from vqspeech.conversion.source import Source
from vqspeech.errors import VQSpeechError
from vqspeech.models.vqvae import BLOCK_FRAMES, VQVAE
from vqspeech.sampling.scheduler import Task

MOST_WAITING = 2**25  # samples that are done (a byte each) and wait for an earlier part; no new part is begun beyond

MOST_OPEN = 256  # recordings at a time: each may hold two files open


@dataclass(frozen=True)
class Part:
    """Codes of a stretch of a recording, with those around it that its conditioning sees.

    Attributes
    ----------
    codes : int array, (before + N + after,)
    before, after : codes on either side that give context alone
    first : frame of the recording at which sampling begins
    warm_up : frames that are sampled and thrown away
    """

    codes: NDArray[np.int32]
    before: int
    after: int
    first: int
    warm_up: int


def find_parts(model: VQVAE, source: Iterable[Tensor], *, split: bool) -> Iterator[Part]:
    """Parts of a recording that arrives in pieces (n,); without `split` it is one.

    Codes wait in memory until a part is whole: four bytes a frame, 2 MB for an hour without a pause.
    """
    context = model.conditioner.context
    cuts = Cuts(model.hop_length, model.sample_rate, model.wavenet.receptive_field)
    codes: NDArray[np.int32] = np.zeros(0, np.int32)  # from frame `kept` on
    kept = begin = 0

    def part(end: int, after: int) -> Part:
        nonlocal codes, kept, begin
        warm_up = cuts.warm_up if begin else 0
        first = begin - warm_up
        before = min(context, first)
        chosen = codes[first - before - kept : end + after - kept]
        rest = max(kept, end - cuts.warm_up - context)  # where the next part's codes begin
        codes, kept, begin = codes[rest - kept :], rest, end
        return Part(chosen, before, after, first, warm_up)

    stream = model.encoding()
    found: list[int] = []

    def arrive(pieces: list[Tensor]) -> Iterator[Part]:
        nonlocal codes
        if pieces:
            codes = np.concatenate([codes, *(piece.cpu().numpy().astype(np.int32) for piece in pieces)])
        while found and kept + len(codes) >= found[0] + context:
            yield part(found.pop(0), after=context)

    for samples in source:
        if split:
            found += cuts.push(samples.cpu().numpy())
        yield from arrive(stream.push(samples))
    yield from arrive(stream.finish())
    yield part(kept + len(codes), after=0)


class Abandoned(Exception):  # noqa: N818 - no error: another part of the recording had one
    """Raised in the parts of a recording that has failed."""


class PartedRecording:
    """Parts as tasks, and their sound in the recording's order.

    Parameters
    ----------
    model : VQVAE
    blocks : the recording, pieces (n,) at the model's sample rate
    speaker : int, index of the voice
    utterance : int, for the random numbers
    write : takes the pieces of the result in order, float32 (n,); as many samples in total as went in
    split : whether it may be cut at pauses
    what : names the recording in errors
    """

    def __init__(
        self,
        model: VQVAE,
        blocks: Iterable[NDArray[np.float32] | Tensor],
        speaker: int,
        utterance: int,
        write: Callable[[NDArray[np.float32]], None],
        *,
        split: bool = True,
        what: str = "the waveform",
    ) -> None:
        self._model, self._speaker, self._utterance, self._write = model, speaker, utterance, write
        self._source = Source(model, blocks, what)
        self._parts = find_parts(model, self._until_failure(), split=split)
        self._lock = threading.Lock()
        self._written = self._waiting = self._begun = self._next = 0
        self._done: dict[int, list[NDArray[np.uint8]]] = {}  # of parts whose turn has not come
        self._ended: set[int] = set()
        self.is_read = False
        self.has_failed = False

    @property
    def is_written(self) -> bool:
        """Whether every part has been sampled and written."""
        return self.is_read and self._next == self._begun

    def take(self) -> Task | None:
        """The next part's task; None when there is none now (too much waits), or ever (`is_read`)."""
        if self.is_read or self.has_failed or self._waiting > MOST_WAITING:
            return None
        with torch.no_grad():
            part = next(self._parts, None)
        if part is None:
            self.is_read = True
            return None
        number = self._begun
        self._begun += 1
        return Task(self._utterance, part.first * self._model.hop_length, self._sample(number, part))

    def fail(self) -> None:
        """Let nothing more be read, sampled or written."""
        self.has_failed = True

    def _until_failure(self) -> Iterator[Tensor]:
        for samples in self._source:
            if self.has_failed:
                raise Abandoned
            yield samples

    @torch.no_grad()
    def _sample(self, number: int, part: Part) -> Generator[NDArray[np.float32], NDArray[np.int32], None]:
        unwanted = part.warm_up * self._model.hop_length
        first, end = part.before, len(part.codes) - part.after
        done = 0
        for condition in self._conditions(part.codes):
            frames = condition[max(0, first - done) : max(0, end - done)]
            done += len(condition)
            if len(frames):
                classes = yield frames.cpu().numpy()
                self._put(number, classes[unwanted:].astype(np.uint8))
                unwanted = max(0, unwanted - len(classes))
        self._end(number)

    def _conditions(self, codes: NDArray[np.int32]) -> Iterator[Tensor]:
        stream = self._model.conditioning(self._speaker)
        for start in range(0, len(codes), BLOCK_FRAMES):
            yield from stream.push(self._model.lookup(codes[start : start + BLOCK_FRAMES]))
        yield from stream.finish()

    def _put(self, number: int, classes: NDArray[np.uint8]) -> None:
        with self._lock:
            if self.has_failed:
                raise Abandoned
            if number == self._next:
                self._emit(classes)
            else:
                self._done.setdefault(number, []).append(classes)
                self._waiting += len(classes)

    def _end(self, number: int) -> None:
        with self._lock:
            self._ended.add(number)
            while self._next in self._ended:
                self._ended.remove(self._next)
                self._next += 1
                for classes in self._done.pop(self._next, []):
                    self._waiting -= len(classes)
                    self._emit(classes)

    def _emit(self, classes: NDArray[np.uint8]) -> None:
        # The last frame may reach beyond the recording, all of which has been read when its classes come.
        classes = classes[: self._source.received - self._written]
        self._written += len(classes)
        if len(classes):
            self._write(mu_law_decode(classes).astype(np.float32))


class Recordings:
    """Tasks of many recordings, opened one after the other as there is room for them; see `workers.Tasks`.

    Parameters
    ----------
    upcoming : gives recordings; opening one may take its time
    finished : is told each recording that has been written (None) or has failed (its error)
    """

    def __init__(
        self,
        upcoming: Iterator[PartedRecording],
        finished: Callable[[PartedRecording, VQSpeechError | None], None],
    ) -> None:
        self._upcoming, self._finished = upcoming, finished
        self._live: list[PartedRecording] = []
        self._owners: dict[int, PartedRecording] = {}
        self._all_open = self._stopped = False

    def take(self) -> Task | None:
        """The next part of a recording that is open, else the first of the next recording."""
        for recording in list(self._live):
            if task := self._take_from(recording):
                return task
        while len(self._live) < MOST_OPEN and not self._stopped:
            upcoming = next(self._upcoming, None)
            if upcoming is None:
                self._all_open = True
                return None
            self._live.append(upcoming)
            if self._stopped:  # while it was being opened
                upcoming.fail()
            if task := self._take_from(upcoming):
                return task
        return None

    def _take_from(self, recording: PartedRecording) -> Task | None:
        try:
            task = recording.take()
        except VQSpeechError as error:
            self._end(recording, error)
            return None
        if task:
            self._owners[id(task)] = recording
        elif recording.is_written:
            self._end(recording, None)
        return task

    def is_exhausted(self) -> bool:
        """Whether every recording has been read to its end."""
        return self._all_open and all(recording.is_read for recording in self._live)

    def fail(self, task: Task, error: Exception) -> None:
        """End the recording that a task belongs to; an error that is no VQSpeechError is re-raised."""
        recording = self._owners[id(task)]
        if isinstance(error, VQSpeechError):
            self._end(recording, error)
        elif not isinstance(error, Abandoned):
            raise error

    def stop(self) -> None:
        """Read no further."""
        self._stopped = True
        for recording in list(self._live):
            recording.fail()

    def finish(self) -> None:
        """Tell of the recordings whose last part ended after the last `take`."""
        for recording in list(self._live):
            if recording.is_written:
                self._end(recording, None)

    def _end(self, recording: PartedRecording, error: VQSpeechError | None) -> None:
        if recording in self._live:
            self._live.remove(recording)
            if error:
                recording.fail()
            self._finished(recording, error)
