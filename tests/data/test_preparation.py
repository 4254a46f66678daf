"""Preparation: what ends up in a store, what is left out, and what happens when it is interrupted."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from patience import HUNG_S, wait_until
from vqspeech.audio import load_audio, to_int16
from vqspeech.config import DataConfig
from vqspeech.data import preparation
from vqspeech.data.preparation import prepare_store
from vqspeech.data.shards import Shard, trim_ends, write_shard
from vqspeech.data.store import Store
from vqspeech.errors import CorpusError


def folder_config(**values: Any) -> DataConfig:
    return DataConfig.model_validate({"corpus": "folder", "sample_rate": 8000, **values})


def tone(duration_s: float, sample_rate: int = 8000, level: float = 0.3) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(round(duration_s * sample_rate)) / sample_rate)


def write(path: Path, wav: np.ndarray, sample_rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, sample_rate)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """40 utterances of two speakers, each of its own length."""
    for number in range(40):
        write(tmp_path / "corpus" / f"speaker {number % 2}" / f"{number:02d}.wav", tone(0.2 + number / 100))
    return tmp_path / "corpus"


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_store_holds_the_samples_of_every_recording(corpus: Path, tmp_path: Path) -> None:
    report = prepare_store(folder_config(), corpus, tmp_path / "out", num_workers=1)
    store = Store.open(tmp_path / "out")
    assert report.utterances == len(store) == 40 and sum(report.splits.values()) == 40
    assert report.speakers == store.speakers == ("speaker 0", "speaker 1")
    assert report.hours == pytest.approx(sum(0.2 + n / 100 for n in range(40)) / 3600, rel=1e-4)
    assert not report.problems and not report.already_done
    for index in range(40):
        name = store.utterance_id(index)
        assert store.speakers[store.speaker(index)] == name.split("/")[0]
        assert np.array_equal(store.read(index), to_int16(load_audio(corpus / f"{name}.wav")))


def test_several_processes_make_the_same_store_as_one(corpus: Path, tmp_path: Path) -> None:
    prepare_store(folder_config(), corpus, tmp_path / "one", num_workers=1)
    prepare_store(folder_config(), corpus, tmp_path / "two", num_workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_prepared_corpus_is_recognised(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare_store(folder_config(), corpus, tmp_path / "out", num_workers=1)
    monkeypatch.setattr(preparation, "write_shard", lambda shard: pytest.fail("prepared again"))
    again = prepare_store(folder_config(root="elsewhere", help="other words"), corpus, tmp_path / "out", num_workers=1)
    assert again.already_done and (again.hours, again.splits) == (first.hours, first.splits)


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        (lambda corpus: None, {"sample_rate": 16000}),
        (lambda corpus: None, {"valid_share": 0.2}),
        (lambda corpus: write(corpus / "speaker 0" / "00.wav", tone(0.7)), {}),
        (lambda corpus: write(corpus / "speaker 0" / "new.wav", tone(0.7)), {}),
        (lambda corpus: (corpus / "speaker 0" / "00.wav").unlink(), {}),
        (lambda corpus: (corpus / "speaker 0").rename(corpus / "renamed"), {}),
    ],
)
def test_other_settings_or_recordings_replace_the_store(
    corpus: Path, tmp_path: Path, change: Callable[[Path], object], settings: dict[str, Any]
) -> None:
    prepare_store(folder_config(), corpus, tmp_path / "out", num_workers=1)
    before = Store.open(tmp_path / "out")
    spoken = [before.read(index).copy() for index in range(len(before))]
    change(corpus)
    report = prepare_store(folder_config(**settings), corpus, tmp_path / "out", num_workers=1)
    assert not report.already_done
    assert Store.open(tmp_path / "out").fingerprint != before.fingerprint
    # A training may still read the old contents: they stay, and the report names them.
    assert all(np.array_equal(before.read(index), pcm) for index, pcm in enumerate(spoken))
    assert any(before.fingerprint[:16] in note for note in report.notes)


def test_an_interrupted_preparation_keeps_what_is_finished_and_equals_one_without_interruption(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[int] = []

    def interrupted(shard: Shard) -> int:
        if len(finished) == 3:
            raise KeyboardInterrupt
        finished.append(shard.number)
        return write_shard(shard)

    monkeypatch.setattr(preparation, "write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_store(folder_config(), corpus, tmp_path / "out", num_workers=1)
    with pytest.raises(CorpusError, match="no prepared speech"):  # half a store is none
        Store.open(tmp_path / "out")
    later: list[int] = []
    monkeypatch.setattr(preparation, "write_shard", lambda shard: later.append(shard.number) or write_shard(shard))
    prepare_store(folder_config(), corpus, tmp_path / "out", num_workers=1)
    assert finished == [0, 1, 2] and later == [3, 4]  # 40 utterances in shards of 8
    monkeypatch.undo()
    prepare_store(folder_config(), corpus, tmp_path / "whole", num_workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_shard_cut_short_by_a_crash_is_made_again(corpus: Path, tmp_path: Path) -> None:
    prepare_store(folder_config(), corpus, tmp_path / "out", num_workers=1)
    shard = next((tmp_path / "out").glob("*/00002.pcm"))
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(CorpusError, match="damaged.*prepare again"):
        Store.open(tmp_path / "out").check()
    assert not prepare_store(folder_config(), corpus, tmp_path / "out", num_workers=1).already_done
    Store.open(tmp_path / "out").check()


def test_bad_recordings_are_listed_and_the_others_used(tmp_path: Path) -> None:
    bad = tmp_path / "corpus" / "ann"
    good = write(bad / "good.wav", tone(1))
    write(bad / "silent.wav", np.zeros(8000))
    write(bad / "short.wav", tone(0.05))
    write(bad / "none.wav", np.zeros(0))
    (bad / "empty.flac").touch()
    (bad / "text.wav").write_text("hello")
    (bad / "half.wav").write_bytes(good.read_bytes()[:5000])
    soundfile.write(bad / "nan.wav", np.full(8000, np.nan, np.float32), 8000, subtype="FLOAT")
    (bad / "dangling.wav").symlink_to(bad / "nowhere.wav")
    write(bad / "eight.wav", np.tile(tone(1, 48000), (8, 1)).T, 48000)
    write(bad / "high.wav", tone(1, 192000), 192000)
    write(bad / "low.wav", tone(1, 4000), 4000)
    report = prepare_store(folder_config(), tmp_path / "corpus", tmp_path / "out", num_workers=1)
    assert report.utterances == 4
    faults = {
        "silent": "is silent", "short": "too short: 0.050 s", "none": "no samples", "empty": "empty file",
        "text": "not a recording", "half": "truncated", "nan": "not finite", "dangling": "no recording at",
    }  # fmt: skip
    assert len(report.problems) == len(faults)
    for name, fault in faults.items():
        (problem,) = (problem for problem in report.problems if f"{name}." in problem)
        assert fault in problem
    (note,) = (note for note in report.notes if "sample rate" in note)
    assert note.startswith(
        "1 recordings have a lower sample rate than the recipe's 8000 Hz (the lowest, 4000 Hz: ann/low"
    )
    assert "4 utterances" in str(report) and "8 problems" in str(report)
    store = Store.open(tmp_path / "out")
    lengths = {store.utterance_id(i): store.length(i) for i in range(4)}
    assert lengths == {"ann/good": 8000, "ann/eight": 8000, "ann/high": 8000, "ann/low": 8000}


def test_a_corpus_of_nothing_but_bad_recordings_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "corpus" / "ann" / "a.wav", np.zeros(8000))
    with pytest.raises(CorpusError, match="none of the 1 recordings can be used.*is silent"):
        prepare_store(folder_config(), tmp_path / "corpus", tmp_path / "out", num_workers=1)


def test_trimming_keeps_whole_frames_from_the_first_to_the_last_loud_one() -> None:
    # 0.1 s of quiet (-60 dB below the tone), 0.3 s of tone, a pause, tone again, quiet: frames of 160 samples.
    quiet, loud = tone(0.1, level=0.0005), tone(0.3, level=0.5)
    pcm = to_int16(np.concatenate([quiet, loud, quiet, loud, quiet, quiet]))
    assert trim_ends(pcm, 8000, 40) == (800, 800 + 2400 + 800 + 2400)
    assert trim_ends(pcm, 8000, 80) == (0, len(pcm))


def test_trimmed_labels_count_from_the_first_kept_sample(tmp_path: Path) -> None:
    root = tmp_path / "embedded"
    write(root / "wav" / "v" / "a.wav", np.concatenate([np.zeros(1600), tone(0.5), np.zeros(1600)]))
    (root / "labels" / "v").mkdir(parents=True)
    (root / "labels" / "v" / "a.tsv").write_text("0.0\t0.2\tSIL\n0.2\t0.7\tAH\n")
    write(root / "wav" / "v" / "b.wav", tone(0.5))
    (root / "labels" / "v" / "b.tsv").write_text("0.0\tAH\n")
    data = DataConfig(corpus="embedded", sample_rate=8000, trim_db=40, valid_share=0, test_share=0)
    report = prepare_store(data, root, tmp_path / "out", num_workers=1)
    store = Store.open(tmp_path / "out")
    assert store.length(0) == 4000
    assert store.labels(0) == [(-0.2, 0.0, "SIL"), (0.0, 0.5, "AH")]
    assert len(report.problems) == 1 and "b.tsv, line 1" in report.problems[0]


def test_a_speakers_level_is_one_gain_that_never_clips(tmp_path: Path) -> None:
    for name, level in (("loud", 0.5), ("soft", 0.01)):
        for take in range(2):
            write(tmp_path / "corpus" / name / f"{take}.wav", tone(1, level=level / (1 + take)))
    write(tmp_path / "corpus" / "click" / "a.wav", np.append(np.zeros(7999), 0.9))
    data = folder_config(level="speaker", level_db=-20, valid_share=0, test_share=0)
    prepare_store(data, tmp_path / "corpus", tmp_path / "out", num_workers=1)
    store = Store.open(tmp_path / "out")
    wavs = {store.utterance_id(i): store.read(i) / 32768 for i in range(len(store))}
    for name in ("loud", "soft"):
        first, second = wavs[f"{name}/0"], wavs[f"{name}/1"]
        assert np.sqrt(np.mean([first**2, second**2])) == pytest.approx(0.1, rel=0.01)  # -20 dB
        assert first.std() / second.std() == pytest.approx(2, rel=0.01)  # the same gain for both
    assert wavs["click/a"].max() == pytest.approx(1, abs=1e-3)


def test_at_most_the_wanted_minutes_of_a_speaker_are_used(corpus: Path, tmp_path: Path) -> None:
    data = folder_config(max_minutes_per_speaker=3 / 60)
    report = prepare_store(data, corpus, tmp_path / "out", num_workers=1)
    assert 4.0 < report.hours * 3600 <= 6.0 and len(report.speakers) == 2


def test_a_tiny_corpus_still_gets_every_wanted_split(tmp_path: Path) -> None:
    for take in range(4):
        write(tmp_path / "corpus" / "ann" / f"{take}.wav", tone(1))
    report = prepare_store(folder_config(), tmp_path / "corpus", tmp_path / "out", num_workers=1)
    assert report.splits == {"train": 2, "valid": 1, "test": 1}


def test_parts_of_one_long_recording_come_from_a_manifest(tmp_path: Path) -> None:
    wav = np.random.default_rng(0).uniform(-0.5, 0.5, 32000)
    write(tmp_path / "long.wav", wav)
    lines = [{"audio": "long.wav", "speaker": f"s/{i}", "offset_s": i, "duration_s": 1, "text": str(i)} for i in (0, 3)]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = DataConfig(corpus="manifest", sample_rate=8000, valid_share=0, test_share=0)
    prepare_store(data, tmp_path / "all.jsonl", tmp_path / "out", num_workers=1)
    store = Store.open(tmp_path / "out")
    assert store.speakers == ("s/0", "s/3") and [store.text(i) for i in (0, 1)] == ["0", "3"]
    assert np.array_equal(store.read(1), to_int16(load_audio(tmp_path / "long.wav"))[24000:])


def test_two_preparations_of_one_folder_do_not_meet(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with open(tmp_path / "out" / ".lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CorpusError, match="another process is preparing.*Wait"):
            prepare_store(folder_config(), corpus, tmp_path / "out", num_workers=1)


def test_a_place_that_cannot_be_written_is_named(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="cannot write prepared speech to .*file"):
        prepare_store(folder_config(), corpus, tmp_path / "file", num_workers=1)


def test_a_full_disk_is_one_sentence_and_loses_no_finished_work(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "00003.pcm":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CorpusError, match="cannot write .*No space left"):
        prepare_store(folder_config(), corpus, tmp_path / "out", num_workers=1)
    names = {path.name for path in (tmp_path / "out").glob("*/*")}
    assert names == {f"0000{i}.{suffix}" for i in range(3) for suffix in ("pcm", "json")}


# Workers wait at their second shard until the pool is shut down, so that an end from outside finds them at work; and
# each holds the file `workers` as long as it lives.
PREPARE = """
import fcntl, sys, time
from pathlib import Path
from vqspeech.config import DataConfig
from vqspeech.data import shards
from vqspeech.data.preparation import prepare_store
from vqspeech.data.processes import ProcessPoolExecutor

