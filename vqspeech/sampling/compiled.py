"""The compiled engine for CPUs: cached dilated convolutions, several streams in step, one thread for each `Streams`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import numpy as np

from vqspeech.errors import VQSpeechError
from vqspeech.mu_law import SILENCE_CLASS
from vqspeech.nn.wavenet import WaveNet
from vqspeech.numba_cache import guard
from vqspeech.sampling.interface import Engine, Sampler
from vqspeech.sampling.kernel import run
from vqspeech.sampling.layout import (
    ELEMENTS,
    FLOAT16,
    PARTIAL_SUMS,
    Buffers,
    Choice,
    Weights,
    make_buffers,
    pack_weights,
    pad,
    padded,
)
from vqspeech.sampling.random import check_seed, uniforms
from vqspeech.sampling.rules import check_classes, check_condition, check_settings, check_weights, fits_float16
from vqspeech.vectors import HAS_BFLOAT16, HAS_FLOAT16

_LOG = logging.getLogger(__name__)
_COMPILED: set[type] = set()  # element types whose loop is ready in this process
COMPILING_IS_LONG_S = 1.0  # s; what was compiled before and kept on disk loads faster


class NumbaEngine(Engine):
    """Runs without Python's lock: as many threads as cores keep them all busy."""

    name = "numba"

    def __init__(self, precision: str = "auto") -> None:
        if precision == "bfloat16" and not HAS_BFLOAT16:
            raise VQSpeechError("this processor has no bfloat16 products (AVX512-BF16). Use float16 or float32")
        if precision == "float16" and not HAS_FLOAT16:
            raise VQSpeechError("this processor cannot convert float16 (F16C). Use float32")
        self._is_auto = precision == "auto"
        if self._is_auto:
            precision = "bfloat16" if HAS_BFLOAT16 else "float16" if HAS_FLOAT16 else "float32"
        self.dtype = ELEMENTS[precision]

    def load(self, wavenet: WaveNet, hop_length: int) -> NumbaSampler:
        """See `Engine.load`; "auto" takes float32 for weights that float16 does not hold."""
        dtype = self.dtype
        if dtype is FLOAT16 and self._is_auto and not fits_float16(wavenet):
            dtype = np.float32
        return NumbaSampler(wavenet, hop_length, dtype)


class NumbaSampler(Sampler):
    """See `Sampler`; all its streams share the packed weights."""

    width = 12  # more gain little: the weights already come from the caches at the pace of the arithmetic

    def __init__(self, wavenet: WaveNet, hop_length: int, dtype: type) -> None:
        check_weights(wavenet, hop_length, in_float16=dtype is FLOAT16)
        self._wavenet, self._hop_length, self._dtype = wavenet, hop_length, dtype
        self._weights = pack_weights(wavenet, dtype)
        if dtype not in _COMPILED:
            self._compile()
            _COMPILED.add(dtype)

    def _compile(self) -> None:
        """Run one frame, so that compiling is not part of the first utterance; say so where it takes long."""
        guard()
        notice = threading.Timer(COMPILING_IS_LONG_S, _LOG.info, ["compiling the sampling loop for this processor ..."])
        notice.start()
        try:
            streams = self.streams(1, seed=0, start=0)
            streams.generate([streams.open(0)], np.zeros((1, 1, self._wavenet.frame_channels), np.float32))
        finally:
            notice.cancel()

    def streams(
        self, width: int, *, seed: int, temperature: float = 1.0, start: int = SILENCE_CLASS, top_p: float = 1.0
    ) -> NumbaStreams:
        """See `Sampler.streams`."""
        check_settings(self._wavenet, seed, temperature, start, top_p)
        buffers = make_buffers(self._wavenet, width, self._dtype)
        settings = seed, float(temperature), start, float(top_p)
        return NumbaStreams(self._weights, buffers, self._wavenet, self._hop_length, *settings)


class NumbaStreams:
    """See `Streams`."""

    def __init__(
        self,
        weights: Weights,
        buffers: Buffers,
        wavenet: WaveNet,
        hop_length: int,
        seed: int,
        temperature: float,
        start: int,
        top_p: float,
    ) -> None:
        self._weights, self._buffers = weights, buffers
        self._hop_length, self._seed, self._start = hop_length, seed, start
        self._temperature, self._top_p = temperature, top_p
        self._num_classes, self._condition_channels = wavenet.num_classes, wavenet.frame_channels
        self._samples_per_step = wavenet.samples_per_step
        self._utterances: dict[int, int] = {}

    def open(self, utterance: int, first_sample: int = 0) -> int:
        """See `Streams.open`."""
        check_seed(utterance, "utterance")
        assert first_sample % self._samples_per_step == 0, first_sample
        stream = next(i for i in range(len(self._buffers.position)) if i not in self._utterances)
        self._utterances[stream] = utterance
        self._buffers.history[stream] = 0
        self._buffers.past[stream] = self._start
        self._buffers.position[stream] = first_sample
        return stream

    def close(self, stream: int) -> None:
        """See `Streams.close`."""
        del self._utterances[stream]

    def generate(self, streams: Sequence[int], condition: np.ndarray) -> np.ndarray:
        """See `Streams.generate`."""
        samples = condition.shape[1] * self._hop_length
        numbers = [
            uniforms(self._seed, self._utterances[stream], int(self._buffers.position[stream]), samples)
            for stream in streams
        ]
        return self._run(streams, condition, np.stack(numbers), np.zeros((len(streams), 0), np.int32))[0]

    def force(self, streams: Sequence[int], classes: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """See `Streams.force`."""
        forced = check_classes(classes, (len(streams), condition.shape[1] * self._hop_length), self._num_classes)
        return self._run(streams, condition, np.zeros((len(streams), 0)), forced)[1]

    def _run(
        self, streams: Sequence[int], condition: np.ndarray, numbers: np.ndarray, forced: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        condition = check_condition(condition, self._condition_channels)
        frames = padded(condition, pad(self._condition_channels, PARTIAL_SUMS)).swapaxes(0, 1)
        classes = np.zeros((len(streams), condition.shape[1] * self._hop_length), np.int32)
        logits = np.zeros((*forced.shape, len(self._buffers.masses)), np.float32)
        choice = Choice(numbers, self._temperature, self._top_p, forced)
        slots, frames = np.array(streams, np.int64), np.ascontiguousarray(frames)
        run(self._weights, self._buffers, slots, frames, self._hop_length, choice, classes, logits)
        return classes, logits
