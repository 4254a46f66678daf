"""Decoding by FFmpeg's libraries, which PyAV brings: m4a, mp4, webm, aac, amr, wma and others, films too."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.decoder import UndecodableError
from vqspeech.audio.kinds import media_remedy
from vqspeech.errors import AudioError

# The longest block of AAC's kind: so much an encoder may add at the end to fill its last one.
MOST_PADDING = 4096


class MediaDecoder:
    """See `Decoder`. What an encoder put before the first sample is cut off where the container says how much it is.

    Parameters
    ----------
    path : the file
    name : what it is called in errors
    demuxer : FFmpeg's name of the container
    """

    is_estimate = True
    reads_on = True

    def __init__(self, path: Path, name: str, demuxer: str) -> None:
        av = _import_av(name)
        self._name, self._is_corrupt = name, False
        self._rest: NDArray[np.float32] = np.zeros(0, np.float32)
        with ExitStack() as stack:
            # A file that Python opened: FFmpeg would take "a:b.m4a" for an address.
            file = stack.enter_context(open(path, "rb"))
            try:
                counted_s = None if demuxer == "mov" else _count_seconds(av, file, name, demuxer)
                file.seek(0)
                container = stack.enter_context(_open(av, file, demuxer))
                stream = _find_sound(container, name)
                first, frames = _begin(container.decode(stream))
            except (av.FFmpegError, ValueError) as reason:
                raise self._unreadable(reason, demuxer) from None
            if first is None:
                raise AudioError(f"{name} holds no samples. Export it again")
            # Known from the first frame alone: HE-AAC's header states half the rate.
            self.sample_rate, self.num_channels = int(first.sample_rate), int(first.layout.nb_channels)
            pieces = self._convert(av, frames)
            if counted_s is None:
                counted_s = float((stream.duration or 0) * (stream.time_base or 0))
                if counted_s:  # to a millisecond in most files, and nothing that is sound shall be lost
                    pieces = _without_padding(pieces, math.ceil((counted_s + 0.001) * self.sample_rate))
            self.num_samples = max(1, round(counted_s * self.sample_rate))
            self._pieces = pieces
            self._stack = stack.pop_all()

    def _unreadable(self, reason: Exception, demuxer: str) -> AudioError:
        words = str(getattr(reason, "strerror", None) or reason).lower()
        hint = ": a recording that was never finished lacks its index" if demuxer == "mov" else ""
        return AudioError(f"{self._name} is truncated or corrupt, FFmpeg says: {words}{hint}. Copy or export it again")

    def _convert(self, av: Any, frames: Iterable[Any]) -> Iterator[NDArray[np.float32]]:
        """Frames of any sample format as float32 pieces (n,), channels averaged."""
        kind: tuple[str, str] | None = None
        resampler: Any = None
        for frame in frames:
            if frame.sample_rate != self.sample_rate:
                raise AudioError(
                    f"{self._name} changes its sample rate from {self.sample_rate} to {frame.sample_rate} Hz midway. "
                    "Export it again at one rate"
                )
            if (frame.format.name, frame.layout.name) != kind:
                kind, resampler = (frame.format.name, frame.layout.name), av.AudioResampler(format="fltp")
            for converted in resampler.resample(frame):
                yield converted.to_ndarray().mean(axis=0, dtype=np.float32)

    def skip(self, num_samples: int) -> None:
        """See `Decoder.skip`. Decodes what it passes over: seeking in such files is not exact to a sample."""
        while num_samples and len(passed := self.read(min(num_samples, 1 << 16))):
            num_samples -= len(passed)

    def read(self, num_samples: int) -> NDArray[np.float32]:
        """See `Decoder.read`."""
        import av

        pieces, length = [self._rest], len(self._rest)
        try:
            while length < num_samples and (piece := next(self._pieces, None)) is not None:
                pieces.append(piece)
                length += len(piece)
        except (av.FFmpegError, ValueError):
            self._is_corrupt = True  # told when what came before has been read
        if self._is_corrupt and not length:
            raise UndecodableError
        joined = np.concatenate(pieces)
        self._rest = joined[num_samples:]
        return joined[:num_samples]

    def close(self) -> None:
        """See `Decoder.close`."""
        self._stack.close()


def _import_av(name: str) -> Any:
    try:
        import av
    except ImportError as reason:
        why = "" if isinstance(reason, ModuleNotFoundError) else f" (PyAV does not load: {reason})"
        raise AudioError(f"{name} is of a kind that needs the extra media{why}. {media_remedy(name)}") from None
    return av


def _open(av: Any, file: Any, demuxer: str) -> Any:
    return av.open(file, format=demuxer, metadata_errors="replace")  # titles need not be UTF-8


def _find_sound(container: Any, name: str) -> Any:
    stream = container.streams.best("audio")
    if stream is None:
        kinds = sorted({str(other.type) for other in container.streams}) or ["nothing"]
        raise AudioError(f"{name} holds no sound, only {' and '.join(kinds)}. Give a recording with a sound track")
    return stream


def _begin(frames: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
    """The first frame, and an iterator over all."""
    first = next(frames, None)

    def everything() -> Iterator[Any]:
        yield first
        yield from frames

    return first, everything()


def _count_seconds(av: Any, file: Any, name: str, demuxer: str) -> float:
    """How long the sound lasts, by the times of its packets, which are not decoded.

    Headers of these kinds state a guess, the length of a film's picture, or nothing.
    """
    first_s: dict[int, float] = {}
    last_s: dict[int, float] = {}
    with _open(av, file, demuxer) as container:
        number = _find_sound(container, name).index
        with suppress(av.FFmpegError):  # decoding meets the same fault, and tells where
            for packet in container.demux():
                if packet.pts is not None and packet.time_base:
                    start_s, place = float(packet.pts * packet.time_base), packet.stream.index
                    end_s = start_s + float((packet.duration or 0) * packet.time_base)
                    first_s[place] = min(first_s.get(place, start_s), start_s)
                    last_s[place] = max(last_s.get(place, end_s), end_s)
        announced_s = (container.duration or 0) / av.time_base
    there_s = max(last_s.values(), default=0.0)
    if demuxer == "matroska" and there_s < announced_s - max(0.5, 0.02 * announced_s):
        raise AudioError(
            f"{name} is truncated: its header announces {announced_s:.2f} s, it has {there_s:.2f} s. "
            "Copy or export it again"
        )
    return last_s.get(number, 0.0) - first_s.get(number, 0.0)


def _without_padding(pieces: Iterable[NDArray[np.float32]], end: int) -> Iterator[NDArray[np.float32]]:
    """Pieces (n,) up to sample `end`, unless more follows than an encoder fills its last block with."""
    position = 0
    held: list[NDArray[np.float32]] = []
    for piece in pieces:
        inside = min(len(piece), max(0, end - position))
        position += len(piece)
        if inside:
            yield piece[:inside]
        if inside < len(piece):
            held.append(piece[inside:])
        if position - end > MOST_PADDING:  # the header is wrong
            yield from held
            held, end = [], sys.maxsize
