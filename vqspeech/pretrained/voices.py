"""Enrolled voices on disk: a vector for the speaker's place in a model, which stays as it is.

One safetensors file a voice, runs/voices/NAME.safetensors by default: the vector, and as JSON the hash of
the model file it was fitted to. It means nothing to another model.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vqspeech.errors import CheckpointError, UnknownSpeakerError, VQSpeechError
from vqspeech.files import write_whole
from vqspeech.models.vqvae import VQVAE

FOLDER = Path("runs") / "voices"
SUFFIX = ".safetensors"
KEY = "vqspeech voice"
FORMAT = 1
_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class VoiceCard:
    """What a voice says of itself.

    Attributes
    ----------
    name : of the speaker
    model : SHA-256 of the model file, hex
    base : where that model was, for people and as the first place to look
    figures : measured at enrolment
    training : recordings, seconds, steps, seed
    version : of vqspeech that wrote it
    """

    name: str
    model: str
    base: str
    figures: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    version: str = ""


def check_name(name: str) -> None:
    """Refuse what cannot name a file and a speaker.

    Raises
    ------
    VQSpeechError
        If it is not made of letters, digits, dots, dashes and underscores, or ends like a file.
    """
    if not _NAME.fullmatch(name) or name.endswith(SUFFIX):
        raise VQSpeechError(
            f"{name!r} cannot name a voice: letters, digits, dots, dashes and underscores can, the first of them a "
            "letter or a digit"
        )


def voice_file(name: str, folder: Path | None = None) -> Path:
    """Where a voice of this name lies."""
    return (FOLDER if folder is None else folder) / f"{name}{SUFFIX}"


def save_voice(file: Path, vector: Tensor, card: VoiceCard) -> None:
    """Write a voice, whole or not at all.

    Raises
    ------
    CheckpointError
        If the place cannot be written.
    """
    from safetensors.torch import save

    header = json.dumps(asdict(card) | {"format": FORMAT})
    with write_whole(file, CheckpointError) as temporary:
        temporary.write_bytes(save({"vector": vector.detach().cpu().contiguous()}, metadata={KEY: header}))


def read_voice(file: Path) -> tuple[VoiceCard, Tensor]:
    """A voice's card and vector (P,).

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, from a newer version, or no voice.
    """
    import safetensors

    if not file.is_file():
        raise CheckpointError(f"there is no voice at {file}. Make one: vqspeech enroll --name NAME RECORDINGS")
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            header = json.loads((opened.metadata() or {})[KEY])
            vector = opened.get_tensor("vector")
        if header.pop("format") > FORMAT:
            raise CheckpointError(f"{file} was written by a newer vqspeech. Upgrade it: pip install -U vqspeech")
        return VoiceCard(**header), vector
    except (safetensors.SafetensorError, OSError, KeyError, ValueError, TypeError) as reason:
        raise CheckpointError(
            f"{file} cannot be read as a voice ({type(reason).__name__}: {reason}). Enroll it again"
        ) from None


def add_voice(model: VQVAE, name: str, vector: Tensor) -> None:
    """Let a model know one more speaker, with a vector (P,) that was fitted to it; the others stay as they are.

    Raises
    ------
    UnknownSpeakerError
        If the vector cannot be one of the model's, or the name is taken.
    """
    known = model.speaker_vectors.weight
    if vector.shape != known.shape[1:] or name in model.speakers:
        raise UnknownSpeakerError(
            f"the voice {name!r} (a vector of shape {tuple(vector.shape)}) cannot join this model, whose vectors have "
            f"the shape {tuple(known.shape[1:])} and whose speakers are {', '.join(model.speakers[:8])}. Enroll the "
            "voice with this model, under a name that it does not have"
        )
    extended = torch.cat([known.detach(), vector.to(known)[None]])
    model.speaker_vectors = nn.Embedding.from_pretrained(extended, freeze=not known.requires_grad)
    model.speakers = (*model.speakers, name)


def list_voices(folder: Path | None = None) -> list[Path]:
    """Files of all enrolled voices, by name."""
    return sorted((FOLDER if folder is None else folder).glob(f"*{SUFFIX}"))
