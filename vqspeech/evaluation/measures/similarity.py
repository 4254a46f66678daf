"""How like its target and its source a conversion sounds to Resemblyzer, beside controls and real recordings."""

# T samples, P passages.
from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vqspeech.data.store import SPLITS
from vqspeech.errors import DependencyError
from vqspeech.evaluation.figures.statistics import Sample, figure
from vqspeech.evaluation.figures.text import listed
from vqspeech.evaluation.figures.types import Evaluation, Figure, Trial, missing
from vqspeech.evaluation.judges.voiceprint import (
    PASSAGE_S,
    Passage,
    Voiceprint,
    Voiceprints,
    join_recordings,
    join_trials,
)
from vqspeech.evaluation.trials.real_speech import real_speech
from vqspeech.evaluation.trials.scoring import beside_signals
from vqspeech.evaluation.trials.signals import (
    CONTROLS,
    CONVERSION,
    MU_LAW,
    RECONSTRUCTION,
    Signal,
    between_voices,
    inaudible,
    one_per_utterance,
    same_sex,
)

_REFERENCE_S = 20.0  # of real speech that a speaker's own voiceprint is made from
_REAL_S = 40.0  # of other real speech of each speaker, for the ceiling and the equal error rate
TO_TARGET, TO_SOURCE = "similarity to the target", "similarity to the source"
NEARER = "nearer to the target than to the source"
ERROR_RATE = "equal error rate, conversions against the real target"
RECONSTRUCTIONS = "reconstructions' similarity to their speaker"
_NAMES = (TO_TARGET, TO_SOURCE, NEARER, ERROR_RATE, RECONSTRUCTIONS)


@dataclass(frozen=True)
class ScoredPassage:
    """A passage, how like its target and its source it sounds (cosines), and whether both are of one sex."""

    passage: Passage
    target: float
    source: float
    same_sex: bool | None

    def sample(self, value: float | tuple[float, float]) -> Sample:
        """A trial; passages in one target's voice resemble one another, so the target stands for the speaker."""
        return value, self.passage.target, self.passage.name, " ".join(self.passage.utterances)


def measure_similarity(evaluation: Evaluation) -> tuple[tuple[Figure, ...], tuple[str, ...], bool]:
    """Figures of conversions and reconstructions, and notes; without Resemblyzer each figure says so.

    Returns
    -------
    figures, notes
    retry : whether Resemblyzer is installed and did not load
    """
    try:
        voiceprints = Voiceprints()
    except DependencyError as reason:
        return tuple(missing(name, "Resemblyzer is missing") for name in _NAMES), (str(reason),), reason.is_installed
    trials = between_voices(evaluation)
    names = sorted(evaluation.paired_voices)
    references, real, notes = _listen_to_real(evaluation, voiceprints, names)
    notes += (*_unheard(trials, CONVERSION), *_unheard(evaluation.trials, RECONSTRUCTION))
    if not trials:
        notes += ("no conversions to another speaker: the corpus or the model has one voice",)
    figures = _conversions(evaluation, voiceprints, trials, references, real) if trials else []
    figures.append(_reconstructions(evaluation, voiceprints, references, real))
    measured = {found.name for found in figures}
    figures += [missing(name, "no conversions to another speaker") for name in _NAMES if name not in measured]
    if trials and not any(trial.speaker in evaluation.sexes for trial in trials):
        notes += ("the corpus does not tell the speakers' sexes: same and different sex are not split",)
    return tuple(figures), (_method(evaluation), *notes), False


def _unheard(trials: Sequence[Trial], signal: Signal) -> list[str]:
    """A note on what is no part of any passage; none where all can be heard."""
    lost = inaudible(trials, signal)
    what = f"{len(lost)} of {len(trials)} {signal.plural} are silent or hold values that are not finite"
    return [f"{what} ({listed(lost)})"] if lost else []


def _method(evaluation: Evaluation) -> str:
    return (
        f"Resemblyzer hears passages of at least {PASSAGE_S:g} s, joined from one pair of speakers, or from several "
        "with the same target where a pair has less. Similarity is the cosine with the voiceprint of "
        f"{_REFERENCE_S:g} s of a speaker's real speech that is not among the trials; intervals draw targets, then "
        f"passages. It hears {min(evaluation.sample_rate, 16000) / 1000:g} kHz. Random codes are spoken in the "
        "target's voice too: a reference, not to be beaten"
    )


