"""Codes to sound: whole utterances side by side, or one as its codes arrive."""

# N codes, T = N * hop samples, D code dimension.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.conversion.conditioning import condition_entries
from vqspeech.conversion.options import SamplingOptions, draws_of, load_sampler
from vqspeech.conversion.vocoder import Vocoder
from vqspeech.models.vqvae import VQVAE
from vqspeech.nn.mode import evaluating
from vqspeech.sampling.interface import Session
from vqspeech.sampling.scheduler import FRAMES_AT_A_TIME, Stream, run_streams


@dataclass(frozen=True)
class CodesRequest:
    """Codes (N,), the voice that shall speak them, and the utterance's number for the random numbers."""

    codes: NDArray[np.integer] | Tensor
    speaker: str
    utterance: int = 0


def decode(
    model: VQVAE,
    codes: NDArray[np.integer] | Tensor,
    speaker: str,
    *,
    seed: int = 0,
    temperature: float | None = None,
    utterance: int = 0,
    engine: str = "auto",
    precision: str = "auto",
) -> NDArray[np.float32]:
    """Speak codes in a speaker's voice, p(x | z, speaker) of [VQ-VAE §4.3].

    Parameters
    ----------
    model : VQVAE
    codes : int array or Tensor, shape (N,), in [0, K)
    speaker : str
        One of `model.speakers`.
    seed, utterance : int
        What determines the random numbers.
    temperature, engine, precision
        See `SamplingOptions`.

    Returns
    -------
    wav : float32 array, shape (N * hop,), in [-1, 1], at the model's sample rate

    Raises
    ------
    UnknownSpeakerError
        If the model has no such speaker.
    CodesError
        If there are none, or a code is outside the codebook.

    Examples
    --------
    >>> decode(model, [0, 3, 1], "ada").shape  # `model`: tiny, 16 samples per code, from conftest
    (48,)
    """
    options = SamplingOptions(seed, temperature, engine, precision)
    return decode_many(model, [CodesRequest(codes, speaker, utterance)], options, num_threads=1)[0]


def decode_many(
    model: VQVAE, requests: Sequence[CodesRequest], options: SamplingOptions, *, num_threads: int
) -> list[NDArray[np.float32]]:
    """What `decode` gives for each request, all sampled side by side.

    Raises
    ------
    UnknownSpeakerError
        If the model has no such speaker.
    CodesError
        If a code is outside the codebook.
    """
    speakers = [model.speaker_index(request.speaker) for request in requests]
    pieces: list[list[NDArray[np.float32]]] = [[] for _ in requests]

    def begin(request: CodesRequest, speaker: int, spoken: list[NDArray[np.float32]]) -> Stream:
        vocoder = Vocoder(model)
        frames = vocoder.watch(condition_entries(model, [model.lookup(request.codes)], speaker))
        return Stream(request.utterance, 0, frames, lambda classes: spoken.append(vocoder.push(classes)))

    with evaluating(model):
        streams = map(begin, requests, speakers, pieces)
        sampler = load_sampler(model, options)
        run_streams(sampler, streams, num_threads=num_threads, **draws_of(model, options))
    return [np.concatenate(spoken) for spoken in pieces]


@torch.no_grad()  # as a decorator: between the pieces the caller's own setting holds
def decode_stream(
    model: VQVAE, entries: Iterable[Tensor], speaker: str, options: SamplingOptions, utterance: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Sound of codebook entries (n, D) that arrive in pieces, in one stream."""
    index = model.speaker_index(speaker)
    streams = load_sampler(model, options).streams(1, **draws_of(model, options))
    session, vocoder = Session(streams, utterance), Vocoder(model)
    with evaluating(model):
        for frames in vocoder.watch(condition_entries(model, entries, index)):
            for start in range(0, len(frames), FRAMES_AT_A_TIME):
                yield vocoder.push(session.generate(frames[start : start + FRAMES_AT_A_TIME]))
