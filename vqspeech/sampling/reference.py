"""The reference engine: the WaveNet's own step form, one sample at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from vqspeech.errors import VQSpeechError
from vqspeech.mu_law import SILENCE_CLASS
from vqspeech.nn.wavenet import WaveNet, WaveNetState
from vqspeech.sampling.interface import Engine, Sampler
from vqspeech.sampling.random import check_seed, uniforms
from vqspeech.sampling.rules import check_classes, check_condition, check_settings, check_weights, draw, matrices


class TorchEngine(Engine):
    """Runs where the WaveNet's weights are; slow, and the measure of all other engines."""

    name = "torch"

    def __init__(self, precision: str = "auto") -> None:
        if precision == "bfloat16":
            raise VQSpeechError("the torch engine multiplies in float32. Use float32 or float16, or the numba engine")
        self._in_float16 = precision == "float16"

    def load(self, wavenet: WaveNet, hop_length: int) -> TorchSampler:
        """See `Engine.load`."""
        return TorchSampler(wavenet, hop_length, in_float16=self._in_float16)


class TorchSampler(Sampler):
    """See `Sampler`."""

    width = 1

    def __init__(self, wavenet: WaveNet, hop_length: int, *, in_float16: bool = False) -> None:
        check_weights(wavenet, hop_length, in_float16=in_float16)
        self._wavenet, self._hop_length = copy.deepcopy(wavenet).float(), hop_length
        if in_float16:
            for layer in matrices(self._wavenet):
                layer.weight.data = layer.weight.data.half().float()

    def streams(
        self, width: int, *, seed: int, temperature: float = 1.0, start: int = SILENCE_CLASS, top_p: float = 1.0
    ) -> TorchStreams:
        """See `Sampler.streams`."""
        check_settings(self._wavenet, seed, temperature, start, top_p)
        return TorchStreams(self._wavenet, self._hop_length, seed, float(temperature), start, float(top_p))


class _Stream:
    """What one utterance remembers."""

    def __init__(self, utterance: int, sample: int, previous: int, state: WaveNetState) -> None:
        self.utterance, self.sample, self.previous, self.state = utterance, sample, previous, state


class TorchStreams:
    """See `Streams`; one stream after the other."""

    def __init__(
        self, wavenet: WaveNet, hop_length: int, seed: int, temperature: float, start: int, top_p: float
    ) -> None:
        self._wavenet, self._hop_length = wavenet, hop_length
        self._seed, self._temperature, self._start, self._top_p = seed, temperature, start, top_p
        self._open: dict[int, _Stream] = {}
        self._opened = 0

    def open(self, utterance: int, first_sample: int = 0) -> int:
        """See `Streams.open`."""
        check_seed(utterance, "utterance")
        assert first_sample % self._wavenet.samples_per_step == 0, first_sample
        with torch.inference_mode():
            state = self._wavenet.initial_state(1)
        self._opened += 1
        self._open[self._opened] = _Stream(utterance, first_sample, self._start, state)
        return self._opened

    def close(self, stream: int) -> None:
        """See `Streams.close`."""
        del self._open[stream]

    def generate(self, streams: Sequence[int], condition: np.ndarray) -> np.ndarray:
        """See `Streams.generate`."""
        samples = condition.shape[1] * self._hop_length
        return np.stack([
            self._run(
                stream, frames, uniforms(self._seed, self._open[stream].utterance, self._open[stream].sample, samples),
                None,
            )[0]
            for stream, frames in zip(streams, condition, strict=True)
        ])  # fmt: skip

    def force(self, streams: Sequence[int], classes: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """See `Streams.force`."""
        samples = condition.shape[1] * self._hop_length
        forced = check_classes(classes, (len(streams), samples), self._wavenet.num_classes)
        every = zip(streams, condition, forced, strict=True)
        return np.stack([self._run(stream, frames, np.empty(0), given)[1] for stream, frames, given in every])

    @torch.inference_mode()
    def _run(
        self, stream: int, condition: np.ndarray, numbers: np.ndarray, forced: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        wavenet, device, memory = self._wavenet, self._wavenet.embedding.weight.device, self._open[stream]
        condition = check_condition(condition, wavenet.frame_channels)
        samples = len(condition) * self._hop_length
        classes = np.zeros(samples, np.int32)
        kept = np.zeros((0 if forced is None else samples, wavenet.num_outputs), np.float32)
        biases, period = torch.empty(0), None
        for t in range(samples):
            if t % self._hop_length == 0:
                # Frame by frame, so that the same frame gives the same numbers in a block of any size.
                frame = torch.from_numpy(condition[t // self._hop_length]).to(device)
                frames, period = wavenet.split(frame[None])
                biases = wavenet.layer_conditions(frames[:, None])[:, 0]  # (1, L, 2R)
            given = torch.tensor([memory.previous], device=device)
            logits = wavenet.step(given, biases, memory.state, period)[0].cpu().numpy()
            if forced is None:
                memory.previous = draw(logits, numbers[t], self._temperature, self._top_p)
            else:
                memory.previous, kept[t] = int(forced[t]), logits
            classes[t] = memory.previous
        memory.sample += samples
        return classes, kept
