"""Items from a folder of anyone's systems: one subfolder a system, the same file names in each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vqspeech.audio import find_recordings, load_audio, open_audio
from vqspeech.errors import ListeningTestError
from vqspeech.listening.design.items import LONGEST_S, Item, ItemSet, ReferenceRecording, Wav
from vqspeech.listening.kinds.base import ATTENTION, REFERENCE, SOURCE, Kind


def read_items(folder: Path, kind: Kind, num: int, num_spare: int, *, seed: int) -> ItemSet:
    """Read the systems of a folder; where it has more items than are asked for, they are drawn.

    Raises
    ------
    ListeningTestError
        If there are too few systems or items, a needed subfolder or one system's sound of an item is missing.
    """
    if not folder.is_dir():
        raise ListeningTestError(f"no folder at {folder}. Give one with a subfolder for each system with --stimuli")
    files = {sub.name: _sounds(sub) for sub in sorted(folder.iterdir()) if sub.is_dir() and sub.name[0] != "."}
    for name, what in kind.folders.items():
        if name not in files:
            raise ListeningTestError(f"a test of kind {kind.name} needs a subfolder {folder / name} with {what}")
    judged = [name for name in files if name not in kind.folders]
    if len(judged) < kind.fewest_systems:
        raise ListeningTestError(
            f"{folder} has {len(judged)} subfolders of systems to judge; a test of kind {kind.name} needs at least "
            f"{kind.fewest_systems}"
        )
    taken = {ATTENTION, SOURCE} if kind.has_original else {ATTENTION}
    if clashing := [name for name in judged if name in taken or name.startswith("anchor-")]:
        raise ListeningTestError(f"{folder / clashing[0]}: that name is taken by the test's own sounds. Rename it")
    names = sorted(set().union(*files.values()))
    for system, own in files.items():
        if lacking := [name for name in names if name not in own]:
            raise ListeningTestError(
                f"{folder / system} lacks {lacking[0]}{f' and {len(lacking) - 1} more' * (len(lacking) > 1)}, which "
                "other systems have. Every system needs a sound of every item, under the same name"
            )
    if len(names) < num:
        raise ListeningTestError(
            f"{num} trials asked for, but {folder} holds {len(names)} items. Ask for fewer with --trials {len(names)}"
        )
    rate = max(open_audio_rate(path) for own in files.values() for path in own.values())
    drawn = np.random.default_rng(seed).permutation(len(names))[: num + num_spare]

    def read(name: str) -> Item:
        wavs: dict[str, Wav] = {
            system: load_audio(own[name], rate)[: int(LONGEST_S * rate)] for system, own in files.items()
        }
        beside = {title: ReferenceRecording(name, wavs[title]) for title in kind.speakers}
        if kind.has_original:  # what is compared with is a system too: the hidden reference
            wavs = {SOURCE: wavs.pop(REFERENCE)} | wavs
        return Item(name, wavs, references=beside)

    items = [read(names[place]) for place in drawn]
    systems = (SOURCE, *judged) if kind.has_original else tuple(judged)
    return ItemSet(kind, systems, tuple(items[:num]), tuple(items[num:]), rate)


def open_audio_rate(path: Path) -> int:
    """Sample rate of a recording, Hz."""
    with open_audio(path) as reader:
        return reader.source_rate


def _sounds(folder: Path) -> dict[str, Path]:
    """Name without its suffix to file; two of one name, or of kinds that cannot be read, are refused."""
    found: dict[str, Path] = {}
    recordings = find_recordings(folder)
    for problem in recordings.problems().values():
        raise ListeningTestError(str(problem))
    for path in recordings.readable:
        name = str(path.relative_to(folder).with_suffix(""))
        if name in found:
            raise ListeningTestError(f"{found[name]} and {path} are both sounds of {name}. Keep one of them")
        found[name] = path
    return found