Real = dict[str, list[tuple[str, Voiceprint]]]  # speaker -> (first utterance, voiceprint) of real passages


def _listen_to_real(
    evaluation: Evaluation, voiceprints: Voiceprints, names: Sequence[str]
) -> tuple[dict[str, Voiceprint], Real, tuple[str, ...]]:
    """Each speaker's own voiceprint, and those of other real passages; a note on speakers with too little speech."""
    store, rate = evaluation.store, evaluation.sample_rate
    tried = evaluation.utterances
    splits = ["train", *(split for split in SPLITS if split not in ("train", evaluation.split))]
    references: dict[str, Voiceprint] = {}
    real: Real = {}
    silent = []
    for name in names:
        own = real_speech(store, name, splits, _REFERENCE_S, leave_out=tried)
        joined = join_recordings(own, rate)
        if not joined:
            silent.append(name)
            continue
        references[name] = voiceprints.of(np.concatenate([wav for _, wav in joined]), rate)
        used = {utterance for utterance, _ in own}
        others = real_speech(store, name, [evaluation.split], _REAL_S, leave_out=used)
        real[name] = [(first, voiceprints.of(wav, rate)) for first, wav in join_recordings(others, rate)]
    if not silent:
        return references, real, ()
    shown = ", ".join(silent[:8])
    return references, real, (f"less than {PASSAGE_S:g} s of other real speech to know these voices by: {shown}",)


def _score(
    evaluation: Evaluation,
    voiceprints: Voiceprints,
    trials: Sequence[Trial],
    signal: Signal,
    references: dict[str, Voiceprint],
) -> tuple[list[ScoredPassage], int]:
    """Similarities of all passages of one signal, and how many trials found no passage."""
    known = [trial for trial in trials if trial.target in references and trial.speaker in references]
    passages, left_out = join_trials(known, signal, evaluation.sample_rate, lambda trial: same_sex(evaluation, trial))
    relation = {(trial.target, trial.speaker): same_sex(evaluation, trial) for trial in known}
    judged = []
    for passage in passages:
        heard = voiceprints.of(passage.wav, evaluation.sample_rate)
        source = sum(share * float(heard @ references[speaker]) for speaker, share in passage.sources.items())
        kind = relation[passage.target, next(iter(passage.sources))]
        judged.append(ScoredPassage(passage, float(heard @ references[passage.target]), source, kind))
    return judged, left_out + len(trials) - len(known)


def _conversions(
    evaluation: Evaluation,
    voiceprints: Voiceprints,
    trials: Sequence[Trial],
    references: dict[str, Voiceprint],
    real: Real,
) -> list[Figure]:
    judged, left_out = _score(evaluation, voiceprints, trials, CONVERSION, references)
    controls = {signal: _score(evaluation, voiceprints, trials, signal, references)[0] for signal in CONTROLS}
    remark = f"{left_out} of {len(trials)} conversions found no passage" if left_out else ""
    if not judged:
        remark = f"{len(trials)} conversions are too little speech for a passage of {PASSAGE_S:g} s: raise --pairs"
    seed = evaluation.seed
    targets = sorted({trial.target for trial in trials if trial.target in real})
    own = [(float(p @ references[name]), name, first) for name in targets for first, p in real[name]]
    ceiling = figure("real recordings of the target", own, seed=seed, is_ceiling=True)

    def beside(
        name: str,
        value: Callable[[ScoredPassage], float],
        last: Figure,
        keep: bool | None = None,
        better: bool = True,
        unit: str = "",
    ) -> Figure:
        def samples(signal: Signal) -> list[Sample]:
            passages = judged if signal == CONVERSION else controls[signal]
            return [one.sample(value(one)) for one in passages if keep is None or one.same_sex is keep]

        return beside_signals(
            name, samples, CONVERSION, CONTROLS, lambda signal: signal.in_target_voice,
            seed=seed, unit=unit, higher_is_better=better, others=[last], note=remark,
        )  # fmt: skip

    figures = [beside(TO_TARGET, lambda one: one.target, ceiling)]
    told = any(same_sex(evaluation, trial) is not None for trial in trials)
    kinds = ((True, "same sex"), (False, "different sex")) if told else ()
    for keep, kind in kinds:
        there = {trial.target for trial in trials if same_sex(evaluation, trial) is keep}
        some = [sample for sample in own if sample[1] in there]
        last = figure(ceiling.name, some, seed=seed, is_ceiling=True)
        figures.append(beside(f"{TO_TARGET}, {kind}", lambda one: one.target, last, keep))
    others = _others(trials, references, real)
    floor = figure(
        "real recordings of the target",
        [(alien, name, first) for _, alien, name, first in others],
        seed=seed,
        is_ceiling=True,
    )
    figures.append(beside(TO_SOURCE, lambda one: one.source, floor, better=False))
    surely = [(float(near > alien), name, first) for near, alien, name, first in others]
    best = figure("real recordings of the target", surely, seed=seed, unit="%", is_ceiling=True)
    figures.append(beside(NEARER, lambda one: float(one.target > one.source), best, unit="%"))
    for keep, kind in kinds:
        figures.append(beside(f"{NEARER}, {kind}", lambda one: float(one.target > one.source), best, keep, unit="%"))
    figures.append(_error_rate(judged, controls, own, seed))
    return figures


