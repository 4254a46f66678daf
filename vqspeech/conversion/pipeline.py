"""Many recordings on their way: parts of all of them are sampled side by side, each recording is put together again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.conversion.conditioning import condition_part
from vqspeech.conversion.joining import Abandoned, Joiner
from vqspeech.conversion.options import SamplingOptions, draws_of, load_sampler
from vqspeech.conversion.parts import find_parts
from vqspeech.conversion.source import Source
from vqspeech.conversion.vocoder import Vocoder
from vqspeech.errors import VQSpeechError
from vqspeech.models.vqvae import VQVAE
from vqspeech.sampling.scheduler import Scheduler, Stream

# Samples that are done and wait for an earlier part, a byte each, or two with linear prediction, whose filters wait
# too; no new part is begun beyond.
MOST_WAITING = 2**25

MOST_OPEN = 256  # recordings at a time: each may hold two files open


class Pipeline:
    """One recording: at one end read, encoded and cut into streams, at the other joined and written.

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
        self._parts = find_parts(model, self._read(), split=split)
        self._joiner, self._vocoder = Joiner(self._write_classes), Vocoder(model)
        self._written = 0
        self.is_read = False

    @property
    def is_written(self) -> bool:
        """Whether every part has been sampled and written."""
        return self.is_read and self._joiner.is_whole

    def next_stream(self, fail: Callable[[Exception], None]) -> Stream | None:
        """The next part, to be sampled; None when there is none now (too much waits), or ever (`is_read`)."""
        if self.is_read or self._joiner.is_closed or self._joiner.waiting > MOST_WAITING:
            return None
        with torch.no_grad():
            part = next(self._parts, None)
        if part is None:
            self.is_read = True
            return None
        hop = self._model.hop_length
        number = self._joiner.begin(part.warm_up * hop, (part.num_frames - part.warm_up) * hop)
        return Stream(
            self._utterance,
            part.first * hop,
            frames=self._vocoder.watch(condition_part(self._model, part, self._speaker), number, part.warm_up),
            receive=functools.partial(self._joiner.put, number),
            fail=fail,
        )

    def abandon(self, *, wait: bool = False) -> None:
        """Let nothing more be read or written; with `wait` a piece that another thread is writing is written first."""
        self._joiner.close()
        if wait:
            self._joiner.wait_for_write()

    def _read(self) -> Iterator[Tensor]:
        for samples in self._source:
            if self._joiner.is_closed:
                raise Abandoned
            yield samples

    def _write_classes(self, number: int, classes: NDArray[np.integer]) -> None:
        # The last frame may reach beyond the recording, all of which has been read when its classes come.
        wav = self._vocoder.push(classes, number)[: self._source.received - self._written]
        self._written += len(wav)
        if len(wav):
            self._write(wav)


class PipelineQueue:
    """Streams of many recordings, opened one after the other as there is room for them; see `StreamQueue`.

    Parameters
    ----------
    upcoming : gives recordings; opening one may take its time
    finished : receives each recording that has been written (with None) or has failed (with its error)
    """

    def __init__(
        self, upcoming: Iterator[Pipeline], finished: Callable[[Pipeline, VQSpeechError | None], None]
    ) -> None:
        self._upcoming, self._finished = upcoming, finished
        self._open: list[Pipeline] = []
        self._all_open = self._stopped = False

    def take(self) -> Stream | None:
        """The next part of a recording that is open, else the first of the next recording."""
        for pipeline in list(self._open):
            if stream := self._take_from(pipeline):
                return stream
        while len(self._open) < MOST_OPEN and not self._stopped:
            upcoming = next(self._upcoming, None)
            if upcoming is None:
                self._all_open = True
                return None
            self._open.append(upcoming)
            if self._stopped:  # while it was being opened
                upcoming.abandon()
            if stream := self._take_from(upcoming):
                return stream
        return None

    def _take_from(self, pipeline: Pipeline) -> Stream | None:
        try:
            stream = pipeline.next_stream(functools.partial(self._fail, pipeline))
        except VQSpeechError as error:
            self._end(pipeline, error)
            return None
        if stream is None and pipeline.is_written:
            self._end(pipeline, None)
        return stream

    def is_exhausted(self) -> bool:
        """Whether every recording has been read to its end."""
        return self._all_open and all(pipeline.is_read for pipeline in self._open)

    def stop(self) -> None:
        """Read no further."""
        self._stopped = True
        for pipeline in list(self._open):
            pipeline.abandon()

    def finish(self) -> None:
        """Tell of the recordings whose last part ended after the last `take`."""
        for pipeline in list(self._open):
            if pipeline.is_written:
                self._end(pipeline, None)

    def _fail(self, pipeline: Pipeline, error: Exception) -> None:
        """End the recording that a stream belongs to; an error that is no VQSpeechError ends everything."""
        if isinstance(error, VQSpeechError):
            self._end(pipeline, error)
        elif not isinstance(error, Abandoned):
            raise error

    def _end(self, pipeline: Pipeline, error: VQSpeechError | None) -> None:
        if pipeline in self._open:
            self._open.remove(pipeline)
            if error:
                pipeline.abandon(wait=True)
            self._finished(pipeline, error)


def run_pipelines(
    model: VQVAE,
    upcoming: Iterator[Pipeline],
    finished: Callable[[Pipeline, VQSpeechError | None], None],
    options: SamplingOptions,
    *,
    num_threads: int,
) -> None:
    """Convert recordings side by side, see `PipelineQueue`; `model` has to be in evaluation mode."""
    queue = PipelineQueue(upcoming, finished)
    sampler = load_sampler(model, options)
    Scheduler(sampler, queue, num_threads=num_threads, **draws_of(model, options)).run()
    queue.finish()
