"""Codes of many utterances to sound, sampled side by side."""

# N codes, T = N * hop samples, C conditioning channels.

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import mu_law_decode
from vqspeech.conversion.options import SamplingOptions
from vqspeech.models.vqvae import VQVAE, evaluating
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.scheduler import Task, Workers

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
    spoken: dict[int, NDArray[np.float32]] = {}
    sampler = get_engine(options.engine, options.precision).load(model.wavenet, model.hop_length)
    with evaluating(model):
        Workers(
            sampler,
            _Utterances(model, list(utterances), model.speaker_index(speaker), spoken),
            num_threads=num_threads,
            width=sampler.width,
            seed=options.seed,
            temperature=options.temperature,
        ).run()
    return spoken


@dataclass
class _Utterances:
    """See `sampling.workers.Tasks`."""

    model: VQVAE
    waiting: list[tuple[int, NDArray[np.integer]]]
    speaker: int
    spoken: dict[int, NDArray[np.float32]]

    def take(self) -> Task | None:
        """The next utterance."""
        if not self.waiting:
            return None
        number, codes = self.waiting.pop(0)
        return Task(FIRST_UTTERANCE + number, 0, self._speak(number, codes))

    def _speak(
        self, number: int, codes: NDArray[np.integer]
    ) -> Generator[NDArray[np.float32], NDArray[np.int32], None]:
        classes = yield self.model.condition(codes, self.speaker).cpu().numpy()
        self.spoken[number] = mu_law_decode(classes).astype(np.float32)

    def is_exhausted(self) -> bool:
        """Whether all have been taken."""
        return not self.waiting

    def fail(self, task: Task, error: Exception) -> None:
        """One bad utterance ends all."""
        raise error

    def stop(self) -> None:
        """Nothing is ever waited for."""
