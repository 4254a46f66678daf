"""Rules that all engines share: how a class is drawn from logits, and what they refuse to start with."""

# T samples, N conditioning frames, C conditioning channels, Q classes.

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from vqspeech.errors import VQSpeechError
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling.random import check_seed


def cumulative_masses(logits: np.ndarray, temperature: float, order: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Cumulative probabilities of softmax(logits / temperature) in float64.

    Parameters
    ----------
    logits : array, shape (..., Q)
    temperature : float, > 0
    order : of the classes, if not their own; classes that it leaves out have no mass

    Returns
    -------
    cumulative : float64 array, shape (..., Q), rising to 1
    """
    scaled = (logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)) / temperature
    cumulative = np.cumsum(np.exp(scaled)[..., order], axis=-1)
    return cumulative / cumulative[..., -1:]


def nucleus(logits: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """The likeliest classes, as few as together have probability `top_p`; of equal ones the lower comes first.

    Parameters
    ----------
    logits : array, shape (Q,)
    temperature : float, > 0
    top_p : float, in (0, 1]

    Returns
    -------
    classes : int array, rising

    Examples
    --------
    >>> nucleus(np.log(np.array([0.25, 0.5, 0.25])), 1.0, 0.7)
    array([0, 1])
    """
    order = np.argsort(-logits, kind="stable")
    count = int(np.searchsorted(cumulative_masses(logits, temperature, order), top_p, side="left")) + 1
    return np.sort(order[:count])


def draw(logits: np.ndarray, u: float, temperature: float, top_p: float = 1.0) -> int:
    """The class drawn with the random number `u`: the first whose cumulative probability exceeds it.

    Parameters
    ----------
    logits : array, shape (Q,)
    u : float, in [0, 1)
    temperature : float, >= 0; 0 takes the likeliest class, the first of several
    top_p : float, in (0, 1]; below 1 the draw is from the `nucleus` alone

    Examples
    --------
    >>> draw(np.log(np.array([0.25, 0.5, 0.25])), 0.3, 1.0)
    1
    """
    if temperature == 0:
        return int(logits.argmax())
    if top_p < 1:
        kept = nucleus(logits, temperature, top_p)
        drawn = int(np.searchsorted(cumulative_masses(logits, temperature, kept), u, side="right"))
        return int(kept[min(drawn, len(kept) - 1)])
    drawn = int(np.searchsorted(cumulative_masses(logits, temperature), u, side="right"))
    return min(drawn, len(logits) - 1)


def matrices(wavenet: WaveNet) -> list[nn.Linear]:
    """The layers whose weights a precision rounds; embedding and biases stay exact in all of them."""
    return [module for module in wavenet.modules() if isinstance(module, nn.Linear)]


@torch.no_grad()
def fits_float16(wavenet: WaveNet) -> bool:
    """Whether rounding to float16 changes no matrix by more than a thousandth of its norm.

    Where it does, weights are beyond 65,504, or most of a matrix is below 6e-5, where float16 has few digits.
    """
    weights = [layer.weight.double() for layer in matrices(wavenet)]
    return not any((weight.half() - weight).norm() > weight.norm() / 1000 for weight in weights)


def check_weights(wavenet: WaveNet, hop_length: int, *, in_float16: bool = False) -> None:
    """Refuse a network that no engine can sample with; the errors of `Engine.load`."""
    assert hop_length > 0 and hop_length % wavenet.samples_per_step == 0, (hop_length, wavenet.samples_per_step)
    if not all(bool(weight.isfinite().all()) for weight in wavenet.parameters()):
        raise VQSpeechError("the model has weights that are not finite: its training went wrong. Use an earlier one")
    if in_float16 and not fits_float16(wavenet):
        raise VQSpeechError("the model has weights that float16 does not hold: too large or too small. Use float32")


def check_settings(wavenet: WaveNet, seed: int, temperature: float, start: int, top_p: float) -> None:
    """Refuse settings that make no sense; the errors of `Sampler.streams`."""
    check_seed(seed)
    if not (math.isfinite(temperature) and temperature >= 0):
        raise VQSpeechError(f"temperature {temperature} is not a number >= 0. Use 1 to sample, 0 for the likeliest")
    if not 0 < top_p <= 1:
        raise VQSpeechError(f"top-p {top_p} is not a number above 0 and at most 1. Use 1 to draw from all classes")
    assert 0 <= start < wavenet.num_classes, (start, wavenet.num_classes)


def check_condition(condition: np.ndarray, wavenet_channels: int) -> np.ndarray:
    """Conditioning frames as a contiguous float32 array, shape (..., N, C).

    Raises
    ------
    VQSpeechError
        If a value is not finite: every sample after it would be noise.
    """
    condition = np.ascontiguousarray(condition, np.float32)
    assert condition.ndim >= 2 and condition.shape[-1] == wavenet_channels, (condition.shape, wavenet_channels)
    if not np.isfinite(condition).all():
        raise VQSpeechError("conditioning frames are not finite. The model is damaged: use another checkpoint")
    return condition


def check_classes(classes: np.ndarray, shape: tuple[int, ...], num_classes: int) -> np.ndarray:
    """Forced classes as a contiguous int32 array of the given shape, each in [0, num_classes)."""
    classes = np.require(classes, np.int32, ["C", "W"])  # for one that cannot be written the loop is compiled anew
    assert classes.shape == shape, (classes.shape, shape)
    assert not classes.size or (classes.min() >= 0 and classes.max() < num_classes), (classes.min(), classes.max())
    return classes
