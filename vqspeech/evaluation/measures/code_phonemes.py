"""What the codes say about phonemes: each code read as its likeliest of 41 classes [VQ-VAE §4.3], with intervals.

Half of the utterances teach the reading, the other half is scored, frame by frame; see `phonemes` for the same without
intervals.
"""

# U utterances, N code frames of one, K codes, P = 41 classes.
from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.phonemes import PHONEMES, SILENCE
from vqspeech.data.store import Store
from vqspeech.evaluation.figures.statistics import figure, resamples
from vqspeech.evaluation.figures.types import Figure, Material, Picture, Section, Table, missing
from vqspeech.evaluation.tools.alignments import Alignments, align_utterances
from vqspeech.evaluation.tools.mapping import count_pairs, learn_mapping, normalised_information, teaching_half
from vqspeech.evaluation.tools.mfcc import cluster_mfccs
from vqspeech.evaluation.tools.phone_classes import table as table_of_classes
from vqspeech.evaluation.tools.phonemes import label_frames

TITLE = "Codes to phonemes"
MAX_MINUTES = 20  # of speech that is aligned and encoded
CONTROL_MINUTES = 6  # of training speech that the MFCC control is fitted on
_TIMES = 200  # resamples of the mutual information: each adds up tables of K x P counts
_SILENCE_CLASS = PHONEMES.index(SILENCE)
_PAPER = "the paper reports 49.3 % for K = 128 at 25 Hz against 7.2 % by chance, on other speech"
_NAMES = (
    "frames whose phoneme the codes tell",
    "the same, silence excluded",
    "normalised mutual information of codes and phonemes",
    "mutual information, silence excluded",
)

Frames = Sequence[NDArray[np.int64]]


@dataclass(frozen=True)
class Speech:
    """Encoded utterances with a class a frame: arrays of shape (N_i,), U of each."""

    utterances: tuple[str, ...]
    speakers: tuple[str, ...]
    codes: Frames
    classes: Frames
    wavs: Sequence[NDArray[np.float32]]


def measure(material: Material, folder: Path | None = None) -> Section:
    """Read the codes of the split as phonemes, beside the commonest class, shuffled codes and k-means on MFCCs.

    Parameters
    ----------
    folder : of label files, for corpora without exact times; None takes VQSPEECH_ALIGNMENTS, else the recordings'
    """
    model, store = material.model, material.store
    chosen = spread(store, material.split, MAX_MINUTES)
    aligned = align_utterances(store, chosen, folder, material.root)
    notes = list(aligned.notes)
    if len(chosen) < store.split_sizes[material.split]:
        notes.append(
            f"{len(chosen)} of the {store.split_sizes[material.split]} {material.split} utterances, "
            f"about {MAX_MINUTES} minutes, were taken"
        )
    if len(aligned.utterances) < 2:
        why = "needs two utterances with phoneme times: half teach what codes mean, half are scored"
        return Section(TITLE, tuple(missing(name, why, unit=unit) for name, unit in zip(_NAMES, ("%", "%", "", ""))),
                       tuple(notes))  # fmt: skip
    speech = _encode(material, aligned)
    training = [store.wav(index) for index in spread(store, "train", CONTROL_MINUTES)]
    figures, read, truth = measure_codes(
        speech, model.num_codes, material.sample_rate, material.hop_length, training, material.seed
    )
    notes.append(
        f"K = {model.num_codes} at {material.sample_rate / material.hop_length:g} codes per second, "
        f"{len(truth)} frames of {figures[0].count} utterances scored; {_PAPER}"
    )
    tables = (_table_of_readings(read, truth), table_of_classes())
    return Section(TITLE, figures, tuple(notes), tables, (_confusions(read, truth),))


