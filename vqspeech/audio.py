"""Recordings in and out, in constant memory; the mu-law classes of the decoder are at hand here too.

Waveforms are float32 in [-1, 1], mono, shape (T,). `load_audio` and `save_audio` handle whole recordings; `AudioReader`
and `AudioWriter` handle any length block by block and give the same samples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.errors import AudioError
from vqspeech.files import write_whole
from vqspeech.mu_law import MU_LAW_CLASSES, SILENCE_CLASS, mu_law_decode, mu_law_encode

__all__ = [
    "AUDIO_SUFFIXES", "FULL_SCALE", "MU_LAW_CLASSES", "SILENCE_CLASS", "AudioReader", "AudioWriter", "load_audio",
    "mu_law_decode", "mu_law_encode", "open_audio", "save_audio", "to_int16",
]  # fmt: skip

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
FULL_SCALE = 32768  # int16 steps per unit of amplitude

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
        self._file = _open(self.path)
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


def _open(path: Path) -> Any:
    """Open with soundfile; every failure becomes a sentence."""
    import soundfile

    if not path.exists():
        raise AudioError(f"no recording at {path}. Check the path")
    if path.is_dir():
        raise AudioError(f"{path} is a folder; a recording was expected")
    try:
        size = path.stat().st_size
        if not size:
            raise AudioError(f"{path} is an empty file (0 bytes). Copy or export it again")
        announced = _announced_wav_bytes(path)
        if announced > size:
            raise AudioError(
                f"{path} is truncated: its header announces {announced} bytes, it has {size}. Copy or export it again"
            )
        file = soundfile.SoundFile(os.fsencode(path))  # bytes: names need not be UTF-8
    except soundfile.SoundFileError:
        raise AudioError(
            f"{path} is not a recording that can be read. Expected {', '.join(AUDIO_SUFFIXES)}; export it again"
        ) from None
    except OSError as reason:
        raise AudioError(f"cannot read {path}: {reason.strerror or reason}. Check its permissions") from None
    if not file.frames:
        file.close()
        raise AudioError(f"{path} holds no samples. Export it again")
    return file


def _announced_wav_bytes(path: Path) -> int:
    """File size that a RIFF header's data chunk implies; 0 where it says nothing.

    libsndfile reads what is there of a truncated WAV without a word, so the header is looked at here.
    """
    with open(path, "rb") as file:
        header = file.read(12)
        if header[:4] != b"RIFF" or header[8:] != b"WAVE":
            return 0
        position = 12
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], "little")
            position += 8
            if chunk[:4] == b"data":
                # Writers to a pipe leave the length at a placeholder near 2 or 4 GiB.
                return position + length if length < 0x7FFF0000 else 0
            position += length + length % 2  # chunks are padded to an even length
            file.seek(position)
    return 0


def save_audio(path: str | Path, wav: NDArray[np.floating], sample_rate: int, *, force: bool = True) -> None:
    """Write a whole recording as 16-bit WAV or FLAC, by the suffix; see `AudioWriter`.

    Examples
    --------
    >>> save_audio("out.wav", np.zeros(16000), 16000)  # doctest: +SKIP
    """
    with AudioWriter(path, sample_rate, force=force) as writer:
        writer.write(wav)


class AudioWriter:
    """Context manager that writes 16-bit audio block by block; the file is either whole or absent.

    Parameters
    ----------
    path : file ending in .wav or .flac
    sample_rate : Hz
    force : whether an existing file is replaced

    Raises
    ------
    AudioError
        If the suffix is another, the file exists and `force` is false, the place cannot be written, the disk is full,
        or a block holds values that are not finite.
    """

    def __init__(self, path: str | Path, sample_rate: int, *, force: bool = True) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        if self.path.suffix.lower() not in (".wav", ".flac"):
            raise AudioError(f"cannot write {self.path}: its name must end in .wav or .flac")
        if self.path.exists() and not force:
            raise AudioError(f"{self.path} exists and is kept. Replace it with --force, or choose another place")
        if self.path.is_dir():
            raise AudioError(f"cannot write {self.path}: it is a folder. Choose another name")

    def __enter__(self) -> AudioWriter:
        import soundfile

        try:
            with ExitStack() as stack:
                temporary = stack.enter_context(write_whole(self.path, AudioError))
                self._file = stack.enter_context(soundfile.SoundFile(
                    os.fsencode(temporary), "w", samplerate=self.sample_rate, channels=1, subtype="PCM_16",
                    format=self.path.suffix[1:].upper(),
                ))  # fmt: skip
                self._stack = stack.pop_all()
        except (soundfile.SoundFileError, OSError) as reason:
            raise self._unwritable(reason) from None
        return self

    def write(self, wav: NDArray[np.floating]) -> None:
        """Append a block, shape (T,), in [-1, 1]; what lies beyond is clipped."""
        import soundfile

        wav = np.asarray(wav)
        if not np.isfinite(wav).all():
            raise AudioError(f"cannot write {self.path}: the audio holds values that are not finite")
        try:
            self._file.write(to_int16(wav))
        except soundfile.SoundFileError as reason:
            raise self._unwritable(reason) from None

    def _unwritable(self, reason: Exception) -> AudioError:
        return AudioError(f"cannot write {self.path}: {reason}. Check the folder, its permissions and the free space")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        import soundfile

        try:
            self._stack.__exit__(kind, value, trace)  # closes, then renames; if closing fails, removes
        except soundfile.SoundFileError as reason:
            raise self._unwritable(reason) from None


def to_int16(wav: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round [-1, 1] to 16-bit steps of 1 / 32768; what a 16-bit file held comes back unchanged."""
    return np.clip(np.rint(wav * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
