"""Preparation: recordings of a corpus into a store, in parallel, interruptible and resumable.

The corpus is cut into shards of some dozens of utterances. Once a shard's file is whole, a journal is written beside
it: a shard with a journal is finished work, which the next call keeps. When all are finished the journals are merged
into the index, and `store.json`, renamed into place, makes the store whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vqspeech.audio import MEDIA_SUFFIXES, media_is_installed
from vqspeech.config import DataConfig
from vqspeech.data.corpora import Utterance, find_utterances, list_passed_over
from vqspeech.data.embedded import build_embedded
from vqspeech.data.merging import merge_shards
from vqspeech.data.processes import num_cores, run_jobs
from vqspeech.data.shards import Shard, write_shard
from vqspeech.data.splits import assign_splits, limit_duration
from vqspeech.data.store import SPLITS, VERSION, Store
from vqspeech.errors import CorpusError

_SHARD_UTTERANCES = (8, 256)  # fewest and most in a shard; 64 shards where that allows


@dataclass(frozen=True)
class PreparationReport:
    """What a store holds and what was left out.

    Attributes
    ----------
    folder : the store
    hours : of speech
    speakers : names, sorted, voices first
    utterances : number
    splits : number of utterances of each split
    problems : one sentence for each recording that was left out
    notes : sentences about recordings that are used but deserve a look
    already_done : whether an earlier call had made this store
    """

    folder: Path
    hours: float
    speakers: tuple[str, ...]
    utterances: int
    splits: dict[str, int]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    already_done: bool

    def __str__(self) -> str:
        speakers = f"{len(self.speakers)} speaker" + "s" * (len(self.speakers) != 1)
        splits = ", ".join(f"{count} {split}" for split, count in self.splits.items())
        return f"{self.hours:.2f} h, {speakers}, {self.utterances} utterances ({splits}), {len(self.problems)} problems"


def prepare_store(
    data: DataConfig, root: Path, out: Path, *, num_workers: int | None = None, progress: bool = False
) -> PreparationReport:
    """Make the store of a corpus in `out`, or recognise that it is made.

    Interrupted, it keeps what is finished and goes on from there when called again. A store of other settings or
    recordings in `out` is replaced once the new one is whole.

    Parameters
    ----------
    data : corpus and settings
    root : folder of the corpus, see `find_root`
    out : folder of the store
    num_workers : processes; None takes all cores this process may use, 1 works in this process
    progress : whether a progress bar is shown on stderr

    Raises
    ------
    CorpusError
        If the corpus is not found, nothing in it can be used, `out` cannot be written, or another process prepares it.
    """
    root, out = Path(root), Path(out)
    if data.corpus == "embedded" and not root.exists():
        build_embedded(root, sample_rate=data.sample_rate, progress=progress)
    utterances = find_utterances(data, root)
    passed_over = list_passed_over(data, root)
    fingerprint = fingerprint_of(data, utterances)
    if store := _find_store(out, fingerprint):
        return _report(store, passed_over, already_done=True)
    with _lock(out):
        if store := _find_store(out, fingerprint):  # made by the process that held the lock until now
            return _report(store, passed_over, already_done=True)
        contents = out / fingerprint[:16]
        contents.mkdir(exist_ok=True)
        for leftover in contents.glob(".*.part*"):  # of a process that was killed
            leftover.unlink()
        shards = _plan(data, utterances, contents)
        del utterances
        _run(shards, num_workers or num_cores(), progress)
        meta = {"version": VERSION, "fingerprint": fingerprint, "contents": contents.name}
        merge_shards(shards, data, out, meta)
        return _with_leftovers(_report(Store.open(out), passed_over, already_done=False), contents)


def _with_leftovers(report: PreparationReport, contents: Path) -> PreparationReport:
    """Name what stores of other settings or recordings left: a training may still read it, so it is never deleted."""
    left = [
        old for old in report.folder.iterdir() if re.fullmatch("[0-9a-f]{16}", old.name) and old.name != contents.name
    ]
    if not left:
        return report
    names = ", ".join(str(old) for old in sorted(left))
    note = f"{names}: prepared with other settings or recordings. Delete it when no training uses it any more"
    return replace(report, notes=(*report.notes, note))


def store_folder(recipe: str) -> Path:
    """Where a recipe's prepared speech goes by default: prepared/<recipe's name>."""
    return Path("prepared") / recipe


def fingerprint_of(data: DataConfig, utterances: list[Utterance]) -> str:
    """Hex digest of everything the store depends on: settings, utterances, size and time of their files."""
    # Left empty, these change nothing: stores and models from before they were known keep their fingerprint.
    unused = {key for key in ("leave_out", "voices") if not getattr(data, key)}
    settings = data.model_dump(mode="json", exclude={"root", "help"} | unused)
    digest = hashlib.sha256(json.dumps([VERSION, settings], sort_keys=True).encode())
    for utterance in utterances:
        row: list[Any] = [utterance.utterance, utterance.speaker, utterance.text, utterance.offset_s,
                          utterance.duration_s, utterance.split]  # fmt: skip
        for path in (utterance.audio, utterance.labels):
            try:
                status = os.stat(path) if path else None
                row.append(status and [status.st_size, status.st_mtime_ns])
            except OSError:  # a dead link or an unreadable folder: preparation lists it
                row.append("unreadable")
        if utterance.audio.suffix.lower() in MEDIA_SUFFIXES and not media_is_installed():
            row.append("without media")  # with it, the store is made anew
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _find_store(out: Path, fingerprint: str) -> Store | None:
    try:
        store = Store.open(out)
        store.check()
    except CorpusError:  # none, half of one, or one of another version: it is made anew
        return None
    return store if store.fingerprint == fingerprint else None


def _report(store: Store, passed_over: list[str], already_done: bool) -> PreparationReport:
    return PreparationReport(
        folder=store.folder,
        hours=sum(store.duration_s(split) for split in SPLITS) / 3600,
        speakers=store.speakers,
        utterances=len(store),
        splits=dict(store.split_sizes),
        problems=(*passed_over, *store.report["problems"]),
        notes=tuple(store.report["notes"]),
        already_done=already_done,
    )


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Hold the folder for this process; the system lets go of it when the process ends, however it ends."""
    import fcntl

    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = open(out / ".lock", "w")
    except OSError as reason:
        raise CorpusError(
            f"cannot write prepared speech to {out}: {reason.strerror}. Choose another place with --out"
        ) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CorpusError(
                f"another process is preparing {out}. Wait until it has finished and call again: it is recognised then"
            ) from None
        yield


