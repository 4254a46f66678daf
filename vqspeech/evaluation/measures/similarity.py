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
from vqspeech.evaluation.figures.types import Figure, Material, Trial, missing
from vqspeech.evaluation.judges.voiceprint import (
    PASSAGE_S,
    Passage,
    Voiceprint,
    Voiceprints,
    join_recordings,
    join_takes,
)
from vqspeech.evaluation.trials.signals import (
    CONTROLS,
    REFERENCE,
    Take,
    conversion,
    conversions,
    real_speech,
    reconstruction,
    same_sex,
    unheard,
)

_REFERENCE_S = 20.0  # of real speech that a speaker's own voiceprint is made from
_REAL_S = 40.0  # of other real speech of each speaker, for the ceiling and the equal error rate
_NAMES = (
    "similarity to the target",
    "similarity to the source",
    "nearer to the target than to the source",
    "equal error rate, conversions against the real target",
    "reconstructions' similarity to their speaker",
)
_EER = _NAMES[3]


@dataclass(frozen=True)
class Judged:
    """A passage, how like its target and its source it sounds (cosines), and whether both are of one sex."""

    passage: Passage
    target: float
    source: float
    same_sex: bool | None

    def sample(self, value: float | tuple[float, float]) -> Sample:
        """A trial; passages in one target's voice resemble one another, so the target stands for the speaker."""
        return value, self.passage.target, self.passage.name, " ".join(self.passage.takes)


def judge_similarity(material: Material) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Figures of conversions and reconstructions, and notes; without Resemblyzer each figure says so."""
    try:
        ears = Voiceprints()
    except DependencyError as reason:
        return tuple(missing(name, "Resemblyzer is missing") for name in _NAMES), (str(reason),)
    trials = conversions(material)
    names = sorted({name for trial in material.trials for name in (trial.speaker, trial.target)})
    references, real, notes = _listen_to_real(material, ears, names)
    notes += unheard(trials) + unheard(material.trials, reconstruction, "reconstructions")
    if not trials:
        notes += ("no conversions to another speaker: the corpus or the model has one voice",)
    figures = _conversions(material, ears, trials, references, real) if trials else []
    figures.append(_reconstructions(material, ears, references, real))
    measured = {found.name for found in figures}
    figures += [missing(name, "no conversions to another speaker") for name in _NAMES if name not in measured]
    if trials and not any(trial.speaker in material.sexes for trial in trials):
        notes += ("the corpus does not tell the speakers' sexes: same and different sex are not split",)
    return tuple(figures), (_method(material), *notes)


def _method(material: Material) -> str:
    return (
        f"Resemblyzer hears passages of at least {PASSAGE_S:g} s, joined from one pair of speakers, or from several "
        "with the same target where a pair has less. Similarity is the cosine with the voiceprint of "
        f"{_REFERENCE_S:g} s of a speaker's real speech that is not among the trials; intervals draw targets, then "
        f"passages. It hears {min(material.sample_rate, 16000) / 1000:g} kHz. Random codes are spoken in the target's "
        "voice too: a reference, not to be beaten"
    )


Real = dict[str, list[tuple[str, Voiceprint]]]  # speaker -> (first utterance, voiceprint) of real passages


def _listen_to_real(
    material: Material, ears: Voiceprints, names: Sequence[str]
) -> tuple[dict[str, Voiceprint], Real, tuple[str, ...]]:
    """Each speaker's own voiceprint, and those of other real passages; a note on speakers with too little speech."""
    store, rate = material.store, material.sample_rate
    tried = {trial.utterance for trial in material.trials}
    splits = ["train", *(split for split in SPLITS if split not in ("train", material.split))]
    references: dict[str, Voiceprint] = {}
    real: Real = {}
    silent = []
    for name in names:
        own = real_speech(store, name, splits, _REFERENCE_S, leave_out=tried)
        joined = join_recordings(own, rate)
        if not joined:
            silent.append(name)
            continue
        references[name] = ears.of(np.concatenate([wav for _, wav in joined]), rate)
        used = {utterance for utterance, _ in own}
        others = real_speech(store, name, [material.split], _REAL_S, leave_out=used)
        real[name] = [(first, ears.of(wav, rate)) for first, wav in join_recordings(others, rate)]
    if not silent:
        return references, real, ()
    shown = ", ".join(silent[:8])
    return references, real, (f"less than {PASSAGE_S:g} s of other real speech to know these voices by: {shown}",)


def _judge(
    material: Material, ears: Voiceprints, trials: Sequence[Trial], take: Take, references: dict[str, Voiceprint]
) -> tuple[list[Judged], int]:
    """Similarities of all passages of one kind of take, and how many takes found no passage."""
    known = [trial for trial in trials if trial.target in references and trial.speaker in references]
    passages, left_out = join_takes(known, take, material.sample_rate, lambda trial: same_sex(material, trial))
    relation = {(trial.target, trial.speaker): same_sex(material, trial) for trial in known}
    judged = []
    for passage in passages:
        heard = ears.of(passage.wav, material.sample_rate)
        source = sum(share * float(heard @ references[speaker]) for speaker, share in passage.sources.items())
        kind = relation[passage.target, next(iter(passage.sources))]
        judged.append(Judged(passage, float(heard @ references[passage.target]), source, kind))
    return judged, left_out + len(trials) - len(known)


