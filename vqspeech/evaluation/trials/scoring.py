"""Every signal of every trial scored once, and figures of the scores beside their controls."""

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
from vqspeech.evaluation.trials.signals import (
    CONVERSION,
    MU_LAW,
    RANDOM,
    RECONSTRUCTION,
    SHIFTED,
    SIGNALS,
    SOURCE,
    Signal,
    is_audible,
)

Sound = tuple[Words, bytes]  # what is said and a hash of the waveform: scored once
Samples = dict[Signal, list[Sample]]


@dataclass(frozen=True)
class WordedTrial:
    """A trial, and the words that are said in it where the score asks for them."""

    trial: Trial
    words: Words = ()

    def sample(self, value: object) -> Sample:
        """For `statistics.figure`."""
        return value, self.trial.speaker, self.trial.utterance, self.trial.target


def beside_signals(
    name: str,
    samples: Callable[[Signal], Sequence[Sample]],
    own: Signal,
    controls: Sequence[Signal],
    is_ceiling: Callable[[Signal], bool],
    *,
    seed: int,
    unit: str = "",
    statistic: str = "mean",
    higher_is_better: bool | None = None,
    others: Sequence[Figure] = (),
    note: str = "",
    basis: str = "",
) -> Figure:
    """A figure of one signal, beside the same of controls and `others`.

    Parameters
    ----------
    samples : of a signal, (value, speaker, utterance, target) of each trial
    is_ceiling : which controls are not to be beaten
    note, basis : of the signal's own, see `Figure`
    """
    beside = [
        figure(signal.label, samples(signal), seed=seed, unit=unit, statistic=statistic, is_ceiling=is_ceiling(signal))
        for signal in controls
    ]
    return figure(
        name, samples(own), seed=seed, unit=unit, statistic=statistic, higher_is_better=higher_is_better,
        controls=[*beside, *others], note=note, basis=basis,
    )  # fmt: skip


def beside_controls(
    name: str,
    samples: Samples,
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
    samples : of each of `SIGNALS`, (value, speaker, utterance, target) of each trial
    chance : what is had without hearing; None where there is no such thing
    basis : see `Figure`
    """

    def make(signal: Signal) -> Figure:
        return figure(
            signal.plural, samples[signal], seed=seed, unit=unit, statistic=statistic,
            higher_is_better=higher_is_better, is_ceiling=signal.keeps_content, basis=basis,
        )  # fmt: skip

    ceilings = [make(signal) for signal in (SOURCE, MU_LAW, SHIFTED)]
    floors = [make(RANDOM)]
    if chance:
        floors.append(replace(chance, unit=unit, higher_is_better=higher_is_better))
    converted, reconstructed = make(CONVERSION), make(RECONSTRUCTION)
    other = replace(reconstructed, is_ceiling=True)
    return [
        replace(converted, name=f"{name}: {converted.name}", controls=(other, *ceilings, *floors), note=note),
        replace(reconstructed, name=f"{name}: {reconstructed.name}", controls=(*ceilings, *floors)),
    ]


def score_signals(
    trials: Sequence[WordedTrial],
    score: Callable[[WordedTrial, Wav], object],
    nothing: Callable[[WordedTrial], object],
    num_threads: int = 1,
) -> Samples:
    """Score every signal of every trial; what is silent or not finite gets `nothing`. Equal sound is scored once.

    Parameters
    ----------
    num_threads : that score side by side, where the judge allows it
    """
    places: list[tuple[Signal, WordedTrial, Sound]] = []
    once: dict[Sound, tuple[WordedTrial, Wav]] = {}
    for own in trials:
        for signal in SIGNALS:
            wav = signal.of(own.trial)
            key = (own.words, hashlib.sha256(np.ascontiguousarray(wav).tobytes()).digest())
            once.setdefault(key, (own, wav))
            places.append((signal, own, key))

    def answer(sound: tuple[WordedTrial, Wav]) -> object:
        own, wav = sound
        return score(own, wav) if is_audible(wav) else nothing(own)

    with ThreadPoolExecutor(num_threads) as pool:
        known = dict(zip(once, pool.map(answer, once.values()), strict=True))
    samples: Samples = {signal: [] for signal in SIGNALS}
    for signal, own, key in places:
        samples[signal].append(own.sample(known[key]))
    return samples
