"""Preparation: recordings of a corpus into a store, in parallel, interruptible and resumable.

The corpus is cut into units of some dozens of utterances. A unit becomes one shard and, once the shard is whole, one
journal file beside it: a unit with a journal is finished work, which the next call keeps. When all are finished the
journals are merged into the index, and `store.json`, renamed into place, makes the store whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from vqspeech.audio import MEDIA_SUFFIXES, media_is_installed, open_audio
from vqspeech.config import DataConfig
from vqspeech.data.corpora import Utterance, find_utterances, list_passed_over, split_of, stable_share
from vqspeech.data.embedded import build_embedded
from vqspeech.data.merging import merge_units
from vqspeech.data.shards import Unit, prepare_unit
from vqspeech.data.store import SPLITS, VERSION, Store
from vqspeech.errors import AudioError, CorpusError

_UNIT_UTTERANCES = (8, 256)  # fewest and most in a unit; 64 units where that allows


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
        units = _plan(data, utterances, contents)
        del utterances
        _run(units, num_workers or num_cores(), progress)
        meta = {"version": VERSION, "fingerprint": fingerprint, "contents": contents.name}
        merge_units(units, data, out, meta)
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
    """Where a recipe's prepared speech goes unless told otherwise: prepared/<recipe's name>."""
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


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _plan(data: DataConfig, utterances: list[Utterance], contents: Path) -> list[Unit]:
    """Cut the corpus into units. The cut depends on the corpus alone, so that finished units are found again."""
    if data.max_minutes_per_speaker:
        utterances = _limit(utterances, 60 * data.max_minutes_per_speaker)
    splits = _assign_splits(data, utterances)
    utterances = [replace(utterance, split=split) for utterance, split in zip(utterances, splits, strict=True)]
    least, most = _UNIT_UTTERANCES
    size = min(most, max(least, -(-len(utterances) // 64)))
    starts = range(0, len(utterances), size)
    return [
        Unit(number, tuple(utterances[start : start + size]), contents, data.sample_rate, data.trim_db,
             data.min_duration_s)
        for number, start in enumerate(starts)
    ]  # fmt: skip


def _limit(utterances: list[Utterance], most_s: float) -> list[Utterance]:
    """At most `most_s` seconds a speaker, by the headers, in an order that hangs on the ids alone."""
    spent: dict[str, float] = {}
    kept = []
    for utterance in sorted(utterances, key=lambda utterance: stable_share(utterance.utterance)):
        duration_s = utterance.duration_s
        if duration_s is None:
            try:
                with open_audio(utterance.audio) as reader:
                    duration_s = reader.duration_s
            except AudioError:
                duration_s = 0.0  # kept, so that preparation lists it
        total = spent.get(utterance.speaker, 0.0) + duration_s
        if total <= most_s:
            spent[utterance.speaker] = total
            kept.append(utterance)
    return sorted(kept, key=lambda utterance: utterance.utterance)


def _assign_splits(data: DataConfig, utterances: list[Utterance]) -> list[str]:
    """Official splits, else those of the hash; a wanted split left empty gets the train utterance next in line.

    Of speakers whose voices are not learned everything is trained on: they cannot be judged.
    """
    splits = [
        "train"
        if data.voices and utterance.speaker not in data.voices
        else utterance.split or split_of(utterance.utterance, data)
        for utterance in utterances
    ]
    if any(utterance.split for utterance in utterances):
        return splits
    for split, share in (("test", data.test_share), ("valid", data.valid_share)):
        train = [
            position
            for position, name in enumerate(splits)
            if name == "train" and (not data.voices or utterances[position].speaker in data.voices)
        ]
        if share and split not in splits and len(train) > 1:
            splits[min(train, key=lambda position: stable_share(utterances[position].utterance))] = split
    return splits


def _run(units: list[Unit], num_workers: int, progress: bool) -> None:
    """Prepare the units that are not finished yet."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(
        "preparing", BarColumn(), MofNCompleteColumn(), "utterances", TimeRemainingColumn(),
        console=Console(stderr=True), disable=not progress,
    )  # fmt: skip
    waiting = [unit for unit in units if not unit.is_done]
    total = sum(len(unit.utterances) for unit in units)
    with bar:
        task = bar.add_task("", total=total, completed=total - sum(len(unit.utterances) for unit in waiting))
        for count in _finish(waiting, min(num_workers, len(waiting))):
            bar.advance(task, count)


def _finish(units: list[Unit], num_workers: int) -> Iterator[int]:
    """Prepare units, in processes where that helps; yield the number of utterances as each is finished."""
    if num_workers <= 1:
        yield from map(prepare_unit, units)
        return
    # spawn: a process that has started threads (torch, numba) must not be forked.
    pool = ProcessPoolExecutor(num_workers, get_context("spawn"), initializer=start_worker)
    try:
        for future in as_completed([pool.submit(prepare_unit, unit) for unit in units]):
            yield future.result()
    except BrokenProcessPool:
        raise CorpusError(
            "a preparing process was ended from outside, perhaps for want of memory. What is finished is kept: call "
            "again, if need be with fewer workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def start_worker() -> None:
    """Let the parent alone answer an interrupt, and end with it even where it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        watch = parent.join
        threading.Thread(target=lambda: (watch(), os._exit(1)), daemon=True).start()
