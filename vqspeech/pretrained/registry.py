"""The models at hand, and which of them is meant: runs, the box, the Hub, and voices enrolled to any of them."""

from __future__ import annotations

import difflib
import logging
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqspeech.errors import CheckpointError, VQSpeechError
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained import bundled, checkpoint, hub, voices
from vqspeech.pretrained.checkpoint import MODEL_FILE, PRIOR_FILE, find_model_file, read_card

RUNS = Path("runs")
IN_BOX = "box:"  # before a name, where a folder has the same
log = logging.getLogger("vqspeech")


class Found(NamedTuple):
    """A model file, the speaker's name, and the voice file that has the speaker if the model has not."""

    file: Path
    speaker: str | None
    voice: Path | None = None


def open_model(given: str | Path | None, speaker: str) -> tuple[VQVAE, Path, str]:
    """Find a model and load it, with the voice of `speaker` if that was enrolled; arguments and errors as `find`.

    Returns
    -------
    model, file, speaker : the model, its file, and the name by which it knows the speaker

    Raises
    ------
    UnknownSpeakerError
        If the model was given and does not know the speaker.
    """
    found = find(given, speaker)
    model = _load(found)
    name = found.speaker or speaker
    model.speaker_index(name)  # an unknown speaker is told before any work
    return model, found.file, name


def open_any_model(given: str | Path | None, speaker: str | None) -> tuple[VQVAE, Path, str | None]:
    """As `open_model`, where nobody need speak, or the model need not know them yet."""
    found = find(given, speaker)
    return _load(found), found.file, found.speaker


def open_sampling_model(given: str | Path | None, seed: int) -> tuple[VQVAE, Path, str]:
    """As `open_model`, for a model with a prior over codes and a voice that the seed draws; see `find_sampling`."""
    found = find_sampling(given, seed)
    assert found.speaker is not None
    return _load(found), found.file, found.speaker


def load_model(given: str | Path | None = None, speaker: str | None = None, device: str = "cpu") -> VQVAE:
    """A trained model, ready for inference.

    Parameters
    ----------
    given : run folder or model file, name in the box, or Hub id; None looks further, see `find`
    speaker : a voice that it must have; enrolled ones are added
    device : torch device

    Returns
    -------
    model : VQVAE in evaluation mode, with its card as `model.card`

    Raises
    ------
    CheckpointError
        See `find`, and `vqspeech.pretrained.checkpoint.load_model`.
    """
    return _load(find(given, speaker), device)


def _load(found: Found, device: str = "cpu") -> VQVAE:
    model = checkpoint.load_model(found.file, device)
    if found.voice:
        card, vector = voices.read_voice(found.voice)
        voices.add_voice(model, card.name, vector)
    return model


def find_model(given: str | Path | None = None, speaker: str | None = None, runs: Path = RUNS) -> Path:
    """The file of the model that `find` finds."""
    return find(given, speaker, runs).file


def find(given: str | Path | None = None, speaker: str | None = None, runs: Path = RUNS) -> Found:
    """The model to use: `given`, else VQSPEECH_MODEL, else the newest run that knows the speaker, else the box.

    Parameters
    ----------
    given : see `resolve`; None looks further
    speaker : name that the model must know, or that was enrolled; or a voice's file; None takes any model
    runs : folder of runs

    Raises
    ------
    CheckpointError
        If there is none; the message names the models at hand and the speakers of each. Also if the voice is another
        model's.
    """
    given = given or os.environ.get("VQSPEECH_MODEL") or None
    voice = _find_voice(speaker, runs)
    if voice:
        return _find_base(voice, given, speaker, runs)
    if given:
        return Found(resolve(given), speaker)
    seen: list[str] = []
    known: set[str] = set()
    owners = [file for file in candidates(runs) if _knows(file, speaker, seen, known)]
    if not owners:
        raise _none_found(speaker, runs, seen, known)
    first = owners[0]
    others = [_box_id(file.parent.name) for file in owners[1:] if _is_in_box(file)]
    if others and (speaker or _is_in_box(first)):
        log.info(f"taking {_place(first)}; from the box there is also --model {' or '.join(others)}")
    return Found(bundled.find_in_box(first.parent.name) if _is_in_box(first) else first, speaker)


