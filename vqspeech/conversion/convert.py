"""Another speaker's voice for a waveform or for codes, in memory or as a stream."""

# T samples, N code frames, K codebook entries.

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.audio import mu_law_decode
from vqspeech.conversion.parts import PartedRecording, Recordings
from vqspeech.conversion.source import Source
from vqspeech.errors import VQSpeechError
from vqspeech.models.vqvae import VQVAE, evaluating
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.interface import Session
from vqspeech.sampling.scheduler import FRAMES_AT_A_TIME, Workers


@dataclass(frozen=True)
class Voice:
    """How codes are turned into sound.

    Attributes
    ----------
    speaker : name
    seed : of the random numbers
    temperature : divides the logits; below 1 is calmer, 0 takes the likeliest class
    engine : "auto", "torch" or "numba"
    precision : of the products, "auto", "float32" or "bfloat16", see `get_engine`
    split : whether a recording may be cut at pauses into parts that are sampled side by side, see `cuts`
    """

    speaker: str
    seed: int = 0
    temperature: float = 1.0
    engine: str = "auto"
    precision: str = "auto"
    split: bool = True


def convert(
    model: VQVAE,
    wav: NDArray[np.float32] | Tensor,
    speaker: str,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    utterance: int = 0,
    engine: str = "auto",
    precision: str = "auto",
    split: bool = True,
) -> NDArray[np.float32]:
    """Say a recording in another speaker's voice: encode it, decode its codes as `speaker` [VQ-VAE §4.3].

    Parameters
    ----------
    model : VQVAE
    wav : array, shape (T,), in [-1, 1], at the model's sample rate
    speaker : one of `model.speakers`
    seed, utterance : what determines the random numbers
    temperature, engine, precision, split : see `Voice`

    Returns
    -------
    wav : float32 array, shape (T,)

    Raises
    ------
    UnknownSpeakerError
        If the model has no such speaker.
    AudioError
        If the waveform is empty or not finite.
    """
    request = Request(wav, speaker, utterance)
    voice = Voice(speaker, seed, temperature, engine, precision, split)
    return convert_many(model, [request], voice, num_threads=torch.get_num_threads())[0]


@dataclass(frozen=True)
class Request:
    """A waveform (T,), the voice it shall be said in, and the utterance's number for the random numbers."""

    wav: NDArray[np.float32] | Tensor
    speaker: str
    utterance: int = 0


def convert_many(
    model: VQVAE,
    requests: Sequence[Request],
    voice: Voice,
    *,
    num_threads: int,
    advance: Callable[[int], None] | None = None,
) -> list[NDArray[np.float32]]:
    """What `convert` gives for each request, all sampled side by side.

    `voice` says all but the speaker; `advance` is told the number of requests that are done.
    """
    pieces: list[list[NDArray[np.float32]]] = [[] for _ in requests]
    done = 0

    def recordings() -> Iterator[PartedRecording]:
        for request, heard in zip(requests, pieces, strict=True):
            speaker = model.speaker_index(request.speaker)
            yield PartedRecording(model, [request.wav], speaker, request.utterance, heard.append, split=voice.split)

    def finished(_: PartedRecording, error: VQSpeechError | None) -> None:
        nonlocal done
        if error:
            raise error
        done += 1
        if advance:
            advance(done)

    with evaluating(model):
        run_recordings(model, Recordings(recordings(), finished), voice, num_threads=num_threads)
    return [np.concatenate(heard) for heard in pieces]


def run_recordings(model: VQVAE, recordings: Recordings, voice: Voice, *, num_threads: int) -> None:
    """Sample recordings side by side; `model` has to be in evaluation mode."""
    sampler = get_engine(voice.engine, voice.precision).load(model.wavenet, model.hop_length)
    Workers(
        sampler,
        recordings,
        num_threads=num_threads,
        width=sampler.width,
        seed=voice.seed,
        temperature=voice.temperature,
    ).run()
    recordings.finish()


def decode(
    model: VQVAE,
    codes: NDArray[np.integer] | Tensor,
    speaker: str,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    utterance: int = 0,
    engine: str = "auto",
    precision: str = "auto",
) -> NDArray[np.float32]:
    """Sound of codes (N,) in a speaker's voice, shape (N * hop,); see `convert`."""
    voice = Voice(speaker, seed, temperature, engine, precision)
    return np.concatenate(list(decode_stream(model, [model.lookup(codes)], voice, utterance)))


def convert_stream(
    model: VQVAE,
    blocks: Iterable[NDArray[np.float32] | Tensor],
    voice: Voice,
    utterance: int = 0,
    what: str = "the waveform",
) -> Iterator[NDArray[np.float32]]:
    """Converted pieces of a waveform that arrives in pieces of any size, in one stream; as many samples as went in.

    `what` names it in errors.
    """
    source = Source(model, blocks, what)

    def entries() -> Iterator[Tensor]:
        stream = model.encoding()
        for samples in source:
            yield from (model.bottleneck.lookup(codes) for codes in stream.push(samples))
        yield from (model.bottleneck.lookup(codes) for codes in stream.finish())

    produced = 0
    held: NDArray[np.float32] | None = None  # the last piece waits: its end may have to be cut
    for piece in decode_stream(model, entries(), voice, utterance):
        if held is not None:
            produced += len(held)
            yield held
        held = piece
    if held is not None:
        yield held[: source.received - produced]


@torch.no_grad()  # as a decorator: between the pieces the caller's own setting holds
def decode_stream(
    model: VQVAE, entries: Iterable[Tensor], voice: Voice, utterance: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Sound of codebook entries (n, D) that arrive in pieces."""
    index = model.speaker_index(voice.speaker)
    session = get_engine(voice.engine, voice.precision).open(
        model.wavenet, model.hop_length, seed=voice.seed, utterance=utterance, temperature=voice.temperature
    )
    with evaluating(model):
        stream = model.conditioning(index)
        for z_q in entries:
            for condition in stream.push(z_q):
                yield from _sample(session, condition)
        for condition in stream.finish():
            yield from _sample(session, condition)


def _sample(session: Session, condition: Tensor) -> Iterator[NDArray[np.float32]]:
    frames = condition.cpu().numpy()
    for start in range(0, len(frames), FRAMES_AT_A_TIME):
        yield mu_law_decode(session.generate(frames[start : start + FRAMES_AT_A_TIME])).astype(np.float32)