def _plan(data: DataConfig, utterances: list[Utterance], contents: Path) -> list[Shard]:
    """Cut the corpus into shards. The cut depends on the corpus alone, so that finished shards are found again."""
    if data.max_minutes_per_speaker:
        utterances = limit_duration(utterances, 60 * data.max_minutes_per_speaker)
    splits = assign_splits(data, utterances)
    utterances = [replace(utterance, split=split) for utterance, split in zip(utterances, splits, strict=True)]
    least, most = _SHARD_UTTERANCES
    size = min(most, max(least, -(-len(utterances) // 64)))
    starts = range(0, len(utterances), size)
    return [
        Shard(number, tuple(utterances[start : start + size]), contents, data.sample_rate, data.trim_db,
             data.min_duration_s)
        for number, start in enumerate(starts)
    ]  # fmt: skip


def _run(shards: list[Shard], num_workers: int, progress: bool) -> None:
    """Write the shards that are not finished yet."""
    waiting = [shard for shard in shards if not shard.is_done]
    total, left = (sum(len(shard.utterances) for shard in of) for of in (shards, waiting))
    jobs = [(shard,) for shard in waiting]
    run_jobs(
        write_shard, jobs, num_workers, doing="preparing", of="utterances", total=total, done=total - left,
        progress=progress, remedy=", if need be with fewer workers",
    )  # fmt: skip
