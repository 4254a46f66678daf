"""Recordings in folders: those that can be read, and those that only look like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vqspeech.audio.kinds import (
    AUDIO_SUFFIXES,
    MEDIA_SUFFIXES,
    UNREAD_SUFFIXES,
    ffmpeg_command,
    media_is_installed,
    media_remedy,
)
from vqspeech.errors import AudioError
from vqspeech.files import find_files

_MOST_NAMES = 8


@dataclass(frozen=True)
class FoundRecordings:
    """Files below a folder, by their suffixes.

    Attributes
    ----------
    folder : where they are
    readable : recordings
    without_media : recordings that only the extra media reads, which is not installed
    unreadable : sound of other kinds
    """

    folder: Path
    readable: list[Path]
    without_media: list[Path]
    unreadable: list[Path]

    def problems(self) -> dict[Path, AudioError]:
        """What is passed over, with the remedy: an error for each kind of remedy, by the first file it is about."""
        found = {}
        for paths, many, one, remedy in (
            (self.without_media, "need the extra media", "needs the extra media", media_remedy),
            (self.unreadable, "cannot be read", "cannot be read", _conversion),
        ):
            if paths:
                inside = [path.relative_to(self.folder) for path in paths]
                what = "1 recording" if len(paths) == 1 else f"{len(paths)} recordings"
                found[paths[0]] = error = AudioError(
                    f"{what} in {self.folder} {one if len(paths) == 1 else many}: {_listed(inside)}. {remedy(paths[0])}"
                )
                error.num_files = len(paths)
        return found


def find_recordings(folder: Path) -> FoundRecordings:
    """Recordings below a folder at any depth, in the order of `find_files`."""
    every = list(find_files(folder, {*AUDIO_SUFFIXES, *MEDIA_SUFFIXES, *UNREAD_SUFFIXES}))
    read = {*AUDIO_SUFFIXES, *MEDIA_SUFFIXES} if media_is_installed() else set(AUDIO_SUFFIXES)
    unread = set(UNREAD_SUFFIXES)
    suffixes = [path.suffix.lower() for path in every]
    return FoundRecordings(
        folder,
        [path for path, suffix in zip(every, suffixes, strict=True) if suffix in read],
        [path for path, suffix in zip(every, suffixes, strict=True) if suffix not in read | unread],
        [path for path, suffix in zip(every, suffixes, strict=True) if suffix in unread],
    )


def _conversion(path: Path) -> str:
    return f"Convert such a file, if ffmpeg knows it: {ffmpeg_command(path)}"


def _listed(paths: Sequence[Path]) -> str:
    names = ", ".join(map(str, paths[:_MOST_NAMES]))
    return names if len(paths) <= _MOST_NAMES else f"{names}, ... ({len(paths)})"
