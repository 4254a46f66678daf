"""Recordings and films of the kinds that phones and browsers make, written by PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PICTURE_RATE = 10  # pictures a second


def sweep(sample_rate: int, num_samples: int) -> np.ndarray:
    """A sine that rises from 200 to 800 Hz: it is like itself at no other delay."""
    t = np.arange(num_samples) / sample_rate
    return 0.5 * np.sin(2 * np.pi * (200 * t + 300 * t * t / t[-1]))


def write_media(
    path: Path,
    container: str,
    codec: str,
    wav: np.ndarray,
    sample_rate: int,
    *,
    options: dict[str, str] | None = None,
    pictures: int = 0,
) -> None:
    """Write samples (T,) or (C, T) with one of FFmpeg's encoders, with so many black pictures beside them."""
    av = pytest.importorskip("av", reason="PyAV is not installed (extra media)")
    wav = np.atleast_2d(np.asarray(wav, np.float32))
    layout = "mono" if len(wav) == 1 else "stereo"
    with av.open(path, "w", format=container, options=options or {}) as file:
        film = _add_film(file) if pictures else None
        stream: Any = file.add_stream(codec, rate=sample_rate, layout=layout)
        if codec in ("aac", "wmav2"):
            stream.bit_rate = 128000
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.codec_context.format, layout, sample_rate)
        for start in range(0, wav.shape[1], size):
            frame = av.AudioFrame.from_ndarray(wav[:, start : start + size].copy(), "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = sample_rate, start, Fraction(1, sample_rate)
            for converted in resampler.resample(frame):
                file.mux(stream.encode(converted))
        file.mux(stream.encode(None))
        if film:
            _write_pictures(av, file, film, pictures)


def write_film(path: Path, pictures: int = 5) -> None:
    """Write black pictures without sound."""
    av = pytest.importorskip("av", reason="PyAV is not installed (extra media)")
    with av.open(path, "w", format="mp4") as file:
        _write_pictures(av, file, _add_film(file), pictures)


def _add_film(file: Any) -> Any:
    stream = file.add_stream("mpeg4", rate=PICTURE_RATE)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
    return stream


def _write_pictures(av: Any, file: Any, stream: Any, count: int) -> None:
    for _ in range(count):
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
    file.mux(stream.encode(None))


def cut(path: Path, share: float) -> None:
    """Leave a share of a file's bytes."""
    whole = path.read_bytes()
    path.write_bytes(whole[: round(share * len(whole))])


def delay_of(wav: np.ndarray, original: np.ndarray) -> int:
    """Samples by which `wav` comes after `original`: where they correlate best."""
    size = len(wav) + len(original)
    product = np.fft.irfft(np.fft.rfft(wav, size) * np.conj(np.fft.rfft(original, size)), size)
    place = int(np.argmax(product))
    return place if place <= size // 2 else place - size
