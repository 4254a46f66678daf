"""Recordings in and out, in constant memory.

Waveforms are float32 in [-1, 1], mono, shape (T,). `load_audio` and `save_audio` handle whole recordings; `AudioReader`
and `AudioWriter` handle any length block by block and give the same samples.
"""

from vqspeech.audio.folders import find_recordings
from vqspeech.audio.kinds import AUDIO_SUFFIXES, EXPECTED, MEDIA_SUFFIXES, media_is_installed
from vqspeech.audio.reader import AudioReader, load_audio, open_audio
from vqspeech.audio.resampling import resampled
from vqspeech.audio.writer import FULL_SCALE, AudioWriter, save_audio, to_int16

__all__ = [
    "AUDIO_SUFFIXES", "EXPECTED", "FULL_SCALE", "MEDIA_SUFFIXES", "AudioReader",
    "AudioWriter", "find_recordings", "load_audio", "media_is_installed",
    "open_audio", "resampled", "save_audio", "to_int16",
]  # fmt: skip
