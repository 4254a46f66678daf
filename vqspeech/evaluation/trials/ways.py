"""The ways in which an utterance is heard, and figures of what was heard beside their controls."""

# T samples.
from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from vqspeech.evaluation.figures.statistics import Sample, figure
from vqspeech.evaluation.figures.types import Figure, Trial, Wav
from vqspeech.evaluation.tools.sphinx import Words
from vqspeech.evaluation.trials.signals import is_heard

WAYS = ("conversion", "reconstruction", "source", "mu_law", "shifted", "random")
LABELS = {
    "conversion": "conversions",
    "reconstruction": "reconstructions",
    "source": "source unchanged",
    "mu_law": "mu-law copy",
    "shifted": "pitch-shifted source",
    "random": "random codes",
}


Sound = tuple[Words, bytes]  # what is said and a hash of the waveform: judged once


@dataclass(frozen=True)
class Heard:
    """A trial that is judged, and the words that are said in it, where the judge asks for them."""

    trial: Trial
    words: Words = ()

    def sample(self, value: object) -> Sample:
        """For `statistics.figure`."""
        return value, self.trial.speaker, self.trial.utterance, self.trial.target


def beside_controls(
    name: str,
    samples: dict[str, list[Sample]],
    chance: Figure | None,
    seed: int,
    *,
    unit: str = "",
    statistic: str = "mean",
    higher_is_better: bool = True,
    note: str = "",
    basis: str = "",
) -> list[Figure]:
    """Figures of conversions and of reconstructions, each beside chance, random codes and what is sure to be better.

    Parameters
    ----------
    samples : for each of `WAYS`, (value, speaker, utterance, target) of each trial
    chance : what is had without hearing; None where there is no such thing
    basis : see `Figure`
    """

    def make(way: str, ceiling: bool = False) -> Figure:
        return figure(
            LABELS[way], samples[way], seed=seed, unit=unit, statistic=statistic,
            higher_is_better=higher_is_better, is_ceiling=ceiling, basis=basis,
        )  # fmt: skip

    # Sources, and sources but for their pitch or their bits, hold all of what was said: no model can do better.
    ceilings = [make(way, True) for way in ("source", "mu_law", "shifted")]
    floors = [make("random")]
    if chance:
        floors.append(replace(chance, unit=unit, higher_is_better=higher_is_better))
    own = {way: make(way) for way in ("conversion", "reconstruction")}
    other = replace(own["reconstruction"], is_ceiling=True)
    return [
        replace(own["conversion"], name=f"{name}: conversions", controls=(other, *ceilings, *floors), note=note),
        replace(own["reconstruction"], name=f"{name}: reconstructions", controls=(*ceilings, *floors)),
    ]


def each_way(
    heard: Sequence[Heard],
    judge: Callable[[Heard, Wav], object],
    nothing: Callable[[Heard], object],
    num_threads: int = 1,
) -> dict[str, list[Sample]]:
    """Judge every trial every way; sound that is silent or not finite gets `nothing`. Equal sound is judged once.

    Parameters
    ----------
    num_threads : that judge side by side, where the judge allows it
    """
    places: list[tuple[str, Heard, Sound]] = []
    once: dict[Sound, tuple[Heard, Wav]] = {}
    for own in heard:
        for way in WAYS:
            wav = getattr(own.trial, way)
            key = (own.words, hashlib.sha256(np.ascontiguousarray(wav).tobytes()).digest())
            once.setdefault(key, (own, wav))
            places.append((way, own, key))

    def answer(sound: tuple[Heard, Wav]) -> object:
        own, wav = sound
        return judge(own, wav) if is_heard(wav) else nothing(own)

    with ThreadPoolExecutor(num_threads) as pool:
        known = dict(zip(once, pool.map(answer, once.values()), strict=True))
    samples: dict[str, list[Sample]] = {way: [] for way in WAYS}
    for way, own, key in places:
        samples[way].append(own.sample(known[key]))
    return samples