def spread(store: Store, split: str, minutes: float) -> list[int]:
    """Positions of a split's utterances, evenly spread, about so many minutes at most."""
    indices = store.utterances(split)
    every = max(1, -(-int(store.duration_s(split)) // int(60 * minutes)))
    return list(indices[::every])


def _encode(material: Material, aligned: Alignments) -> Speech:
    store = material.store
    wavs = [store.wav(utterance.index) for utterance in aligned.utterances]
    codes = [material.model.encode(wav).numpy().astype(np.int64) for wav in wavs]
    rate = material.sample_rate / material.hop_length
    return Speech(
        tuple(store.utterance_id(utterance.index) for utterance in aligned.utterances),
        tuple(store.speakers[store.speaker(utterance.index)] for utterance in aligned.utterances),
        codes,
        [label_frames(own.labels, len(values), rate) for own, values in zip(aligned.utterances, codes)],
        wavs,
    )


def measure_codes(
    speech: Speech,
    num_codes: int,
    sample_rate: int,
    hop_length: int,
    training_wavs: Sequence[NDArray[np.float32]] = (),
    seed: int = 0,
) -> tuple[tuple[Figure, ...], NDArray[np.int64], NDArray[np.int64]]:
    """Figures of the codes beside their controls.

    Parameters
    ----------
    training_wavs : what k-means is fitted on; none fits it on the teaching half

    Returns
    -------
    figures : accuracy and mutual information, each for all frames and for those that are not silence
    read, truth : int arrays, shape (frames scored,): the class that each code was read as, and the true one
    """
    teaching = teaching_half(speech.utterances)
    mixed = np.random.default_rng(seed).permutation(np.concatenate(speech.codes))
    shuffled = np.split(mixed, np.cumsum([len(values) for values in speech.codes])[:-1])
    fit_on = list(training_wavs) or [wav for wav, teaches in zip(speech.wavs, teaching) if teaches]
    lengths = [len(values) for values in speech.codes]
    clusters = cluster_mfccs(fit_on, speech.wavs, lengths, num_codes, sample_rate, hop_length, seed=seed)
    constant = [np.zeros_like(values) for values in speech.codes]  # one code is read as the commonest class
    rows = {"codes": speech.codes, "k-means on MFCCs": clusters, "shuffled codes": shuffled, "majority class": constant}
    figures = []
    for position, silence in enumerate((True, False)):
        accuracies = {
            name: _accuracy(name if name != "codes" else _NAMES[position], codes, speech, teaching, silence, seed)
            for name, codes in rows.items()
        }
        figures.append(_beside(accuracies))
    for position, silence in enumerate((True, False), start=2):
        figures.append(
            _beside(
                {
                    name: _information(name if name != "codes" else _NAMES[position], codes, speech, teaching, silence,
                                       num_codes, seed)
                    for name, codes in rows.items()
                    if name != "majority class"
                }
            )
        )  # fmt: skip
    label_of, _ = _learn(speech.codes, speech, teaching, True)
    read = np.concatenate([label_of[own] for own, teaches in zip(speech.codes, teaching) if not teaches])
    truth = np.concatenate([own for own, teaches in zip(speech.classes, teaching) if not teaches])
    return tuple(figures), read, truth


def _beside(figures: dict[str, Figure]) -> Figure:
    own = figures.pop("codes")
    return replace(own, controls=tuple(figures.values()))


def _learn(codes: Frames, speech: Speech, teaching: NDArray[np.bool_], silence: bool) -> tuple[NDArray[np.int64], bool]:
    """What each code is read as, and whether there was anything to learn from."""
    pairs = [_kept(own, classes, silence) for own, classes, teaches in zip(codes, speech.classes, teaching) if teaches]
    code, label = (np.concatenate(values) for values in zip(*pairs))
    num_codes = 1 + max(int(own.max(initial=0)) for own in codes)
    return learn_mapping(code, label, num_codes=num_codes, num_labels=len(PHONEMES))[0], len(code) > 0


def _kept(codes: NDArray, classes: NDArray, silence: bool) -> tuple[NDArray, NDArray]:
    """All frames, or those that are not silent by their true class."""
    keep = slice(None) if silence else classes != _SILENCE_CLASS
    return codes[keep], classes[keep]


def _accuracy(
    name: str, codes: Frames, speech: Speech, teaching: NDArray[np.bool_], silence: bool, seed: int
) -> Figure:
    label_of, learned = _learn(codes, speech, teaching, silence)
    samples = []
    for row, teaches in enumerate(teaching):
        code, label = _kept(codes[row], speech.classes[row], silence)
        if not teaches and len(code) and learned:
            right = (int((label_of[code] == label).sum()), len(code))
            samples.append((right, speech.speakers[row], speech.utterances[row]))
    note = "" if samples else "no labelled frames to teach or to score"
    return figure(name, samples, seed=seed, unit="%", statistic="ratio", higher_is_better=True, note=note)


def _information(
    name: str, codes: Frames, speech: Speech, teaching: NDArray[np.bool_], silence: bool, num_codes: int, seed: int
) -> Figure:
    scored: list[int] = np.flatnonzero(~teaching).tolist()
    counts = np.stack(
        [
            count_pairs(*_kept(codes[row], speech.classes[row], silence), num_codes, len(PHONEMES)).ravel()
            for row in scored
        ]
    ).astype(np.float32)  # (U, K P)
    if not counts.sum():
        return missing(name, "no labelled frames to score", higher_is_better=True)

    value = normalised_information(counts.sum(axis=0).reshape(num_codes, -1))
    speakers, utterances = ([names[row] for row in scored] for names in (speech.speakers, speech.utterances))
    low = high = math.nan
    draws: list[float] = []
    if len(scored) > 1:
        for chosen in resamples(speakers, utterances, seed=seed, times=_TIMES):
            times = np.bincount(chosen, minlength=len(scored)).astype(np.float32)
            draws.append(normalised_information((times @ counts).reshape(num_codes, -1)))
        # Utterances drawn twice look like information: the draws lie too high by that bias, so they are centred anew.
        low, high = np.clip(np.percentile(draws, [2.5, 97.5]) - np.mean(draws) + value, 0, 1).tolist()
    kept = tuple(draws) if np.isfinite(draws).all() else ()  # what JSON can hold
    drawn = hashlib.sha256(repr((speakers, utterances, seed, _TIMES)).encode()).hexdigest()
    return Figure(
        name, value, low, high, count=len(scored), higher_is_better=True, statistic="", draws=kept, drawn=drawn
    )


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
    png = io.BytesIO()
    drawing.savefig(png, dpi=120, format="png")
    best = float(shares.diagonal()[counts.any(axis=1)].mean()) if counts.any() else 0.0
    return Picture(
        "what phonemes are read as, shares of each that is spoken",
        png.getvalue(),
        f"confusion matrix of 41 classes; mean diagonal {best:.0%}",
    )
