"""What libsndfile reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vqspeech.errors import AudioError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


def open_sndfile(path: Path) -> Any:
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
