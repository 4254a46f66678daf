"""What the codes say about phonemes: each code read as its likeliest of 41 classes [VQ-VAE §4.3], with intervals.

Half of the utterances teach the reading, the other half is scored, frame by frame.
"""

# U utterances, N code frames of one, K codes, P = 41 classes.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.phonemes import PHONEMES, SILENCE
from vqspeech.evaluation.figures.statistics import figure, figure_of_counts
from vqspeech.evaluation.figures.types import Evaluation, Figure, Picture, Section, Table, missing
from vqspeech.evaluation.tools.alignments import align_utterances
from vqspeech.evaluation.tools.mapping import count_pairs, learn_mapping, normalised_information, teaching_half
from vqspeech.evaluation.tools.mfcc import cluster_mfccs
from vqspeech.evaluation.tools.phone_classes import label_frames
from vqspeech.evaluation.tools.phone_classes import table as table_of_classes
from vqspeech.evaluation.trials.coded_speech import (
    CodedSpeech,
    Frames,
    choose_minutes,
    control_speech,
    encode_speech,
    note_on_choice,
)
from vqspeech.pictures import to_png

TITLE = "Codes to phonemes"
MAX_MINUTES = 20  # of speech that is aligned and encoded
_SILENCE_CLASS = PHONEMES.index(SILENCE)
_PAPER = "the paper reports 49.3 % for K = 128 at 25 Hz against 7.2 % by chance, on other speech"
ACCURACY, SPOKEN_ACCURACY = "frames whose phoneme the codes tell", "the same, silence excluded"
INFORMATION = "normalised mutual information of codes and phonemes"
SPOKEN_INFORMATION = "mutual information, silence excluded"
_UNITS = {ACCURACY: "%", SPOKEN_ACCURACY: "%", INFORMATION: "", SPOKEN_INFORMATION: ""}

Labelled = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]  # codes and classes of each utterance's frames


def measure(evaluation: Evaluation, folder: Path | None = None) -> Section:
    """Read the codes of the split as phonemes, beside the commonest class, shuffled codes and k-means on MFCCs.

    Parameters
    ----------
    folder : of label files, for corpora without exact times; None takes VQSPEECH_ALIGNMENTS, else the recordings'
    """
    model, store = evaluation.model, evaluation.store
    chosen = choose_minutes(store, evaluation.split, MAX_MINUTES)
    aligned = align_utterances(store, chosen, folder, evaluation.root)
    notes = [*aligned.notes, *note_on_choice(store, evaluation.split, chosen, MAX_MINUTES)]
    if len(aligned.utterances) < 2:
        why = "needs two utterances with phoneme times: half teach what codes mean, half are scored"
        figures = tuple(missing(name, why, unit=unit) for name, unit in _UNITS.items())
        return Section(TITLE, figures, tuple(notes), retry=aligned.retry)
    speech = encode_speech(evaluation, [utterance.index for utterance in aligned.utterances])
    rate = evaluation.sample_rate / evaluation.hop_length
    classes = [label_frames(own.labels, num, rate) for own, num in zip(aligned.utterances, speech.lengths)]
    figures, read, truth = measure_codes(
        speech, classes, model.num_codes, evaluation.sample_rate, evaluation.hop_length, control_speech(store),
        evaluation.seed,
    )  # fmt: skip
    notes.append(
        f"K = {model.num_codes} at {rate:g} codes per second, "
        f"{len(truth)} frames of {figures[0].count} utterances scored; {_PAPER}"
    )
    tables = (_table_of_readings(read, truth), table_of_classes())
    return Section(TITLE, figures, tuple(notes), tables, (_confusions(read, truth),), aligned.retry)


def measure_codes(
    speech: CodedSpeech,
    classes: Frames,
    num_codes: int,
    sample_rate: int,
    hop_length: int,
    training_wavs: Sequence[NDArray[np.float32]] = (),
    seed: int = 0,
) -> tuple[tuple[Figure, ...], NDArray[np.int64], NDArray[np.int64]]:
    """Figures of the codes beside their controls.

    Parameters
    ----------
    classes : of each frame, in the order of `PHONEMES`: arrays (N_i,), U of them
    training_wavs : what k-means is fitted on; none fits it on the teaching half

    Returns
    -------
    figures : accuracy and mutual information, each for all frames and for those that are not silence
    read, truth : int arrays, shape (frames scored,): the class that each code was read as, and the true one
    """
    teaching = teaching_half(speech.utterances)
    fit_on = list(training_wavs) or [wav for wav, teaches in zip(speech.wavs, teaching) if teaches]
    clusters = cluster_mfccs(fit_on, speech.wavs, speech.lengths, num_codes, sample_rate, hop_length, seed=seed)
    rows = {
        "": speech.codes, "k-means on MFCCs": clusters, "shuffled codes": speech.shuffled(seed),
        "majority class": [np.zeros_like(values) for values in speech.codes],  # one code: read as the commonest class
    }  # fmt: skip
    accuracies, informations = [], []
    for is_spoken, accuracy, information in (
        (False, ACCURACY, INFORMATION),
        (True, SPOKEN_ACCURACY, SPOKEN_INFORMATION),
    ):
        frames = {
            row: [_kept(*own, is_spoken) for own in zip(codes, classes, strict=True)] for row, codes in rows.items()
        }
        told = [_accuracy(row or accuracy, own, speech, teaching, seed) for row, own in frames.items()]
        accuracies.append(replace(told[0], controls=tuple(told[1:])))
        del frames["majority class"]
        told = [_information(row or information, own, speech, teaching, num_codes, seed) for row, own in frames.items()]
        informations.append(replace(told[0], controls=tuple(told[1:])))
    label_of, _ = _learn(list(zip(speech.codes, classes)), teaching)
    read = np.concatenate([label_of[own] for own, teaches in zip(speech.codes, teaching) if not teaches])
    truth = np.concatenate([own for own, teaches in zip(classes, teaching) if not teaches])
    return (*accuracies, *informations), read, truth


