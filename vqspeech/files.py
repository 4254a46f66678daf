"""Files that are either whole or absent: write beside the final name, then rename."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
