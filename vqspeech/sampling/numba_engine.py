"""The compiled engine for CPUs: cached dilated convolutions in float32, one thread per session."""

from __future__ import annotations

import numpy as np

from vqspeech.audio import SILENCE_CLASS
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling.kernel import run
from vqspeech.sampling.layout import PARTIAL_SUMS, make_buffers, pack_weights, pad, padded
from vqspeech.sampling.random import uniforms
from vqspeech.sampling.rules import check_classes, check_condition, check_settings


class NumbaEngine:
    """Sessions release Python's lock while they run: as many threads as cores keep them all busy."""

    name = "numba"

    def open(
        self,
        wavenet: WaveNet,
        hop_length: int,
        *,
        seed: int,
        utterance: int,
        temperature: float = 1.0,
        start: int = SILENCE_CLASS,
    ) -> NumbaSession:
        """Begin an utterance; see `Engine.open`."""
        check_settings(wavenet, hop_length, seed, utterance, temperature, start)
        return NumbaSession(wavenet, hop_length, (seed, utterance), float(temperature), start)


class NumbaSession:
    """One utterance of the numba engine; see `Session`."""

    def __init__(self, wavenet: WaveNet, hop_length: int, key: tuple[int, int], temperature: float, start: int) -> None:
        self._hop_length = hop_length
        self._key = key
        self._temperature = temperature
        self._num_classes, self._condition_channels = wavenet.embedding.num_embeddings, wavenet.condition.in_features
        self._weights = pack_weights(wavenet)
        self._buffers = make_buffers(wavenet, start)

    def generate(self, condition: np.ndarray) -> np.ndarray:
        """Draw the samples of the next frames; see `Session.generate`."""
        numbers = uniforms(*self._key, int(self._buffers.position[0]), len(condition) * self._hop_length)
        return self._run(condition, numbers, np.zeros(0, np.int32))[0]

    def force(self, classes: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Take the samples as given; see `Session.force`."""
        forced = check_classes(classes, len(condition) * self._hop_length, self._num_classes)
        return self._run(condition, np.zeros(0), forced)[1]

    def _run(self, condition: np.ndarray, numbers: np.ndarray, forced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        condition = check_condition(condition, self._condition_channels)
        samples = len(condition) * self._hop_length
        frames = padded(condition, pad(self._condition_channels, PARTIAL_SUMS))
        classes = np.zeros(samples, np.int32)
        logits = np.zeros((len(forced), len(self._buffers.masses)), np.float32)
        run(self._weights, self._buffers, frames, self._hop_length, numbers, self._temperature, forced, classes, logits)
        return classes, logits
