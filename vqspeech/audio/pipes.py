"""Standard input and output as files, which have a length and can be read twice."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vqspeech.errors import AudioError

INPUT = "standard input"
OUTPUT = "standard output"


def keep_stdin() -> Path:
    """Copy standard input to its end into a temporary file, which the caller removes.

    Raises
    ------
    AudioError
        If it is a terminal, closed or empty, or there is no space.
    """
    check_stdin()
    with _temporary("") as path:
        try:
            with open(path, "wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        except OSError as reason:
            raise AudioError(
                f"cannot keep {INPUT} in {path.parent}: {reason.strerror or reason}. Free some space, or name another "
                "folder in TMPDIR"
            ) from None
        if not path.stat().st_size:
            raise AudioError(f"{INPUT} is empty: what writes into the pipe gave nothing. See what it says")
        return path


def check_stdin() -> None:
    """Raise AudioError if standard input is closed, or a terminal."""
    if sys.stdin is None or sys.stdin.closed:
        raise AudioError(f"{INPUT} is closed, where a recording was expected. Pipe one in, or name a file")
    if sys.stdin.isatty():
        raise AudioError(
            f"{INPUT} is a terminal, where a recording was expected. Pipe one in, as in: "
            "ffmpeg -i in.m4a -f wav - | vqspeech ..., or name a file"
        )


def check_stdout() -> None:
    """Raise AudioError if standard output is closed, or a terminal, which sound would garble."""
    if sys.stdout is None or sys.stdout.closed:
        raise AudioError(f"{OUTPUT} is closed. Give a file or folder with --out")
    if sys.stdout.isatty():
        raise AudioError(f"{OUTPUT} is a terminal, which cannot show sound. Redirect it: --out - > out.wav")


@contextmanager
def write_stdout() -> Iterator[Path]:
    """Give a temporary file; on success copy it to standard output, in any case remove it.

    Raises
    ------
    AudioError
        If the reading side is closed before its end, or there is no space.
    """
    with _temporary(".wav") as path:
        yield path
        try:
            with open(path, "rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            _give_up_stdout()
            raise AudioError(f"{OUTPUT} was closed before all sound was written. See what reads the pipe") from None
        except OSError as reason:
            _give_up_stdout()
            raise AudioError(f"cannot write {OUTPUT}: {reason.strerror or reason}. Free some space") from None
        path.unlink()


@contextmanager
def _temporary(suffix: str) -> Iterator[Path]:
    """A temporary file that is removed if the block raises."""
    try:
        number, name = tempfile.mkstemp(suffix, "vqspeech-")
    except OSError as reason:
        raise AudioError(
            f"cannot make a temporary file: {reason.strerror or reason}. Name a folder for it in TMPDIR"
        ) from None
    os.close(number)
    path = Path(name)
    try:
        yield path
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _give_up_stdout() -> None:
    """Let what is buffered go nowhere: Python writes it out at its end, and would complain once more."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
