"""Recordings read block by block, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.decoder import Decoder, UndecodableError
from vqspeech.audio.opening import open_decoder
from vqspeech.audio.pipes import INPUT, keep_stdin
from vqspeech.errors import AudioError
from vqspeech.files import is_pipe

_BLOCK_SAMPLES = 1 << 16


def load_audio(
    path: str | Path, sample_rate: int | None = None, *, offset_s: float = 0.0, duration_s: float | None = None
) -> NDArray[np.float32]:
    """Read a recording: channels averaged, resampled by soxr (HQ), clipped to [-1, 1].

    Parameters
    ----------
    path : file that libsndfile reads (wav, flac, ogg, mp3 and others), or with the extra media FFmpeg's libraries (m4a,
        mp4, webm and others); "-" is standard input, read to its end
    sample_rate : Hz; None keeps the recording's own
    offset_s, duration_s : the part to read, seconds; by default all of it

    Returns
    -------
    wav : float32 array, shape (T,)

    Raises
    ------
    AudioError
        If the file is missing, empty, not audio, corrupt, truncated, or holds values that are not finite.

    Examples
    --------
    >>> import vqspeech
    >>> wav = load_audio(vqspeech.example_recording(), 16000, duration_s=0.5)
    >>> wav.shape, wav.dtype
    ((8000,), dtype('float32'))
    """
    with open_audio(path, sample_rate, offset_s=offset_s, duration_s=duration_s) as reader:
        return np.concatenate([np.zeros(0, np.float32), *reader])


def open_audio(
    path: str | Path,
    sample_rate: int | None = None,
    *,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    block_samples: int = _BLOCK_SAMPLES,
) -> AudioReader:
    """Open a recording for reading block by block; see `AudioReader`."""
    return AudioReader(path, sample_rate, offset_s=offset_s, duration_s=duration_s, block_samples=block_samples)


class AudioReader:
    """Iterator over a recording's blocks, in constant memory.

    The blocks joined are the samples of `load_audio`, whatever `block_samples` is: soxr's stream keeps its state.

    Parameters
    ----------
    path, sample_rate, offset_s, duration_s : as in `load_audio`
    block_samples : samples read from the file at a time, at its own rate

    Attributes
    ----------
    name : the path, or "standard input"
    sample_rate : Hz, of the blocks
    source_rate : Hz, of the file
    num_channels : of the file
    duration_s : seconds that will be read, by the file's header
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int | None = None,
        *,
        offset_s: float = 0.0,
        duration_s: float | None = None,
        block_samples: int = _BLOCK_SAMPLES,
    ) -> None:
        self.path = Path(path)
        self.name = INPUT if is_pipe(self.path) else str(path)
        if offset_s < 0 or (duration_s is not None and duration_s <= 0):
            raise AudioError(f"{self.name}: part {offset_s} s + {duration_s} s asked for; give an offset of 0 or more "
                             "and a duration above 0")  # fmt: skip
        self._decoder = self._open()
        self.source_rate = self._decoder.sample_rate
        self.num_channels = self._decoder.num_channels
        self.sample_rate = sample_rate or self.source_rate
        self._block = block_samples
        self._most, self._expected = self._seek(offset_s, duration_s)
        self.duration_s = self._expected / self.source_rate

    def _open(self) -> Decoder:
        if not is_pipe(self.path):
            return open_decoder(self.path, self.name)
        kept = keep_stdin()
        try:
            return open_decoder(kept, self.name)
        finally:
            kept.unlink()  # open, it stays readable until it is closed

    def _seek(self, offset_s: float, duration_s: float | None) -> tuple[float, int]:
        """Go to `offset_s`; return the most samples to read from there, and how many the header lets expect."""
        announced = self._decoder.num_samples
        offset = round(offset_s * self.source_rate)
        if offset and offset >= announced:
            self.close()
            raise AudioError(
                f"{self.name} lasts {announced / self.source_rate:.2f} s, but the part asked for starts at {offset_s} "
                "s. Correct the offset"
            )
        if offset:
            try:
                self._decoder.skip(offset)
            except UndecodableError:
                self.close()
                raise self._truncated(announced, announced) from None
        rest = announced - offset
        asked = math.inf if duration_s is None else round(duration_s * self.source_rate)
        return (asked if self._decoder.reads_on else min(asked, rest)), int(min(asked, rest))

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        resampler = None
        if self.sample_rate != self.source_rate:
            import soxr

            resampler = soxr.ResampleStream(self.source_rate, self.sample_rate, 1, dtype="float32", quality="HQ")
        count = 0
        while count < self._most:
            try:
                mono = self._decoder.read(int(min(self._block, self._most - count)))
            except UndecodableError:
                raise self._truncated(self._expected, self._expected - count) from None
            if not len(mono):
                break
            count += len(mono)
            if not np.isfinite(mono).all():
                raise AudioError(f"{self.name} holds values that are not finite (NaN or infinity). Export it again")
            if resampler is not None:
                mono = resampler.resample_chunk(mono)
            if len(mono):
                yield np.clip(mono, -1, 1)
        missing = self._expected - count
        if missing > (max(self.source_rate, self._expected // 50) if self._decoder.is_estimate else 0):
            raise self._truncated(self._expected, missing)
        if resampler is not None:
            tail = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            if len(tail):
                yield np.clip(tail, -1, 1)

    def _truncated(self, expected: int, missing: int) -> AudioError:
        return AudioError(
            f"{self.name} is truncated or corrupt: of {expected / self.source_rate:.2f} s about "
            f"{max(0, expected - missing) / self.source_rate:.2f} s can be read. Copy or export it again"
        )

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self.close()
