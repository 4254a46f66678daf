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
from vqspeech.conversion.options import DEFAULT_OPTIONS, SamplingOptions
from vqspeech.conversion.parts import PartedRecording, Recordings
from vqspeech.conversion.source import Source
from vqspeech.errors import VQSpeechError
from vqspeech.models.vqvae import VQVAE, evaluating
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.interface import Session
from vqspeech.sampling.scheduler import FRAMES_AT_A_TIME, Workers


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
    temperature, engine, precision, split : see `SamplingOptions`

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
    options = SamplingOptions(seed, temperature, engine, precision, split)
    return convert_many(model, [request], options, num_threads=torch.get_num_threads())[0]


@dataclass(frozen=True)
class Request:
    """A waveform (T,), the voice it shall be said in, and the utterance's number for the random numbers."""

    wav: NDArray[np.float32] | Tensor
    speaker: str
    utterance: int = 0


def convert_many(
    model: VQVAE,
    requests: Sequence[Request],
    options: SamplingOptions = DEFAULT_OPTIONS,
    *,
    num_threads: int,
    advance: Callable[[int], None] | None = None,
) -> list[NDArray[np.float32]]:
    """What `convert` gives for each request, all sampled side by side.

    `advance` is told the number of requests that are done.
    """
    pieces: list[list[NDArray[np.float32]]] = [[] for _ in requests]
    done = 0

    def recordings() -> Iterator[PartedRecording]:
        for request, heard in zip(requests, pieces, strict=True):
            speaker = model.speaker_index(request.speaker)
            yield PartedRecording(model, [request.wav], speaker, request.utterance, heard.append, split=options.split)

    def finished(_: PartedRecording, error: VQSpeechError | None) -> None:
        nonlocal done
        if error:
            raise error
        done += 1
        if advance:
            advance(done)

    with evaluating(model):
        run_recordings(model, Recordings(recordings(), finished), options, num_threads=num_threads)
    return [np.concatenate(heard) for heard in pieces]


def run_recordings(model: VQVAE, recordings: Recordings, options: SamplingOptions, *, num_threads: int) -> None:
    """Sample recordings side by side; `model` has to be in evaluation mode."""
    sampler = get_engine(options.engine, options.precision).load(model.wavenet, model.hop_length)
    Workers(
        sampler,
        recordings,
        num_threads=num_threads,
        width=sampler.width,
        seed=options.seed,
        temperature=options.temperature,
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
    options = SamplingOptions(seed, temperature, engine, precision)
    return np.concatenate(list(decode_stream(model, [model.lookup(codes)], speaker, options, utterance)))


def convert_stream(
    model: VQVAE,
    blocks: Iterable[NDArray[np.float32] | Tensor],
    speaker: str,
    options: SamplingOptions = DEFAULT_OPTIONS,
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
    for piece in decode_stream(model, entries(), speaker, options, utterance):
        if held is not None:
            produced += len(held)
            yield held
        held = piece
    if held is not None:
        yield held[: source.received - produced]


@torch.no_grad()  # as a decorator: between the pieces the caller's own setting holds
def decode_stream(
    model: VQVAE, entries: Iterable[Tensor], speaker: str, options: SamplingOptions, utterance: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Sound of codebook entries (n, D) that arrive in pieces."""
    index = model.speaker_index(speaker)
    session = get_engine(options.engine, options.precision).open(
        model.wavenet, model.hop_length, seed=options.seed, utterance=utterance, temperature=options.temperature
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
