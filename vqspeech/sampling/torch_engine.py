"""The reference engine: the WaveNet's own step form, one sample at a time."""

from __future__ import annotations

import copy

import numpy as np
import torch

from vqspeech.audio import SILENCE_CLASS
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling.random import uniforms
from vqspeech.sampling.rules import check_classes, check_condition, check_settings, draw


class TorchEngine:
    """Runs where the WaveNet's weights are; slow, and the measure of all other engines."""

    name = "torch"

    def open(
        self,
        wavenet: WaveNet,
        hop_length: int,
        *,
        seed: int,
        utterance: int,
        temperature: float = 1.0,
        start: int = SILENCE_CLASS,
    ) -> TorchSession:
        """Begin an utterance; see `Engine.open`."""
        check_settings(wavenet, hop_length, seed, utterance, temperature, start)
        return TorchSession(copy.deepcopy(wavenet).float(), hop_length, (seed, utterance), float(temperature), start)


class TorchSession:
    """One utterance of the torch engine; see `Session`."""

    def __init__(self, wavenet: WaveNet, hop_length: int, key: tuple[int, int], temperature: float, start: int) -> None:
        self._wavenet = wavenet
        self._hop_length = hop_length
        self._key = key
        self._temperature = temperature
        self._previous = start
        with torch.inference_mode():
            self._state = wavenet.initial_state(1)

    def generate(self, condition: np.ndarray) -> np.ndarray:
        """Draw the samples of the next frames; see `Session.generate`."""
        numbers = uniforms(*self._key, self._state.position, len(condition) * self._hop_length)
        return self._run(condition, numbers, None)[0]

    def force(self, classes: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Take the samples as given; see `Session.force`."""
        samples = len(condition) * self._hop_length
        forced = check_classes(classes, samples, self._wavenet.embedding.num_embeddings)
        return self._run(condition, np.empty(0), forced)[1]

    @torch.inference_mode()
    def _run(
        self, condition: np.ndarray, numbers: np.ndarray, forced: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        wavenet, device = self._wavenet, self._wavenet.embedding.weight.device
        condition = check_condition(condition, wavenet.condition.in_features)
        samples = len(condition) * self._hop_length
        classes = np.zeros(samples, np.int32)
        kept = np.zeros((0 if forced is None else samples, wavenet.num_outputs), np.float32)
        biases = torch.empty(0)
        for t in range(samples):
            if t % self._hop_length == 0:
                # Frame by frame, so that the same frame gives the same numbers in a block of any size.
                frame = torch.from_numpy(condition[t // self._hop_length]).to(device)
                biases = wavenet.layer_conditions(frame[None, None])[:, 0]  # (1, L, 2R)
            logits = wavenet.step(torch.tensor([self._previous], device=device), biases, self._state)[0].cpu().numpy()
            if forced is None:
                self._previous = draw(logits, numbers[t], self._temperature)
            else:
                self._previous, kept[t] = int(forced[t]), logits
            classes[t] = self._previous
        return classes, kept
