"""The journals of finished shards, merged into a store's index; memory holds one journal at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech.config import DataConfig
from vqspeech.data.shards import Shard, read_journal
from vqspeech.data.store import ENTRY, SPLITS
from vqspeech.errors import CorpusError
from vqspeech.files import write_whole


@dataclass
class _Totals:
    """What the first pass over the journals gathers."""

    splits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    samples: dict[str, int] = field(default_factory=dict)  # by speaker
    energy: dict[str, float] = field(default_factory=dict)
    peak: dict[str, float] = field(default_factory=dict)
    shard_samples: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    train_speakers: set[str] = field(default_factory=set)
    low_rates: int = 0
    lowest: tuple[int, str] = (1 << 30, "")

    def add(self, journal: dict[str, Any], sample_rate: int) -> None:
        """Count one journal; `sample_rate` is the recipe's, Hz."""
        self.shard_samples.append(journal["samples"])
        self.problems += journal["problems"]
        for entry in journal["entries"]:
            speaker = entry["speaker"]
            self.splits[entry["split"]] += 1
            if entry["split"] == "train":
                self.train_speakers.add(speaker)
            self.samples[speaker] = self.samples.get(speaker, 0) + entry["length"]
            self.energy[speaker] = self.energy.get(speaker, 0.0) + entry["energy"]
            self.peak[speaker] = max(self.peak.get(speaker, 0.0), entry["peak"])
            if entry["source_rate"] < sample_rate:
                self.low_rates += 1
                self.lowest = min(self.lowest, (entry["source_rate"], entry["utterance"]))

    def gain(self, speaker: str, data: DataConfig) -> float:
        """The speaker's fixed factor: RMS to `level_db`, without clipping."""
        if data.level == "none":
            return 1.0
        rms = (self.energy[speaker] / self.samples[speaker]) ** 0.5
        return min(10 ** (data.level_db / 20) / rms, (1 - 2**-15) / self.peak[speaker])

    def notes(self, data: DataConfig) -> list[str]:
        """What deserves a look although it is used."""
        notes = []
        if self.low_rates:
            notes.append(
                f"{self.low_rates} recordings have a lower sample rate than the recipe's {data.sample_rate} Hz (the "
                f"lowest, {self.lowest[0]} Hz: {self.lowest[1]}). They are used, but hold nothing above half their rate"
            )
        notes += [f"no utterance falls into the {split} split" for split in SPLITS if not self.splits[split]]
        if untrained := sorted(set(self.samples) - self.train_speakers):
            notes.append(
                f"{len(untrained)} speakers have no utterance in the train split (the first: {untrained[0]}): no voice "
                "is learned for them"
            )
        return notes


def merge_shards(shards: list[Shard], data: DataConfig, out: Path, meta: dict[str, Any]) -> None:
    """Write index, names and, last of all, `store.json`.

    Parameters
    ----------
    shards : all finished, in the order of their utterances' ids
    data : settings of the corpus
    out : folder of the store
    meta : version, fingerprint and name of the contents' folder inside `out`

    Raises
    ------
    CorpusError
        If no recording could be used, or `out` cannot be written.
    """
    totals = _Totals()
    for shard in shards:
        totals.add(read_journal(shard.journal), data.sample_rate)
    if not sum(totals.splits.values()):
        raise CorpusError(
            f"none of the {len(totals.problems)} recordings can be used. The first problem: {totals.problems[0]}"
        )
    for voice in data.voices:
        if voice not in totals.train_speakers:
            problem = next((own for own in totals.problems if voice in own), "all of them are held out")
            raise CorpusError(
                f"data.voices names {voice!r}, but none of that speaker's recordings can be trained on ({problem}). "
                "Give more of them, or leave the name out"
            )
    # Voices come first, so that a model that keeps them alone keeps their numbers.
    others = set(totals.samples) - set(data.voices) if data.voices else set()
    speakers = sorted(totals.samples, key=lambda speaker: (speaker in others, speaker))
    try:
        name_bytes = _write_index(shards, totals, speakers, out / meta["contents"])
    except OSError as reason:
        raise CorpusError(
            f"cannot write the index in {out}: {reason.strerror}. Free some space and call again"
        ) from None
    meta = meta | {
        "sample_rate": data.sample_rate,
        "speakers": speakers,
        "voices": len(data.voices) or len(speakers),
        "gains": [totals.gain(speaker, data) for speaker in speakers],
        "splits": totals.splits,
        "name_bytes": name_bytes,
        "shard_samples": totals.shard_samples,
        "report": {"problems": totals.problems, "notes": totals.notes(data)},
    }
    with write_whole(out / "store.json", CorpusError) as temporary:
        temporary.write_text(json.dumps(meta), "utf-8")
    for shard in shards:
        shard.journal.unlink()


def _write_index(shards: list[Shard], totals: _Totals, speakers: list[str], folder: Path) -> int:
    """Fill index.npy, ends.npy and names.jsonl; return the size of the last."""
    numbers = {speaker: number for number, speaker in enumerate(speakers)}
    count = sum(totals.splits.values())
    index = np.lib.format.open_memmap(folder / "index.npy", "w+", ENTRY, (count,))
    position, start = {}, 0  # where each split's next entry goes
    for split in SPLITS:
        position[split] = start
        start += totals.splits[split]
    written = 0
    with open(folder / "names.jsonl", "wb") as names:
        for shard in shards:
            for entry in read_journal(shard.journal)["entries"]:
                # ASCII: names of files that are not UTF-8 come back as Python gave them.
                line = json.dumps([entry["utterance"], entry["text"], entry["labels"]]).encode("ascii") + b"\n"
                index[position[entry["split"]]] = (
                    numbers[entry["speaker"]], shard.number, entry["offset"], entry["length"], written, len(line),
                )  # fmt: skip
                position[entry["split"]] += 1
                written += names.write(line)
    index.flush()
    ends = np.lib.format.open_memmap(folder / "ends.npy", "w+", np.int64, (count,))
    np.cumsum(index["length"], dtype=np.int64, out=ends)
    ends.flush()
    return written
