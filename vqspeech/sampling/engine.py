"""What a sampling engine is: one loop over samples behind one interface."""

# T samples, N conditioning frames (T = N * hop), C conditioning channels, Q classes.

from __future__ import annotations

import importlib.util
from typing import Protocol

import numpy as np

from vqspeech.audio import SILENCE_CLASS
from vqspeech.errors import DependencyError, VQSpeechError
from vqspeech.nn.wavenet import WaveNet


class Session(Protocol):
    """One utterance being made, frame by frame; its memory does not grow with its length.

    A session belongs to one thread at a time; different sessions may run in different threads.
    """

    def generate(self, condition: np.ndarray) -> np.ndarray:
        """Draw the samples of the next frames.

        Parameters
        ----------
        condition : float32 array, shape (N, C)

        Returns
        -------
        classes : int32 array, shape (N * hop_length,), in [0, Q)
        """

    def force(self, classes: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Take the samples of the next frames as given, and say what would have been expected at each.

        Parameters
        ----------
        classes : integer array, shape (N * hop_length,)
        condition : float32 array, shape (N, C)

        Returns
        -------
        logits : float32 array, shape (N * hop_length, Q); row t has seen the classes before t
        """


class Engine(Protocol):
    """A way to run a WaveNet sample by sample."""

    name: str

    def open(
        self,
        wavenet: WaveNet,
        hop_length: int,
        *,
        seed: int,
        utterance: int,
        temperature: float = 1.0,
        start: int = SILENCE_CLASS,
    ) -> Session:
        """Begin an utterance.

        Parameters
        ----------
        wavenet : WaveNet; changing its weights afterwards does not change the session
        hop_length : int, samples per conditioning frame
        seed, utterance : int, in [0, 2**64): with the sample's index they determine its random number
        temperature : float, >= 0; divides the logits, 0 takes the likeliest class
        start : int, the class before the first sample

        Raises
        ------
        VQSpeechError
            If seed, utterance or temperature is out of range, or the weights are not finite.
        """


def get_engine(name: str = "auto") -> Engine:
    """The engine called "torch" (the reference) or "numba" (compiled); "auto" is the fastest one installed.

    Raises
    ------
    VQSpeechError
        If there is no engine of this name.
    DependencyError
        If numba is asked for and not installed.
    """
    if name not in ("auto", "torch", "numba"):
        raise VQSpeechError(f"no sampling engine {name!r}. Use auto, torch or numba")
    has_numba = importlib.util.find_spec("numba") is not None
    if name == "numba" and not has_numba:
        raise DependencyError("the numba engine needs the package numba. Run: pip install numba, or use --engine torch")
    if name == "torch" or not has_numba:
        from vqspeech.sampling.torch_engine import TorchEngine

        return TorchEngine()
    from vqspeech.sampling.numba_engine import NumbaEngine

    return NumbaEngine()
