"""Recordings of a speaker in a prepared corpus: what their conversions are held against, and judges learn from."""

# T samples.
from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from vqspeech.data.selection import golden_order
from vqspeech.data.store import Store
from vqspeech.evaluation.figures.types import Wav
from vqspeech.evaluation.trials.signals import is_audible

LONGEST_S = 6.0  # of a recording that stands for its speaker


def spoken_by(store: Store, speaker: str, splits: Sequence[str]) -> list[int]:
    """A speaker's utterances in the given splits, as positions in the store."""
    if speaker not in store.speakers:
        return []
    number = store.speakers.index(speaker)
    found: list[int] = []
    for split in splits:
        span = store.utterances(split)
        own = np.flatnonzero(store.index["speaker"][span.start : span.stop] == number)
        found += [span.start + int(index) for index in own]
    return found


def real_speech(
    store: Store,
    speaker: str,
    splits: Sequence[str],
    seconds: float,
    *,
    leave_out: Collection[str] = (),
    longest_s: float = LONGEST_S,
) -> list[tuple[str, Wav]]:
    """Recordings of one speaker, spread over the splits, until they last long enough together.

    Parameters
    ----------
    splits : in which to look
    seconds : how much speech to take
    leave_out : utterances that are not taken
    longest_s : how much of a recording is taken

    Returns
    -------
    recordings : (utterance, wav (T,)), fewer seconds where there are no more
    """
    found = spoken_by(store, speaker, splits)
    taken: list[tuple[str, Wav]] = []
    samples = 0
    for place in golden_order(len(found)):
        if samples >= seconds * store.sample_rate:
            break
        name = store.utterance_id(found[place])
        if name in leave_out:
            continue
        wav = store.wav(found[place], int(longest_s * store.sample_rate))
        if is_audible(wav):
            taken.append((name, wav))
            samples += len(wav)
    return taken
