"""The test's folder: a page that works from disk, its sounds under blinded names, and the key beside it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

from vqspeech.audio import save_audio
from vqspeech.errors import ListeningTestError
from vqspeech.listening.design.items import ItemSet, Wav
from vqspeech.listening.design.loudness import match_loudness
from vqspeech.listening.design.trials import Design, blind_name
from vqspeech.listening.key import KEY_SUFFIX, Key, read_key, write_key
from vqspeech.listening.kinds import KINDS

SOUNDS = "sounds"
PAGE = Path(__file__).parents[1] / "page"
PAGE_FILES = ("index.html", "page.css", "page.js", "player.js", "scales.js", "state.js", "served.js")
TEST_FILE = "test.js"
EPOCH = 1_000_000_000  # one time for all files: when each was written would tell which system's it is

CONSENT = (
    "Taking part is voluntary, and you can stop at any time by closing this page.",
    "Stored are your answers, how long each took, and a random number in place of your name. Nothing else about you is "
    "asked for or kept. Please write nothing personal into comments.",
    "The answers are used to compare methods of speech processing, and may be published.",
)

Addition = Callable[[Path, Key], None]  # writes another tool's files into the folder


def key_path(folder: Path) -> Path:
    """The key of a test: beside its folder."""
    return folder.parent / f"{folder.name}{KEY_SUFFIX}"


def answers_path(folder: Path) -> Path:
    """The answers that its server keeps: beside its folder."""
    return folder.parent / f"{folder.name}.results.sqlite"


def check_free(folder: Path) -> None:
    """See that nothing is overwritten.

    Raises
    ------
    ListeningTestError
        If the folder, the key or answers of a test of this name are there.
    """
    if not folder.name or folder.name in (".", ".."):
        raise ListeningTestError(f"{folder} cannot hold a test. Give a new folder with --out, such as test/")
    for path in (folder, key_path(folder), answers_path(folder)):
        if path.exists() and not (path == folder and path.is_dir() and not any(path.iterdir())):
            raise ListeningTestError(
                f"{path} exists: a test is never written over another, whose answers would lose their meaning. "
                "Choose another --out"
            )


def write_folder(
    folder: Path,
    item_set: ItemSet,
    design: Design,
    seed: int,
    *,
    title: str | None = None,
    consent: Sequence[str] = CONSENT,
    additions: Sequence[Addition] = (),
) -> Key:
    """Match the loudness, write sounds and page, then the key; the folder appears whole or not at all."""
    check_free(folder)
    building = folder.parent / f".{folder.name}.{os.getpid()}.part"
    try:
        (building / SOUNDS).mkdir(parents=True)
        digests = _write_sounds(building / SOUNDS, matched(design, item_set.sample_rate), item_set.sample_rate)
        key = Key(
            test=blind_name("test-"),
            kind=item_set.kind.name,
            seed=seed,
            stimuli={name: design.sounds[name].entry(digests[name]) for name in sorted(design.sounds)},
            trials={name: design.trials[name] for name in sorted(design.trials)},
            orders=tuple(map(tuple, design.orders)),
        )
        for name in PAGE_FILES:
            shutil.copyfile(PAGE / name, building / name)
        text = json.dumps(public(key, design.volume, title, consent), indent=1)
        (building / TEST_FILE).write_text(f'"use strict";\nwindow.LISTENING_TEST = {text};\n', encoding="ascii")
        for add in additions:
            add(building, key)
        for path in building.rglob("*"):
            os.utime(path, (EPOCH, EPOCH))
        write_key(key_path(folder), key)
        if folder.is_dir():
            folder.rmdir()  # empty: `check_free` looked
        building.rename(folder)
    except OSError as reason:
        raise ListeningTestError(
            f"cannot write {folder}: {reason.strerror or reason}. Free some space or choose another place with --out"
        ) from reason
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return key


def matched(design: Design, sample_rate: int) -> dict[str, Wav]:
    """The sounds of a design, all equally loud."""
    groups = list(design.groups.values())
    levelled = match_loudness([[design.sounds[name].wav for name in group] for group in groups], sample_rate)
    return {name: wav for group, wavs in zip(groups, levelled) for name, wav in zip(group, wavs, strict=True)}


def public(key: Key, volume: str, title: str | None, consent: Sequence[str]) -> dict[str, object]:
    """What the page gets: nothing of systems, roles (but which page is for practice) and expected answers."""
    kind = KINDS[key.kind]
    return {
        "test": key.test,
        "kind": key.kind,
        "title": title or kind.title,
        "instructions": list(kind.instructions),
        "question": kind.question,
        "labels": [list(label) for label in kind.labels],
        "scale": kind.scale,
        "consent": list(consent),
        "volume": volume,
        "trials": {
            name: {"rated": trial.rated, "reference": trial.reference, "practice": trial.role == "training"}
            for name, trial in key.trials.items()
        },
        "orders": key.orders,
    }


def read_test(folder: Path) -> Key:
    """The key of an exported test.

    Raises
    ------
    ListeningTestError
        If the folder is no test, a sound is missing, or the key is not that of the folder.
    """
    if not (folder / TEST_FILE).is_file():
        raise ListeningTestError(
            f"{folder} holds no listening test: {TEST_FILE} is missing. Make one with: vqspeech listening-test export"
        )
    key = read_key(key_path(folder))
    if f'"test": "{key.test}"' not in (folder / TEST_FILE).read_text(encoding="utf-8"):
        raise ListeningTestError(
            f"{key_path(folder)} is the key of another test than {folder}. Put them together again"
        )
    if missing := [name for name in key.stimuli if not (folder / SOUNDS / f"{name}.wav").is_file()]:
        raise ListeningTestError(
            f"{folder} lacks {len(missing)} of its {len(key.stimuli)} sounds, such as {SOUNDS}/{missing[0]}.wav. "
            "Copy the whole folder, or export the test again"
        )
    return key


def duration_s(folder: Path, key: Key) -> float:
    """Seconds of sound that a listener hears at least once."""
    names = set()
    for trial in key.orders[0]:
        names |= {(trial, name) for name in (*key.trials[trial].rated, key.trials[trial].reference) if name}
    return sum(_length_s(folder / SOUNDS / f"{name}.wav") for _, name in sorted(names))


def _length_s(path: Path) -> float:
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def _write_sounds(folder: Path, wavs: dict[str, Wav], sample_rate: int) -> dict[str, str]:
    """Write each sound under its blinded name, in the names' order; gives the SHA-256 of each file."""
    digests = {}
    for name in sorted(wavs):
        path = folder / f"{name}.wav"
        save_audio(path, wavs[name], sample_rate)
        digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests
