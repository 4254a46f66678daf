"""Real utterances of a split with their codes: what is asked of the codes themselves, without a decoder."""

# U utterances, T samples, N code frames of one.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.selection import thin
from vqspeech.data.store import Store
from vqspeech.evaluation.figures.types import Evaluation, Wav

CONTROL_MINUTES = 6  # of training speech that k-means, the control of codes, is fitted on

Frames = Sequence[NDArray[np.int64]]


@dataclass(frozen=True)
class CodedSpeech:
    """Utterances, U of each.

    Attributes
    ----------
    utterances, speakers : names
    wavs : float32 arrays, shape (T_i,)
    codes : int arrays, shape (N_i,)
    """

    utterances: tuple[str, ...]
    speakers: tuple[str, ...]
    wavs: Sequence[Wav]
    codes: Frames

    @property
    def lengths(self) -> list[int]:
        """Code frames of each utterance."""
        return [len(own) for own in self.codes]

    def shuffled(self, seed: int) -> Frames:
        """All codes in random order, cut into sequences as long as the utterances: a control."""
        mixed = np.random.default_rng(seed).permutation(np.concatenate(self.codes))
        return np.split(mixed, np.cumsum(self.lengths)[:-1])


def encode_speech(evaluation: Evaluation, indices: Sequence[int]) -> CodedSpeech:
    """Encode utterances of the store, given by their positions."""
    store = evaluation.store
    wavs = [store.wav(index) for index in indices]
    return CodedSpeech(
        tuple(store.utterance_id(index) for index in indices),
        tuple(store.speakers[store.speaker(index)] for index in indices),
        wavs,
        [evaluation.model.encode(wav).cpu().numpy().astype(np.int64) for wav in wavs],
    )


def choose_minutes(store: Store, split: str, minutes: float) -> list[int]:
    """Positions of a split's utterances, evenly spread, about so many minutes at most."""
    return list(thin(store.utterances(split), int(store.duration_s(split)), int(60 * minutes)))


def control_speech(store: Store) -> list[Wav]:
    """Training utterances that the control is fitted on."""
    return [store.wav(index) for index in choose_minutes(store, "train", CONTROL_MINUTES)]


def note_on_choice(store: Store, split: str, chosen: Sequence[int], minutes: float) -> list[str]:
    """A sentence where not all of a split was taken."""
    if len(chosen) == store.split_sizes[split]:
        return []
    return [f"{len(chosen)} of the {store.split_sizes[split]} {split} utterances, about {minutes} minutes, were taken"]
