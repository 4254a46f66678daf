"""Muon in batches against PyTorch's, which takes one matrix after the other, and against the iteration by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vqspeech.config import TrainConfig
from vqspeech.nn.wavenet import WaveNet
from vqspeech.training.acceleration import has_bfloat16, wants_bfloat16
from vqspeech.training.muon import Muon, orthogonalize
from vqspeech.training.optimizer import Optimizer

SHAPES = [(16, 8), (8, 8), (16, 8), (8, 24), (8, 8), (40, 4), (16, 8)]


def matrices(seed: int = 0) -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(*shape, generator=random)) for shape in SHAPES]


def newton_schulz(matrix: torch.Tensor) -> torch.Tensor:
    """[github.com/KellerJordan/Muon], in float64, as it stands there."""
    x = matrix.double()
    x = x.T if matrix.shape[0] > matrix.shape[1] else x
    x = x / x.norm()
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def train(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int) -> None:
    random = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=random)
        optimizer.step()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float32, 4e-2)])
def test_steps_are_those_of_pytorchs_muon(dtype, tolerance):
    """PyTorch's rounds to bfloat16 within, so float32 agrees with it to that precision alone."""
    ours, theirs = matrices(), matrices()
    train(Muon(ours, 0.02, dtype), ours, 5)
    train(torch.optim.Muon(theirs, lr=0.02, weight_decay=0.0), theirs, 5)
    for mine, other, begun in zip(ours, theirs, matrices(), strict=True):
        moved = other - begun
        assert moved.norm() > 0.02
        assert (mine - other).norm() < tolerance * moved.norm()


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24), (1, 5), (5, 1)])
def test_each_matrix_of_a_batch_is_orthogonalised_by_itself(shape):
    batch = (
        torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
        * torch.tensor([1e-6, 1.0, 1e4])[:, None, None]
    )
    for mine, matrix in zip(orthogonalize(batch, torch.float32), batch, strict=True):
        torch.testing.assert_close(mine.double(), newton_schulz(matrix), rtol=1e-3, atol=1e-4)


def test_no_gradient_is_no_movement_and_no_nan():
    assert torch.equal(orthogonalize(torch.zeros(2, 3, 4), torch.float32), torch.zeros(2, 3, 4))


def test_matrices_without_a_gradient_stay():
    parameters = matrices()
    optimizer = Muon(parameters, 0.02, torch.float32)
    optimizer.step()  # as in the warm start, where the WaveNet takes no part
    parameters[1].grad = torch.ones_like(parameters[1])
    optimizer.step()
    for number, (parameter, begun) in enumerate(zip(parameters, matrices(), strict=True)):
        assert torch.equal(parameter, begun) == (number != 1)


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 99))
def test_directions_are_kept_and_sizes_are_levelled(rows, columns, seed):
    matrix = torch.randn(1, rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u, sizes, v = torch.linalg.svd(matrix[0], full_matrices=False)
    found = u.T @ orthogonalize(matrix, torch.float64)[0] @ v.T
    assert (found - torch.diag(found.diagonal())).abs().max() < 1e-6  # the same directions
    assert found.diagonal()[sizes > 0.1 * sizes[0]].min() > 0.4 and found.diagonal().max() < 1.3


def wavenet() -> WaveNet:
    return WaveNet(8, 8, 4, 4, cycles=1, layers_per_cycle=2, condition_channels=4)


def test_where_the_processor_has_no_bfloat16_products_they_are_float32(monkeypatch):
    for has, wanted, dtype in (
        (False, "auto", torch.float32),
        (True, "auto", torch.bfloat16),
        (True, "float32", torch.float32),
        (False, "bfloat16", torch.bfloat16),
    ):
        monkeypatch.setattr("vqspeech.training.acceleration.has_bfloat16", lambda device, has=has: has)
        settings = TrainConfig(optimizer="muon", precision=wanted)
        assert wants_bfloat16(settings, "cpu") == (dtype == torch.bfloat16)
        assert Optimizer(wavenet(), settings).muon.dtype == dtype


def test_avx2_counts_as_no_bfloat16_whatever_the_processor_has(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    for capability, has in (("AVX512", True), ("AVX2", False), ("DEFAULT", False)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        assert has_bfloat16("cpu") == has


def test_a_run_of_pytorchs_muon_goes_on():
    """What an older version saved is this optimiser's state too."""
    ours, theirs = matrices(), matrices()
    old = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.0)
    train(old, theirs, 2)
    again = Muon(ours, 0.02, torch.bfloat16)
    again.load_state_dict(old.state_dict())
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(again.state[mine]["momentum_buffer"], old.state[other]["momentum_buffer"])
