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
class CodeSamplingOptions:
    """How the prior draws codes; `SamplingOptions` are the decoder's.

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
    options: CodeSamplingOptions | None = None,
    prompt: NDArray[np.integer] | None = None,
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Draw utterances from p(z | speaker); several streams go in step, and each place is filled again when one ends.

    Parameters
    ----------
    prior : Prior
    speaker : its number, or None for no speaker
    num : how many utterances
    max_codes : length at most, the prompt not counted
    options : see `CodeSamplingOptions`
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
    options = options or CodeSamplingOptions()
    assert max_codes > 0 and num >= 0, (max_codes, num)
    begun = np.zeros(0, np.int32) if prompt is None else np.asarray(prompt, np.int32)
    if len(begun) and not (begun.min() >= 0 and begun.max() < prior.num_codes):
        raise CodesError(f"the prompt has codes beyond 0 ... {prior.num_codes - 1}. Encode it with this model")
    sampler = get_engine(options.engine, options.precision).load(prior.wavenet, 1)
    width = max(1, min(num, sampler.width))
    streams = _PromptedStreams(
        sampler.streams(
            width, seed=options.seed, temperature=options.temperature, start=prior.start, top_p=options.top_p
        ),
        begun,
        prior.condition(speaker).detach().cpu().float().numpy(),
    )
    waiting = list(range(num))[::-1]
    live: dict[int, _Utterance] = {}
    while waiting or live:
        while waiting and len(live) < width:
            utterance = _Utterance(waiting.pop(), begun)
            live[streams.open(utterance)] = utterance
        count = min(CODES_AT_A_TIME, *(max_codes - utterance.num_drawn for utterance in live.values()))
        for stream, codes in zip(list(live), streams.generate(list(live), count), strict=True):
            utterance = live[stream]
            if not utterance.take(codes, prior.stop) and utterance.num_drawn < max_codes:
                continue
            streams.close(stream)
            del live[stream]
            if utterance.codes:
                yield utterance.number, np.array(utterance.codes, np.int32)
            else:
                utterance.count_try()
                live[streams.open(utterance)] = utterance


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

    def count_try(self) -> None:
        """It ended before its first code, and is drawn again unless that was so too often."""
        self.tries += 1
        if self.tries == MOST_TRIES:
            raise VQSpeechError(
                "the prior ends every utterance before its first code. Raise --temperature or --top-p, or train it "
                "longer: vqspeech train RECIPE --stage prior"
            )


class _PromptedStreams:
    """Streams that begin with a prompt (M,); one conditioning frame (1, C) serves all codes."""

    def __init__(self, streams: Streams, prompt: NDArray[np.int32], frame: NDArray[np.float32]) -> None:
        self.streams, self.prompt, self.frame = streams, prompt, frame
        self.close = streams.close

    def open(self, utterance: _Utterance) -> int:
        """A stream of the utterance's next try, which has the prompt behind it."""
        stream = self.streams.open(utterance.number, utterance.tries * TRY_DISTANCE)
        for start in range(0, len(self.prompt), CODES_AT_A_TIME):
            piece = self.prompt[None, start : start + CODES_AT_A_TIME]
            self.streams.force([stream], piece, self._frames(1, piece.shape[1]))
        return stream

    def generate(self, streams: list[int], count: int) -> NDArray[np.int32]:
        """The next codes (U, count)."""
        return self.streams.generate(streams, self._frames(len(streams), count))

    def _frames(self, num: int, count: int) -> NDArray[np.float32]:
        return np.repeat(np.repeat(self.frame[None], count, axis=1), num, axis=0)
