"""A recording that is to be continued."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import open_audio
from vqspeech.conversion.codes import encode_recording
from vqspeech.errors import AudioError
from vqspeech.models.vqvae import VQVAE

LONGEST_S = 600  # seconds: every utterance begins with all of it


def read_prompt(model: VQVAE, path: Path) -> NDArray[np.int32]:
    """Codes (N,) of a recording's whole frames: the continuation begins where they end.

    Raises
    ------
    AudioError
        If the recording cannot be read, has another sample rate than the model, is shorter than a frame or longer than
        ten minutes.
    """
    hop = model.hop_length
    with open_audio(path) as reader:
        if reader.source_rate != model.sample_rate:
            raise AudioError(
                f"{path} has a sample rate of {reader.source_rate} Hz, a prompt for this model needs "
                f"{model.sample_rate} Hz. Resample it first: sox {path.name} -r {model.sample_rate} prompt.wav"
            )
        if reader.duration_s > LONGEST_S:
            raise AudioError(f"{path} lasts {reader.duration_s:.0f} s, a prompt at most {LONGEST_S} s. Cut it")
    codes, num_samples = encode_recording(model, path)
    if num_samples < hop:
        raise AudioError(
            f"{path} has {num_samples} samples, shorter than one frame of the model ({hop} samples, "
            f"{1000 / model.code_rate:g} ms). Give a longer prompt"
        )
    return codes[: num_samples // hop].astype(np.int32)
