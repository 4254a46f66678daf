"""What an evaluation gives: figures with intervals and controls, in sections; and what it is given: trials.

This module imports nothing heavy: a measure that needs torch, librosa or a judge imports it where it works.
"""

# T samples, N code frames.
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

    from vqspeech.data.store import Store
    from vqspeech.models.prior import Prior
    from vqspeech.models.vqvae import VQVAE

Wav = NDArray[np.float32]
NO_PRIOR = "this model has no prior over codes"


@dataclass(frozen=True)
class Figure:
    """One measured quantity beside its controls.

    Attributes
    ----------
    name : what was measured
    value : nan where it could not be measured; `note` says why
    low, high : bootstrap 95 % interval, clustered by utterance within speaker; nan where there is none
    unit : "%" (the value is a share and is shown times 100), "dB", "Hz", "bits", ...
    count : trials
    higher_is_better : None where neither end is better
    controls : the same quantity of something that a good model has to beat, or, with `is_ceiling`, cannot
    note : a remark, or why there is no value
    samples : (value, speaker, utterance) of each trial, a fourth entry where an utterance has several, for
        `pairing.paired`; kept out of report.json
    is_ceiling : this figure, as a control, is the best that can be had, or merely a reference: not to be beaten
    statistic : how the value follows from the samples: a name in `statistics.STATISTICS`, "" for another function
    basis : by what it was measured where that can differ between models (the judge, the texts to choose from, the
        sample rate): figures of another basis are not compared
    draws : values of the resamples, where no samples are kept; of two figures they are comparable draw by draw where
        `drawn` is the same
    drawn : hash of what the draws were made of
    answers : (what the judge heard, speaker, utterance, target) of each trial, where it names something, "" where it
        heard nothing; kept out of report.json
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    unit: str = ""
    count: int = 0
    higher_is_better: bool | None = None
    controls: tuple[Figure, ...] = ()
    note: str = ""
    samples: tuple = field(default=(), repr=False, compare=False)
    is_ceiling: bool = False
    statistic: str = "mean"
    basis: str = ""
    draws: tuple[float, ...] = field(default=(), repr=False, compare=False)
    drawn: str = ""
    answers: tuple[tuple[str, ...], ...] = field(default=(), repr=False, compare=False)

    @property
    def is_measured(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)

    @property
    def goodness(self) -> float:
        """The value, turned round where lower is better: the better of two figures has the higher one."""
        return -self.value if self.higher_is_better is False else self.value

    @property
    def unbeaten(self) -> tuple[Figure, ...]:
        """Controls that this figure does not beat: they lie within its interval, or on the better side of it."""
        if self.higher_is_better is None or not self.is_measured:
            return ()
        rivals = [control for control in self.controls if control.is_measured and not control.is_ceiling]
        if self.higher_is_better:
            worst = self.low if math.isfinite(self.low) else self.value
            return tuple(control for control in rivals if worst <= control.value)
        worst = self.high if math.isfinite(self.high) else self.value
        return tuple(control for control in rivals if worst >= control.value)

    @property
    def beats_controls(self) -> bool | None:
        """Whether it beats every control that is not a ceiling; None where there is nothing to compare."""
        rivals = [control for control in self.controls if control.is_measured and not control.is_ceiling]
        if self.higher_is_better is None or not self.is_measured or not rivals:
            return None
        return not self.unbeaten


def missing(name: str, note: str, *, unit: str = "", higher_is_better: bool | None = None) -> Figure:
    """A figure that could not be measured, and why."""
    return Figure(name, math.nan, unit=unit, higher_is_better=higher_is_better, note=note)


@dataclass(frozen=True)
class Table:
    """A table of words: a header and rows of as many cells."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A PNG image with its title and the words for those who do not see it."""

    title: str
    png: bytes = field(repr=False)
    alt: str = ""


@dataclass(frozen=True)
class Section:
    """What one measure found.

    Attributes
    ----------
    title : its heading
    figures : what was measured
    notes : what could not be measured and why, with the extra that gives it; what the figures mean
    tables, pictures : what does not fit a figure
    retry : whether a judge did not load, or the measure failed, which may be mended until the next call: the section is
        not kept, but measured again
    """

    title: str
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    retry: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Trial:
    """One utterance that is evaluated; waveforms are float32, shape (T,), at `Evaluation.sample_rate`.

    Attributes
    ----------
    utterance, speaker : as the corpus names them
    target : the voice of `conversion`
    text : what is said, where the corpus tells; of a recording that `is_cut`, more than is heard
    source : the recording
    reconstruction : its codes decoded in its own speaker's voice
    conversion : its codes decoded in the target's voice
    mu_law : control: the source in 256 mu-law levels, the best that the decoder can give
    shifted : control: the source with its pitch moved to the target's median F0, a crude conversion
    random : control: random codes decoded in the target's voice
    codes : int array, shape (N,)
    is_cut : whether the recording goes on after what is judged of it
    """

    utterance: str
    speaker: str
    target: str
    text: str | None
    source: Wav
    reconstruction: Wav
    conversion: Wav
    mu_law: Wav
    shifted: Wav
    random: Wav
    codes: NDArray[np.int32]
    is_cut: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What all measures work on.

    Attributes
    ----------
    model, store : what is evaluated, and its prepared corpus
    split : the utterances' split, "valid" or "test"; "train" only when asked for
    trials : utterances with their conversions and controls
    seed : of every draw, the bootstrap's too
    sample_rate : Hz; hop_length : samples a code
    sexes : speaker to "M" or "F", for those of whom the corpus tells
    trained_on : whether the model was trained on these utterances
    common : of two models that are compared, the voices that both have; empty for one model alone
    prior : over the model's codes; where there is none `prior_missing` says why
    root : the corpus's folder or manifest, beside whose recordings label files may lie
    language : of the texts, such as "de"; "" where it was not said: then the texts tell
    """

    model: VQVAE
    store: Store
    split: str
    trials: tuple[Trial, ...]
    seed: int
    sample_rate: int
    hop_length: int
    sexes: dict[str, str]
    trained_on: bool = False
    common: tuple[str, ...] = ()
    prior: Prior | None = None
    prior_missing: str = NO_PRIOR
    root: Path | None = None
    language: str = ""

    @property
    def utterances(self) -> set[str]:
        """What is judged: no judge may have learned from it."""
        return {trial.utterance for trial in self.trials}

    @property
    def paired_voices(self) -> set[str]:
        """Sources and targets of the trials."""
        return {name for trial in self.trials for name in (trial.speaker, trial.target)}

    @property
    def voices(self) -> tuple[str, ...]:
        """The voices that judges tell apart: the model's, or those that two models have in common."""
        return self.common or tuple(self.model.speakers)
