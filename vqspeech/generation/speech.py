"""Made-up utterances in memory: codes that the prior code_options, spoken side by side."""

# N codes, T = N * hop samples.

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from vqspeech.conversion.decode import CodesRequest, decode_many
from vqspeech.conversion.options import SamplingOptions
from vqspeech.generation.code_sampling import CodeSamplingOptions, draw_codes
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE

# The prior draws utterance i with the numbers of utterance i; its sound takes those of another one.
FIRST_UTTERANCE = 1 << 63
SPOKEN_AT_A_TIME = 48  # utterances that wait for their sound together


@dataclass(frozen=True)
class Sample:
    """One made-up utterance.

    Attributes
    ----------
    number : utterance i of a seed is the same however many are drawn
    codes : int32 array, shape (N,), in [0, K), prompt included
    wav : float32 array, shape (N * hop,), in [-1, 1], at the model's sample rate
    has_ended : whether the prior ended it, before the longest duration did
    """

    number: int
    codes: NDArray[np.int32]
    wav: NDArray[np.float32]
    has_ended: bool


def sample(
    model: VQVAE,
    speaker: str,
    num: int = 1,
    *,
    max_duration_s: float = 10.0,
    seed: int = 0,
    temperature: float = 1.0,
    voice_temperature: float | None = None,
    top_p: float = 1.0,
    prompt: NDArray[np.integer] | None = None,
    engine: str = "auto",
    precision: str = "auto",
    num_threads: int | None = None,
    prior: Prior | None = None,
) -> list[Sample]:
    """Make up utterances: the prior draws codes, p(z | speaker), and the decoder speaks them [VQ-VAE §4.3].

    Parameters
    ----------
    model : VQVAE
    speaker : str
        One of `model.speakers`.
    num : int
        Utterances.
    max_duration_s : float
        Seconds at most, the prompt not counted; most utterances end before, by themselves.
    seed : int
        Of the random numbers.
    temperature, voice_temperature : float
        Of the codes and of the sound; below 1 is calmer, 0 takes the likeliest. None: the model's own, of the sound.
    top_p : float, in (0, 1]
        Draw codes from the likeliest alone that together have this probability.
    prompt : int array, shape (M,), or None
        Codes that all begin with; they are spoken too, in the speaker's voice.
    engine, precision : str
        See `SamplingOptions`.
    num_threads : int or None
        Threads, each with many streams; None takes torch's number.
    prior : Prior or None
        Over the model's codes; None takes `model.prior`.

    Returns
    -------
    samples : list of Sample, of length `num`

    Raises
    ------
    UnknownSpeakerError
        If the model has no such speaker.
    CheckpointError
        If the model has no prior.
    CodesError
        If a code of the prompt is not one of the model's.
    VQSpeechError
        If a setting is out of range, or the prior ends every utterance before its first code.

    Examples
    --------
    >>> import vqspeech
    >>> fsdd = vqspeech.load_model("fsdd")
    >>> (digit,) = sample(fsdd, "theo", max_duration_s=0.2, seed=1)
    >>> len(digit.codes) <= 25, len(digit.wav) == len(digit.codes) * fsdd.hop_length
    (True, True)
    """
    made = speak_samples(
        model,
        prior or model.prior,
        num,
        speaker,
        SamplingOptions(seed, voice_temperature, engine, precision),
        CodeSamplingOptions(seed, temperature, top_p, engine, precision),
        max_duration_s=max_duration_s,
        num_threads=num_threads or torch.get_num_threads(),
        prompt=prompt,
    )
    return sorted(made, key=lambda one: one.number)


def speak_samples(
    model: VQVAE,
    prior: Prior,
    num: int,
    speaker: str,
    options: SamplingOptions,
    code_options: CodeSamplingOptions,
    *,
    max_duration_s: float,
    num_threads: int,
    prompt: NDArray[np.integer] | None = None,
) -> Iterator[Sample]:
    """What `sample` gives, some at a time; the decoder samples by `options`, the prior by `code_options`."""
    max_codes = max(1, int(max_duration_s * model.code_rate))
    longest = max_codes + (0 if prompt is None else len(prompt))
    drawn = draw_codes(prior, model.speaker_index(speaker), num, max_codes, code_options, prompt)
    while group := dict(islice(drawn, SPOKEN_AT_A_TIME)):
        spoken = speak_many(model, group.items(), speaker, options, num_threads=num_threads)
        for number, codes in sorted(group.items()):
            yield Sample(number, codes, spoken[number], has_ended=len(codes) < longest)


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