def _conversions(
    material: Material, ears: Voiceprints, trials: Sequence[Trial], references: dict[str, Voiceprint], real: Real
) -> list[Figure]:
    judged, left_out = _judge(material, ears, trials, conversion, references)
    controls = {name: _judge(material, ears, trials, take, references)[0] for name, take in CONTROLS.items()}
    remark = f"{left_out} of {len(trials)} conversions found no passage" if left_out else ""
    if not judged:
        remark = f"{len(trials)} conversions are too little speech for a passage of {PASSAGE_S:g} s: raise --pairs"
    seed = material.seed
    targets = sorted({trial.target for trial in trials if trial.target in real})
    own = [(float(p @ references[name]), name, first) for name in targets for first, p in real[name]]
    ceiling = figure("real recordings of the target", own, seed=seed, is_ceiling=True)

    def beside(
        name: str,
        value: Callable[[Judged], float],
        last: Figure,
        keep: bool | None = None,
        better: bool = True,
        unit: str = "",
    ) -> Figure:
        def samples(of: Sequence[Judged]) -> list[Sample]:
            return [one.sample(value(one)) for one in of if keep is None or one.same_sex is keep]

        rivals = [
            figure(control, samples(of), seed=seed, unit=unit, is_ceiling=control == REFERENCE)
            for control, of in controls.items()
        ]
        return figure(
            name, samples(judged), seed=seed, unit=unit, higher_is_better=better, controls=[*rivals, last], note=remark
        )

    figures = [beside(_NAMES[0], lambda one: one.target, ceiling)]
    told = any(same_sex(material, trial) is not None for trial in trials)
    kinds = ((True, "same sex"), (False, "different sex")) if told else ()
    for keep, kind in kinds:
        there = {trial.target for trial in trials if same_sex(material, trial) is keep}
        some = [sample for sample in own if sample[1] in there]
        last = figure(ceiling.name, some, seed=seed, is_ceiling=True)
        figures.append(beside(f"{_NAMES[0]}, {kind}", lambda one: one.target, last, keep))
    others = _others(trials, references, real)
    floor = figure(
        "real recordings of the target",
        [(alien, name, first) for _, alien, name, first in others],
        seed=seed,
        is_ceiling=True,
    )
    figures.append(beside(_NAMES[1], lambda one: one.source, floor, better=False))
    surely = [(float(near > alien), name, first) for near, alien, name, first in others]
    best = figure("real recordings of the target", surely, seed=seed, unit="%", is_ceiling=True)
    figures.append(beside(_NAMES[2], lambda one: float(one.target > one.source), best, unit="%"))
    for keep, kind in kinds:
        figures.append(beside(f"{_NAMES[2]}, {kind}", lambda one: float(one.target > one.source), best, keep, unit="%"))
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
    judged: Sequence[Judged], controls: dict[str, list[Judged]], own: Sequence[Sample], seed: int
) -> Figure:
    """Can conversions be told from the real target? 50 % where not."""
    genuine: list[Sample] = [((sample[0], 1.0), sample[1], sample[2]) for sample in own]

    def against(name: str, of: Sequence[Judged], note: str = "", rivals: Collection[Figure] = ()) -> Figure:
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

    rivals = [replace(against(name, of), is_ceiling=name == REFERENCE) for name, of in controls.items()]
    note = (
        f"genuine trials: {len(genuine)} real passages of the targets against their own voiceprints; impostors: the "
        "conversions against the same; 50 % means that they cannot be told apart"
    )
    return against(_EER, judged, note, rivals)


def _reconstructions(material: Material, ears: Voiceprints, references: dict[str, Voiceprint], real: Real) -> Figure:
    """Similarity of reconstructions to their own speaker."""
    once = {trial.utterance: replace(trial, target=trial.speaker) for trial in material.trials}
    own = list(once.values())

    def samples(take: Take) -> list[Sample]:
        return [one.sample(one.target) for one in _judge(material, ears, own, take, references)[0]]

    speakers = sorted({trial.speaker for trial in own if trial.speaker in real})
    ceiling = [(float(p @ references[name]), name, first) for name in speakers for first, p in real[name]]
    controls = [
        figure("mu-law copy", samples(CONTROLS["mu-law copy"]), seed=material.seed, is_ceiling=True),
        figure("real recordings of the speaker", ceiling, seed=material.seed, is_ceiling=True),
        _strangers(material, references, real),
    ]
    found = figure(_NAMES[4], samples(reconstruction), seed=material.seed, higher_is_better=True, controls=controls)
    if not math.isfinite(found.value):
        return replace(found, note=f"too little speech of one speaker for a passage of {PASSAGE_S:g} s: raise --pairs")
    return found


def _strangers(material: Material, references: dict[str, Voiceprint], real: Real) -> Figure:
    """Real recordings of one speaker against the voiceprints of the others: what has to be beaten."""
    samples = [
        (float(np.mean([p @ own for other, own in references.items() if other != name])), name, first)
        for name, passages in real.items()
        for first, p in passages
        if len(references) > 1
    ]
    return figure("real recordings of other speakers", samples, seed=material.seed)
