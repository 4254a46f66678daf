"""The store: slices of memory-mapped shards, and an index that costs no memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqspeech.config import DataConfig
from vqspeech.data.preparation import prepare_store
from vqspeech.data.store import ENTRY, VERSION, Store
from vqspeech.errors import CorpusError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three FSDD-like takes: train, valid and test; sample i of take t is 100 t + i."""
    for take, length in ((2, 900), (7, 1000), (12, 1100)):
        pcm = (100 * take + np.arange(length)).astype(np.int16)
        (tmp_path / "corpus").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "corpus" / f"3_ann_{take}.wav", pcm, 8000)
    prepare_store(DataConfig(corpus="fsdd", sample_rate=8000), tmp_path / "corpus", tmp_path / "out", num_workers=1)
    return Store.open(tmp_path / "out")


def test_splits_are_ranges_of_the_index(store: Store) -> None:
    names = {split: [store.utterance_id(i) for i in store.utterances(split)] for split in ("train", "valid", "test")}
    assert names == {"train": ["3_ann_12"], "valid": ["3_ann_7"], "test": ["3_ann_2"]}
    assert [store.duration_s(split) for split in names] == [1100 / 8000, 1000 / 8000, 900 / 8000]
    assert [store.text(i) for i in range(3)] == ["three"] * 3 and store.labels(0) is None


def test_a_slice_ends_where_the_utterance_ends(store: Store) -> None:
    assert store.read(1, 5, 3).tolist() == [705, 706, 707]
    assert store.read(1, 998, 10).tolist() == [1698, 1699]
    assert store.read(1, 1000).tolist() == store.read(1, 2000, 5).tolist() == store.read(1, 0, 0).tolist() == []
    assert np.array_equal(store.read(2), 200 + np.arange(900))


def test_names_that_are_not_utf8_come_back_as_they_were(tmp_path: Path) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    place = tmp_path / "corpus" / name
    try:
        place.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    soundfile.write(str(tmp_path / "a.wav"), np.sin(np.arange(8000)), 8000)
    (tmp_path / "a.wav").rename(place / "a.wav")
    prepare_store(DataConfig(corpus="folder", sample_rate=8000), tmp_path / "corpus", tmp_path / "out", num_workers=1)
    store = Store.open(tmp_path / "out")
    assert store.speakers == (name,) and store.utterance_id(0) == f"{name}/a"


def test_a_folder_without_a_store_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no prepared speech .*vqspeech prepare"):
        Store.open(tmp_path)


def test_a_store_of_another_version_or_of_something_else_is_refused(store: Store) -> None:
    path = store.folder / "store.json"
    path.write_text(json.dumps({"version": VERSION + 1}))
    with pytest.raises(CorpusError, match=f"format {VERSION + 1}, this one reads {VERSION}"):
        Store.open(store.folder)
    for other in ("[]", "{}", "dear diary"):
        path.write_text(other)
        with pytest.raises(CorpusError, match="cannot be read as prepared speech"):
            Store.open(store.folder)


@pytest.mark.parametrize("name", ["index.npy", "ends.npy", "names.jsonl"])
def test_a_damaged_part_is_named(store: Store, name: str) -> None:
    path = next(store.folder.glob(f"*/{name}"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorpusError, match=f"{name} is missing or has another size"):
        Store.open(store.folder)


def make_million(folder: Path, count: int, length: int) -> None:
    """A store of `count` utterances whose samples are a hole in a sparse file."""
    contents = folder / "c"
    contents.mkdir(parents=True)
    index = np.zeros(count, ENTRY)
    index["offset"] = np.arange(count) * length
    index["length"] = length
    index["speaker"] = np.arange(count) % 100
    index["name"] = np.arange(count) * 24
    index["name_bytes"] = 24
    np.save(contents / "index.npy", index)
    np.save(contents / "ends.npy", np.cumsum(index["length"], dtype=np.int64))
    (contents / "names.jsonl").write_bytes(b"".join(b'["%08d", null, null]' % number for number in range(count)))
    with open(contents / "00000.pcm", "wb") as shard:
        shard.truncate(2 * count * length)
    meta = {
        "version": VERSION, "fingerprint": "f", "contents": "c", "sample_rate": 16000,
        "speakers": [f"s{i:02d}" for i in range(100)], "gains": [1.0] * 100,
        "splits": {"train": count - 2000, "valid": 1000, "test": 1000}, "name_bytes": 24 * count,
        "shard_samples": [count * length], "report": {"problems": [], "notes": []},
    }  # fmt: skip
    (folder / "store.json").write_text(json.dumps(meta))


MEASURE = """
import resource, sys
from vqspeech.data.batches import Batches
from vqspeech.data.store import Store

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6

def work(folder):
    batches = Batches(Store.open(folder), "train", crop_samples=5120, hop_length=64, batch_size=8)
    for step in range(200):
        batches.batch(step)
    last = len(batches.store) - 1
    assert batches.store.utterance_id(last) == f"{last:08d}"
    return batches

small = work(sys.argv[1])  # imports and buffers
before = resident_mb()
large = work(sys.argv[2])
print(resident_mb() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_a_million_utterances_cost_less_than_50_mb(tmp_path: Path) -> None:
    make_million(tmp_path / "small", 3000, 1600)
    make_million(tmp_path / "large", 1_000_000, 1600)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "small"), str(tmp_path / "large")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    # Nearly all of it is the index (32 MB) and ends (8 MB), mapped: the system drops them when memory is short.
    # Names (24 MB) and samples (3.2 GB) stay on disk.
    assert float(result.stdout) < 50
