"""What is evaluated: a model with its corpus and its prior; or two, on what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqspeech.data.corpora import find_root, find_utterances
from vqspeech.data.preparation import fingerprint_of, prepare_store, store_folder
from vqspeech.data.store import Store, read_meta
from vqspeech.errors import CheckpointError, CorpusError
from vqspeech.evaluation.figures.text import listed
from vqspeech.evaluation.figures.types import NO_PRIOR
from vqspeech.evaluation.trials.pairs import LONGEST_S, MOST_VOICES, Pair, choose_pairs
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.checkpoint import MODEL_FILE, PRIOR_FILE, read_model, read_prior
from vqspeech.progress import Notify


@dataclass(frozen=True)
class System:
    """A model and its corpus, prepared as the model needs it.

    Attributes
    ----------
    file : the model's
    root : folder of the corpus
    prior : over the model's codes; where there is none `prior_missing` says why
    """

    file: Path
    model: VQVAE
    store: Store
    root: Path
    prior: Prior | None = None
    prior_missing: str = NO_PRIOR

    @property
    def name(self) -> str:
        """For people: the run's folder, or the file."""
        return self.file.resolve().parent.name if self.file.name == MODEL_FILE else self.file.name


def open_system(file: Path, data: Path | None, out: Path, notify: Notify) -> System:
    """Load a model and open its corpus: the store it was trained from, if that is the one, else one under `out`."""
    model = read_model(file)
    recipe = model.recipe
    if model.card and not model.card.is_settled:
        notify(f"the model's training is at step {model.card.step}, still in its warm start: expect noise")
    root = find_root(recipe.data, data)
    folder = store_folder(recipe.name)
    meta = read_meta(folder) if folder.is_dir() else None
    prior, why = _find_prior(file, model)
    # Another store is never prepared over: its training may need it again, and another model may be reading it.
    if meta or recipe.data.corpus != "embedded":
        if meta and root.exists() and meta["fingerprint"] == fingerprint_of(
            recipe.data, find_utterances(recipe.data, root)
        ):  # fmt: skip
            return System(file, model, Store.open(folder), root, prior, why)
        folder = out / "prepared"
    notify(f"{recipe.name}: {prepare_store(recipe.data, root, folder)}")
    return System(file, model, Store.open(folder), root, prior, why)


def _find_prior(file: Path, model: VQVAE) -> tuple[Prior | None, str]:
    """The prior beside a model, or why there is none."""
    path = file.with_name(PRIOR_FILE)
    if not path.is_file():
        return None, f"{NO_PRIOR}; vqspeech train RECIPE --stage prior trains one"
    try:
        return read_prior(path, model), ""
    except CheckpointError as reason:
        return None, str(reason)


def names_of(systems: Sequence[System]) -> list[str]:
    """A name for each, no two alike: where they are, with the folder above or the first of the weights."""
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        names = ["/".join(system.file.resolve().parts[-3:-1]) for system in systems]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, start=1)]
    return names


def voices_of(systems: Sequence[System]) -> list[str]:
    """The voices that all models know, in the order of the first one's."""
    first, *others = systems
    return [voice for voice in first.model.speakers if all(voice in other.model.speakers for other in others)]


def choose_for(
    systems: Sequence[System], split: str, number: int | None, sexes: dict[str, str], seed: int
) -> list[Pair]:
    """Utterances that were held out of all the models' trainings, and voices that all know.

    Raises
    ------
    CorpusError
        If they have none in common, or no utterance is by a speaker whom they know.
    """
    allowed = common_utterances(systems, split) if len(systems) > 1 else None
    return choose_pairs(
        systems[0].store, split, common_voices(systems), number, sexes=sexes, seed=seed, allowed=allowed
    )


def common_voices(systems: Sequence[System]) -> list[str]:
    """As `voices_of`; a CorpusError if there are none."""
    voices = voices_of(systems)
    if not voices:
        raise _nothing_in_common(systems, "voice")
    return voices


def common_utterances(systems: Sequence[System], split: str) -> set[str]:
    """Ids of the utterances that are in this split of every system, held out of all trainings; else a CorpusError."""
    ids = [{s.store.utterance_id(i) for i in s.store.utterances(split)} for s in systems]
    common = ids[0].intersection(*ids[1:])
    if not common:
        raise _nothing_in_common(systems, f"utterance in the {split} split")
    return common


def _nothing_in_common(systems: Sequence[System], what: str) -> CorpusError:
    files = " and ".join(str(system.file) for system in systems)
    return CorpusError(
        f"{files} have no {what} in common: there is nothing to compare them on. Compare models of the same corpus"
    )


