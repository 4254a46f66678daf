"""The items of an ABX task: stretches of speech with a phone, its neighbours and a speaker; in ZeroSpeech's item files.

An item file has a line of names and then a line an item: `#file onset offset #phone prev-phone next-phone speaker`,
times in seconds. libri-light's `eval_ABX.py`, ABXpy and fastabx read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vqspeech.errors import CorpusError
from vqspeech.files import write_whole
from vqspeech.units.phones import SILENCE, Phone

HEADER = "#file onset offset #phone prev-phone next-phone speaker"
TRIPHONE, PHONE = "triphone", "phone"


@dataclass(frozen=True)
class Item:
    """One stretch of speech.

    Attributes
    ----------
    file : the recording's name, without folder and ending
    onset_s, offset_s : its part of the recording
    phone : what A and X share, and B has another of
    before, after : the phones beside it, its context
    speaker : who says it
    """

    file: str
    onset_s: float
    offset_s: float
    phone: str
    before: str
    after: str
    speaker: str


def make_items(phones: Sequence[Phone], file: str, speaker: str, kind: str = TRIPHONE) -> list[Item]:
    """Items of one recording.

    Parameters
    ----------
    phones : of the recording, in order, without gaps; see `phones.fill_gaps`
    kind : "triphone", which lasts from the start of the phone before to the end of the phone after, none of the three
        silent; or "phone", which lasts as long as the phone, itself not silent
    """
    items = []
    for before, own, after in zip(phones, phones[1:], phones[2:]):
        if own.name == SILENCE or (kind == TRIPHONE and SILENCE in (before.name, after.name)):
            continue
        onset_s, offset_s = (before.start_s, after.end_s) if kind == TRIPHONE else (own.start_s, own.end_s)
        items.append(Item(file, onset_s, offset_s, own.name, before.name, after.name, speaker))
    return items


def frames_of(item: Item, code_rate: float, num_frames: int) -> tuple[int, int]:
    """First frame and end of an item: those whose centre, (n + 1/2) / code_rate, lies in [onset, offset].

    The rule is ABXpy's and fastabx's; libri-light's code leaves out the last of these frames by a slip.

    Examples
    --------
    >>> frames_of(Item("a", 0.1, 0.2, "AH", "K", "T", "ann"), code_rate=50, num_frames=100)
    (5, 10)
    """
    # A millionth of a frame more: 0.3 * 50 - 0.5 should be 14.5, whatever binary fractions make of it.
    start = math.ceil(item.onset_s * code_rate - 0.5 - 1e-6)
    stop = math.floor(item.offset_s * code_rate - 0.5 + 1e-6) + 1
    return max(0, start), min(num_frames, stop)


def write_items(path: str | Path, items: Iterable[Item]) -> None:
    """Write an item file.

    Raises
    ------
    CorpusError
        If a name is empty or holds a space, which the format cannot tell from a separator; or the place cannot be
        written.
    """
    lines = [HEADER]
    for item in items:
        words = item.file, item.phone, item.before, item.after, item.speaker
        for word in words:
            if len(word.split()) != 1 or word != word.strip():
                raise CorpusError(f"{word!r} cannot stand in an item file: a name there has no spaces. Rename it")
        file, phone, before, after, speaker = words
        lines.append(f"{file} {item.onset_s:.6f} {item.offset_s:.6f} {phone} {before} {after} {speaker}")
    with write_whole(path, CorpusError) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_items(path: str | Path) -> list[Item]:
    """Read an item file.

    Raises
    ------
    CorpusError
        If it is missing, or a line has not seven fields with an onset before its offset.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as reason:
        raise CorpusError(f"the item file {path} cannot be read: {reason}. Give one with the header {HEADER}") from None
    items = []
    for number, line in enumerate(lines[1:], start=2):  # the first line names the columns
        if not line.strip():
            continue
        fields = line.split()
        try:
            file, onset, offset, phone, before, after, speaker = fields
            onset_s, offset_s = float(onset), float(offset)
        except ValueError:
            raise CorpusError(
                f"{path}, line {number} is {line.strip()!r}; expected seven fields such as "
                "'a01 0.35 0.52 IH L NG ann' after the header"
            ) from None
        if not 0 <= onset_s < offset_s < math.inf:
            raise CorpusError(f"{path}, line {number}: onset {onset} and offset {offset}; expected 0 <= onset < offset")
        items.append(Item(file, onset_s, offset_s, phone, before, after, speaker))
    return items