held, stopping = open("workers", "a"), Path("stopping")
if __name__ == "__mp_main__":
    fcntl.flock(held, fcntl.LOCK_SH)
    write_shard = shards.write_shard

    def write_first_shard(shard):
        while shard.number > 0 and not stopping.exists():
            time.sleep(0.005)
        return write_shard(shard)

    shards.write_shard = write_first_shard

if __name__ == "__main__":
    shutdown = ProcessPoolExecutor.shutdown

    def tell_and_shut_down(*arguments, **options):
        stopping.touch()
        shutdown(*arguments, **options)

    ProcessPoolExecutor.shutdown = tell_and_shut_down
    data = DataConfig(corpus="folder", sample_rate=8000)
    prepare_store(data, Path(sys.argv[1]), Path(sys.argv[2]), num_workers=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_preparation_stopped_from_outside_goes_on_where_it_was(tmp_path: Path, how: signal.Signals) -> None:
    first = write(tmp_path / "corpus" / "ann" / "000.wav", tone(10, 48000), 48000)
    for number in range(1, 400):
        os.link(first, first.with_name(f"{number:03d}.wav"))
    (tmp_path / "script.py").write_text(PREPARE)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "corpus"), str(tmp_path / "out")]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("out/*/*.json")), lambda: process.poll() is None)
    # An interrupt typed at a terminal reaches all processes, a kill the one that it names.
    os.killpg(process.pid, how) if how == signal.SIGINT else process.kill()
    assert process.wait(HUNG_S) != 0
    with open(tmp_path / "workers") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # once the workers have noticed and ended
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*.json")}
    assert 0 < len(kept) < 50 and not (tmp_path / "out" / "store.json").exists()
    shards = {path.with_suffix(".pcm"): path.with_suffix(".pcm").stat().st_mtime_ns for path in kept}
    report = prepare_store(folder_config(), tmp_path / "corpus", tmp_path / "out", num_workers=2)
    assert report.utterances == 400
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    assert not list((tmp_path / "out").rglob("*.part*"))


@pytest.mark.real_data
def test_fsdd_is_prepared_with_its_official_splits(fsdd: Path, tmp_path: Path) -> None:
    data = DataConfig(corpus="fsdd", sample_rate=8000)
    report = prepare_store(data, fsdd, tmp_path / "out", num_workers=1)
    assert report.splits == {"train": 2400, "valid": 300, "test": 300} and len(report.speakers) == 6
    assert not report.problems
