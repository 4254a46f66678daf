"""Phoneme accuracy of codes written out plainly, without intervals: what `evaluation.code_phonemes` is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.data.phonemes import PHONEMES, SILENCE, Label
from vqspeech.errors import CodesError, CorpusError
from vqspeech.evaluation.tools.mapping import learn_mapping, teaching_half
from vqspeech.evaluation.tools.mfcc import cluster_mfccs
from vqspeech.evaluation.tools.phone_classes import label_frames

_SILENCE_CLASS = PHONEMES.index(SILENCE)


@dataclass(frozen=True)
class MappingScore:
    """How well codes tell labels on the frames that are scored.

    Attributes
    ----------
    accuracy : float
        Share of frames whose code's likeliest label is the right one.
    majority : float
        The same for the one label that is commonest where the mapping was taught.
    mutual_information : float
        Between codes and labels, normalised by the mean of their entropies, in [0, 1].
    num_frames : int
        Frames scored.
    """

    accuracy: float
    majority: float
    mutual_information: float
    num_frames: int


def map_and_score(
    map_codes: ArrayLike, map_labels: ArrayLike, codes: ArrayLike, labels: ArrayLike, *, num_codes: int, num_labels: int
) -> MappingScore:
    """Read each code as the label it occurs with most often, then score that reading on other frames.

    Parameters
    ----------
    map_codes, map_labels : int arrays, shape (M,)
        Frames that teach the mapping. A tie goes to the lower label; a code that does not occur is read as the label
        commonest of all.
    codes, labels : int arrays, shape (N,)
        Frames that are scored.
    num_codes, num_labels : int

    Returns
    -------
    MappingScore

    Raises
    ------
    CodesError
        If a code is not in [0, num_codes).
    CorpusError
        If there is no frame to learn from or to score.

    Examples
    --------
    >>> map_and_score([0, 0, 1], [3, 3, 2], [0, 1, 1], [3, 2, 3], num_codes=2, num_labels=4).accuracy
    0.6666666666666666
    """
    from sklearn.metrics import normalized_mutual_info_score

    map_codes, map_labels, codes, labels = (
        np.asarray(values, dtype=np.int64) for values in (map_codes, map_labels, codes, labels)
    )
    assert map_codes.shape == map_labels.shape and codes.shape == labels.shape
    for values in (map_codes, codes):
        if not len(values):
            raise CorpusError("no labelled frames to read the codes with; give more or longer labelled utterances")
        if values.min() < 0 or values.max() >= num_codes:
            raise CodesError(
                f"codes lie between {values.min()} and {values.max()}; 0 to {num_codes - 1} were expected. "
                "Encode the recordings with this model"
            )
    label_of, commonest = learn_mapping(map_codes, map_labels, num_codes=num_codes, num_labels=num_labels)
    return MappingScore(
        accuracy=float((label_of[codes] == labels).mean()),
        majority=float((labels == commonest).mean()),
        mutual_information=float(normalized_mutual_info_score(labels, codes)),
        num_frames=len(labels),
    )


@dataclass(frozen=True)
class Reading:
    """One row of the table, for all frames and for those that are not silence.

    Attributes
    ----------
    accuracy, accuracy_speech : float
        Shares of frames.
    mutual_information, mutual_information_speech : float
        Normalised, in [0, 1].
    """

    accuracy: float
    accuracy_speech: float
    mutual_information: float
    mutual_information_speech: float


@dataclass(frozen=True)
class PhonemeAccuracy:
    """Phoneme accuracy of codes beside its controls; `mfcc` is None without audio.

    Attributes
    ----------
    num_codes : int
        K, of the codes and of the k-means.
    code_rate : float
        Hz
    num_utterances : int
        Those scored; the mapping was taught by others.
    num_frames, num_frames_speech : int
        Frames scored, and those among them that are not silence.
    codes, majority, shuffled, mfcc : Reading
    """

    num_codes: int
    code_rate: float
    num_utterances: int
    num_frames: int
    num_frames_speech: int
    codes: Reading
    majority: Reading
    shuffled: Reading
    mfcc: Reading | None

    @property
    def beats_controls(self) -> bool:
        """Whether the codes tell phonemes better than every control, silence excluded."""
        controls = [self.majority, self.shuffled] + ([self.mfcc] if self.mfcc else [])
        return all(self.codes.accuracy_speech > control.accuracy_speech for control in controls)

    def table(self) -> dict[str, dict[str, float]]:
        """Give rows by name, each with its columns by name; accuracies in percent."""
        rows = {"codes": self.codes, "k-means on MFCCs": self.mfcc}
        rows |= {"shuffled codes": self.shuffled, "majority class": self.majority}
        return {
            name: {
                "all frames %": 100 * row.accuracy,
                "silence excluded %": 100 * row.accuracy_speech,
                "NMI": row.mutual_information,
                "NMI, silence excluded": row.mutual_information_speech,
            }
            for name, row in rows.items()
            if row is not None
        }


def code_phoneme_accuracy(
    utterances: Sequence[str],
    codes: Sequence[NDArray[np.integer]],
    labels: Sequence[Sequence[Label]],
    *,
    num_codes: int,
    sample_rate: int,
    hop_length: int,
    wavs: Sequence[NDArray[np.floating]] | None = None,
    training_wavs: Sequence[NDArray[np.floating]] | None = None,
    seed: int = 0,
) -> PhonemeAccuracy:
    """Measure how well codes tell phonemes, beside the controls.

    Where silence is excluded, its frames are left out of both halves, by their true label.

    Parameters
    ----------
    utterances : sequence of unique ids, length U
    codes : sequence of int arrays, shape (N_i,), in [0, num_codes)
        Code n covers the samples [n * hop_length, (n + 1) * hop_length).
    labels : sequence of lists of (start_s, end_s, phoneme)
    num_codes, sample_rate (Hz), hop_length : int
    wavs : sequence of float arrays, shape (T_i,), or None
        The recordings, for the MFCC control; None leaves it out.
    training_wavs : sequence of float arrays or None
        What k-means is fitted on; None fits it on the teaching half of `wavs`.
    seed : int
        Of the shuffle and of k-means.

    Returns
    -------
    PhonemeAccuracy

    Raises
    ------
    CorpusError
        If there are fewer than two utterances or no labelled frames.
    CodesError
        If a code is out of range.
    """
    assert len(utterances) == len(codes) == len(labels) == len(wavs if wavs is not None else codes)
    if len(utterances) < 2:
        raise CorpusError(
            f"{len(utterances)} labelled utterance: one half teaches what codes mean, the other is scored. "
            "Give at least two"
        )
    teaching = teaching_half(utterances)
    classes = [
        label_frames(marks, len(values), sample_rate / hop_length) for marks, values in zip(labels, codes, strict=True)
    ]
    everything = np.concatenate(codes)
    mixed = np.random.default_rng(seed).permutation(everything)
    shuffled = np.split(mixed, np.cumsum([len(values) for values in codes])[:-1])
    mfcc = None
    if wavs is not None:
        fit_on = training_wavs or [wav for wav, teaches in zip(wavs, teaching) if teaches]
        clusters = cluster_mfccs(
            fit_on, wavs, [len(values) for values in codes], num_codes, sample_rate, hop_length, seed=seed
        )
        mfcc, *_ = _read(clusters, classes, teaching, num_codes)
    reading, whole, speech = _read(codes, classes, teaching, num_codes)
    return PhonemeAccuracy(
        num_codes=num_codes,
        code_rate=sample_rate / hop_length,
        num_utterances=int((~teaching).sum()),
        num_frames=whole.num_frames,
        num_frames_speech=speech.num_frames,
        codes=reading,
        majority=Reading(whole.majority, speech.majority, 0.0, 0.0),
        shuffled=_read(shuffled, classes, teaching, num_codes)[0],
        mfcc=mfcc,
    )


def _read(
    codes: Sequence[NDArray[np.integer]], classes: list[NDArray[np.int64]], teaching: NDArray[np.bool_], num_codes: int
) -> tuple[Reading, MappingScore, MappingScore]:
    """Score codes on all frames and on those that are not silence."""
    teaches = np.repeat(teaching, [len(values) for values in classes])
    code, label = np.concatenate(codes), np.concatenate(classes)
    scores = []
    for kept in (np.ones_like(teaches), label != _SILENCE_CLASS):
        first, second = kept & teaches, kept & ~teaches
        scores.append(
            map_and_score(
                code[first], label[first], code[second], label[second], num_codes=num_codes, num_labels=len(PHONEMES)
            )
        )
    whole, speech = scores
    return (
        Reading(whole.accuracy, speech.accuracy, whole.mutual_information, speech.mutual_information),
        whole,
        speech,
    )
