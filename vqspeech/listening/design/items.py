"""What is heard: items, each spoken once and heard from several systems."""

# T samples.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vqspeech.listening.design.anchors import Wav, anchor_frequencies, low_pass
from vqspeech.listening.kinds.base import ATTENTION, RECONSTRUCTION, SOURCE, TARGET, Kind

SHORTEST_S = 1.0  # short utterances of a speaker are joined until they last as long
LONGEST_S = 12.0  # BS.1534 asks for no more
PAUSE_S = 0.25  # between joined utterances
FADE_S = 0.01

RESERVED = (SOURCE, TARGET, RECONSTRUCTION, ATTENTION)


@dataclass(frozen=True)
class ReferenceRecording:
    """A real recording that stands beside a judged sound: its name (the utterances it holds) and waveform (T,)."""

    name: str
    wav: Wav


@dataclass(frozen=True)
class Item:
    """One utterance, or the joined utterances of one speaker.

    Attributes
    ----------
    name : the utterances
    wavs : system to waveform (T,): what is judged, and the real "source" where there is one
    source, target : the speaker who spoke it, and the one it was converted to
    sexes : "same" or "cross"; None where it is not known
    references : "source", "target": real recordings of these speakers, of other words
    """

    name: str
    wavs: dict[str, Wav]
    source: str | None = None
    target: str | None = None
    sexes: str | None = None
    references: dict[str, ReferenceRecording] = field(default_factory=dict)

    @property
    def plain(self) -> Wav:
        """The most natural form of the item at hand: the real recording, else the first system's."""
        return self.wavs.get(SOURCE, next(iter(self.wavs.values())))


@dataclass(frozen=True)
class ItemSet:
    """Items of one test, with the systems that are judged; `spare` ones serve training and attention checks."""

    kind: Kind
    systems: tuple[str, ...]
    items: tuple[Item, ...]
    spare: tuple[Item, ...]
    sample_rate: int


def join(wavs: Sequence[Wav], sample_rate: int) -> Wav:
    """Utterances (T,) in a row, each faded in and out, with pauses between."""
    fade = np.linspace(0, 1, max(2, int(FADE_S * sample_rate)), dtype=np.float32)
    pause = np.zeros(int(PAUSE_S * sample_rate), np.float32)
    pieces: list[Wav] = []
    for wav in wavs:
        own = min(len(fade), len(wav) // 2)
        piece = wav.copy()
        piece[:own] *= fade[:own]
        piece[len(piece) - own :] *= fade[:own][::-1]
        pieces += [pause, piece] if pieces else [piece]
    return np.concatenate(pieces)


def fit(wav: Wav, length: int) -> Wav:
    """A waveform (T,) cut, or continued with silence, to a length in samples."""
    return np.pad(wav[:length], (0, max(0, length - len(wav))))


def with_anchors(item_set: ItemSet) -> ItemSet:
    """The items of a MUSHRA test with their low-pass anchors, as two more systems."""
    rate = item_set.sample_rate
    anchors = {f"anchor-{cutoff}": cutoff for cutoff in anchor_frequencies(rate)}

    def add(item: Item) -> Item:
        length = len(item.plain)
        wavs = {system: fit(wav, length) for system, wav in item.wavs.items()}
        wavs |= {name: low_pass(item.plain, cutoff, rate) for name, cutoff in anchors.items()}
        return replace(item, wavs=wavs)

    items, spare = (tuple(map(add, some)) for some in (item_set.items, item_set.spare))
    return replace(item_set, systems=(*item_set.systems, *anchors), items=items, spare=spare)
