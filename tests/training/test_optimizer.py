"""Adam and Muon as one: whose each parameter is, how far each moves it, and that a saved one goes on alike."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from vqspeech.config import TrainConfig
from vqspeech.nn.wavenet import WaveNet
from vqspeech.training.optimizer import Optimizer

MUON = TrainConfig(optimizer="muon", learning_rate=1e-3, muon_rate=0.02)
ADAM = TrainConfig(optimizer="adam", learning_rate=1e-3)


class Small(nn.Module):
    """A WaveNet with a matrix before it, as a VQ-VAE has an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Linear(3, 5)
        self.wavenet = WaveNet(16, 16, 8, 12, cycles=1, layers_per_cycle=3, condition_channels=5)

    def forward(self) -> torch.Tensor:
        random = torch.Generator().manual_seed(1)
        previous = torch.randint(16, (2, 24), generator=random)
        condition = self.before(torch.randn(2, 6, 3, generator=random))
        return nn.functional.cross_entropy(self.wavenet(previous, condition).flatten(0, 1), previous.flatten())


@pytest.fixture()
def small() -> Small:
    torch.manual_seed(0)
    return Small()


def take_steps(model: Small, optimizer: Optimizer, steps: int = 1) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model().backward()
        optimizer.step()


def moved(model: Small, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """How far one step takes each parameter."""
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    take_steps(model, optimizer)
    return {name: value.detach() - before[name] for name, value in model.named_parameters()}


def test_muon_moves_all_directions_of_a_hidden_matrix_alike(small):
    changes = moved(small, Optimizer(small, MUON))
    hidden = [name for name in changes if name.endswith(("past.weight", "present.weight", "residual.weight"))]
    hidden += ["wavenet.condition.weight", "wavenet.skip.weight", "wavenet.head_hidden.weight"]
    assert len(hidden) == 3 + 3 + 2 + 3  # the last of the three layers has no residual
    for name in hidden:
        rows, columns = changes[name].shape
        values = torch.linalg.svdvals(changes[name].float())
        size = 0.02 * math.sqrt(max(1, rows / columns))
        gradient = torch.linalg.svdvals(dict(small.named_parameters())[name].grad)
        strong = gradient > 0.03 * gradient[0]  # five iterations lift what is not next to nothing
        # Newton and Schulz's five iterations leave singular values between about 0.7 and 1.2.
        assert (values[strong] > 0.5 * size).all() and (values < 1.5 * size).all(), (name, values / size)


def test_embedding_output_biases_and_what_is_no_wavenet_are_adams(small):
    optimizer = Optimizer(small, MUON)
    changes = moved(small, optimizer)
    for name in ("before.weight", "wavenet.head.weight", "wavenet.head.bias", "wavenet.condition.bias"):
        gradient = dict(small.named_parameters())[name].grad
        clear = gradient.abs() > 1e-5
        assert clear.any()
        # Adam's first step is its learning rate, against the gradient's sign.
        torch.testing.assert_close(changes[name][clear], -1e-3 * gradient[clear].sign(), rtol=1e-2, atol=0)
    assert changes["wavenet.embedding.weight"].abs().max() <= 1.01e-3


def test_without_muon_all_is_adams(small):
    reference = Small()
    reference.load_state_dict(small.state_dict())
    adam = torch.optim.Adam(reference.parameters(), lr=1e-3, fused=True)
    take_steps(small, Optimizer(small, ADAM), 3)
    for _ in range(3):
        adam.zero_grad()
        reference().backward()
        adam.step()
    for ours, theirs in zip(small.parameters(), reference.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_muons_learning_rate_follows_adams(small):
    optimizer = Optimizer(small, MUON)
    optimizer.learning_rate = 2.5e-4
    assert optimizer.learning_rate == 2.5e-4
    assert optimizer.muon.param_groups[0]["lr"] == pytest.approx(0.02 / 4)


@pytest.mark.parametrize("train", [MUON, ADAM], ids=["muon", "adam"])
def test_a_saved_optimizer_goes_on_as_if_it_had_not_been_stopped(small, train):
    optimizer = Optimizer(small, train)
    take_steps(small, optimizer, 3)
    other = Small()
    other.load_state_dict(small.state_dict())
    again = Optimizer(other, train)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    take_steps(small, optimizer, 3)
    take_steps(other, again, 3)
    for ours, theirs in zip(small.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_state_of_a_run_from_before_muon_is_that_of_adam(small):
    adam = torch.optim.Adam(small.parameters(), lr=1e-3)
    small().backward()
    adam.step()
    Optimizer(small, ADAM).load_state_dict(adam.state_dict())
    with pytest.raises(KeyError, match="muon"):
        Optimizer(small, MUON).load_state_dict(adam.state_dict())
