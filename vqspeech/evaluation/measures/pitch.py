"""Whether the pitch became the target's: median and range of F0, by pYIN [Mauch & Dixon 2014], beside the controls."""

# T samples, N analysis frames.
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vqspeech.audio import resampled
from vqspeech.data.selection import thin
from vqspeech.data.store import SPLITS
from vqspeech.evaluation.figures.statistics import Sample, figure
from vqspeech.evaluation.figures.types import Evaluation, Figure, Section, Table, Trial, Wav, missing
from vqspeech.evaluation.trials.real_speech import real_speech
from vqspeech.evaluation.trials.scoring import beside_signals
from vqspeech.evaluation.trials.signals import CONTROLS, CONVERSION, SHIFTED, SOURCE, Signal, between_voices, is_audible
from vqspeech.numba_cache import import_librosa

TITLE = "Conversion: pitch"
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
# Sampled speech is rough: with librosa's own settings pYIN finds most conversions of the FSDD recipe unvoiced. So it
# hears only what lies below 1 kHz, and expects troughs of 0.33 instead of 0.1 (means of beta distributions).
_RATE = 2000  # Hz
_FRAME = 128  # samples, 64 ms
_HOP = 20  # samples, 10 ms
_TROUGHS = (2, 4)
_RESOLUTION = 0.2  # semitones; five times quicker than librosa's 0.1
_LEAST_FRAMES = 5  # voiced, for a median
_REAL_S = 20.0  # of real speech, for a speaker's own median and range, where there are few speakers
_ALL_REAL_S = 400.0  # of all speakers together
_LEAST_REAL_S = 8.0  # of a speaker, however many there are
_MOST_S = 150.0  # of conversions that are looked at, spread over all, and as much of each control
_LONGEST_S = 6.0  # of one signal
_APART = 1.0  # semitones between source and target below which "nearer" says nothing
DISTANCE, NEARER = "median F0, distance to the target's", "median F0 nearer to the target's than to the source's"
RANGE = "F0 range"


@dataclass(frozen=True)
class Pitch:
    """Median F0 in Hz, and its range in semitones from the 10th to the 90th percentile; nan where nothing is voiced."""

    median: float
    range: float


def measure_pitch(*wavs: Wav, sample_rate: int) -> Pitch:
    """Pitch of the voiced frames of recordings (T,), taken together.

    Octave errors are part of any such figure: medians bear some of them.
    """
    found = [f0 for wav in wavs if len(f0 := voiced_f0(wav, sample_rate))]
    f0 = np.concatenate(found) if found else np.zeros(0)
    if len(f0) < _LEAST_FRAMES:
        return Pitch(math.nan, math.nan)
    low, middle, high = np.percentile(f0, [10, 50, 90])
    return Pitch(float(middle), float(12 * np.log2(high / low)))


def voiced_f0(wav: Wav, sample_rate: int) -> np.ndarray:
    """F0 of the voiced frames of a recording (T,), Hz: shape (N,); none where it is silent or not finite."""
    librosa = import_librosa()

    if not is_audible(wav):
        return np.zeros(0)
    heard = resampled(wav[: int(_LONGEST_S * sample_rate)], sample_rate, _RATE)
    heard = np.pad(heard, (0, max(0, _FRAME - len(heard))))
    f0, voiced, _ = librosa.pyin(
        heard, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=_RATE, frame_length=_FRAME, hop_length=_HOP,
        resolution=_RESOLUTION, beta_parameters=_TROUGHS,
    )  # fmt: skip
    return f0[voiced]


def measure(evaluation: Evaluation) -> Section:
    """Judge the pitch of conversions; never raises for what the trials hold."""
    every = between_voices(evaluation)
    if not every:
        why = "no conversions to another speaker"
        return Section(TITLE, tuple(missing(name, why) for name in (DISTANCE, NEARER, RANGE)))
    trials = few_enough(every, _MOST_S * evaluation.sample_rate)
    names = sorted({name for trial in trials for name in (trial.speaker, trial.target)})
    each_s = max(_LEAST_REAL_S, min(_REAL_S, _ALL_REAL_S / len(names)))
    own = {name: _own_pitch(evaluation, name, each_s) for name in names}
    heard = {
        signal: [measure_pitch(signal.of(trial), sample_rate=evaluation.sample_rate) for trial in trials]
        for signal in (CONVERSION, *CONTROLS)
    }
    notes = [
        f"F0 by librosa's pYIN between {LOWEST_HZ:g} and {HIGHEST_HZ:g} Hz; a range is that from the 10th to the 90th "
        "percentile. The pitch-shifted source was moved by the ratio of the two speakers' medians, and random codes "
        "have the target's voice: both are references, not to be beaten"
    ]
    if len(trials) < len(every):
        notes.append(f"{len(trials)} of {len(every)} conversions were looked at, spread over all: pYIN is slow")
    unvoiced = [name for name, pitch in own.items() if math.isnan(pitch.median)]
    if unvoiced:
        notes.append(f"no voiced real speech to know these speakers' pitch by: {', '.join(unvoiced[:8])}")
    figures = (
        _distance(evaluation, trials, own, heard),
        _nearer(evaluation, trials, own, heard),
        _range(evaluation, trials, own, heard),
    )
    return Section(TITLE, figures, tuple(notes), (_table(trials, own, heard[CONVERSION]),))


