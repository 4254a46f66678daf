"""The codes as speech units: ABX, bit rate, PNMI, purities, phoneme errors and boundaries, as benchmarks score them.

ABX and bit rate follow ZeroSpeech, the purities HuBERT, the rest DiscoPhon; see `vqspeech.units`. Beside each stands
k-means on MFCCs of the same rate and size, and shuffled codes or chance. Phones are those of the labels, by their own
names, of any language.
"""

# U utterances, N code frames of one, K codes, P phones.
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.store import Store
from vqspeech.evaluation.figures.statistics import figure, figure_of_counts
from vqspeech.evaluation.figures.types import Evaluation, Figure, Section, Table, Wav, missing
from vqspeech.evaluation.measures import code_phonemes
from vqspeech.evaluation.measures.unit_abx import (
    CODES,
    KMEANS,
    VECTORS,
    Compared,
    abx_figures,
    code_table,
    plan_abx,
    vector_table,
)
from vqspeech.evaluation.tools.alignments import align_utterances
from vqspeech.evaluation.tools.mapping import count_pairs
from vqspeech.evaluation.tools.mfcc import centre_vectors, fit_clusters, normalised_mfccs, quantize
from vqspeech.evaluation.trials.coded_speech import (
    CodedSpeech,
    Frames,
    choose_minutes,
    control_speech,
    encode_speech,
    note_on_choice,
)
from vqspeech.units.abx_task import ACROSS, WITHIN
from vqspeech.units.phones import Phone, fill_gaps, frame_labels, inventory_of, merge_equal
from vqspeech.units.quality import cluster_purity, deduplicate, entropy, phone_normalised_information, phone_purity
from vqspeech.units.segmentation import TOLERANCE_S, Boundaries, changes, compare_boundaries, edit_distance

TITLE = "Units"
MAX_MINUTES = 10  # of speech that is aligned and encoded: about a minute of work on one core
SHUFFLED = "shuffled codes"
_NO_LABELS = ("PNMI", "cluster purity", "phone purity", "phoneme error rate", "boundary R-value")
_ABX_NAMES = tuple(f"ABX error {mode} speakers, {what}" for mode in (WITHIN, ACROSS) for what in (CODES, VECTORS))


Phones = Sequence[Sequence[Phone]]  # of each utterance


@dataclass(frozen=True)
class Rates:
    """What the figures need of the model: K, Hz, samples a code, and the codebook (K, D)."""

    num_codes: int
    sample_rate: int
    hop_length: int
    vectors: NDArray[np.float32]

    @property
    def code_rate(self) -> float:
        """Codes a second."""
        return self.sample_rate / self.hop_length


def measure(evaluation: Evaluation, folder: Path | None = None, training: Sequence[Wav] | None = None) -> Section:
    """Score the codes of the split as units.

    Parameters
    ----------
    folder : of label files; None takes VQSPEECH_ALIGNMENTS, else the recordings'
    training : what the control, k-means, is fitted on; None takes training utterances of the corpus
    """
    model, store = evaluation.model, evaluation.store
    chosen = choose_utterances(store, evaluation.split)
    aligned = align_utterances(store, chosen, folder, evaluation.root)
    labels = {one.index: one.phones for one in aligned.utterances}
    # Without any label the bit rate is still there; with some, all figures are of those utterances.
    used = [index for index in chosen if index in labels] or chosen
    phones = [fill_gaps(labels[index], store.length(index) / store.sample_rate) if labels else [] for index in used]
    codebook = model.lookup(np.arange(model.num_codes)).cpu().numpy()
    rates = Rates(model.num_codes, evaluation.sample_rate, evaluation.hop_length, codebook)
    training = control_speech(store) if training is None else training
    section = measure_units(encode_speech(evaluation, used), phones, rates, training, evaluation.seed)
    notes = (*aligned.notes, *note_on_choice(store, evaluation.split, chosen, MAX_MINUTES))
    return replace(section, notes=(*notes, *section.notes), retry=aligned.retry)


