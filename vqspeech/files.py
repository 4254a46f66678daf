"""Files on disk: written whole or not at all, found below a folder; and the path "-", which is none."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vqspeech.errors import VQSpeechError


@contextmanager
def write_whole(path: str | Path, error: type[VQSpeechError] = VQSpeechError) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success rename it to `path`, on failure remove it.

    The temporary name keeps the suffix of `path`, so that writers which choose a format by suffix still do.

    Raises
    ------
    error
        If the folder cannot be written or the disk is full; the message names the path and the reason.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as reason:
        raise error(
            f"cannot write {path}: {reason.strerror or reason}. Free some space or choose another place with --out"
        ) from reason
    finally:
        with suppress(OSError):  # a folder that is a file has no temporary either
            temporary.unlink()


def find_files(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Files below a folder with one of the suffixes, in any case; hidden ones (._x.wav of macOS) are left out.

    Links to folders are followed, each folder once, so that one which leads back up ends nowhere.
    """
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in suffixes and not name.startswith("."):
                yield Path(place, name)


def is_pipe(path: Path) -> bool:
    """Whether a path is "-", which stands for standard input or output."""
    return str(path) == "-"


def stem_of(source: Path) -> str:
    """What results are named after: the file's name without its suffix, or "stdin"."""
    return "stdin" if is_pipe(source) else source.stem


def beside(source: Path, name: str) -> Path:
    """Where a result goes unless told otherwise.

    Raises
    ------
    VQSpeechError
        If the source is standard input, which has no place.
    """
    if is_pipe(source):
        raise VQSpeechError("what comes from standard input (-) has no place of its own. Give one with --out")
    return source.parent / name
