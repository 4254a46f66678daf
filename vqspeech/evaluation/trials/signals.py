"""The six ways in which a trial sounds: what the model says, and the controls that it is held against."""

# T samples.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.evaluation.figures.types import Evaluation, Trial, Wav

INAUDIBLE_DB = -60.0  # level, dB full scale, from which down there is nothing to hear


@dataclass(frozen=True)
class Signal:
    """One of the ways in which a trial sounds.

    Attributes
    ----------
    name : of the field of `Trial` that holds its waveform
    label : for people
    plural : for people, of many
    keeps_content : whether it holds all of what was said by construction: no model can do better
    in_target_voice : whether the decoder speaks it in the target's voice: as a control of voices it is not to be beaten
    """

    name: str
    label: str
    plural: str
    keeps_content: bool = False
    in_target_voice: bool = False

    def of(self, trial: Trial) -> Wav:
        """Its waveform (T,)."""
        wav: Wav = getattr(trial, self.name)
        return wav


CONVERSION = Signal("conversion", "conversion", "conversions", in_target_voice=True)
RECONSTRUCTION = Signal("reconstruction", "reconstruction", "reconstructions")
SOURCE = Signal("source", "source unchanged", "source unchanged", keeps_content=True)
MU_LAW = Signal("mu_law", "mu-law copy", "mu-law copy", keeps_content=True)
SHIFTED = Signal("shifted", "pitch-shifted source", "pitch-shifted source", keeps_content=True)
RANDOM = Signal("random", "random codes", "random codes", in_target_voice=True)

SIGNALS = (CONVERSION, RECONSTRUCTION, SOURCE, MU_LAW, SHIFTED, RANDOM)
CONTROLS = (SOURCE, SHIFTED, MU_LAW, RANDOM)


def level_db(wav: NDArray[np.floating]) -> float:
    """RMS level, dB full scale; nan where a sample is not finite, -200 for digital silence."""
    power = float(np.mean(np.square(wav, dtype=np.float64))) if len(wav) else 0.0
    return 10 * float(np.log10(max(power, 1e-20))) if np.isfinite(power) else float("nan")


def is_audible(wav: NDArray[np.floating]) -> bool:
    """Whether a waveform (T,) is finite and louder than `INAUDIBLE_DB`."""
    return level_db(wav) > INAUDIBLE_DB


def inaudible(trials: Sequence[Trial], signal: Signal) -> list[str]:
    """Utterances of the trials whose signal is silent or not finite."""
    return [trial.utterance for trial in trials if not is_audible(signal.of(trial))]


def between_voices(evaluation: Evaluation) -> list[Trial]:
    """Trials whose target is another speaker."""
    return [trial for trial in evaluation.trials if trial.target != trial.speaker]


def one_per_utterance(evaluation: Evaluation) -> list[Trial]:
    """Trials with each utterance once: what is asked of a reconstruction does not depend on the target."""
    return list({trial.utterance: trial for trial in evaluation.trials}.values())


def same_sex(evaluation: Evaluation, trial: Trial) -> bool | None:
    """Whether source and target are of one sex; None where the corpus does not tell."""
    sexes = [evaluation.sexes.get(name) for name in (trial.speaker, trial.target)]
    return None if None in sexes else sexes[0] == sexes[1]