def choose_utterances(store: Store, split: str) -> list[int]:
    """Evenly spread utterances of a split, about `MAX_MINUTES`, of those that `code_phonemes` aligns too."""
    chosen = choose_minutes(store, split, code_phonemes.MAX_MINUTES)
    seconds = sum(store.length(index) for index in chosen) / store.sample_rate
    # A quarter more than the limit is taken whole: leaving out every second utterance would waste the other half.
    return chosen[:: max(1, math.ceil(seconds / (60 * MAX_MINUTES) - 0.25))]


def measure_units(
    speech: CodedSpeech, phones: Phones, rates: Rates, training_wavs: Sequence[Wav] = (), seed: int = 0
) -> Section:
    """Figures of the units beside their controls.

    Parameters
    ----------
    phones : without gaps, of each utterance; empty where none are known
    training_wavs : what k-means is fitted on; none fits it on the very utterances, which flatters it
    """
    kmeans = fit_clusters(
        list(training_wavs) or speech.wavs, rates.num_codes, rates.sample_rate, rates.hop_length, seed=seed
    )
    clusters = quantize(kmeans, speech.wavs, speech.lengths, rates.sample_rate, rates.hop_length)
    rate = _bit_rates(speech, {"": speech.codes, KMEANS: clusters}, rates, seed)
    notes = [
        f"K = {rates.num_codes} at {rates.code_rate:g} codes per second, {len(speech.codes)} utterances; bit rate as "
        "in ZeroSpeech 2019: codes a second times the entropy of single codes"
    ]
    if not any(map(len, phones)):
        why = "needs phone times, and no utterance has any"
        return Section(
            TITLE,
            (
                *(missing(name, why, unit="%", higher_is_better=False) for name in _ABX_NAMES),
                rate,
                *(missing(name, why) for name in _NO_LABELS),
            ),
            tuple(notes),
        )
    abx, table = _abx(speech, phones, rates, clusters, centre_vectors(kmeans), seed)
    rows = {"": speech.codes, KMEANS: clusters, SHUFFLED: speech.shuffled(seed)}
    quality, more = _quality(speech, phones, rows, rates, seed)
    notes += [
        "ABX: X is nearer to another phone than to its own; mean over contexts (and X's speakers), speakers, pairs of "
        "phones; codes are equal or not, vectors are compared by angle, of k-means the standardised centres; "
        "intervals: contexts drawn, phones where there is one context alone",
        "phoneme errors and boundaries: each unit is read as its likeliest phone on these very utterances, as "
        f"DiscoPhon does; a boundary counts within {1000 * TOLERANCE_S:g} ms; intervals: speakers and utterances drawn",
    ]
    return Section(TITLE, (*abx, rate, *quality), tuple(notes), (table, more))


def _abx(
    speech: CodedSpeech, labels: Phones, rates: Rates, clusters: Frames, centres: NDArray[np.float64], seed: int
) -> tuple[list[Figure], Table]:
    names = speech.utterances
    phones, speakers = dict(zip(names, labels)), dict(zip(names, speech.speakers))
    codes, controls = dict(zip(names, speech.codes)), dict(zip(names, clusters))
    mfccs = {
        name: normalised_mfccs(wav, len(codes[name]), rates.sample_rate, rates.hop_length)
        for name, wav in zip(names, speech.wavs)
    }
    lengths = {name: len(own) for name, own in codes.items()}
    plans = {mode: plan_abx(phones, speakers, lengths, rates.code_rate, mode, seed) for mode in (WITHIN, ACROSS)}
    equal = code_table(rates.num_codes)
    own = {CODES: Compared(codes, equal), VECTORS: Compared(codes, vector_table(rates.vectors))}
    control = {CODES: Compared(controls, equal), VECTORS: Compared(controls, vector_table(centres))}
    return abx_figures(plans, own, control, Compared(mfccs, "angular"), rates.code_rate, seed)


def _bits(rows: NDArray[Any]) -> float:
    """Bits a second of rows (codes, seconds, counts of K codes)."""
    return float(rows[:, 0].sum() / rows[:, 1].sum()) * entropy(rows[:, 2:].sum(0))


