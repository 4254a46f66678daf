"""Codes drawn from the prior: utterances side by side, each until its stop symbol or the longest allowed."""

# U streams, N codes, C conditioning channels.

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.errors import CodesError, VQSpeechError
from vqspeech.models.prior import Prior
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.interface import Streams

CODES_AT_A_TIME = 16  # between two looks at who has ended
MOST_TRIES = 16  # an utterance that ends before it begins is drawn again
TRY_DISTANCE = 1 << 32  # first sample of the next try, so that its random numbers are fresh ones


@dataclass(frozen=True)
class Draws:
    """How codes are drawn.

    Attributes
    ----------
    seed : of the random numbers; utterance i of a seed is the same however many are drawn
    temperature : divides the logits; below 1 is calmer, 0 takes the likeliest code
    top_p : draw from the likeliest codes alone, as few as together have this probability
    engine, precision : see `get_engine`
    """

    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    engine: str = "auto"
    precision: str = "auto"


def draw_codes(
    prior: Prior,
    speaker: int | None,
    num: int,
    max_codes: int,
    draws: Draws | None = None,
    prompt: NDArray[np.integer] | None = None,
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Draw utterances from p(z | speaker); several streams go in step, and each place is filled again when one ends.

    Parameters
    ----------
    prior : Prior
    speaker : its number, or None for no speaker
    num : how many utterances
    max_codes : length at most, the prompt not counted
    draws : see `Draws`
    prompt : codes (M,) that each utterance begins with

    Yields
    ------
    number, codes : utterance in [0, num) and its codes (N,), prompt included, in the order in which they end

    Raises
    ------
    CodesError
        If a code of the prompt is not one of the prior's.
    VQSpeechError
        If a setting is out of range, or the prior ends every utterance before its first code.
    """
    draws = draws or Draws()
    assert max_codes > 0 and num >= 0, (max_codes, num)
    begun = np.zeros(0, np.int32) if prompt is None else np.asarray(prompt, np.int32)
    if len(begun) and not (begun.min() >= 0 and begun.max() < prior.num_codes):
        raise CodesError(f"the prompt has codes beyond 0 ... {prior.num_codes - 1}. Encode it with this model")
    sampler = get_engine(draws.engine, draws.precision).load(prior.wavenet, 1)
    width = max(1, min(num, sampler.width))
    streams = sampler.streams(
        width, seed=draws.seed, temperature=draws.temperature, start=prior.start, top_p=draws.top_p
    )
    frame = prior.condition(speaker).detach().cpu().float().numpy()  # (1, C)
    waiting = list(range(num))[::-1]
    live: dict[int, _Utterance] = {}
    while waiting or live:
        while waiting and len(live) < width:
            utterance = _Utterance(waiting.pop(), begun)
            live[_open(streams, utterance, 0, begun, frame)] = utterance
        count = min(CODES_AT_A_TIME, *(max_codes - utterance.num_drawn for utterance in live.values()))
        drawn = streams.generate(list(live), np.repeat(np.repeat(frame[None], count, axis=1), len(live), axis=0))
        for (stream, utterance), codes in zip(list(live.items()), drawn, strict=True):
            if not utterance.take(codes, prior.stop) and utterance.num_drawn < max_codes:
                continue
            streams.close(stream)
            del live[stream]
            if utterance.codes:
                yield utterance.number, np.array(utterance.codes, np.int32)
                continue
            utterance.tries += 1
            if utterance.tries == MOST_TRIES:
                raise VQSpeechError(
                    "the prior ends every utterance before its first code. Raise --temperature or --top-p, or train it "
                    "longer: vqspeech train RECIPE --stage prior"
                )
            live[_open(streams, utterance, utterance.tries * TRY_DISTANCE, begun, frame)] = utterance


class _Utterance:
    """One that is being drawn."""

    def __init__(self, number: int, prompt: NDArray[np.int32]) -> None:
        self.number, self.codes = number, prompt.tolist()
        self.num_drawn = self.tries = 0

    def take(self, codes: NDArray[np.int32], stop: int) -> bool:
        """Append codes; whether the utterance has ended with them."""
        ends = np.flatnonzero(codes == stop)
        kept = codes[: ends[0]] if len(ends) else codes
        self.codes += kept.tolist()
        self.num_drawn += len(kept)
        return bool(len(ends))


def _open(
    streams: Streams, utterance: _Utterance, first: int, prompt: NDArray[np.int32], frame: NDArray[np.float32]
) -> int:
    """A stream that has the prompt behind it."""
    stream = streams.open(utterance.number, first)
    for start in range(0, len(prompt), CODES_AT_A_TIME):
        piece = prompt[None, start : start + CODES_AT_A_TIME]
        streams.force([stream], piece, np.repeat(frame[None], piece.shape[1], axis=1))
    return stream
