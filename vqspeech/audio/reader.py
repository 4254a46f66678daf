"""Recordings read block by block, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.sndfile import open_sndfile
from vqspeech.errors import AudioError

_BLOCK_SAMPLES = 1 << 16


def load_audio(
    path: str | Path, sample_rate: int | None = None, *, offset_s: float = 0.0, duration_s: float | None = None
) -> NDArray[np.float32]:
    """Read a recording: channels averaged, resampled by soxr (HQ), clipped to [-1, 1].

    Parameters
    ----------
    path : file readable by libsndfile: wav, flac, ogg, mp3 and others
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
    >>> load_audio("in.wav", 16000).dtype  # doctest: +SKIP
    dtype('float32')
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
        self._file = open_sndfile(self.path)
        self.source_rate = int(self._file.samplerate)
        self.num_channels = int(self._file.channels)
        self.sample_rate = sample_rate or self.source_rate
        self._block = block_samples
        self._remaining = self._seek(offset_s, duration_s)
        self.duration_s = self._remaining / self.source_rate

    def _seek(self, offset_s: float, duration_s: float | None) -> int:
        """Go to `offset_s`; return the number of samples to read from there."""
        frames = int(self._file.frames)
        offset = round(offset_s * self.source_rate)
        if offset_s < 0 or (duration_s is not None and duration_s <= 0):
            self.close()
            raise AudioError(f"{self.path}: part {offset_s} s + {duration_s} s asked for; give an offset of 0 or more "
                             "and a duration above 0")  # fmt: skip
        if offset and offset >= frames:
            self.close()
            raise AudioError(
                f"{self.path} lasts {frames / self.source_rate:.2f} s, but the part asked for starts at {offset_s} s. "
                "Correct the offset"
            )
        if offset:
            self._file.seek(offset)
        rest = frames - offset
        return rest if duration_s is None else min(rest, round(duration_s * self.source_rate))

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        import soundfile

        resampler = None
        if self.sample_rate != self.source_rate:
            import soxr

            resampler = soxr.ResampleStream(self.source_rate, self.sample_rate, 1, dtype="float32", quality="HQ")
        missing = self._remaining
        while missing > 0:
            try:
                block = self._file.read(min(self._block, missing), dtype="float32", always_2d=True)
            except soundfile.SoundFileError:
                raise self._truncated(missing) from None
            if not len(block):
                break
            missing -= len(block)
            mono = block.mean(axis=1, dtype=np.float32) if self.num_channels > 1 else block[:, 0]
            if not np.isfinite(mono).all():
                raise AudioError(f"{self.path} holds values that are not finite (NaN or infinity). Export it again")
            if resampler is not None:
                mono = resampler.resample_chunk(mono)
            if len(mono):
                yield np.clip(mono, -1, 1)
        # The length of an MP3 may be an estimate; every other header states it exactly.
        slack = max(self.source_rate, self._remaining // 50) if self._file.format == "MP3" else 0
        if missing > slack:
            raise self._truncated(missing)
        if resampler is not None:
            tail = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            if len(tail):
                yield np.clip(tail, -1, 1)

    def _truncated(self, missing: int) -> AudioError:
        seen = (self._remaining - missing) / self.source_rate
        return AudioError(
            f"{self.path} is truncated or corrupt: its header announces {self._remaining / self.source_rate:.2f} s, "
            f"about {seen:.2f} s can be read. Copy or export it again"
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self.close()
