"""Recordings to unit sequences, one after the other, each named by its file without folder and ending."""

# N codes of one recording, D code dimension.
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import EXPECTED, find_recordings
from vqspeech.errors import AudioError, VQSpeechError
from vqspeech.files import is_pipe

if TYPE_CHECKING:
    from vqspeech.models.vqvae import VQVAE


@dataclass(frozen=True)
class Encoded:
    """One recording's units.

    Attributes
    ----------
    name : the recording's file name without folder and ending
    codes : int array, shape (N,), one a frame
    code_rate : codes a second
    duration_s : of the recording, seconds
    num_samples : of the recording, at the model's sample rate
    vectors : float32 array, shape (N, D): the codes' codebook entries; None where they were not asked for
    """

    name: str
    codes: NDArray[np.int64]
    code_rate: float
    duration_s: float
    num_samples: int
    vectors: NDArray[np.float32] | None = None


def find_sources(sources: Sequence[Path]) -> tuple[dict[str, Path], dict[Path, VQSpeechError]]:
    """Recordings named directly or found in folders at any depth, by their names, and what is passed over.

    Raises
    ------
    AudioError
        If two recordings have one name, which would be one line or one file of units; or "-" is given, which has none.
    """
    found: dict[str, Path] = {}
    problems: dict[Path, VQSpeechError] = {}
    for given in sources:
        if is_pipe(given):
            raise AudioError("standard input (-) has no name that its units could have. Give files or folders")
        paths = [given]
        if os.path.isdir(given):
            recordings = find_recordings(given)
            paths, passed_over = recordings.readable, recordings.problems()
            problems |= passed_over
            if not paths and not passed_over:
                problems[given] = AudioError(f"{given} holds no recordings ({EXPECTED}). Give a folder that does")
        for path in paths:
            known = found.setdefault(path.stem, path)
            if os.path.realpath(known) != os.path.realpath(path):
                raise AudioError(
                    f"{known} and {path} would both be called {path.stem}, and units are told apart by that name. "
                    "Rename one, or give their folders in two calls"
                )
    return found, problems


def encode_recordings(
    model: VQVAE,
    sources: dict[str, Path],
    *,
    vectors: bool = False,
    failed: Callable[[Path, VQSpeechError], None] | None = None,
) -> Iterator[Encoded]:
    """Units of recordings, one after the other; one recording is in memory at a time, and of it the codes alone.

    Parameters
    ----------
    model : whose encoder and codebook give the units
    sources : from `find_sources`
    vectors : give codebook entries too
    failed : is told of a recording that cannot be read, which is passed over; None raises

    Raises
    ------
    AudioError
        If a recording cannot be read and `failed` is None.
    """
    from vqspeech.conversion.codes import encode_recording

    for name, path in sources.items():
        try:
            codes, num_samples = encode_recording(model, path)
        except VQSpeechError as error:
            if failed is None:
                raise
            failed(path, error)
            continue
        yield Encoded(
            name,
            codes,
            model.code_rate,
            num_samples / model.sample_rate,
            num_samples,
            model.lookup(codes).cpu().numpy().astype(np.float32) if vectors else None,
        )