def facts_of(
    system: System, name: str, split: str, pairs: Sequence[Pair], sexes: dict[str, str], trained: bool, seed: int
) -> dict[str, Any]:
    """What was evaluated, on what: the report's head."""
    model, card = system.model, system.model.card
    return {
        "model": name,
        "weights": model.weights_id(),
        "recipe": model.recipe.name,
        "steps": card.step if card else 0,
        "codes": model.num_codes,
        "code_rate_hz": model.code_rate,
        "sample_rate_hz": model.sample_rate,
        "data": system.store.fingerprint,
        "split": split,
        "trained_on": trained,
        "conversions": len(pairs),
        "utterances": len({pair.utterance for pair in pairs}),
        "speakers": {name: sexes.get(name, "") for name in sorted({pair.speaker for pair in pairs})},
        "seed": seed,
    }


def heard_voices(systems: Sequence[System], pairs: Sequence[Pair]) -> tuple[str, ...]:
    """The voices that judges tell apart: all that the models have in common, or those that were drawn of them."""
    voices = voices_of(systems)
    if len(voices) <= MOST_VOICES:
        return tuple(voices)
    chosen = {name for pair in pairs for name in (pair.speaker, pair.target)}
    return tuple(voice for voice in voices if voice in chosen)


def work_ahead(store: Store, split: str, pairs: Sequence[Pair]) -> str:
    """How much speech all pairs are, and how much memory they need: both may be more than is at hand."""
    most = int(LONGEST_S * store.sample_rate)
    lengths = {store.utterance_id(index): min(most, store.length(index)) for index in store.utterances(split)}
    converted = sum(lengths[pair.utterance] for pair in pairs)
    once = sum(lengths[name] for name in {pair.utterance for pair in pairs})
    # A conversion and random codes for each pair, a reconstruction for each utterance.
    minutes = (2 * converted + once) / store.sample_rate / 60
    gigabytes = 20 * converted / 1e9  # five waveforms of float32 for each trial
    return (
        f"{len(pairs)} conversions: every utterance to every other voice. With reconstructions and random codes "
        f"{minutes:.0f} minutes of speech are spoken and {gigabytes:.2f} GB of memory needed; what is done is kept"
    )


def notes_on(
    system: System, pairs: Sequence[Pair], number: int | None, sexes: dict[str, str], voices_heard: Sequence[str]
) -> list[str]:
    """What has to be said of the utterances and voices, and of one model's corpus."""
    speakers = {pair.speaker for pair in pairs}
    voices = {pair.target for pair in pairs}
    notes = []
    if len(voices_heard) < len(system.model.speakers) and len(system.model.speakers) > MOST_VOICES:
        notes.append(
            f"{len(voices_heard)} of the model's {len(system.model.speakers)} voices were drawn by the seed, as "
            "sources and as targets: all judges hear these alone"
        )
    if number and len(pairs) < number:
        notes.append(f"{len(pairs)} conversions made of the {number} asked for: the corpus has no more")
    if all(pair.speaker == pair.target for pair in pairs):
        notes.append("one voice only: each conversion is to the speaker's own voice, and says nothing about another's")
    if unknown := sorted((speakers | voices) - set(sexes)):
        notes.append(f"the corpus does not tell the sex of {listed(unknown, 8)}")
    return [*notes, *notes_on_cuts(system, pairs), *notes_on_corpus(system)]


def notes_on_cuts(system: System, pairs: Sequence[Pair]) -> list[str]:
    """Recordings of which only the first seconds are judged."""
    store, chosen = system.store, {pair.utterance for pair in pairs}
    most = int(LONGEST_S * store.sample_rate)
    # Ids are read for long ones only: a corpus may be large.
    cut = {store.utterance_id(i) for i in range(len(store)) if store.length(i) > most} & chosen
    if not cut:
        return []
    return [f"{len(cut)} utterances are longer than {LONGEST_S:g} s: the rest of each is not judged"]


def notes_on_corpus(system: System) -> list[str]:
    """What has to be said of a model and the corpus it is evaluated on."""
    notes = []
    strangers = [name for name in system.store.speakers if name not in system.model.speakers]
    if strangers:
        notes.append(f"{len(strangers)} speakers of the corpus are not the model's and were left out")
    card = system.model.card
    then = card.training.get("data") if card else None
    if then and then != system.store.fingerprint:
        notes.append(
            "the recordings are not exactly those of the training; what was held out is told by their names alone"
        )
    return notes


def notes_on_two(systems: Sequence[System], names: Sequence[str]) -> list[str]:
    """What has to be said of two models beside each other."""
    first, second = systems
    notes = []
    voices = voices_of(systems)
    if left := sorted(({*first.model.speakers} | {*second.model.speakers}) - {*voices}):
        notes.append(f"compared on the {len(voices)} voices that both know; left out: {listed(left, 8)}")
    rates = [system.model.sample_rate for system in systems]
    if rates[0] != rates[1]:
        notes.append(
            f"{names[0]} speaks at {rates[0]} Hz and {names[1]} at {rates[1]} Hz: each is heard at its own rate, "
            "against real speech at that rate; distances of sound and bits a sample are not compared"
        )
    return notes + [f"{names[1]}: {note}" for note in notes_on_corpus(second) if note not in notes_on_corpus(first)]
