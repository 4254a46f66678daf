"""Which model is meant: a run, a bundled model, one of the Hub, and voices enrolled to any of them.

`load_model` is the door: it finds a model and loads it. Files are read and written in `checkpoint`.
"""

from __future__ import annotations

import difflib
import logging
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqspeech.errors import CheckpointError, VQSpeechError
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained import bundled, hub, voices
from vqspeech.pretrained.checkpoint import MODEL_FILE, PRIOR_FILE, find_model_file, read_card, read_model

RUNS = Path("runs")
BUNDLED = "bundled:"  # before a name, where a folder has the same
log = logging.getLogger("vqspeech")


class Found(NamedTuple):
    """A model file, the speaker's name, and the voice file that has the speaker if the model has not."""

    file: Path
    speaker: str | None
    voice: Path | None = None

    def load(self, device: str = "cpu") -> VQVAE:
        """The model, ready for inference, with the enrolled voice."""
        model = read_model(self.file, device)
        if self.voice:
            card, vector = voices.read_voice(self.voice)
            voices.add_voice(model, card.name, vector)
        return model


def load_model(name_or_path: str | Path | None = None, speaker: str | None = None, device: str = "cpu") -> VQVAE:
    """Load a trained model, ready for inference.

    Parameters
    ----------
    name_or_path : str, Path or None
        Run folder, model file, name of a bundled model, or Hub id `owner/name[@revision]`. None takes VQSPEECH_MODEL,
        else the newest run that knows the speaker, else a bundled model, see `find`.
    speaker : str or None
        A voice that the model must have; an enrolled one is added.
    device : str
        Torch device.

    Returns
    -------
    model : VQVAE
        In evaluation mode, with its card as `model.card`, its voices as `model.speakers` and its rate in Hz as
        `model.sample_rate`.

    Raises
    ------
    CheckpointError
        If there is no such model, it is damaged, or the enrolled voice belongs to another model.
    UnknownSpeakerError
        If the model was named and does not know the speaker.

    Examples
    --------
    >>> model = load_model("fsdd")
    >>> model.sample_rate, model.speakers
    (8000, ('george', 'jackson', 'lucas', 'nicolas', 'theo', 'yweweler'))
    """
    return _open(name_or_path, speaker, device)[0]


def open_model(given: str | Path | None, speaker: str) -> tuple[VQVAE, str]:
    """As `load_model`, for a speaker who may be named by a voice's file.

    Returns
    -------
    model, speaker : the model, and the name by which it knows the speaker
    """
    model, found = _open(given, speaker)
    return model, found.speaker or speaker


def _open(given: str | Path | None, speaker: str | None, device: str = "cpu") -> tuple[VQVAE, Found]:
    found = find(given, speaker)
    model = found.load(device)
    if found.speaker is not None:
        model.speaker_index(found.speaker)  # an unknown speaker is refused before any work
    return model, found


def find(given: str | Path | None = None, speaker: str | None = None, runs: Path = RUNS) -> Found:
    """The model to use: `given`, else VQSPEECH_MODEL, else the newest run that knows the speaker, else a bundled
    model.

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
    others = [_id_of_bundled(file.parent.name) for file in owners[1:] if bundled.is_bundled(file)]
    if others and (speaker or bundled.is_bundled(first)):
        log.info(f"taking {_place(first)}; bundled is also --model {' or '.join(others)}")
    return Found(bundled.find_bundled(first.parent.name) if bundled.is_bundled(first) else first, speaker)


def find_sampling(given: str | Path | None, seed: int, runs: Path = RUNS) -> tuple[Path, str]:
    """File of a model that can make up utterances, and one of its voices, drawn by the seed; both are reported.

    Parameters
    ----------
    given : see `resolve`; None takes VQSPEECH_MODEL, else the newest run that has a prior, else a bundled model
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
            f"no model at hand has a prior over codes, which draws them: none of {runs}/, none that is bundled. Train "
            "one: vqspeech train RECIPE --stage prior. Or give a model that has one with --model"
        )
    file = bundled.find_bundled(files[0].parent.name) if bundled.is_bundled(files[0]) else files[0]
    speakers = read_card(file).speakers
    speaker = speakers[int(np.random.default_rng(seed).integers(len(speakers)))]
    others = [_id_of_bundled(other.parent.name) for other in files[1:] if bundled.is_bundled(other)]
    log.info(
        f"{speaker} of {_place(file)} speaks, drawn by the seed; choose another voice with --speaker"
        + (f", another model with --model {' or '.join(others)}" if others else "")
    )
    return file, speaker


def candidates(runs: Path = RUNS) -> list[Path]:
    """Model files at hand: runs, the newest first, then the bundled models."""
    files = sorted(runs.glob(f"*/{MODEL_FILE}"), key=lambda file: file.stat().st_mtime, reverse=True)
    return [*files, *(bundled.FOLDER / name / MODEL_FILE for name in bundled.bundled_names())]


def resolve(given: str | Path) -> Path:
    """The model file that is meant by a run folder or model file, a bundled name, or owner/name[@revision].

    Raises
    ------
    CheckpointError
        If there is none, or a folder here and a bundled model have the same name; and see `find_bundled`,
        `fetch_model`.
    """
    text, path = str(given), Path(given)
    if text.startswith(BUNDLED):
        return bundled.find_bundled(text.removeprefix(BUNDLED))
    is_here = path.is_file() or (path / MODEL_FILE).is_file()
    if text in bundled.bundled_names():
        if is_here:
            raise CheckpointError(
                f"{text!r} is a bundled model and also {path.resolve()}. Give {BUNDLED}{text} for the first, "
                f"./{text} for the second"
            )
        if (RUNS / text / MODEL_FILE).is_file():
            log.info(f"taking the bundled {text}; your own run: --model {RUNS / text}")
        return bundled.find_bundled(text)
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
        names = bundled.bundled_names()
        folders = [file.parent for file in RUNS.glob(f"*/{MODEL_FILE}")]
        known = {folder.name: str(folder) for folder in folders} | {name: name for name in names}
        known |= {str(folder): str(folder) for folder in folders}
        near = difflib.get_close_matches(text, sorted(known), n=1)
        hints = [f"Did you mean {known[near[0]]}?"] if near else []
        hints += [f"Bundled: {', '.join(names)}"] if names else []
        raise CheckpointError(". ".join([str(reason), " ".join(hints)]) if hints else str(reason)) from None


def _place(file: Path) -> str:
    return f"the bundled {file.parent.name}" if bundled.is_bundled(file) else str(file.parent)


def _id_of_bundled(name: str) -> str:
    return f"{BUNDLED}{name}" if Path(name).exists() else name


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
            f"no model found: none given with --model, VQSPEECH_MODEL is not set, {runs}/ holds none, and this "
            "vqspeech came without weights. Train one: vqspeech train recipes/fsdd --data FOLDER"
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
