"""A recording as it arrives, checked and counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.errors import AudioError
from vqspeech.models.vqvae import VQVAE


class Source:
    """Pieces of a waveform (n,) at the model's rate, of any size, as tensors on its device.

    Iterating raises AudioError if a piece has another shape or is not finite, and at the end if nothing came; `what`
    names the recording.

    Attributes
    ----------
    received : int, samples so far
    """

    def __init__(self, model: VQVAE, blocks: Iterable[NDArray[np.float32] | Tensor], what: str) -> None:
        self.received = 0
        self._blocks, self._device, self._rate, self._what = blocks, model.device, model.sample_rate, what

    def __iter__(self) -> Iterator[Tensor]:
        for block in self._blocks:
            samples = torch.as_tensor(block, dtype=torch.float32, device=self._device)
            if samples.dim() != 1:
                raise AudioError(
                    f"{self._what} has shape {tuple(samples.shape)}, expected (T,). Average its channels first"
                )
            if not bool(samples.isfinite().all()):
                raise AudioError(f"{self._what} holds values that are not finite. Repair the recording first")
            self.received += len(samples)
            yield samples
        if not self.received:
            raise AudioError(
                f"{self._what} is empty or shorter than one sample at {self._rate} Hz. Give a longer recording"
            )
