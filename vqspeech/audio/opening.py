"""Which library opens a recording: its content decides, not its name."""

from __future__ import annotations

from pathlib import Path

from vqspeech.audio.decoder import Decoder, UndecodableError, UnknownCodecError
from vqspeech.audio.kinds import EXPECTED, find_demuxer, find_shared_demuxer, media_is_installed
from vqspeech.audio.media import MediaDecoder
from vqspeech.audio.sndfile import SndfileDecoder
from vqspeech.errors import AudioError


def open_decoder(path: Path, name: str) -> Decoder:
    """Open a recording with the library that reads its kind, by its content.

    Parameters
    ----------
    path : the file
    name : what it is called in errors

    Raises
    ------
    AudioError
        If it is missing, empty, truncated, of no kind that can be read, or of one whose library is not installed.
    """
    if not path.exists():
        raise AudioError(f"no recording at {name}. Check the path")
    if path.is_dir():
        raise AudioError(f"{name} is a folder; a recording was expected")
    try:
        if not path.stat().st_size:
            raise AudioError(f"{name} is an empty file (0 bytes). Copy or export it again")
        with open(path, "rb") as file:
            demuxer = find_demuxer(file)
            file.seek(0)
            shared = find_shared_demuxer(file)
        if demuxer:
            return MediaDecoder(path, name, demuxer)
        try:
            return SndfileDecoder(path, name)
        except UnknownCodecError:
            if shared and media_is_installed():
                return MediaDecoder(path, name, shared)
            raise
    except (UnknownCodecError, UndecodableError):
        raise AudioError(f"{name} is not a recording that can be read. Expected {EXPECTED}; export it again") from None
    except OSError as reason:
        raise AudioError(f"cannot read {name}: {reason.strerror or reason}. Check its permissions") from None
