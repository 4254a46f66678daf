"""How natural conversions sound, beside reconstructions, real speech, its mu-law copy and random codes."""

# T samples.
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vqspeech.data.preparation import num_cores
from vqspeech.evaluation.figures.statistics import Sample
from vqspeech.evaluation.figures.types import Figure, Material, Section, Table, Trial, missing
from vqspeech.evaluation.judges.opinion import LONGEST_S, LOWEST, RATE, Opinion, find_opinions
from vqspeech.evaluation.trials.signals import is_heard, spread
from vqspeech.evaluation.trials.ways import LABELS, Heard, beside_controls, each_way

TITLE = "Naturalness"
MAX_TRIALS = 30  # that are judged: DistillMOS and DNSMOS together take a second of processor time a take
_BLIND = (
    "Mean opinion scores, 1 to 5, by networks: gauges, never instead of listeners. They know neither the words nor "
    "whose voice it should be. DistillMOS gave MelGAN 3.4 to 3.7 where people said 2.5, statistical synthesis "
    "too little, and espeak-ng less than white noise (1.9 against 2.2)"
)
Scores = dict[str, dict[str, list[Sample]]]  # scale -> way -> samples


def measure(material: Material) -> Section:
    """Scores of every kind of take by every judge that is installed; what is missing becomes a note."""
    opinions, notes = find_opinions()
    trials = spread(material.trials, MAX_TRIALS)
    notes = [_BLIND, *notes, *_remarks(material, trials)]
    figures: list[Figure] = []
    tables: list[Table] = []
    for opinion in opinions:
        scores = listen(opinion, trials, material.sample_rate)
        for scale, agreement in opinion.agreement.items():
            figures += beside_controls(scale, scores[scale], None, material.seed, note=agreement, basis=opinion.basis)
        if "DistillMOS" in scores:
            tables.append(_by_voice(scores["DistillMOS"]))
    if not figures:
        why = "no judge of naturalness is installed: see the notes"
        figures = [missing("DistillMOS: conversions", why, higher_is_better=True)]
    return Section(TITLE, tuple(figures), tuple(notes), tuple(tables))


def listen(opinion: Opinion, trials: Sequence[Trial], sample_rate: int) -> Scores:
    """A judge's scores of every take of the trials."""
    answers = each_way(
        [Heard(trial) for trial in trials],
        lambda _, wav: opinion.score(wav, sample_rate),
        lambda _: dict.fromkeys(opinion.agreement, LOWEST),
        num_cores(),
    )
    return {
        scale: {way: [(score[scale], *trial) for score, *trial in own] for way, own in answers.items()}  # type: ignore[misc]
        for scale in opinion.agreement
    }


def _remarks(material: Material, trials: Sequence[Trial]) -> list[str]:
    notes = []
    if len(trials) < len(material.trials):
        notes.append(f"{len(trials)} of {len(material.trials)} trials, evenly spread, were judged")
    if any(len(trial.source) > LONGEST_S * material.sample_rate for trial in trials):
        notes.append(f"the first {LONGEST_S:g} s of each take were judged, by DistillMOS the first 7.68 s")
    if material.sample_rate < RATE:
        notes.append(
            f"The judges expect {RATE // 1000} kHz: sound of {material.sample_rate / 1000:g} kHz was brought up to it "
            "and lacks what lies above, real speech as well, which stands beside and is the most that can be had"
        )
    for way, label in LABELS.items():
        if lost := sum(not is_heard(getattr(trial, way)) for trial in trials):
            notes.append(f"{label}: {lost} of {len(trials)} are silent or not finite and count as {LOWEST:g}")
    return notes


def _by_voice(samples: dict[str, list[Sample]]) -> Table:
    """DistillMOS of the conversions to each voice beside that of the voice's own recordings, the lowest first."""
    into: dict[str, list[float]] = defaultdict(list)
    for value, _, _, target in samples["conversion"]:  # type: ignore[misc]
        into[target].append(value)
    real: dict[str, dict[str, list[float]]] = {way: defaultdict(list) for way in ("source", "mu_law")}
    for way, own in real.items():
        for value, speaker, *_ in samples[way]:
            own[speaker].append(value)

    def mean(values: Sequence[float]) -> str:
        return f"{np.mean(values):.2f}" if values else "–"

    rows = tuple(
        (voice, mean(into[voice]), str(len(into[voice])), *(mean(real[way][voice]) for way in ("source", "mu_law")))
        for voice in sorted(into, key=lambda voice: float(np.mean(into[voice])))
    )
    header = ("voice", "conversions to it", "n", "its own recordings", "their mu-law copies")
    return Table("DistillMOS, voice by voice", header, rows)