def _others(
    trials: Sequence[Trial], references: dict[str, Voiceprint], real: Real
) -> list[tuple[float, float, str, str]]:
    """Real passages of each target: similarity to themselves and to each source that is converted to them."""
    pairs = sorted({(trial.target, trial.speaker) for trial in trials})
    return [
        (float(p @ references[target]), float(p @ references[source]), target, f"{first} against {source}")
        for target, source in pairs
        if source in references
        for first, p in real.get(target, [])
    ]


def _error_rate(
    judged: Sequence[ScoredPassage], controls: dict[Signal, list[ScoredPassage]], own: Sequence[Sample], seed: int
) -> Figure:
    """Can conversions be told from the real target? 50 % where not."""
    genuine: list[Sample] = [((sample[0], 1.0), sample[1], sample[2]) for sample in own]

    def against(name: str, of: Sequence[ScoredPassage], note: str = "", rivals: Collection[Figure] = ()) -> Figure:
        if not of or not genuine:
            return missing(name, "no passages to compare", unit="%", higher_is_better=True)
        rows = [*genuine, *(one.sample((one.target, 0.0)) for one in of)]
        return figure(
            name,
            rows,
            seed=seed,
            unit="%",
            statistic="equal error rate",
            higher_is_better=True,
            controls=tuple(rivals),
            note=note,
        )

    rivals = [replace(against(one.label, of), is_ceiling=one.in_target_voice) for one, of in controls.items()]
    note = (
        f"genuine trials: {len(genuine)} real passages of the targets against their own voiceprints; impostors: the "
        "conversions against the same; 50 % means that they cannot be told apart"
    )
    return against(ERROR_RATE, judged, note, rivals)


def _reconstructions(
    evaluation: Evaluation, voiceprints: Voiceprints, references: dict[str, Voiceprint], real: Real
) -> Figure:
    """Similarity of reconstructions to their own speaker."""
    own = [replace(trial, target=trial.speaker) for trial in one_per_utterance(evaluation)]

    def samples(signal: Signal) -> list[Sample]:
        return [one.sample(one.target) for one in _score(evaluation, voiceprints, own, signal, references)[0]]

    speakers = sorted({trial.speaker for trial in own if trial.speaker in real})
    ceiling = [(float(p @ references[name]), name, first) for name in speakers for first, p in real[name]]
    controls = [
        figure(MU_LAW.label, samples(MU_LAW), seed=evaluation.seed, is_ceiling=True),
        figure("real recordings of the speaker", ceiling, seed=evaluation.seed, is_ceiling=True),
        _strangers(evaluation, references, real),
    ]
    found = figure(
        RECONSTRUCTIONS, samples(RECONSTRUCTION), seed=evaluation.seed, higher_is_better=True, controls=controls
    )
    if not math.isfinite(found.value):
        return replace(found, note=f"too little speech of one speaker for a passage of {PASSAGE_S:g} s: raise --pairs")
    return found


def _strangers(evaluation: Evaluation, references: dict[str, Voiceprint], real: Real) -> Figure:
    """Real recordings of one speaker against the voiceprints of the others: what has to be beaten."""
    samples = [
        (float(np.mean([p @ own for other, own in references.items() if other != name])), name, first)
        for name, passages in real.items()
        for first, p in passages
        if len(references) > 1
    ]
    return figure("real recordings of other speakers", samples, seed=evaluation.seed)
