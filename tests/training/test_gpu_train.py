"""benchmarks/gpu_train.py: speech packed small, and what a sitting brings home is what the next one takes along."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import gpu_train


def write_corpus(folder: Path, many: int, few: int) -> Path:
    """A manifest of two speakers, the one with more recordings first, in several formats."""
    lines = []
    for speaker, count, suffix in (("ann", many, ".flac"), ("bob", few, ".ogg")):
        for take in range(count):
            path = folder / speaker / f"{take}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(take).normal(0, 0.1, 48000)
            sf.write(path, noise, 24000 if suffix == ".flac" else 16000)
            split = "test" if take == 3 else "train"
            lines.append({"audio": str(path.relative_to(folder)), "speaker": speaker, "split": split, "text": "hiss"})
    manifest = folder / "all.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return manifest


def pack(*arguments: str | Path) -> str:
    done = CliRunner().invoke(gpu_train.main, ["pack", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_packed_speech_is_ogg_at_one_rate_with_all_that_the_manifest_said(tmp_path):
    manifest = write_corpus(tmp_path / "corpus", 5, 4)
    assert "9 recordings" in pack(manifest, tmp_path / "packed")
    entries = gpu_train.read_manifest(tmp_path / "packed" / "manifest.jsonl")
    assert Counter(entry["speaker"] for entry in entries) == {"ann": 5, "bob": 4}
    assert {(info.format, info.samplerate) for info in map(sf.info, [e["audio"] for e in entries])} == {("OGG", 16000)}
    assert [sf.info(entry["audio"]).duration for entry in entries if entry["speaker"] == "ann"] == pytest.approx(
        [2.0] * 5
    )
    assert all(entry["text"] == "hiss" for entry in entries)
    own = tmp_path / "corpus" / "bob" / "0.ogg"
    assert (tmp_path / "packed" / "speech" / "bob" / "0.ogg").read_bytes() == own.read_bytes()


def test_what_does_not_fit_is_lost_by_who_has_most(tmp_path):
    manifest = write_corpus(tmp_path / "corpus", 12, 4)
    size = sum(path.stat().st_size for path in (tmp_path / "corpus" / "bob").iterdir())
    told = pack(manifest, tmp_path / "packed", "--mib", str(1.2 * size / 2**20))
    entries = gpu_train.read_manifest(tmp_path / "packed" / "manifest.jsonl")
    count = Counter(entry["speaker"] for entry in entries)
    assert count["ann"] < 12 and count["ann"] - count["bob"] in (0, 1) and f"{16 - len(entries)} left out" in told
    takes = [int(Path(entry["audio"]).stem) for entry in entries if entry["speaker"] == "ann"]
    assert takes == list(range(len(takes)))


def test_what_is_brought_home_is_what_the_next_sitting_takes_along(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_train, "PIECE", 100)
    run = tmp_path / "run"
    run.mkdir()
    state = np.random.default_rng(0).bytes(250)
    for name, content in {"run.json": b"{}", "metrics.jsonl": b"", "state.pt": state}.items():
        (run / name).write_bytes(content)
    written = gpu_train.bring_home(run, tmp_path / "home")
    assert sorted(path.stat().st_size for path in written) == [0, 2, 50, 100, 100]
    gpu_train.take_along(tmp_path / "home", tmp_path / "again")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == {
        path.name: path.read_bytes() for path in run.iterdir()
    }


def test_a_folder_without_a_training_is_told(tmp_path):
    with pytest.raises(Exception, match="holds no training"):
        gpu_train.take_along(tmp_path, tmp_path / "run")
