"""Prepared speech on disk: int16 shards and an index, all memory-mapped.

A store is a folder:

    store.json                 what it holds; written last, so that a store without it is not whole
    <contents>/index.npy       one ENTRY an utterance, sorted by split and then by utterance id
    <contents>/ends.npy        int64 running sum of lengths: a draw proportional to duration is one binary search
    <contents>/names.jsonl     one JSON line an utterance: [id, text, phoneme labels]
    <contents>/00000.pcm ...   samples, int16 little-endian, end to end

Opening reads store.json alone, so neither time nor memory grows with the number of utterances: index and ends are
mapped, 40 bytes an utterance that the system can drop, and of the shards only the slice being copied is mapped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import FULL_SCALE
from vqspeech.errors import CorpusError

SPLITS = ("train", "valid", "test")
VERSION = 1

ENTRY = np.dtype(
    [
        ("speaker", "<u4"),
        ("shard", "<u4"),
        ("offset", "<i8"),  # samples from the start of the shard
        ("length", "<u4"),  # samples; 24 hours at 48 kHz
        ("name", "<i8"),  # bytes from the start of names.jsonl
        ("name_bytes", "<u4"),
    ]
)


class Store:
    """A prepared corpus, read through memory maps.

    Attributes
    ----------
    folder : where it lies
    sample_rate : Hz
    speakers : names, sorted, those of `data.voices` first; `speaker(i)` is a position in it
    num_voices : the first so many speakers are learned as voices; all, unless the settings name some
    fingerprint : hex digest of the settings and files it was made from
    split_sizes : utterances of each split, by name
    gains : one factor per speaker, applied by `read`
    report : what preparation found: hours, problems, notes
    contents : name of the folder in `folder` that holds index and shards

    Examples
    --------
    >>> store = Store.open("prepared/fsdd")  # doctest: +SKIP
    >>> [store.utterance_id(i) for i in store.utterances("test")][:2]  # doctest: +SKIP
    ['0_george_0', '0_george_1']
    """

    def __init__(self, folder: Path, meta: dict[str, Any]) -> None:
        self.folder = folder
        self.sample_rate = int(meta["sample_rate"])
        self.speakers: tuple[str, ...] = tuple(meta["speakers"])
        self.num_voices = int(meta.get("voices", len(self.speakers)))  # stores from before there were others lack it
        self.fingerprint: str = meta["fingerprint"]
        self.split_sizes: dict[str, int] = {split: int(meta["splits"][split]) for split in SPLITS}
        self.gains = np.array(meta["gains"], np.float32)
        self.report: dict[str, Any] = meta["report"]
        self.contents: str = meta["contents"]
        self._contents = folder / self.contents
        self._shard_samples: list[int] = meta["shard_samples"]
        self.index = self._map("index.npy", (sum(self.split_sizes.values()),), ENTRY)
        self.ends = self._map("ends.npy", self.index.shape, np.dtype(np.int64))
        self._names = np.memmap(self._whole("names.jsonl", int(meta["name_bytes"])), np.uint8, "r")

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Open a prepared corpus.

        Raises
        ------
        CorpusError
            If the folder holds no whole store, or one of another version.
        """
        meta = read_meta(Path(folder))
        if meta is None:
            raise CorpusError(f"no prepared speech in {folder}. Make it with: vqspeech prepare RECIPE --data FOLDER")
        return cls(Path(folder), meta)

    def __len__(self) -> int:
        return len(self.index)

    def utterances(self, split: str) -> range:
        """Positions of a split's utterances: "train", "valid" or "test"; in the order of their ids."""
        start = sum(self.split_sizes[earlier] for earlier in SPLITS[: SPLITS.index(split)])
        return range(start, start + self.split_sizes[split])

    def duration_s(self, split: str) -> float:
        """Seconds of speech in a split."""
        span = self.utterances(split)
        if not span:
            return 0.0
        before = int(self.ends[span.start - 1]) if span.start else 0
        return (int(self.ends[span.stop - 1]) - before) / self.sample_rate

    def speaker(self, index: int) -> int:
        """Position of an utterance's speaker in `speakers`."""
        return int(self.index[index]["speaker"])

    def length(self, index: int) -> int:
        """Samples of an utterance."""
        return int(self.index[index]["length"])

    def utterance_id(self, index: int) -> str:
        """The id that `find_utterances` gave."""
        return self._name(index)[0]

    def text(self, index: int) -> str | None:
        """What is said, where the corpus has it."""
        return self._name(index)[1]

    def labels(self, index: int) -> list[tuple[float, float, str]] | None:
        """Phonemes as (start_s, end_s, phoneme), seconds from the first sample, where the corpus has them."""
        labels = self._name(index)[2]
        return None if labels is None else [(start_s, end_s, phoneme) for start_s, end_s, phoneme in labels]

    def _name(self, index: int) -> list[Any]:
        entry = self.index[index]
        start = int(entry["name"])
        return json.loads(bytes(self._names[start : start + int(entry["name_bytes"])]))

    def read(self, index: int, start: int = 0, length: int | None = None) -> NDArray[np.int16]:
        """Samples of an utterance from `start` on, at most `length`; fewer where the utterance ends.

        Returns
        -------
        pcm : int16 array, shape (T,); one step is 1 / 32768
        """
        entry = self.index[index]
        total = int(entry["length"])
        start = min(max(0, start), total)
        stop = total if length is None else min(start + max(0, length), total)
        if start == stop:
            return np.zeros(0, np.int16)
        number = int(entry["shard"])
        path = self._whole(f"{number:05d}.pcm", 2 * self._shard_samples[number])
        # Mapped for this slice alone: a map that stays would fill with all that was ever read.
        pcm = np.memmap(path, "<i2", "r", 2 * (int(entry["offset"]) + start), (stop - start,))
        gain = self.gains[entry["speaker"]]
        return np.array(pcm) if gain == 1 else np.clip(np.rint(pcm * gain), -32768, 32767).astype(np.int16)

    def wav(self, index: int, max_samples: int | None = None) -> NDArray[np.float32]:
        """An utterance, or its first samples, as float32 in [-1, 1], shape (T,)."""
        return self.read(index, 0, max_samples).astype(np.float32) * np.float32(1 / FULL_SCALE)

    def check(self) -> None:
        """Look at the size of every shard.

        Raises
        ------
        CorpusError
            If one is missing or has another size.
        """
        for number, samples in enumerate(self._shard_samples):
            self._whole(f"{number:05d}.pcm", 2 * samples)

    def _map(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Any:
        path = self._contents / name
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError):
            raise self._damaged(path) from None
        if array.shape != shape or array.dtype != dtype:
            raise self._damaged(path)
        return array

    def _whole(self, name: str, size: int) -> Path:
        path = self._contents / name
        if not path.is_file() or path.stat().st_size != size:
            raise self._damaged(path)
        return path

    def _damaged(self, path: Path) -> CorpusError:
        return CorpusError(
            f"the prepared speech in {self.folder} is damaged or was replaced: {path.name} is missing or has another "
            "size. Delete the folder and run vqspeech prepare again"
        )


def read_meta(folder: Path) -> dict[str, Any] | None:
    """What store.json says; None where there is none.

    Raises
    ------
    CorpusError
        If it is not a store's, or a newer version's.
    """
    path = folder / "store.json"
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        version = int(meta["version"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise CorpusError(f"{path} cannot be read as prepared speech. Delete {folder} and prepare again") from None
    if version != VERSION:
        raise CorpusError(
            f"{folder} was prepared by another version of vqspeech (format {version}, this one reads {VERSION}). "
            "Delete it and prepare again"
        )
    return meta
