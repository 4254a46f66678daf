"""Who moves the weights: Adam, and Muon for the WaveNet's matrices where the recipe asks for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vqspeech.config import TrainConfig
from vqspeech.nn.wavenet import WaveNet
from vqspeech.training.acceleration import wants_bfloat16
from vqspeech.training.muon import Muon


class Optimizer:
    """One or two optimisers that step as one.

    Muon [github.com/KellerJordan/Muon, 2024] turns the momentum of each matrix into a nearly orthogonal one, so that a
    step moves all its directions about alike, the weak ones as far as the strong. A decoder learns several times as
    fast (docs/results/settings.md). Everything else (encoder, embeddings, output layer, biases) is Adam's
    [arXiv 1412.6980].

    Parameters
    ----------
    model : whose parameters move
    train : optimizer, learning_rate, muon_rate, precision
    """

    def __init__(self, model: nn.Module, train: TrainConfig) -> None:
        hidden = [matrix for part in model.modules() if isinstance(part, WaveNet) for matrix in part.hidden_matrices()]
        taken = {id(matrix) for matrix in hidden} if train.optimizer == "muon" else set()
        others = [parameter for parameter in model.parameters() if id(parameter) not in taken]
        self.adam = torch.optim.Adam(others, lr=train.learning_rate, fused=True)
        self.ratio = train.muon_rate / train.learning_rate  # of the two rates, which rise and fall together
        self.muon: Muon | None = None
        if taken:
            dtype = torch.bfloat16 if wants_bfloat16(train, hidden[0].device.type) else torch.float32
            self.muon = Muon(hidden, train.muon_rate, dtype)

    @property
    def learning_rate(self) -> float:
        """Adam's, as it was last set."""
        return float(self.adam.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        for group in self.adam.param_groups:
            group["lr"] = rate
        for group in self.muon.param_groups if self.muon else ():
            group["lr"] = rate * self.ratio

    def zero_grad(self) -> None:
        """Forget the last gradients."""
        for part in self._parts():
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move all parameters that have a gradient."""
        for part in self._parts():
            part.step()

    def _parts(self) -> tuple[torch.optim.Optimizer, ...]:
        return (self.adam, self.muon) if self.muon else (self.adam,)

    def state_dict(self) -> dict[str, Any]:
        """Adam's, and beside it Muon's."""
        return self.adam.state_dict() | ({"muon": self.muon.state_dict()} if self.muon else {})

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises
        ------
        KeyError, ValueError
            If it is that of another optimiser or another model.
        """
        if self.muon:
            self.muon.load_state_dict(saved["muon"])
        self.adam.load_state_dict({name: value for name, value in saved.items() if name != "muon"})
