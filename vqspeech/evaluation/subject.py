"""A model that is judged, beside the corpus it is judged on; and what several of them have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vqspeech.checkpoint import load_model
from vqspeech.data.corpora import find_root, find_utterances
from vqspeech.data.preparation import fingerprint_of, prepare, store_folder
from vqspeech.data.store import Store, read_meta
from vqspeech.errors import CorpusError
from vqspeech.models.vqvae import VQVAE

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """A model and its corpus, prepared as the model needs it."""

    file: Path
    model: VQVAE
    store: Store
    root: Path

    @property
    def name(self) -> str:
        """What it is called: its run folder."""
        return self.file.parent.name or str(self.file)


def open_subject(file: Path, data: Path | None, out: Path, notify: Notify) -> Subject:
    """Load a model and open its corpus: the store it was trained from, if that is the one, else one under `out`."""
    model = load_model(file)
    recipe = model.recipe
    if model.card and not model.card.is_settled:
        notify(f"the model's training is at step {model.card.step}, still in its warm start: expect noise")
    root = find_root(recipe.data, data)
    folder = store_folder(recipe.name)
    if recipe.data.corpus != "embedded":
        meta = read_meta(folder) if folder.is_dir() else None
        if meta and meta["fingerprint"] == fingerprint_of(recipe.data, find_utterances(recipe.data, root)):
            return Subject(file, model, Store.open(folder), root)
        folder = out / "prepared"  # never over the speech that a training may need again
    notify(f"{recipe.name}: {prepare(recipe.data, root, folder)}")
    return Subject(file, model, Store.open(folder), root)


def common_voices(subjects: Sequence[Subject]) -> list[str]:
    """Voices that all models know, in the order of the first.

    Raises
    ------
    CorpusError
        If there are none.
    """
    voices = [v for v in subjects[0].model.speakers if all(v in subject.model.speakers for subject in subjects)]
    if not voices:
        raise _nothing_in_common(subjects, "voice")
    return voices


def common_utterances(subjects: Sequence[Subject], split: str) -> set[str]:
    """Ids of the utterances that are in this split of every subject: held out of all trainings.

    Raises
    ------
    CorpusError
        If there are none.
    """
    ids = [{s.store.utterance_id(i) for i in s.store.utterances(split)} for s in subjects]
    common = ids[0].intersection(*ids[1:])
    if not common:
        raise _nothing_in_common(subjects, f"utterance in the {split} split")
    return common


def _nothing_in_common(subjects: Sequence[Subject], what: str) -> CorpusError:
    files = " and ".join(str(subject.file) for subject in subjects)
    return CorpusError(
        f"{files} have no {what} in common: there is nothing to compare them on. Compare models of the same corpus"
    )
