"""Files in another speaker's voice: read, encode, sample many at a time, write; in memory that does not grow."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import AudioWriter, open_audio
from vqspeech.conversion.codes import load_codes
from vqspeech.conversion.decode import decode_stream
from vqspeech.conversion.jobs import Job
from vqspeech.conversion.joining import Abandoned
from vqspeech.conversion.options import DEFAULT_OPTIONS, SamplingOptions
from vqspeech.conversion.pipeline import Pipeline, run_pipelines
from vqspeech.errors import VQSpeechError
from vqspeech.models.vqvae import VQVAE
from vqspeech.nn.mode import evaluating


def decode_file(
    model: VQVAE, source: Path, target: Path, speaker: str, options: SamplingOptions = DEFAULT_OPTIONS
) -> None:
    """Speak a file of codes; the counterpart of `codes.encode_file`.

    Raises
    ------
    CodesError
        If the file is damaged or of another model.
    AudioError
        If the target cannot be written.
    """
    codes, num_samples = load_codes(source, model)
    speak_codes(model, codes, num_samples, source, target, speaker, options)


def speak_codes(
    model: VQVAE,
    codes: NDArray[np.int32],
    num_samples: int,
    source: Path,
    target: Path,
    speaker: str,
    options: SamplingOptions,
) -> None:
    """Write the first `num_samples` samples of what codes (N,) sound like; `source` is the file they come from.

    Raises
    ------
    AudioError
        If the target cannot be written.
    """
    remaining = num_samples
    with AudioWriter(target, model.sample_rate) as writer:
        for piece in decode_stream(model, [model.lookup(codes)], speaker, options, _utterance_of(source)):
            writer.write(piece[:remaining])
            remaining -= len(piece[:remaining])


def _utterance_of(path: Path) -> int:
    # The file's name, not its place in a list, picks the random numbers: one file more or less changes no other.
    return zlib.crc32(path.stem.encode("utf-8", "surrogateescape"))


def convert_file(
    model: VQVAE,
    job: Job,
    speaker: str,
    options: SamplingOptions = DEFAULT_OPTIONS,
    advance: Callable[[float], None] | None = None,
) -> None:
    """Convert one file; `advance` receives the seconds of each piece that is written.

    Raises
    ------
    AudioError
        If the source cannot be read or the target cannot be written; no partial target is left.
    """
    for error in convert_files(model, [job], speaker, options, num_threads=1, advance=advance).values():
        raise error


def convert_files(
    model: VQVAE,
    jobs: Sequence[Job],
    speaker: str,
    options: SamplingOptions = DEFAULT_OPTIONS,
    *,
    num_threads: int,
    advance: Callable[[float], None] | None = None,
) -> dict[Path, VQSpeechError]:
    """Convert several files side by side, each thread several streams; a bad file does not stop the rest.

    Returns
    -------
    problems : the error of each source that failed
    """
    files = _Files(model, jobs, speaker, options, advance)
    with evaluating(model):
        try:
            run_pipelines(model, files.pipelines(), files.finished, options, num_threads=num_threads)
        finally:
            files.close()
    return files.problems


class _Files:
    """Opens sources and targets as they are needed, and closes each when it is done."""

    def __init__(
        self,
        model: VQVAE,
        jobs: Sequence[Job],
        speaker: str,
        options: SamplingOptions,
        advance: Callable[[float], None] | None,
    ) -> None:
        self.problems: dict[Path, VQSpeechError] = {}
        self._model, self._jobs, self._options, self._advance = model, jobs, options, advance
        self._speaker = model.speaker_index(speaker)
        self._open: dict[Pipeline, tuple[Job, ExitStack]] = {}

    def pipelines(self) -> Iterator[Pipeline]:
        """The jobs' recordings, opened one by one; one that cannot be opened is noted and passed over."""
        for job in self._jobs:
            stack = ExitStack()
            try:
                reader = stack.enter_context(open_audio(job.source, self._model.sample_rate))
                writer = stack.enter_context(AudioWriter(job.target, self._model.sample_rate))
            except VQSpeechError as error:
                stack.__exit__(type(error), error, None)
                self.problems[job.source] = error
                continue
            pipeline = Pipeline(
                self._model,
                reader,
                self._speaker,
                _utterance_of(job.source),
                self._writing(writer),
                split=self._options.split,
                what=reader.name,
            )
            self._open[pipeline] = job, stack
            yield pipeline

    def _writing(self, writer: AudioWriter) -> Callable[[NDArray[np.float32]], None]:
        def write(piece: NDArray[np.float32]) -> None:
            writer.write(piece)
            if self._advance:
                self._advance(len(piece) / self._model.sample_rate)

        return write

    def finished(self, pipeline: Pipeline, error: VQSpeechError | None) -> None:
        """Keep the target, or with an error remove it."""
        job, stack = self._open.pop(pipeline)
        try:
            if error:
                stack.__exit__(type(error), error, None)
            else:
                stack.close()
        except VQSpeechError as reason:
            error = error or reason
        if error:
            self.problems[job.source] = error

    def close(self) -> None:
        """Leave the targets of recordings unwritten that an interrupt left unfinished."""
        for _, stack in list(self._open.values()):
            stack.__exit__(Abandoned, Abandoned(), None)
