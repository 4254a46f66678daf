"""Which phoneme is said when: the corpus's own times, else a forced aligner's TextGrids, else PocketSphinx's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vqspeech.data.phonemes import Label
from vqspeech.data.store import Store
from vqspeech.errors import CorpusError, DependencyError
from vqspeech.evaluation.phone_classes import class_of
from vqspeech.evaluation.probe import store_wav
from vqspeech.evaluation.sphinx import Sphinx, to_pcm, words_of

EXACT, TEXTGRID, SPHINX = "the corpus's exact times", "TextGrids of a forced aligner", "PocketSphinx forced alignment"
FOLDER_VARIABLE = "VQSPEECH_ALIGNMENTS"
_TOLERANCE_S = 0.05  # between a TextGrid's end and the recording's


@dataclass(frozen=True)
class Aligned:
    """An utterance of a store, by its position, and its phonemes as (start_s, end_s, class)."""

    index: int
    labels: list[Label]
    source: str


@dataclass(frozen=True)
class Alignments:
    """Aligned utterances, and notes on where the times come from and on what has none."""

    utterances: tuple[Aligned, ...]
    notes: tuple[str, ...]


def align_utterances(store: Store, indices: Sequence[int], folder: Path | None = None) -> Alignments:
    """Find or make the phoneme times of utterances.

    Parameters
    ----------
    indices : positions in the store
    folder : TextGrids, as the Montreal Forced Aligner writes them; None takes VQSPEECH_ALIGNMENTS

    Returns
    -------
    alignments : of the utterances that have times; its notes tell why others have none
    """
    folder = folder or (Path(os.environ[FOLDER_VARIABLE]) if os.environ.get(FOLDER_VARIABLE) else None)
    found: list[Aligned] = []
    lost: dict[str, list[str]] = {}
    grids = TextGrids(folder) if folder else None
    sphinx: Sphinx | None = None
    for index in indices:
        name = store.utterance_id(index)
        try:
            if (labels := store.labels(index)) is not None:
                found.append(Aligned(index, labels, EXACT))
            elif grids and (path := grids.find(name, store.speakers[store.speaker(index)])):
                labels = read_textgrid(path, store.length(index) / store.sample_rate)
                found.append(Aligned(index, labels, TEXTGRID))
            elif not (words := words_of(store.text(index) or "")):
                raise CorpusError("have neither phoneme times nor a text to align")
            else:
                sphinx = sphinx or Sphinx()
                if unknown := sphinx.unknown(words):
                    raise CorpusError(f"have words outside the dictionary ({', '.join(unknown[:3])})")
                labels = sphinx.align(words, to_pcm(store_wav(store, index), store.sample_rate))
                if labels is None:
                    raise CorpusError("are too short for their text")
                found.append(Aligned(index, labels, SPHINX))
        except DependencyError as reason:
            lost.setdefault(f"have no phoneme times: {reason}", []).append(name)
        except CorpusError as reason:
            lost.setdefault(str(reason), []).append(name)
    notes = []
    for source in (EXACT, TEXTGRID, SPHINX):
        if count := sum(aligned.source == source for aligned in found):
            notes.append(f"phoneme times of {count} utterances: {source}")
    if grids and grids.note:
        notes.append(grids.note)
    reasons = list(lost.items())
    for why, names in reasons[:10]:
        notes.append(f"{len(names)} of {len(indices)} utterances {why}: {_listed(names)}")
    if more := sum(len(names) for _, names in reasons[10:]):
        notes.append(f"{more} more utterances have no phoneme times, for similar reasons")
    return Alignments(tuple(found), tuple(notes))


class TextGrids:
    """The TextGrid files below a folder, found by the utterances' ids.

    Attributes
    ----------
    note : what is wrong with the folder, else empty
    """

    def __init__(self, folder: Path) -> None:
        self._by_name: dict[str, Path | None] = {}
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".textgrid")
        self.note = "" if paths else f"no TextGrids in {folder}: expected SPEAKER/UTTERANCE.TextGrid"
        for path in paths:
            self._by_name[path.relative_to(folder).with_suffix("").as_posix()] = path
        for path in paths:  # by the file's name alone only where that is unique
            if path.parent != folder:
                self._by_name[path.stem] = None if path.stem in self._by_name else path

    def find(self, utterance: str, speaker: str) -> Path | None:
        """The file of an utterance: by its id, with or without ending, in its speaker's folder, or anywhere."""
        plain = utterance.partition("#")[0]
        stem = Path(plain).stem
        for name in (utterance, plain, str(Path(plain).with_suffix("")), f"{speaker}/{stem}", stem):
            if path := self._by_name.get(name):
                return path
        return None


def read_textgrid(path: Path, duration_s: float | None = None) -> list[Label]:
    """Read the tier of phones, as the Montreal Forced Aligner writes it ("phones", "ann - phones").

    Parameters
    ----------
    path : long or short TextGrid
    duration_s : the recording's; another one means that its ends were trimmed, and the times would not fit

    Returns
    -------
    labels : (start_s, end_s, class)

    Raises
    ------
    CorpusError
        If the file cannot be read, has no such tier, or is not as long as the recording.
    DependencyError
        If praatio is not installed.
    """
    try:
        from praatio import textgrid
        from praatio.data_classes.interval_tier import IntervalTier
    except ImportError:
        raise DependencyError(
            "TextGrids are read by praatio, which is not installed. Install it: pip install 'vqspeech[evaluate]'"
        ) from None
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="silence")
    except Exception as reason:  # noqa: BLE001 - praatio fails in many ways on what is not a TextGrid
        raise CorpusError(f"have a TextGrid that cannot be read ({path.name}: {type(reason).__name__})") from None
    for name in grid.tierNames:
        tier = grid.getTier(name)
        if name.lower().split(" - ")[-1].strip() in ("phones", "phone") and isinstance(tier, IntervalTier):
            break
    else:
        raise CorpusError(f'have a TextGrid without a tier "phones" ({path.name} has {", ".join(grid.tierNames)})')
    if duration_s is not None and abs(grid.maxTimestamp - duration_s) > _TOLERANCE_S:
        raise CorpusError(
            "have a TextGrid of another duration than the prepared recording (set data.trim_db to 0, prepare again; "
            f"{path.name} lasts {grid.maxTimestamp:.2f} s, the recording {duration_s:.2f} s)"
        )
    return [(float(entry.start), float(entry.end), class_of(entry.label)) for entry in tier.entries]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
