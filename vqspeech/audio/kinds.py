"""Kinds of recordings: what their names end in, what their first bytes tell, what their reading needs."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path
from typing import BinaryIO

# What libsndfile reads. MATLAB's, HTK's and sampler formats are left out: a folder's .mat is rarely sound.
AUDIO_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".aifc", ".au", ".avr", ".bwf", ".caf", ".ircam", ".mp2",
    ".nist", ".oga", ".paf", ".pvf", ".rf64", ".sf", ".snd", ".sph", ".voc", ".w64", ".wave", ".wve",
)  # fmt: skip
# What FFmpeg's libraries read besides, through PyAV.
MEDIA_SUFFIXES = (
    ".m4a", ".mp4", ".webm", ".aac", ".amr", ".wma", ".3g2", ".3gp", ".asf", ".avi", ".awb", ".m4b", ".m4r", ".m4v",
    ".mka", ".mkv", ".mov", ".mpeg", ".mpg", ".qt", ".spx", ".tta", ".weba", ".wmv", ".wv",
)  # fmt: skip
# Sound by its name, but read by neither here.
UNREAD_SUFFIXES = (
    ".ac3", ".ape", ".dff", ".ds2", ".dsf", ".dss", ".dts", ".eac3", ".gsm", ".m2ts", ".mpc", ".mts", ".pcm", ".qcp",
    ".ra", ".raw", ".rm", ".shn", ".silk", ".vox",
)  # fmt: skip

EXPECTED = "wav, flac, ogg, opus, mp3, aiff and others, or m4a, mp4, webm, aac, amr, wma with the extra media"


def media_is_installed() -> bool:
    """Whether PyAV is there; it is not imported."""
    return importlib.util.find_spec("av") is not None


def media_remedy(path: Path | str) -> str:
    """What makes a recording readable that FFmpeg's libraries would read."""
    return f"Install it: pip install 'vqspeech[media]', or convert the file: {ffmpeg_command(path)}"


def ffmpeg_command(path: Path | str) -> str:
    """The command that makes a WAV of a recording."""
    return f"ffmpeg -i {shlex.quote(str(path))} {shlex.quote(str(Path(path).with_suffix('.wav')))}"


def find_demuxer(file: BinaryIO) -> str | None:
    """FFmpeg's name of a container that libsndfile does not know, by its first bytes.

    The name is always given to FFmpeg: left to guess, it takes playlists too, which open other files and addresses.
    """
    head = file.read(16)
    if head[:3] == b"ID3":  # tags, whose length is written in 7-bit bytes; AAC may follow them, or MP3
        file.seek(10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)))
        head = file.read(16)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:2] and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # ADTS: the sync word of MP3, with layer 0
        return "aac"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    beginnings = {
        b"\x1a\x45\xdf\xa3": "matroska", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf", b"#!AMR": "amr", b"wvpk": "wv",
        b"TTA1": "tta", b"\x00\x00\x01\xba": "mpeg",
    }  # fmt: skip
    return next((name for beginning, name in beginnings.items() if head.startswith(beginning)), None)


def find_shared_demuxer(file: BinaryIO) -> str | None:
    """FFmpeg's name of a container that libsndfile knows too, but may hold a codec that it does not."""
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return "wav"
    return {b"caff": "caf", b"FORM": "aiff", b"OggS": "ogg"}.get(head[:4])