def find_sampling(given: str | Path | None, seed: int, runs: Path = RUNS) -> Found:
    """A model that can make up utterances, and one of its voices, drawn by the seed; both are told to the user.

    Parameters
    ----------
    given : see `resolve`; None takes VQSPEECH_MODEL, else the newest run that has a prior, else one in the box
    seed : of the draw
    runs : folder of runs

    Raises
    ------
    CheckpointError
        If no model at hand has a prior.
    """
    given = given or os.environ.get("VQSPEECH_MODEL") or None
    seen: list[str] = []
    with_prior = [resolve(given)] if given else [f for f in candidates(runs) if f.with_name(PRIOR_FILE).is_file()]
    files = [file for file in with_prior if given or _knows(file, None, seen, set())]
    if not files:
        raise CheckpointError(
            f"no model at hand has a prior over codes, which draws them: none of {runs}/, none of the box. Train one: "
            "vqspeech train RECIPE --stage prior. Or give a model that has one with --model"
        )
    file = bundled.find_in_box(files[0].parent.name) if _is_in_box(files[0]) else files[0]
    speakers = read_card(file).speakers
    speaker = speakers[int(np.random.default_rng(seed).integers(len(speakers)))]
    others = [_box_id(other.parent.name) for other in files[1:] if _is_in_box(other)]
    log.info(
        f"{speaker} of {_place(file)} speaks, drawn by the seed; choose another voice with --speaker"
        + (f", another model with --model {' or '.join(others)}" if others else "")
    )
    return Found(file, speaker)


def candidates(runs: Path = RUNS) -> list[Path]:
    """Model files at hand: runs, the newest first, then the box."""
    files = sorted(runs.glob(f"*/{MODEL_FILE}"), key=lambda file: file.stat().st_mtime, reverse=True)
    return [*files, *(bundled.FOLDER / name / MODEL_FILE for name in bundled.names_in_box())]


def resolve(given: str | Path) -> Path:
    """The model file that is meant by a run folder or model file, a name in the box, or owner/name[@revision].

    Raises
    ------
    CheckpointError
        If there is none, or a folder here and a model in the box have the same name; and see `find_in_box`,
        `fetch_model`.
    """
    text, path = str(given), Path(given)
    if text.startswith(IN_BOX):
        return bundled.find_in_box(text.removeprefix(IN_BOX))
    is_here = path.is_file() or (path / MODEL_FILE).is_file()
    if text in bundled.names_in_box():
        if is_here:
            raise CheckpointError(
                f"{text!r} is a model in the box and also {path.resolve()}. Give {IN_BOX}{text} for the first, "
                f"./{text} for the second"
            )
        if (RUNS / text / MODEL_FILE).is_file():
            log.info(f"taking {text} from the box; your own run: --model {RUNS / text}")
        return bundled.find_in_box(text)
    # What lies below a folder that is there is a path with a slip in it, not a repository.
    if is_here or not hub.is_hub_id(text) or path.exists() or path.parent.is_dir() or path.parent == RUNS:
        return _find_here(text, path)
    return hub.fetch_model(text)


def owner_of(speaker: str) -> str | None:
    """The first model at hand that has a speaker of this name, as people call it."""
    return next((_place(file) for file in candidates() if _knows(file, speaker, [], set())), None)


def report_folder(file: Path) -> Path:
    """Where an evaluation goes: beside a run's model; a packed one lies where nothing of ours belongs."""
    packed = bundled.read_packed_card(file.parent)
    return Path("evaluations") / packed.name if packed else file.parent / "evaluation"


