"""Codes of many utterances to sound, sampled side by side."""

# N codes, T = N * hop samples.

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vqspeech.conversion.decode import CodesRequest, decode_many
from vqspeech.conversion.options import SamplingOptions
from vqspeech.models.vqvae import VQVAE

# The prior draws utterance i with the numbers of utterance i; its sound takes those of another one.
FIRST_UTTERANCE = 1 << 63


def speak_many(
    model: VQVAE,
    utterances: Iterable[tuple[int, NDArray[np.integer]]],
    speaker: str,
    options: SamplingOptions,
    *,
    num_threads: int,
) -> dict[int, NDArray[np.float32]]:
    """Sound (N * hop,) of codes (N,), by the utterances' numbers; each comes out as it would alone.

    Raises
    ------
    UnknownSpeakerError
        If the model has no such speaker.
    CodesError
        If a code is outside the codebook.
    """
    by_number = dict(utterances)
    requests = [CodesRequest(codes, speaker, FIRST_UTTERANCE + number) for number, codes in by_number.items()]
    return dict(zip(by_number, decode_many(model, requests, options, num_threads=num_threads), strict=True))
