"""Voiceprints: vectors whose cosine says how alike two voices are, by Resemblyzer [Wan et al. 2018, arXiv 1710.10467].

Resemblyzer hears windows of 1.6 s at 16 kHz and averages them. A short word alone means nothing to it, so trials are
joined to passages of five seconds and more before it hears them. No voice activity detector chooses what is heard: it
would cut out of a poor conversion what is poorest.
"""

# T samples.
from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import resampled
from vqspeech.errors import DependencyError
from vqspeech.evaluation.figures.types import Trial, Wav
from vqspeech.evaluation.trials.signals import Signal, is_audible

PASSAGE_S = 5.0  # the least that is judged
_RATE = 16000  # Hz, that Resemblyzer was trained on
_LEVEL_DB = -30.0  # full scale; quieter signals are raised to it, as Resemblyzer does

Voiceprint = NDArray[np.float32]


@dataclass(frozen=True)
class Passage:
    """Joined signals of trials of one target.

    Attributes
    ----------
    target : the voice it should be
    sources : the speakers whose utterances were taken -> share of the passage, in [0, 1]
    name : its first utterance and how many follow; the same trials give the same name
    utterances : all of them, in their order: another model's passage is of the same trials if these are the same
    wav : float32, shape (T,), at the evaluation's rate
    """

    target: str
    sources: dict[str, float]
    name: str
    utterances: tuple[str, ...]
    wav: Wav


class Voiceprints:
    """Resemblyzer's encoder on the CPU.

    Raises
    ------
    DependencyError
        If Resemblyzer is not installed or does not load; the message names the extra.
    """

    def __init__(self) -> None:
        try:
            with warnings.catch_warnings():  # it uses old names of scipy's and of setuptools'
                warnings.simplefilter("ignore")
                from resemblyzer import VoiceEncoder
        except Exception as reason:  # noqa: BLE001 - a broken install fails in many ways, and each means "not at hand"
            raise DependencyError(
                f"Resemblyzer, the judge of voices, does not load ({type(reason).__name__}: {reason}). "
                "Install it: pip install 'vqspeech[evaluate]'"
            ) from reason
        self._encoder: Any = VoiceEncoder("cpu", verbose=False)

    def of(self, wav: Wav, sample_rate: int) -> Voiceprint:
        """Voiceprint of a waveform (T,) that can be heard: unit length, shape (256,)."""
        return self._encoder.embed_utterance(resampled(wav, sample_rate, _RATE))


def raised(wav: Wav) -> Wav:
    """A waveform (T,) brought up to -30 dB full scale; a louder one as it is."""
    level = float(np.sqrt(np.mean(np.square(wav, dtype=np.float64))))
    return (wav * max(1.0, 10 ** (_LEVEL_DB / 20) / max(level, 1e-9))).astype(np.float32)


def join_trials(
    trials: Sequence[Trial],
    signal: Signal,
    sample_rate: int,
    relation: Callable[[Trial], object] = lambda trial: None,
    least_s: float = PASSAGE_S,
) -> tuple[list[Passage], int]:
    """Join a signal of trials to passages of at least `least_s`, each of one target, where it can be of one source.

    What a pair of speakers has too little of for a passage is joined with that of the target's other pairs of the same
    `relation`. What is silent or not finite is no part of any.

    Returns
    -------
    passages : of `least_s` to twice that, or a trial longer
    left_out : number of trials that can be heard but found no passage
    """
    pairs: dict[tuple[str, object, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        if is_audible(signal.of(trial)):
            pairs[trial.target, relation(trial), trial.speaker].append(trial)
    passages: list[Passage] = []
    rest: dict[tuple[str, object], list[Trial]] = defaultdict(list)
    for (target, kind, _), own in sorted(pairs.items(), key=lambda item: (item[0][0], str(item[0][1]), item[0][2])):
        runs, over = _runs(own, signal, least_s * sample_rate)
        passages += [_passage(target, run, signal) for run in runs]
        rest[target, kind] += over
    left_out = 0
    for (target, _), own in rest.items():
        runs, over = _runs(own, signal, least_s * sample_rate)
        passages += [_passage(target, run, signal) for run in runs]
        left_out += len(over)
    return passages, left_out


def _runs(trials: Sequence[Trial], signal: Signal, least: float) -> tuple[list[list[Trial]], list[Trial]]:
    """Runs of trials that last `least` samples each; a rest goes with the last run, or is left where there is none."""
    runs: list[list[Trial]] = []
    open_run: list[Trial] = []
    length = 0
    for trial in trials:
        open_run.append(trial)
        length += len(signal.of(trial))
        if length >= least:
            runs.append(open_run)
            open_run, length = [], 0
    if runs:
        runs[-1] += open_run
        open_run = []
    return runs, open_run


def _passage(target: str, run: Sequence[Trial], signal: Signal) -> Passage:
    lengths: dict[str, int] = defaultdict(int)
    for trial in run:
        lengths[trial.speaker] += len(signal.of(trial))
    whole = sum(lengths.values())
    name = f"{run[0].utterance} and {len(run) - 1} more"
    utterances = tuple(trial.utterance for trial in run)
    wav = np.concatenate([raised(signal.of(trial)) for trial in run])
    return Passage(target, {speaker: length / whole for speaker, length in lengths.items()}, name, utterances, wav)


def join_recordings(
    recordings: Iterable[tuple[str, Wav]], sample_rate: int, least_s: float = PASSAGE_S
) -> list[tuple[str, Wav]]:
    """Join real recordings (utterance, wav) to passages of at least `least_s`: (first utterance, wav (T,))."""
    passages: list[tuple[str, Wav]] = []
    name, waiting, length = "", [], 0
    for utterance, wav in recordings:
        name = name or utterance
        waiting.append(raised(wav))
        length += len(wav)
        if length >= least_s * sample_rate:
            passages.append((name, np.concatenate(waiting)))
            name, waiting, length = "", [], 0
    return passages
