"""Mu-law companding: waveforms to 256 classes and back, on numpy arrays and torch tensors alike."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

MU_LAW_CLASSES = 256
SILENCE_CLASS = 128  # the class of 0.0


def mu_law_encode(wav: Any) -> Any:
    """Compand to 256 classes, ITU-T G.711's mu-law as used by WaveNet (arXiv 1609.03499 §2.2).

    Parameters
    ----------
    wav : array or Tensor of float, any shape, in [-1, 1]; what lies beyond is clipped

    Returns
    -------
    classes : int64 array or Tensor, same shape, in [0, 256); equal to torchaudio's `mu_law_encoding`

    Examples
    --------
    >>> mu_law_encode(np.array([-1.0, 0.0, 1.0]))
    array([  0, 128, 255])
    """
    mu = MU_LAW_CLASSES - 1
    if _is_tensor(wav):
        torch = sys.modules["torch"]
        wav = wav.clamp(-1, 1)
        scale = torch.log1p(torch.tensor(mu, dtype=wav.dtype))
        y = torch.sign(wav) * torch.log1p(mu * torch.abs(wav)) / scale.to(wav.device)
        return ((y + 1) / 2 * mu + 0.5).to(torch.int64)
    wav = np.clip(np.asarray(wav), -1, 1)
    y = np.sign(wav) * np.log1p(mu * np.abs(wav)) / np.log1p(wav.dtype.type(mu))
    return ((y + 1) / 2 * mu + 0.5).astype(np.int64)


def mu_law_decode(classes: Any) -> Any:
    """Expand classes to amplitudes, the inverse of `mu_law_encode` up to its rounding.

    Parameters
    ----------
    classes : integer array or Tensor, any shape, in [0, 256)

    Returns
    -------
    wav : float32 array or Tensor, same shape, in [-1, 1]
    """
    mu = MU_LAW_CLASSES - 1
    if _is_tensor(classes):
        torch = sys.modules["torch"]
        y = classes.to(torch.float32) / mu * 2 - 1
        return torch.sign(y) * torch.expm1(torch.abs(y) * float(np.log1p(mu))) / mu
    y = np.asarray(classes).astype(np.float32) / mu * 2 - 1
    return np.sign(y) * np.expm1(np.abs(y) * np.float32(np.log1p(mu))) / np.float32(mu)


def class_edges() -> np.ndarray:
    """Amplitudes between which the classes lie, float64, (257,), from -1 to 1; the first and last class are halves."""
    mu = MU_LAW_CLASSES - 1
    y = np.clip((np.arange(MU_LAW_CLASSES + 1) - 0.5) / mu * 2 - 1, -1, 1)
    return np.sign(y) * np.expm1(np.abs(y) * np.log1p(mu)) / mu


def previous_classes(classes: Any) -> Any:
    """The class one sample earlier, integer Tensor (B, T); silence before the first."""
    previous = classes.roll(1, 1)
    previous[:, 0] = SILENCE_CLASS
    return previous


def _is_tensor(values: object) -> bool:
    """Whether `values` is a torch Tensor, without importing torch."""
    return "torch" in sys.modules and isinstance(values, sys.modules["torch"].Tensor)
