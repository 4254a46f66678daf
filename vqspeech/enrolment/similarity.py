"""How similar voices are, by Resemblyzer: the recordings to each other, and the fitted voice to them."""

# T samples.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.conversion import Request, SamplingOptions, convert_many
from vqspeech.data.selection import golden_order
from vqspeech.data.store import Store
from vqspeech.enrolment.recordings import Recording
from vqspeech.evaluation.judges.voiceprint import PASSAGE_S, Voiceprint, Voiceprints, raised
from vqspeech.evaluation.trials.signals import is_audible
from vqspeech.models.vqvae import VQVAE

# Cosine of the two most unlike groups of recordings below which two voices are suspected. Measured on ten readers of
# LibriSpeech: one reader 0.89 to 0.98, two readers 0.63 to 0.83.
ONE_VOICE = 0.86
SPOKEN_S = 20.0  # of held-out speech that is said again


@dataclass(frozen=True)
class Agreement:
    """Two groups of passages, as unlike as they can be made.

    Attributes
    ----------
    similarity : cosine of the groups' mean voiceprints; 1 with less than two passages
    odd : recordings of the smaller group
    """

    similarity: float
    odd: tuple[str, ...]

    @property
    def is_one_voice(self) -> bool:
        """Whether nothing speaks against one speaker."""
        return self.similarity >= ONE_VOICE


def compare_recordings(voiceprints: Voiceprints, recordings: Sequence[Recording], sample_rate: int) -> Agreement:
    """How alike the recordings' voices are: passages of 5 s or a recording each, split into two groups by k-means."""
    from sklearn.cluster import KMeans

    names, waves = [], []
    waiting: list[NDArray[np.float32]] = []
    for one in recordings:
        waiting.append(raised(one.wav))
        if sum(map(len, waiting)) >= PASSAGE_S * sample_rate:
            joined = np.concatenate(waiting)
            parts = np.array_split(joined, max(1, round(len(joined) / (2 * PASSAGE_S * sample_rate))))
            waves += parts
            names += [one.path.name] * len(parts)
            waiting = []
    prints = np.array([voiceprints.of(wav, sample_rate) for wav in waves if is_audible(wav)])
    if len(np.unique(prints, axis=0)) < 2:
        return Agreement(1.0, ())
    groups = KMeans(2, n_init=10, random_state=0).fit(prints).labels_
    smaller = int((groups == 1).sum() * 2 < len(groups))
    means = [prints[groups == group].mean(0) for group in (0, 1)]
    similarity = float(means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1]))
    odd = dict.fromkeys(name for name, group in zip(names, groups, strict=True) if group == smaller)
    return Agreement(similarity, tuple(odd))


@dataclass(frozen=True)
class Likeness:
    """Cosines with the voiceprint of the recordings that were fitted to.

    Attributes
    ----------
    voice : of held-out recordings, said again free-running in the new voice
    nearest : of the same, said in the nearest known voice
    recordings : of the held-out recordings themselves, the ceiling
    """

    voice: float
    nearest: float
    recordings: float


def measure_likeness(
    voiceprints: Voiceprints, model: VQVAE, store: Store, name: str, nearest: str, *, seed: int, num_threads: int
) -> Likeness | None:
    """Say held-out stretches again in the new voice `name` and in a known one; None with less than 5 s of them."""
    rate = model.sample_rate
    held_out = _some(store, "valid")
    if sum(map(len, held_out)) < PASSAGE_S * rate:
        return None
    requests = [Request(wav, speaker, number) for speaker in (name, nearest) for number, wav in enumerate(held_out)]
    spoken = convert_many(model, requests, SamplingOptions(seed, split=False), num_threads=num_threads)
    own = _print(voiceprints, _some(store, "train"), rate)
    groups = (spoken[: len(held_out)], spoken[len(held_out) :], held_out)
    return Likeness(*(float(own @ _print(voiceprints, wavs, rate)) for wavs in groups))


def _some(store: Store, split: str) -> list[NDArray[np.float32]]:
    """About `SPOKEN_S` of a split, spread over it."""
    span = store.utterances(split)
    chosen: list[NDArray[np.float32]] = []
    for place in golden_order(len(span)):
        if sum(map(len, chosen)) < SPOKEN_S * store.sample_rate:
            chosen.append(store.wav(span.start + place))
    return chosen


def _print(voiceprints: Voiceprints, wavs: Sequence[NDArray[np.float32]], sample_rate: int) -> Voiceprint:
    return voiceprints.of(np.concatenate([raised(wav) for wav in wavs]), sample_rate)
