"""Phones with their times, of any inventory: silences of one name, stress left out, gaps filled, frames labelled."""

# N code frames of one recording.
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SILENCE = "SIL"
# What aligners and label files write for pauses and for what is no speech: MFA, Kaldi, PocketSphinx, festival, Praat.
_SILENT = set("sil sp spn pau h# # _ nsn +nsn+ +spn+ <sil> <eps> <s> </s> brth ssil oth".split()) | {""}
_STRESSED = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_SHORTEST_S = 1e-4  # between two phones that is a gap, and no rounding


class Phone(NamedTuple):
    """One phone, by its own inventory's name, and its times in seconds."""

    start_s: float
    end_s: float
    name: str


def plain_name(name: str) -> str:
    """A phone's name without stress; all silences and noises are `SILENCE`.

    Examples
    --------
    >>> [plain_name(name) for name in ("AH0", "ˈɛi", "sp", "pau", "tʰ", "A1")]
    ['AH', 'ɛi', 'SIL', 'SIL', 'tʰ', 'A1']
    """
    plain = name.strip().lstrip("ˈˌ'")
    if plain.lower() in _SILENT:
        return SILENCE
    return plain[:-1] if plain[:-1] in _STRESSED and plain[-1] in "012" else plain


def fill_gaps(labels: Iterable[tuple[float, float, str]], duration_s: float) -> list[Phone]:
    """Phones in order from 0 to the recording's end, what no label covers silent, equal neighbours left apart.

    Labels that end before they start are left out; one that begins before its predecessor's end begins there.

    Examples
    --------
    >>> [tuple(phone) for phone in fill_gaps([(0.1, 0.3, "AH1")], duration_s=0.4)]
    [(0.0, 0.1, 'SIL'), (0.1, 0.3, 'AH'), (0.3, 0.4, 'SIL')]
    """
    phones: list[Phone] = []
    reached = 0.0
    for start_s, end_s, name in sorted(labels, key=lambda label: label[:2]):
        end_s = min(end_s, duration_s)
        if end_s <= max(start_s, reached):
            continue
        if start_s > reached + _SHORTEST_S:
            phones.append(Phone(reached, start_s, SILENCE))
            reached = start_s
        phones.append(Phone(reached, end_s, plain_name(name)))
        reached = end_s
    if duration_s > reached + _SHORTEST_S:
        phones.append(Phone(reached, duration_s, SILENCE))
    return phones


def merge_equal(phones: Sequence[Phone]) -> list[Phone]:
    """The same with neighbours of one name made one: what a sequence of frames could tell."""
    merged: list[Phone] = []
    for phone in phones:
        if merged and merged[-1].name == phone.name:
            merged[-1] = Phone(merged[-1].start_s, phone.end_s, phone.name)
        else:
            merged.append(phone)
    return merged


def frame_labels(
    phones: Sequence[Phone], inventory: Sequence[str], num_frames: int, code_rate: float
) -> NDArray[np.int64]:
    """The phone at each code frame's centre, (n + 1/2) / code_rate, as a position in `inventory`: shape (N,).

    What lies outside all phones is silent; `inventory` holds `SILENCE` and every name.
    """
    number = {name: place for place, name in enumerate(inventory)}
    labels = np.full(num_frames, number[SILENCE], np.int64)
    centres = (np.arange(num_frames) + 0.5) / code_rate
    for start_s, end_s, name in phones:
        first, last = np.searchsorted(centres, [start_s, end_s])
        labels[first:last] = number[name]
    return labels


def inventory_of(recordings: Iterable[Sequence[Phone]]) -> tuple[str, ...]:
    """All names that occur, sorted, silence among them whether it occurs or not."""
    return tuple(sorted({phone.name for phones in recordings for phone in phones} | {SILENCE}))
