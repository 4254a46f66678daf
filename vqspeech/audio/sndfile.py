"""Decoding by libsndfile: wav, flac, ogg, mp3, aiff and others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.decoder import UndecodableError, UnknownCodecError
from vqspeech.errors import AudioError


class SndfileDecoder:
    """See `Decoder`."""

    def __init__(self, path: Path, name: str) -> None:
        import soundfile

        size, announced = path.stat().st_size, _announced_wav_bytes(path)
        if announced > size:
            raise AudioError(
                f"{name} is truncated: its header announces {announced} bytes, it has {size}. Copy or export it again"
            )
        try:
            self._file = soundfile.SoundFile(os.fsencode(path))  # bytes: names need not be UTF-8
        except soundfile.SoundFileError:
            raise UnknownCodecError from None
        if not self._file.frames:
            self.close()
            raise AudioError(f"{name} holds no samples. Export it again")
        self.sample_rate = int(self._file.samplerate)
        self.num_channels = int(self._file.channels)
        self.num_samples = int(self._file.frames)
        self.is_estimate = self._file.subtype.startswith("MPEG_LAYER")  # MP3's; others state it exactly
        self.reads_on = False

    def skip(self, num_samples: int) -> None:
        """See `Decoder.skip`."""
        self._file.seek(num_samples)

    def read(self, num_samples: int) -> NDArray[np.float32]:
        """See `Decoder.read`."""
        import soundfile

        try:
            block = self._file.read(num_samples, dtype="float32", always_2d=True)
        except soundfile.SoundFileError:
            raise UndecodableError from None
        return block.mean(axis=1, dtype=np.float32) if self.num_channels > 1 else block[:, 0]

    def close(self) -> None:
        """See `Decoder.close`."""
        self._file.close()


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
