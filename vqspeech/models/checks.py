"""What a user may ask of a model: a speaker whom it knows, codes that its codebook has, a waveform that is one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from torch import Tensor

from vqspeech.errors import AudioError, CodesError, UnknownSpeakerError


def find_speaker(name: str, speakers: Sequence[str]) -> int:
    """Position of a speaker among those of a model; the error tells the nearest names."""
    if name in speakers:
        return list(speakers).index(name)
    near = difflib.get_close_matches(name, speakers, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    known = f"{hint}It has {', '.join(speakers[:8])}" + (", ..." if len(speakers) > 8 else "")
    raise UnknownSpeakerError(
        f"speaker {name!r} is not among this model's {len(speakers)}. {known}. List them with: vqspeech info MODEL"
    )


def check_codes(codes: Tensor, num_codes: int) -> None:
    """Refuse what is not (N,) codes in [0, K), N > 0."""
    if codes.dim() != 1 or not len(codes):
        raise CodesError(f"expected codes of shape (N,), N > 0, but got shape {tuple(codes.shape)}")
    if int(codes.min()) < 0 or int(codes.max()) >= num_codes:
        raise CodesError(
            f"codes run from {int(codes.min())} to {int(codes.max())}, but this model's codebook has "
            f"{num_codes} entries (0 to {num_codes - 1}). They were made by another model: "
            "encode the recording again with this one"
        )


def check_waveform(samples: Tensor) -> None:
    """Refuse what is not (T,) finite samples, T > 0."""
    if samples.dim() != 1 or not len(samples):
        raise AudioError(f"encode takes one waveform of shape (T,), T > 0, but got shape {tuple(samples.shape)}")
    if not bool(samples.isfinite().all()):
        raise AudioError("the waveform holds values that are not finite. Repair the recording first")