def few_enough(trials: Sequence[Trial], most: float) -> Sequence[Trial]:
    """Every so many trials, so that their conversions last at most about `most` samples together."""
    return thin(trials, sum(min(len(trial.conversion), most) for trial in trials), most)


def semitones(a: float, b: float) -> float:
    """Distance of two frequencies, not negative; nan where one is not known."""
    return abs(12 * math.log2(a / b)) if a > 0 and b > 0 else math.nan


def _own_pitch(evaluation: Evaluation, speaker: str, seconds: float) -> Pitch:
    """A speaker's pitch in real speech, training recordings where there are any."""
    store = evaluation.store
    judged = evaluation.utterances
    others = [split for split in SPLITS if split != evaluation.split]
    found = real_speech(store, speaker, others, seconds, leave_out=judged)
    found = found or real_speech(store, speaker, [evaluation.split], seconds, leave_out=judged)
    return measure_pitch(*(wav for _, wav in found), sample_rate=store.sample_rate)


Own = dict[str, Pitch]  # of each speaker, in real speech
Pitches = dict[Signal, list[Pitch]]  # of each trial's conversion, and of each control


def _beside(
    name: str,
    evaluation: Evaluation,
    trials: Sequence[Trial],
    heard: Pitches,
    value: Callable[[Trial, Pitch], float],
    *,
    unit: str,
    better: bool | None,
    rivals: Sequence[Figure] = (),
    statistic: str = "mean",
    note: str = "",
) -> Figure:
    """A figure of the conversions, with the same of every control."""

    def samples(signal: Signal) -> list[Sample]:
        pairs = zip(trials, heard[signal], strict=True)
        return [(value(trial, pitch), trial.speaker, trial.utterance, trial.target) for trial, pitch in pairs]

    return beside_signals(
        name, samples, CONVERSION, CONTROLS,
        # The shifted source's pitch was moved to the target's median: it has what is asked for by construction.
        lambda signal: signal.in_target_voice or signal == SHIFTED,
        seed=evaluation.seed, unit=unit, statistic=statistic, higher_is_better=better, others=rivals, note=note,
    )  # fmt: skip


def _distance(evaluation: Evaluation, trials: Sequence[Trial], own: Own, heard: Pitches) -> Figure:
    """Median over conversions, which bears octave errors."""

    def value(trial: Trial, pitch: Pitch) -> float:
        return semitones(pitch.median, own[trial.target].median)

    # A word's median differs from its speaker's, also where the word is real: no conversion can do better than that.
    real = figure(
        "real recordings, to their own speaker's",
        [
            (semitones(pitch.median, own[trial.speaker].median), trial.speaker, trial.utterance, trial.target)
            for trial, pitch in zip(trials, heard[SOURCE], strict=True)
        ],
        seed=evaluation.seed,
        unit="semitones",
        statistic="median",
        is_ceiling=True,
    )
    return _beside(
        DISTANCE, evaluation, trials, heard, value, unit="semitones", better=False, rivals=[real], statistic="median"
    )


def _nearer(evaluation: Evaluation, trials: Sequence[Trial], own: Own, heard: Pitches) -> Figure:
    apart = [semitones(own[trial.speaker].median, own[trial.target].median) >= _APART for trial in trials]
    far = [trial for trial, enough in zip(trials, apart, strict=True) if enough]
    if not far:
        why = f"no pair of speakers has medians at least {_APART:g} semitone apart"
        return missing(NEARER, why, unit="%", higher_is_better=True)

    def value(trial: Trial, pitch: Pitch) -> float:
        if math.isnan(pitch.median):
            return math.nan
        to_target, to_source = (semitones(pitch.median, own[name].median) for name in (trial.target, trial.speaker))
        return float(to_target < to_source)

    kept = {
        signal: [pitch for pitch, enough in zip(pitches, apart, strict=True) if enough]
        for signal, pitches in heard.items()
    }
    note = f"of pairs whose medians are at least {_APART:g} semitone apart"
    return _beside(NEARER, evaluation, far, kept, value, unit="%", better=True, note=note)


def _range(evaluation: Evaluation, trials: Sequence[Trial], own: Own, heard: Pitches) -> Figure:
    """Range within an utterance; a monotone conversion has little, one with octave errors much."""

    def value(trial: Trial, pitch: Pitch) -> float:
        return pitch.range

    return _beside(RANGE, evaluation, trials, heard, value, unit="semitones", better=None, statistic="median")


def _table(trials: Sequence[Trial], own: Own, pitches: Sequence[Pitch]) -> Table:
    """Median and range of each target's real speech and of what was converted to it."""
    rows = []
    for target in sorted({trial.target for trial in trials}):
        converted = [pitch for trial, pitch in zip(trials, pitches, strict=True) if trial.target == target]
        medians = [pitch.median for pitch in converted if not math.isnan(pitch.median)]
        ranges = [pitch.range for pitch in converted if not math.isnan(pitch.range)]
        rows.append(
            (
                target,
                _shown(own[target].median),
                _shown(float(np.median(medians)) if medians else math.nan),
                _shown(own[target].range),
                _shown(float(np.median(ranges)) if ranges else math.nan),
                f"{len(medians)} of {len(converted)}",
            )
        )
    header = (
        "target",
        "median F0, real, Hz",
        "median F0, converted, Hz",
        "range, all real speech, semitones",
        "range, each conversion, semitones",
        "voiced conversions",
    )
    return Table("Pitch of targets and conversions", header, tuple(rows))


def _shown(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"
