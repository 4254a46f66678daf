"""Item files of recordings that have label files: what other tools need to score units by ABX."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vqspeech.errors import CorpusError, VQSpeechError
from vqspeech.evaluation.tools.label_files import EXPECTED, LabelFiles
from vqspeech.units.items import Item, make_items, write_items
from vqspeech.units.phones import fill_gaps


def write_item_file(path: Path, recordings: Iterable[tuple[str, str, float]], labels: Path) -> tuple[int, list[str]]:
    """Write the triphones of recordings.

    Parameters
    ----------
    path : of the item file
    recordings : name without folder and ending, speaker, and seconds of each
    labels : folder of label files, see `label_files`

    Returns
    -------
    count : of items
    problems : a sentence for each recording whose labels cannot be used

    Raises
    ------
    CorpusError
        If the folder holds no label of any recording, a name cannot stand in an item file, or the place cannot be
        written.
    """
    files = LabelFiles(labels)
    items: list[Item] = []
    problems = [files.note] if files and files.note else []
    for name, speaker, duration_s in recordings:
        try:
            if found := files.read(name, speaker, duration_s):
                items += make_items(fill_gaps(found[0], duration_s), name, speaker)
        except VQSpeechError as error:
            problems.append(f"recordings such as {name} {error}")
    if not items:
        raise CorpusError("; ".join([f"no labels of these recordings in {labels}: expected {EXPECTED}", *problems[:3]]))
    write_items(path, items)
    return len(items), problems
