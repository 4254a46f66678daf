"""Packed models: a folder of weights and cards, as vqspeech brings it (bundled) and as it lies on the Hub.

model.safetensors    what inference needs, see `vqspeech.pretrained.packing`
prior.safetensors    its prior over codes, where it has one
card.json            what a program wants to know: licence, hashes, measured quality
README.md            the same for people, with intended use and limits
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vqspeech.errors import CheckpointError
from vqspeech.pretrained.checkpoint import MODEL_FILE
from vqspeech.pretrained.summary import Summary, summary_from_json

FOLDER = Path(__file__).resolve().parents[1] / "weights"  # the bundled models
CARD_FILE = "card.json"
REINSTALL = "Install vqspeech again"


@dataclass(frozen=True)
class PackedCard:
    """What a packed model says of itself.

    Attributes
    ----------
    name : of the bundled model, or the Hub's
    data : the speech it was trained on, and where that is from
    licence : of the weights
    command : that trained it
    seed : of that training
    speakers : names
    sample_rate : Hz
    quality : sentences on what was measured, each with how
    limits : sentences on what it cannot do
    sha256 : of each file of weights, hex
    version : of vqspeech that packed it
    summary : what `vqspeech evaluate` measured of it and may be quoted; None where it was not evaluated
    """

    name: str
    data: str
    licence: str
    command: str
    seed: int
    speakers: tuple[str, ...]
    sample_rate: int
    quality: tuple[str, ...]
    limits: tuple[str, ...]
    sha256: dict[str, str]
    version: str = ""
    summary: Summary | None = None

    def to_json(self) -> str:
        """The text of card.json."""
        written = asdict(self) | {"summary": self.summary.to_json() if self.summary else None}
        return json.dumps(written, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_packed_card(folder: Path) -> PackedCard | None:
    """The card of a packed model; None where there is none, as in a run folder.

    Raises
    ------
    CheckpointError
        If it cannot be read.
    """
    file = folder / CARD_FILE
    if not file.is_file():
        return None
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for key in ("speakers", "quality", "limits"):
            values[key] = tuple(map(str, values[key]))
        values["sha256"] = {str(name): str(digest) for name, digest in values["sha256"].items()}
        if values.get("summary"):
            values["summary"] = summary_from_json(values["summary"])
        return PackedCard(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as reason:
        raise CheckpointError(
            f"{file} is damaged or of another version ({type(reason).__name__}: {reason}). Fetch or pack it again"
        ) from None


def sha256_of(file: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check_hashes(folder: Path, remedy: str) -> None:
    """See that the weights in a folder are those that its card states; without a card nothing is stated.

    Raises
    ------
    CheckpointError
        If a file is missing or has another hash; the message ends with `remedy`.
    """
    card = read_packed_card(folder)
    for name, stated in (card.sha256 if card else {}).items():
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{folder} lacks {name}, which its card names. {remedy}")
        if (found := sha256_of(file)) != stated:
            raise CheckpointError(
                f"{file} has the SHA-256 {found[:12]}..., its card states {stated[:12]}...: damaged or replaced, "
                f"it is not used. {remedy}"
            )


def bundled_names() -> list[str]:
    """Names of the bundled models, sorted; none where nothing was packed yet."""
    return sorted(file.parent.name for file in FOLDER.glob(f"*/{MODEL_FILE}"))


def is_bundled(model_file: Path) -> bool:
    """Whether a model file lies among the bundled models."""
    return model_file.parent.parent == FOLDER


def find_bundled(name: str) -> Path:
    """The model file of a bundled model, its hash checked.

    Raises
    ------
    CheckpointError
        If there is no such model, or it is damaged.
    """
    known = bundled_names()
    if name not in known:
        has = f"There are {', '.join(known)}" if known else "This copy of vqspeech came without weights"
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise CheckpointError(f"no bundled model {name!r}. {hint}{has}. List all models with: vqspeech models")
    check_hashes(FOLDER / name, REINSTALL)
    return FOLDER / name / MODEL_FILE
