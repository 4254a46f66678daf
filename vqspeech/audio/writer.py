"""Recordings written whole or not at all, in constant memory."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.pipes import OUTPUT, check_stdout, write_stdout
from vqspeech.errors import AudioError
from vqspeech.files import is_pipe, write_whole

FULL_SCALE = 32768  # int16 steps per unit of amplitude


def save_audio(path: str | Path, wav: NDArray[np.floating], sample_rate: int, *, force: bool = True) -> None:
    """Write a whole recording as 16-bit WAV or FLAC, by the suffix: the file is whole or absent.

    Parameters
    ----------
    path : str or Path
        File ending in .wav or .flac; "-" is standard output.
    wav : float array, shape (T,), in [-1, 1]; what lies beyond is clipped
    sample_rate : int
        Hz.
    force : bool
        Whether an existing file is replaced.

    Raises
    ------
    AudioError
        As `AudioWriter`.

    Examples
    --------
    >>> save_audio("out.wav", np.zeros(16000), 16000)
    """
    with AudioWriter(path, sample_rate, force=force) as writer:
        writer.write(wav)


class AudioWriter:
    """Context manager that writes 16-bit audio block by block; the file is either whole or absent.

    Parameters
    ----------
    path : file ending in .wav or .flac; "-" is standard output, which gets a whole WAV at the end
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
        self.name = OUTPUT if is_pipe(self.path) else str(path)
        if is_pipe(self.path):
            check_stdout()
            return
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
                to_pipe = is_pipe(self.path)
                whole = write_stdout() if to_pipe else write_whole(self.path, AudioError)
                temporary = stack.enter_context(whole)
                self._file = stack.enter_context(soundfile.SoundFile(
                    os.fsencode(temporary), "w", samplerate=self.sample_rate, channels=1, subtype="PCM_16",
                    format="WAV" if to_pipe else self.path.suffix[1:].upper(),
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
            raise AudioError(f"cannot write {self.name}: the audio holds values that are not finite")
        try:
            self._file.write(to_int16(wav))
        except soundfile.SoundFileError as reason:
            raise self._unwritable(reason) from None

    def _unwritable(self, reason: Exception) -> AudioError:
        return AudioError(f"cannot write {self.name}: {reason}. Check the folder, its permissions and the free space")

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