def _find_here(text: str, path: Path) -> Path:
    try:
        return find_model_file(path)
    except CheckpointError as reason:
        names = bundled.names_in_box()
        folders = [file.parent for file in RUNS.glob(f"*/{MODEL_FILE}")]
        known = {folder.name: str(folder) for folder in folders} | {name: name for name in names}
        known |= {str(folder): str(folder) for folder in folders}
        near = difflib.get_close_matches(text, sorted(known), n=1)
        hints = [f"Did you mean {known[near[0]]}?"] if near else []
        hints += [f"In the box: {', '.join(names)}"] if names else []
        raise CheckpointError(". ".join([str(reason), " ".join(hints)]) if hints else str(reason)) from None


def _is_in_box(file: Path) -> bool:
    return file.parent.parent == bundled.FOLDER


def _place(file: Path) -> str:
    return f"{file.parent.name} in the box" if _is_in_box(file) else str(file.parent)


def _box_id(name: str) -> str:
    return f"{IN_BOX}{name}" if Path(name).exists() else name


def _knows(file: Path, speaker: str | None, seen: list[str], known: set[str]) -> bool:
    """Whether a model knows the speaker; what was seen of it is noted."""
    place = _place(file)
    try:
        speakers = read_card(file).speakers
    except VQSpeechError as reason:
        seen.append(f"{place} (unreadable: {reason})")
        return False
    known |= set(speakers)
    shown = ", ".join(speakers[:8]) + (f", ... {len(speakers)} in all" if len(speakers) > 8 else "")
    seen.append(f"{place} ({shown})")
    return speaker is None or speaker in speakers


def _none_found(speaker: str | None, runs: Path, seen: list[str], known: set[str]) -> CheckpointError:
    if not seen:
        return CheckpointError(
            f"no model found: none given with --model, VQSPEECH_MODEL is not set, {runs}/ holds none, and the box of "
            "this vqspeech is empty. Train one: vqspeech train recipes/fsdd --data FOLDER"
        )
    if speaker is None:
        return CheckpointError(f"no model under {runs}/ can be read: {'; '.join(seen)}. Give a model with --model")
    known |= {file.stem for file in voices.list_voices(runs / voices.FOLDER.name)}
    near = difflib.get_close_matches(speaker, sorted(known), n=3, cutoff=0.4)
    return CheckpointError(
        f"no model at hand knows speaker {speaker!r}."
        + (f" Did you mean {' or '.join(near)}?" if near else "")
        + f" Models and their speakers: {'; '.join(seen)}. Choose one of these speakers, give a model with --model, or "
        "make the voice: vqspeech enroll"
    )


def _find_voice(speaker: str | None, runs: Path) -> Path | None:
    """The file of an enrolled voice: given as a path, or known by name."""
    if speaker is None:
        return None
    if speaker.endswith(voices.SUFFIX):
        return Path(speaker)
    file = voices.voice_file(speaker, runs / voices.FOLDER.name)
    return file if file.is_file() else None


def _find_base(voice: Path, given: str | Path | None, speaker: str | None, runs: Path) -> Found:
    """The model that a voice was fitted to; a model that was given and knows the speaker by itself goes first."""
    card, _ = voices.read_voice(voice)
    if given:
        file = resolve(given)
        if bundled.sha256_of(file) == card.model:
            return Found(file, card.name, voice)
        if speaker in read_card(file).speakers:
            return Found(file, speaker)
        raise CheckpointError(
            f"the voice {card.name!r} ({voice}) was fitted to another model than {given}: {card.base} with the SHA-256 "
            f"{card.model[:12]}.... Leave out --model (or VQSPEECH_MODEL), or enroll the voice again with this one"
        )
    noted = [Path(card.base)] if Path(card.base).is_file() else []
    for file in [*noted, *candidates(runs)]:
        if bundled.sha256_of(file) == card.model:
            return Found(file, card.name, voice)
    raise CheckpointError(
        f"the model that the voice {card.name!r} ({voice}) was fitted to is not at hand or has changed: {card.base} "
        f"with the SHA-256 {card.model[:12]}.... Give it with --model, or enroll the voice again"
    )
