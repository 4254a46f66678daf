"""Shards: some dozens of utterances, prepared by a worker process into one file of samples and one journal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import FULL_SCALE, open_audio, to_int16
from vqspeech.data.corpora import Utterance
from vqspeech.data.embedded import read_labels
from vqspeech.data.phonemes import Label
from vqspeech.errors import AudioError, CorpusError
from vqspeech.files import write_whole

SILENT_PEAK = 3  # int16 steps, -80 dB full scale: nothing louder is silence

_TRIM_FRAME_S = 0.02


@dataclass(frozen=True)
class Shard:
    """Work for one process, and where its result goes."""

    number: int
    utterances: tuple[Utterance, ...]
    folder: Path
    sample_rate: int  # Hz
    trim_db: float  # ends this far below the loudest 20 ms are cut; 0 leaves them
    min_duration_s: float

    @property
    def samples(self) -> Path:
        """File of the utterances' samples, end to end."""
        return self.folder / f"{self.number:05d}.pcm"

    @property
    def journal(self) -> Path:
        """File of what the samples are of; present once they are all written."""
        return self.folder / f"{self.number:05d}.json"

    @property
    def is_done(self) -> bool:
        """Whether an earlier call finished this shard."""
        try:
            return self.samples.stat().st_size == 2 * read_journal(self.journal)["samples"]
        except (OSError, ValueError, KeyError):
            return False


def read_journal(path: Path) -> dict[str, Any]:
    """Entries, problems and length of a finished shard."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_shard(shard: Shard) -> int:
    """Decode, trim and write a shard; return the number of utterances dealt with.

    Recordings that cannot be used are left out and noted as problems.

    Raises
    ------
    CorpusError
        If the folder cannot be written or the disk is full.
    """
    entries, problems, samples = [], [], 0
    with write_whole(shard.samples, CorpusError) as temporary, open(temporary, "wb") as file:
        for utterance in shard.utterances:
            try:
                entry, pcm = _prepare(utterance, shard)
            except (AudioError, CorpusError) as problem:
                problems.append(str(problem))
                continue
            except (OSError, ValueError) as problem:  # such as labels that cannot be read
                problems.append(f"{utterance.audio} cannot be used: {problem}")
                continue
            file.write(pcm.astype("<i2").data)
            entries.append({**entry, "offset": samples, "length": len(pcm)})
            samples += len(pcm)
    with write_whole(shard.journal, CorpusError) as temporary:
        temporary.write_text(json.dumps({"samples": samples, "entries": entries, "problems": problems}), "utf-8")
    return len(shard.utterances)


def _prepare(utterance: Utterance, shard: Shard) -> tuple[dict[str, Any], NDArray[np.int16]]:
    with open_audio(
        utterance.audio, shard.sample_rate, offset_s=utterance.offset_s, duration_s=utterance.duration_s
    ) as reader:
        # 16-bit at once, block by block: an hour costs 115 MB at 16 kHz, and no float copy of it.
        pcm = np.concatenate([np.zeros(0, np.int16), *(to_int16(block) for block in reader)])
        source_rate = reader.source_rate
    peak = max(int(pcm.max(initial=0)), -int(pcm.min(initial=0)))
    if peak <= SILENT_PEAK and len(pcm):
        raise AudioError(f"{utterance.audio} is silent: no sample above -80 dB. Record it again or remove it")
    start, stop = trim_ends(pcm, shard.sample_rate, shard.trim_db) if shard.trim_db else (0, len(pcm))
    pcm = pcm[start:stop]
    if len(pcm) < max(1, shard.min_duration_s * shard.sample_rate):
        raise AudioError(
            f"{utterance.audio} is too short: {len(pcm) / shard.sample_rate:.3f} s of speech, data.min_duration_s asks "
            f"for {shard.min_duration_s} s. Lower it or remove the recording"
        )
    shift_s = utterance.offset_s + start / shard.sample_rate
    entry = {
        "utterance": utterance.utterance,
        "speaker": utterance.speaker,
        "split": utterance.split,
        "text": utterance.text,
        "labels": _shifted_labels(utterance.labels, shift_s) if utterance.labels else None,
        "source_rate": source_rate,
        "energy": float(np.square(pcm, dtype=np.float64).sum()) / FULL_SCALE**2,
        "peak": peak / FULL_SCALE,
    }
    return entry, pcm


def trim_ends(pcm: NDArray[np.int16], sample_rate: int, trim_db: float) -> tuple[int, int]:
    """First sample and end of what is left after trimming, in whole frames of 20 ms.

    A frame is kept if its RMS lies at most `trim_db` below that of the loudest frame, or between two kept ones.
    """
    size = max(1, round(_TRIM_FRAME_S * sample_rate))
    num_frames = -(-len(pcm) // size)
    if not num_frames:
        return 0, 0
    power = np.add.reduceat(np.square(pcm, dtype=np.float32), np.arange(num_frames) * size)
    power /= np.minimum(size, len(pcm) - np.arange(num_frames) * size)  # the last frame may be short
    (loud,) = np.nonzero(power >= power.max() * 10 ** (-trim_db / 10))
    return int(loud[0]) * size, min(len(pcm), (int(loud[-1]) + 1) * size)


def _shifted_labels(path: Path, shift_s: float) -> list[Label]:
    """Phoneme times with `shift_s` subtracted, so that they count from the utterance's first prepared sample."""
    return [
        (round(start_s - shift_s, 6), round(end_s - shift_s, 6), phoneme)
        for start_s, end_s, phoneme in read_labels(path)
    ]
