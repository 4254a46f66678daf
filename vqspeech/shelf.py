"""The models at hand, and which of them is meant."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from vqspeech.checkpoint import MODEL_FILE, find_model_file, read_card
from vqspeech.errors import CheckpointError, VQSpeechError

RUNS = Path("runs")


def find_model(given: Path | None = None, speaker: str | None = None, runs: Path = RUNS) -> Path:
    """The model file to use: `given`, else VQSPEECH_MODEL, else the newest run that knows the speaker.

    Parameters
    ----------
    given : run folder or model file; None looks further
    speaker : name that the model must know; None takes any model
    runs : folder of runs

    Raises
    ------
    CheckpointError
        If there is none; the message names the models at hand and the speakers of each.
    """
    given = given or (Path(os.environ["VQSPEECH_MODEL"]) if os.environ.get("VQSPEECH_MODEL") else None)
    if given:
        return find_model_file(given)
    files = sorted(runs.glob(f"*/{MODEL_FILE}"), key=lambda file: file.stat().st_mtime, reverse=True)
    seen = []
    known: set[str] = set()
    for file in files:
        try:
            speakers = read_card(file).speakers
        except VQSpeechError as reason:
            seen.append(f"{file.parent} (unreadable: {reason})")
            continue
        if speaker is None or speaker in speakers:
            return file
        known |= set(speakers)
        shown = ", ".join(speakers[:8]) + (f", ... {len(speakers)} in all" if len(speakers) > 8 else "")
        seen.append(f"{file.parent} ({shown})")
    if not seen:
        raise CheckpointError(
            f"no model found: none given with --model, VQSPEECH_MODEL is not set, and {runs}/ holds none. "
            "Train one: vqspeech train recipes/fsdd --data FOLDER"
        )
    if speaker is None:
        raise CheckpointError(f"no model under {runs}/ can be read: {'; '.join(seen)}. Give a model with --model")
    near = difflib.get_close_matches(speaker, sorted(known), n=3, cutoff=0.4)
    raise CheckpointError(
        f"no model at hand knows speaker {speaker!r}."
        + (f" Did you mean {' or '.join(near)}?" if near else "")
        + f" Models and their speakers: {'; '.join(seen)}. Choose one of these speakers, or give a model with --model"
    )
