"""The recordings of a new voice: read, checked, cut into stretches, a part of them held out."""

# T samples.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import FULL_SCALE, find_recordings, load_audio, to_int16
from vqspeech.config import DataConfig
from vqspeech.data.shards import SILENT_PEAK, trim_ends
from vqspeech.data.store import ENTRY, Store
from vqspeech.errors import AudioError

LEAST_S = 10.0  # of speech, below which no voice is fitted
WANTED_S = 30.0  # below which the user is warned
STRETCH_S = 4.0  # a recording is cut into stretches of at most this
HELD_OUT_EVERY = 5  # every so many-th stretch is held out
MOST_HELD_OUT_S = 20.0  # a validation has to be quick


@dataclass(frozen=True)
class Recording:
    """One usable recording: its file, and int16 samples (T,) at the model's rate, as its corpus was prepared."""

    path: Path
    pcm: NDArray[np.int16]

    @property
    def wav(self) -> NDArray[np.float32]:
        """float32 samples (T,) in [-1, 1]."""
        return self.pcm.astype(np.float32) * np.float32(1 / FULL_SCALE)


def read_recordings(sources: Sequence[Path], data: DataConfig) -> tuple[list[Recording], list[str]]:
    """Files, and those found in folders, prepared as the model's corpus was: its rate, trimming and level.

    Returns
    -------
    recordings : in the order given
    problems : a sentence for each recording that cannot be used

    Raises
    ------
    AudioError
        If there is less than 10 s of usable speech; the message gives the seconds and the first problem.
    """
    files, passed_over = _files(sources)
    if passed_over and not files:
        raise AudioError(" ".join(passed_over))
    recordings, problems = [], passed_over
    for path in files:
        try:
            recordings.append(Recording(path, _read(path, data)))
        except AudioError as problem:
            problems.append(str(problem))
    seconds = sum(len(one.pcm) for one in recordings) / data.sample_rate
    if seconds < LEAST_S:
        first = f" The first of {len(problems)} that cannot be used: {problems[0]}" if problems else ""
        raise AudioError(
            f"{len(recordings)} usable recordings with {seconds:.1f} s of speech in all; at least {LEAST_S:g} s are "
            f"needed to fit a voice, 30 s to 5 minutes are good. Give more recordings.{first}"
        )
    return _levelled(recordings, data), problems


def _files(sources: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Files to read, each once, and sentences about those of kinds that cannot be read."""
    files: list[Path] = []
    passed_over: dict[Path, AudioError] = {}
    for source in sources:
        if source.is_dir():
            found = find_recordings(source)
            files += sorted(found.readable)
            passed_over |= found.problems()
        else:
            files.append(source)
    return list(dict.fromkeys(files)), [str(problem) for problem in passed_over.values()]


def _read(path: Path, data: DataConfig) -> NDArray[np.int16]:
    pcm = to_int16(load_audio(path, data.sample_rate))
    if int(np.abs(pcm.astype(np.int32)).max(initial=0)) <= SILENT_PEAK:
        raise AudioError(f"{path} is silent: no sample above -80 dB. Record it again or leave it out")
    if data.trim_db:
        start, stop = trim_ends(pcm, data.sample_rate, data.trim_db)
        pcm = pcm[start:stop]
    if len(pcm) < data.min_duration_s * data.sample_rate:
        raise AudioError(
            f"{path} is too short: {len(pcm) / data.sample_rate:.3f} s of speech, the model's recordings had at least "
            f"{data.min_duration_s} s. Leave it out"
        )
    return pcm


def _levelled(recordings: list[Recording], data: DataConfig) -> list[Recording]:
    """One gain for all, where the model's corpus had one a speaker."""
    if data.level == "none":
        return recordings
    wav = np.concatenate([one.wav for one in recordings])
    rms, peak = float(np.sqrt(np.square(wav, dtype=np.float64).mean())), float(np.abs(wav).max())
    gain = min(10 ** (data.level_db / 20) / rms, (1 - 2**-15) / peak)
    return [Recording(one.path, to_int16(one.wav * gain)) for one in recordings]


class Stretches(Store):
    """Stretches of recordings in memory, as a store with a train and a valid split.

    Each recording is cut into equal stretches of at most 4 s; every fifth of all stretches is held out as valid, at
    most 20 s in all.

    Parameters
    ----------
    recordings : of one voice
    sample_rate : Hz
    """

    def __init__(self, recordings: Sequence[Recording], sample_rate: int) -> None:
        self.folder = Path("the recordings")
        self.sample_rate = sample_rate
        self.speakers = ("new",)
        cut: list[tuple[str, NDArray[np.int16]]] = []
        for one in recordings:
            pieces = np.array_split(one.pcm, -(-len(one.pcm) // round(STRETCH_S * sample_rate)))
            cut += [(f"{one.path.stem}-{number}", piece) for number, piece in enumerate(pieces)]
        held_out = [place for place in range(len(cut)) if place % HELD_OUT_EVERY == HELD_OUT_EVERY // 2]
        while sum(len(cut[place][1]) for place in held_out) > MOST_HELD_OUT_S * sample_rate and len(held_out) > 1:
            held_out = held_out[::2]  # still spread over all
        train = [piece for place, piece in enumerate(cut) if place not in set(held_out)]
        ordered = [*train, *(cut[place] for place in held_out)]
        self.split_sizes = {"train": len(train), "valid": len(held_out), "test": 0}
        self._ids = [name for name, _ in ordered]
        self._pcm = [pcm for _, pcm in ordered]
        self.index = np.zeros(len(ordered), ENTRY)
        self.index["length"] = [len(pcm) for pcm in self._pcm]
        self.ends = np.cumsum(self.index["length"], dtype=np.int64)

    def read(self, index: int, start: int = 0, length: int | None = None) -> NDArray[np.int16]:
        """See `Store.read`."""
        return self._pcm[index][max(0, start) :][:length]

    def utterance_id(self, index: int) -> str:
        """The recording's name and the stretch's number."""
        return self._ids[index]
