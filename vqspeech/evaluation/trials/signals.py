"""What the judges of voices are played: the conversion of each trial, its controls, and real speech of each voice."""

# T samples.
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.store import Store
from vqspeech.evaluation.figures.types import Material, Trial, Wav

Take = Callable[[Trial], Wav]
Item = TypeVar("Item")

LONGEST_S = 6.0  # of a recording that stands for its speaker
SILENT_DB = -60.0  # level of a recording, dB full scale, below which there is nothing to hear

CONTROLS: dict[str, Take] = {
    "source unchanged": lambda trial: trial.source,
    "pitch-shifted source": lambda trial: trial.shifted,
    "mu-law copy": lambda trial: trial.mu_law,
    "random codes": lambda trial: trial.random,
}
# Random codes are spoken in the target's voice too: a reference for how much voice the decoder has, not to be beaten.
REFERENCE = "random codes"


def conversion(trial: Trial) -> Wav:
    """The trial's conversion."""
    return trial.conversion


def reconstruction(trial: Trial) -> Wav:
    """The trial's reconstruction."""
    return trial.reconstruction


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, evenly spread, first and last among them."""
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[place] for place in places]


def is_heard(wav: NDArray[np.floating]) -> bool:
    """Whether a waveform (T,) is finite and louder than -60 dB full scale."""
    if not len(wav) or not np.isfinite(wav).all():
        return False
    return bool(np.mean(np.square(wav, dtype=np.float64)) > 10 ** (SILENT_DB / 10))


def resampled(wav: Wav, sample_rate: int, wanted: int) -> Wav:
    """A waveform (T,) at another sample rate, Hz."""
    import soxr

    return wav if sample_rate == wanted else soxr.resample(wav, sample_rate, wanted).astype(np.float32)


def conversions(material: Material) -> list[Trial]:
    """Trials whose target is another speaker."""
    return [trial for trial in material.trials if trial.target != trial.speaker]


def unheard(trials: Sequence[Trial], take: Take = conversion, what: str = "conversions") -> tuple[str, ...]:
    """A note on the takes that are silent or not finite; empty where all can be heard."""
    lost = [trial.utterance for trial in trials if not is_heard(take(trial))]
    if not lost:
        return ()
    names = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
    return (f"{len(lost)} of {len(trials)} {what} are silent or hold values that are not finite ({names})",)


def same_sex(material: Material, trial: Trial) -> bool | None:
    """Whether source and target are of one sex; None where the corpus does not tell."""
    sexes = [material.sexes.get(name) for name in (trial.speaker, trial.target)]
    return None if None in sexes else sexes[0] == sexes[1]


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
    order = np.argsort([_turn(place) for place in range(len(found))], kind="stable")  # spread, always the same
    taken: list[tuple[str, Wav]] = []
    samples = 0
    for place in order:
        if samples >= seconds * store.sample_rate:
            break
        name = store.utterance_id(found[place])
        if name in leave_out:
            continue
        wav = store.wav(found[place], int(longest_s * store.sample_rate))
        if is_heard(wav):
            taken.append((name, wav))
            samples += len(wav)
    return taken


def _turn(place: int) -> float:
    """Golden-ratio sequence in [0, 1): its order spreads any number of first picks evenly."""
    return place * 0.6180339887498949 % 1.0