def _bit_rates(speech: CodedSpeech, rows: Mapping[str, Frames], rates: Rates, seed: int) -> Figure:
    """Of all codes; of runs of equal codes as a reference, and of the control."""

    def make(name: str, sequences: Frames) -> Figure:
        samples = [
            ((len(own), len(wav) / rates.sample_rate, *np.bincount(own, minlength=rates.num_codes)), speaker, utterance)
            for own, wav, speaker, utterance in zip(sequences, speech.wavs, speech.speakers, speech.utterances)
        ]
        return figure(name, samples, seed=seed, unit="bits/s", statistic=_bits, centred=True)

    runs = make("each run of equal codes once", [np.asarray(deduplicate(own)[0], np.int64) for own in rows[""]])
    controls = [replace(runs, is_ceiling=True), replace(make(KMEANS, rows[KMEANS]), is_ceiling=True)]
    return replace(make("bit rate", rows[""]), controls=tuple(controls))


def _quality(
    speech: CodedSpeech, phones: Phones, rows: Mapping[str, Frames], rates: Rates, seed: int
) -> tuple[list[Figure], Table]:
    """PNMI, purities, phoneme error rate and R-value, and a table of what lies behind the last."""
    inventory = inventory_of(phones)
    labels = [frame_labels(own, inventory, num, rates.code_rate) for own, num in zip(phones, speech.lengths)]
    counts = {
        name: np.stack([count_pairs(own, true, rates.num_codes, len(inventory)) for own, true in zip(codes, labels)])
        for name, codes in rows.items()
    }
    figures = []
    for name, function in (
        ("PNMI", phone_normalised_information), ("cluster purity", cluster_purity), ("phone purity", phone_purity),
    ):  # fmt: skip
        made = {
            row: figure_of_counts(row or name, own, function, speech.speakers, speech.utterances, seed=seed)
            for row, own in counts.items()
        }
        figures.append(replace(made.pop(""), controls=tuple(made.values())))
    errors: dict[str, Figure] = {}
    r_values: dict[str, Figure] = {}
    lines = []
    for row, codes in rows.items():
        reading = counts[row].sum(0).argmax(1)
        read = [reading[own] for own in codes]
        edits, hits = _read(read, phones, inventory, rates.code_rate)
        trials = list(zip(speech.speakers, speech.utterances))
        errors[row] = figure(
            row or "phoneme error rate", [(value, *trial) for value, trial in zip(edits, trials)], seed=seed, unit="%",
            statistic="ratio", higher_is_better=False,
        )  # fmt: skip
        r_values[row] = figure(
            row or "boundary R-value", [(value, *trial) for value, trial in zip(hits, trials)], seed=seed,
            statistic="R-value", higher_is_better=True,
        )  # fmt: skip
        total = Boundaries(*map(int, np.sum(hits, axis=0)))
        told = f"{errors[row].value:.1%}", *(f"{v:.1%}" for v in (total.precision, total.recall, total.f1))
        lines.append((row or "model", *told, f"{total.r_value:.3f}"))
    for made in (errors, r_values):
        figures.append(replace(made.pop(""), controls=tuple(made.values())))
    header = ("units read as phones", "phoneme errors", "boundaries: precision", "recall", "F1", "R-value")
    return figures, Table("phonemes and boundaries", header, tuple(lines))


def _read(
    read: Frames, phones: Phones, inventory: Sequence[str], rate: float
) -> tuple[list[tuple[int, int]], list[Boundaries]]:
    """(edits, true length) and boundaries of each utterance whose frames are read as phones (N,)."""
    number = {name: place for place, name in enumerate(inventory)}
    edits, hits = [], []
    for own, labelled in zip(read, phones):
        merged = merge_equal(labelled)
        true = [number[phone.name] for phone in merged]
        edits.append((edit_distance(deduplicate(own)[0], true), len(true)))
        hits.append(compare_boundaries([phone.start_s for phone in merged[1:]], changes(own, rate)))
    return edits, hits