def _kept(codes: NDArray, classes: NDArray, is_spoken: bool) -> tuple[NDArray, NDArray]:
    """All frames, or those that are not silent by their true class."""
    keep = classes != _SILENCE_CLASS if is_spoken else slice(None)
    return codes[keep], classes[keep]


def _learn(frames: Labelled, teaching: NDArray[np.bool_]) -> tuple[NDArray[np.int64], bool]:
    """What each code is read as, and whether there was anything to learn from."""
    taught = [own for own, teaches in zip(frames, teaching) if teaches]
    code, label = (np.concatenate(values) for values in zip(*taught))
    num_codes = 1 + max(int(codes.max(initial=0)) for codes, _ in frames)
    return learn_mapping(code, label, num_codes=num_codes, num_labels=len(PHONEMES))[0], len(code) > 0


def _accuracy(name: str, frames: Labelled, speech: CodedSpeech, teaching: NDArray[np.bool_], seed: int) -> Figure:
    label_of, learned = _learn(frames, teaching)
    samples = [
        ((int((label_of[code] == label).sum()), len(code)), speech.speakers[row], speech.utterances[row])
        for row, (code, label) in enumerate(frames)
        if not teaching[row] and len(code) and learned
    ]
    note = "" if samples else "no labelled frames to teach or to score"
    return figure(name, samples, seed=seed, unit="%", statistic="ratio", higher_is_better=True, note=note)


def _information(
    name: str, frames: Labelled, speech: CodedSpeech, teaching: NDArray[np.bool_], num_codes: int, seed: int
) -> Figure:
    scored: list[int] = np.flatnonzero(~teaching).tolist()
    counts = np.stack([count_pairs(*frames[row], num_codes, len(PHONEMES)) for row in scored])  # (U, K, P)
    if not counts.sum():
        return missing(name, "no labelled frames to score", higher_is_better=True)
    speakers, utterances = ([names[row] for row in scored] for names in (speech.speakers, speech.utterances))
    return figure_of_counts(name, counts, normalised_information, speakers, utterances, seed=seed)


def _table_of_readings(read: NDArray[np.int64], truth: NDArray[np.int64]) -> Table:
    """For each class that occurs: its share of the frames, how often it is told, and what it is taken for instead."""
    rows = []
    for label in np.argsort(-np.bincount(truth, minlength=len(PHONEMES)), kind="stable"):
        own = read[truth == label]
        if not len(own):
            continue
        wrong = np.bincount(own[own != label], minlength=len(PHONEMES))
        taken = f"{PHONEMES[wrong.argmax()]} {wrong.max() / len(own):.0%}" if wrong.any() else ""
        rows.append((PHONEMES[label], f"{len(own) / len(truth):.1%}", f"{(own == label).mean():.0%}", taken))
    return Table("phoneme by phoneme", ("class", "share of frames", "told", "most often taken for"), tuple(rows))


def _confusions(read: NDArray[np.int64], truth: NDArray[np.int64]) -> Picture:
    """Rows of true classes, columns of what the codes are read as; each row sums to one. Classes that never occur are
    left out."""
    from matplotlib.figure import Figure as Drawing

    counts = count_pairs(truth, read, len(PHONEMES), len(PHONEMES))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    spoken, heard = (np.flatnonzero(counts.any(axis=axis)) for axis in (1, 0))
    drawing = Drawing(figsize=(2 + 0.18 * len(heard), 1.2 + 0.18 * len(spoken)), layout="constrained")
    axis = drawing.subplots()
    shown = shares[np.ix_(spoken, heard)]
    image = axis.imshow(shown, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axis.set_xticks(range(len(heard)), [PHONEMES[label] for label in heard], rotation=90, fontsize=7)
    axis.set_yticks(range(len(spoken)), [PHONEMES[label] for label in spoken], fontsize=7)
    axis.tick_params(length=0)
    axis.set_xlabel("read from the code", fontsize=8)
    axis.set_ylabel("spoken", fontsize=8)
    drawing.colorbar(image, ax=axis, shrink=0.7)
    best = float(shares.diagonal()[counts.any(axis=1)].mean()) if counts.any() else 0.0
    return Picture(
        "what phonemes are read as, shares of each that is spoken",
        to_png(drawing, dpi=120),
        f"confusion matrix of 41 classes; mean diagonal {best:.0%}",
    )
