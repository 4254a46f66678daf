"""What a sampling engine is: one loop over samples behind one interface, for one utterance or several in step."""

# U streams, T samples, N conditioning frames (T = N * hop), C conditioning channels, Q classes.

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vqspeech.mu_law import SILENCE_CLASS
from vqspeech.nn.wavenet import WaveNet


class Streams(Protocol):
    """Utterances being made side by side; each comes out as it would alone, and memory does not grow with length.

    Belongs to one thread at a time. Streams that advance together do so by the same number of frames.
    """

    def open(self, utterance: int, first_sample: int = 0) -> int:
        """Begin an utterance, in [0, 2**64), with a silent past; returns the stream's number.

        `first_sample` is the index of the sample that comes first: with seed and utterance it gives the random number.
        It is a multiple of the samples that one pass of the network serves.
        """

    def close(self, stream: int) -> None:
        """Forget a stream; its number may be given again."""

    def generate(self, streams: Sequence[int], condition: np.ndarray) -> np.ndarray:
        """Draw the samples of the next frames.

        Parameters
        ----------
        streams : numbers of U open streams
        condition : float32 array, shape (U, N, C)

        Returns
        -------
        classes : int32 array, shape (U, N * hop_length), in [0, Q)
        """

    def force(self, streams: Sequence[int], classes: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Take the samples of the next frames as given, and say what would have been expected at each.

        Parameters
        ----------
        streams : numbers of U open streams
        classes : integer array, shape (U, N * hop_length)
        condition : float32 array, shape (U, N, C)

        Returns
        -------
        logits : float32 array, shape (U, N * hop_length, Q); position t has seen the classes before t
        """


class Sampler(ABC):
    """A WaveNet laid out for sampling; changing its weights afterwards changes nothing here.

    Attributes
    ----------
    width : int, streams in step that make good use of one thread
    """

    width: int

    @abstractmethod
    def streams(
        self, width: int, *, seed: int, temperature: float = 1.0, start: int = SILENCE_CLASS, top_p: float = 1.0
    ) -> Streams:
        """Room for up to `width` streams in one thread; different threads each take their own.

        Parameters
        ----------
        width : int
        seed : int, in [0, 2**64): with utterance and sample index it determines every random number
        temperature : float, >= 0; divides the logits, 0 takes the likeliest class
        start : int, the class before the first sample
        top_p : float, in (0, 1]; draw from the likeliest classes alone, as few as together have this probability
            [Holtzman et al. 2020, arXiv 1904.09751 §3.1]

        Raises
        ------
        VQSpeechError
            If seed, temperature or top_p is out of range.
        """


class Engine(ABC):
    """A way to run a WaveNet sample by sample."""

    name: str

    @abstractmethod
    def load(self, wavenet: WaveNet, hop_length: int) -> Sampler:
        """Lay out a WaveNet whose conditioning frames are `hop_length` samples long.

        Raises
        ------
        VQSpeechError
            If the weights are not finite.
        """

    def open(
        self,
        wavenet: WaveNet,
        hop_length: int,
        *,
        seed: int,
        utterance: int,
        temperature: float = 1.0,
        start: int = SILENCE_CLASS,
        top_p: float = 1.0,
    ) -> Session:
        """Begin a single utterance; see `Sampler.streams` and `Streams.open`."""
        sampler = self.load(wavenet, hop_length)
        return Session(sampler.streams(1, seed=seed, temperature=temperature, start=start, top_p=top_p), utterance)


class Session:
    """One utterance being made by itself; shapes as in `Streams`, without U."""

    def __init__(self, streams: Streams, utterance: int) -> None:
        self._streams = streams
        self._stream = streams.open(utterance)

    def generate(self, condition: np.ndarray) -> np.ndarray:
        """Draw the samples (N * hop_length,) of the next frames (N, C)."""
        return self._streams.generate([self._stream], condition[None])[0]

    def force(self, classes: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Logits (N * hop_length, Q) of given samples (N * hop_length,) and frames (N, C)."""
        return self._streams.force([self._stream], classes[None], condition[None])[0]
