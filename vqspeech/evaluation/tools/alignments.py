"""Which phoneme is said when: the corpus's own times, else label files, else PocketSphinx's forced alignment."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vqspeech.data.phonemes import OTHER, Label
from vqspeech.data.store import Store
from vqspeech.errors import CorpusError, DependencyError
from vqspeech.evaluation.figures.text import listed
from vqspeech.evaluation.tools.label_files import (
    JSONL,
    LAB,
    SHORT_OR_LONG,
    TEXTGRID,
    LabelFiles,
    WrongLengthError,
    read_textgrid,
)
from vqspeech.evaluation.tools.phone_classes import class_of
from vqspeech.evaluation.tools.sphinx import Sphinx, Words, to_pcm, words_of
from vqspeech.units.phones import SILENCE, plain_name

EXACT, SPHINX = "the corpus's exact times", "PocketSphinx forced alignment"
FOLDER_VARIABLE = "VQSPEECH_ALIGNMENTS"
_BY_SPHINX: dict[tuple[str, str, int, Words], list[Label] | None] = {}  # two sections ask for the same, and it is slow


@dataclass(frozen=True)
class Aligned:
    """An utterance of a store, by its position, with its phonemes' times.

    Attributes
    ----------
    index : position in the store
    labels : (start_s, end_s, class), of the 41 classes
    source : where the times are from
    phones : (start_s, end_s, name) by the labels' own names, of whatever language
    """

    index: int
    labels: list[Label]
    source: str
    phones: list[Label]


@dataclass(frozen=True)
class Alignments:
    """Aligned utterances, and notes on where the times come from and on what has none.

    Attributes
    ----------
    retry : whether a tool that is installed did not load
    """

    utterances: tuple[Aligned, ...]
    notes: tuple[str, ...]
    retry: bool = False


def find_labels(folder: Path | None = None, beside: Path | None = None) -> LabelFiles | None:
    """The label files to use: below `folder`, else VQSPEECH_ALIGNMENTS, else `beside`, a corpus's folder, if any are.

    A manifest's recordings may lie anywhere: nothing is looked for beside them.
    """
    folder = folder or (Path(os.environ[FOLDER_VARIABLE]) if os.environ.get(FOLDER_VARIABLE) else None)
    if folder:
        return LabelFiles(folder)
    return LabelFiles(beside, is_asked_for=False) if beside and beside.is_dir() else None


def align_utterances(
    store: Store, indices: Sequence[int], folder: Path | None = None, beside: Path | None = None
) -> Alignments:
    """Find or make the phoneme times of utterances.

    Parameters
    ----------
    indices : positions in the store
    folder : of label files, see `label_files`; None takes VQSPEECH_ALIGNMENTS
    beside : folder of the corpus, which may hold such files too; searched where no folder was named

    Returns
    -------
    alignments : of the utterances that have times; its notes tell why others have none
    """
    files = find_labels(folder, beside)
    found: list[Aligned] = []
    lost: dict[str, list[str]] = {}
    sphinx: Sphinx | None = None
    retry = False
    for index in indices:
        name, speaker = store.utterance_id(index), store.speakers[store.speaker(index)]
        try:
            if (labels := store.labels(index)) is not None:
                found.append(Aligned(index, labels, EXACT, labels))
            elif files and (read := files.read(name, speaker, store.length(index) / store.sample_rate)):
                phones, source = read
                found.append(
                    Aligned(index, [(start, end, class_of(own)) for start, end, own in phones], source, phones)
                )
            elif not (words := words_of(store.text(index) or "")):
                raise CorpusError("have neither phoneme times nor a text to align")
            else:
                sphinx = sphinx or Sphinx()
                labels = _align(sphinx, store, index, words)
                found.append(Aligned(index, labels, SPHINX, labels))
        except WrongLengthError as reason:
            told = f"{name} ({reason.end_s:.2f} s for {reason.duration_s:.2f} s)"
            lost.setdefault(SHORT_OR_LONG, []).append(told)
        except DependencyError as reason:
            lost.setdefault(f"have no phoneme times: {reason}", []).append(name)
            retry |= reason.is_installed
        except CorpusError as reason:
            lost.setdefault(str(reason), []).append(name)
    notes = []
    for kind in (EXACT, TEXTGRID, JSONL, LAB, SPHINX):
        if count := sum(aligned.source == kind for aligned in found):
            notes.append(f"phoneme times of {count} utterances: {kind}")
    if files is not None and files.note:
        notes.append(files.note)
    notes += _unmapped(found)
    reasons = list(lost.items())
    for why, names in reasons[:10]:
        notes.append(f"{len(names)} of {len(indices)} utterances {why}: {listed(names)}")
    if more := sum(len(names) for _, names in reasons[10:]):
        notes.append(f"{more} more utterances have no phoneme times, for similar reasons")
    return Alignments(tuple(found), tuple(notes), retry)


def _align(sphinx: Sphinx, store: Store, index: int, words: Words) -> list[Label]:
    if unknown := sphinx.unknown(words):
        raise CorpusError(f"have words outside the dictionary ({', '.join(unknown[:3])})")
    key = str(store.folder), store.fingerprint, index, words
    if key not in _BY_SPHINX:
        _BY_SPHINX[key] = sphinx.align(words, to_pcm(store.wav(index), store.sample_rate))
    labels = _BY_SPHINX[key]
    if labels is None:
        raise CorpusError("are too short for their text")
    return labels


def _unmapped(found: Sequence[Aligned]) -> list[str]:
    """A sentence about phones that the table of 41 classes does not know."""
    seconds: defaultdict[str, float] = defaultdict(float)
    total = 0.0
    for aligned in found:
        for (start_s, end_s, name), (_, _, own_class) in zip(aligned.phones, aligned.labels, strict=True):
            total += end_s - start_s
            if own_class == OTHER and plain_name(name) != SILENCE:
                seconds[plain_name(name)] += end_s - start_s
    if not seconds:
        return []
    names = sorted(seconds, key=lambda name: -seconds[name])
    share = sum(seconds.values()) / total
    return [
        f"{len(names)} phones are not among the 41 English classes and count as {OTHER} where these are asked for "
        f"({share:.0%} of the time): {listed(names, 12)}"
    ]


__all__ = [
    "EXACT", "FOLDER_VARIABLE", "JSONL", "LAB", "SPHINX", "TEXTGRID", "Aligned", "Alignments", "align_utterances",
    "find_labels", "read_textgrid",
]  # fmt: skip
