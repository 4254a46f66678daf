"""A recording in another speaker's voice.

A conversion is one path. Every step hands on pieces, so memory does not grow with a recording's length:

1. read: `source.Source` checks the waveform as it arrives.
2. encode: `VQVAE.encoding` turns it into codes, in blocks of one fixed size.
3. cut: `parts.find_parts` ends a part at a pause (`cuts.Cuts`), so that one long recording can fill many streams.
4. sample: `sampling.scheduler.Scheduler` draws the parts of all recordings side by side. It takes the conditioning
   frames of each from `conditioning.condition_part` and hands on the mu-law classes that it has drawn.
5. join: `joining.Joiner` drops each part's warm-up and puts the parts in order, `vocoder.Vocoder` turns classes into
   sound: what linear prediction remembers runs on from part to part.
6. write: a function takes the sound, piece by piece: `convert_many` keeps it, `files.convert_files` writes WAV files.

`pipeline.Pipeline` holds these steps of one recording together, `pipeline.PipelineQueue` those of many.
`convert_stream` takes the same path without steps 3 and 5: the sound of one stream comes while the recording arrives.
"""

# T samples.

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.conversion.decode import decode_stream
from vqspeech.conversion.options import DEFAULT_OPTIONS, SamplingOptions
from vqspeech.conversion.pipeline import Pipeline, run_pipelines
from vqspeech.conversion.source import Source
from vqspeech.errors import VQSpeechError
from vqspeech.models.vqvae import VQVAE
from vqspeech.nn.mode import evaluating


def convert(
    model: VQVAE,
    wav: NDArray[np.float32] | Tensor,
    speaker: str,
    *,
    seed: int = 0,
    temperature: float | None = None,
    utterance: int = 0,
    engine: str = "auto",
    precision: str = "auto",
    split: bool = True,
) -> NDArray[np.float32]:
    """Say a recording in another speaker's voice: encode it, decode its codes as `speaker` [VQ-VAE §4.3].

    Parameters
    ----------
    model : VQVAE
    wav : array or Tensor, shape (T,), in [-1, 1], at the model's sample rate
    speaker : str
        One of `model.speakers`.
    seed, utterance : int
        What determines the random numbers.
    temperature, engine, precision, split
        See `SamplingOptions`.

    Returns
    -------
    wav : float32 array, shape (T,), in [-1, 1], at the model's sample rate

    Raises
    ------
    UnknownSpeakerError
        If the model has no such speaker.
    AudioError
        If the waveform is empty or not finite.

    Examples
    --------
    >>> import vqspeech
    >>> fsdd = vqspeech.load_model("fsdd")
    >>> wav = vqspeech.load_audio(vqspeech.example_recording(), fsdd.sample_rate, duration_s=0.5)
    >>> convert(fsdd, wav, "theo", seed=1).shape
    (4000,)
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

    `advance` receives the number of requests that are done.
    """
    pieces: list[list[NDArray[np.float32]]] = [[] for _ in requests]
    done = 0

    def upcoming() -> Iterator[Pipeline]:
        for request, written in zip(requests, pieces, strict=True):
            speaker = model.speaker_index(request.speaker)
            yield Pipeline(model, [request.wav], speaker, request.utterance, written.append, split=options.split)

    def finished(_: Pipeline, error: VQSpeechError | None) -> None:
        nonlocal done
        if error:
            raise error
        done += 1
        if advance:
            advance(done)

    with evaluating(model):
        run_pipelines(model, upcoming(), finished, options, num_threads=num_threads)
    return [np.concatenate(written) for written in pieces]


def convert_stream(
    model: VQVAE,
    blocks: Iterable[NDArray[np.float32] | Tensor],
    speaker: str,
    options: SamplingOptions = DEFAULT_OPTIONS,
    utterance: int = 0,
    what: str = "the waveform",
) -> Iterator[NDArray[np.float32]]:
    """Convert a waveform while it arrives, in one stream and constant memory [VQ-VAE §4.3].

    Parameters
    ----------
    model : VQVAE
    blocks : iterable of arrays or Tensors, shape (n,), in [-1, 1], at the model's sample rate
        The waveform in pieces of any size.
    speaker : str
        One of `model.speakers`.
    options : SamplingOptions
        How the decoder samples.
    utterance : int
        With the options' seed it determines the random numbers.
    what : str
        Names the waveform in errors.

    Yields
    ------
    piece : float32 array, shape (m,), in [-1, 1]
        As many samples in all as went in.

    Raises
    ------
    UnknownSpeakerError
        If the model has no such speaker.
    AudioError
        If the waveform is empty or not finite.

    Examples
    --------
    >>> blocks = [np.zeros(100, np.float32)] * 3
    >>> sum(len(piece) for piece in convert_stream(model, blocks, "ada"))  # `model`: tiny, from conftest
    300
    """
    source = Source(model, blocks, what)

    def entries() -> Iterator[Tensor]:
        stream = model.encoding()
        for samples in source:
            yield from (model.bottleneck.lookup(codes) for codes in stream.push(samples))
        yield from (model.bottleneck.lookup(codes) for codes in stream.finish())

    produced = 0
    held: NDArray[np.float32] | None = None  # one piece waits: the end of the last may have to be cut
    for piece in decode_stream(model, entries(), speaker, options, utterance):
        if held is not None:
            produced += len(held)
            yield held
        held = piece
    if held is not None:
        yield held[: source.received - produced]
