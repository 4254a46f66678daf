"""How natural conversions sound, beside reconstructions, real speech, its mu-law copy and random codes."""

# T samples.
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vqspeech.data.processes import num_cores
from vqspeech.data.selection import spread
from vqspeech.evaluation.figures.types import Evaluation, Figure, Section, Table, Trial, missing
from vqspeech.evaluation.judges.opinion import LONGEST_S, LOWEST, RATE, Opinion, find_opinions
from vqspeech.evaluation.trials.scoring import Samples, WordedTrial, beside_controls, score_signals
from vqspeech.evaluation.trials.signals import CONVERSION, MU_LAW, SIGNALS, SOURCE, Signal, inaudible

TITLE = "Naturalness"
MAX_TRIALS = 30  # that are judged: DistillMOS and DNSMOS together take a second of processor time a signal
_BLIND = (
    "Mean opinion scores, 1 to 5, by networks: gauges, never instead of listeners. They know neither the words nor "
    "whose voice it should be. DistillMOS gave MelGAN 3.4 to 3.7 where people said 2.5, statistical synthesis "
    "too little, and espeak-ng less than white noise (1.9 against 2.2)"
)
Scores = dict[str, Samples]  # of each scale


def measure(evaluation: Evaluation) -> Section:
    """Scores of every signal by every judge that is installed; what is missing becomes a note."""
    opinions, lacking = find_opinions()
    trials = spread(evaluation.trials, MAX_TRIALS)
    notes = [_BLIND, *map(str, lacking), *_remarks(evaluation, trials)]
    figures: list[Figure] = []
    tables: list[Table] = []
    for opinion in opinions:
        scores = listen(opinion, trials, evaluation.sample_rate)
        for scale, agreement in opinion.agreement.items():
            figures += beside_controls(scale, scores[scale], None, evaluation.seed, note=agreement, basis=opinion.basis)
        if "DistillMOS" in scores:
            tables.append(_by_voice(scores["DistillMOS"]))
    if not figures:
        why = "no judge of naturalness is installed: see the notes"
        figures = [missing("DistillMOS: conversions", why, higher_is_better=True)]
    retry = any(reason.is_installed for reason in lacking)
    return Section(TITLE, tuple(figures), tuple(notes), tuple(tables), retry=retry)


def listen(opinion: Opinion, trials: Sequence[Trial], sample_rate: int) -> Scores:
    """A judge's scores of every signal of the trials."""
    answers = score_signals(
        [WordedTrial(trial) for trial in trials],
        lambda _, wav: opinion.score(wav, sample_rate),
        lambda _: dict.fromkeys(opinion.agreement, LOWEST),
        num_cores(),
    )
    return {
        scale: {signal: [(score[scale], *trial) for score, *trial in own] for signal, own in answers.items()}  # type: ignore[misc]
        for scale in opinion.agreement
    }


def _remarks(evaluation: Evaluation, trials: Sequence[Trial]) -> list[str]:
    notes = []
    if len(trials) < len(evaluation.trials):
        notes.append(f"{len(trials)} of {len(evaluation.trials)} trials, evenly spread, were judged")
    if any(len(trial.source) > LONGEST_S * evaluation.sample_rate for trial in trials):
        notes.append(f"the first {LONGEST_S:g} s of each take were judged, by DistillMOS the first 7.68 s")
    if evaluation.sample_rate < RATE:
        notes.append(
            f"The judges expect {RATE // 1000} kHz: sound of {evaluation.sample_rate / 1000:g} kHz was brought up to "
            "it and lacks what lies above, real speech as well, which stands beside and is the most that can be had"
        )
    for signal in SIGNALS:
        if lost := len(inaudible(trials, signal)):
            notes.append(f"{signal.plural}: {lost} of {len(trials)} are silent or not finite and count as {LOWEST:g}")
    return notes


def _by_voice(samples: Samples) -> Table:
    """DistillMOS of the conversions to each voice beside that of the voice's own recordings, the lowest first."""
    into: dict[str, list[float]] = defaultdict(list)
    for value, _, _, target in samples[CONVERSION]:  # type: ignore[misc]
        into[target].append(value)
    real: dict[Signal, dict[str, list[float]]] = {signal: defaultdict(list) for signal in (SOURCE, MU_LAW)}
    for signal, own in real.items():
        for value, speaker, *_ in samples[signal]:
            own[speaker].append(value)

    def mean(values: Sequence[float]) -> str:
        return f"{np.mean(values):.2f}" if values else "–"

    rows = tuple(
        (voice, mean(into[voice]), str(len(into[voice])), *(mean(own[voice]) for own in real.values()))
        for voice in sorted(into, key=lambda voice: float(np.mean(into[voice])))
    )
    header = ("voice", "conversions to it", "n", "its own recordings", "their mu-law copies")
    return Table("DistillMOS, voice by voice", header, rows)
