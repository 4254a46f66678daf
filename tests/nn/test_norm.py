"""Normalisation over the frames that are speech."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.nn.norm import FrameNorm, PastNorm


def test_training_gives_zero_mean_and_unit_variance_over_masked_frames():
    norm = FrameNorm(3).train()
    x = 5 + 2 * torch.randn(4, 50, 3)
    mask = torch.rand(4, 50) < 0.6
    y = norm(x, mask)[mask]
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(0, unbiased=False), torch.ones(3), atol=1e-4, rtol=0)


@given(seed=st.integers(0, 1000), padding=st.integers(0, 30))
def test_padding_changes_nothing(seed, padding):
    x = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(20) < torch.tensor([[20], [13]])
    short, long = FrameNorm(3).train(), FrameNorm(3).train()
    expected = short(x, mask)
    y = long(torch.nn.functional.pad(x, (0, 0, 0, padding), value=100.0), torch.nn.functional.pad(mask, (0, padding)))[
        :, :20
    ]
    assert torch.equal(y, expected)
    assert torch.equal(long.mean, short.mean)
    assert torch.equal(long.variance, short.variance)


def test_running_statistics_move_by_their_momentum():
    norm = FrameNorm(1, momentum=0.1).train()
    norm(torch.tensor([[[1.0], [5.0]]]))  # mean 3, variance 4: the first are taken over whole
    assert (norm.mean.item(), norm.variance.item()) == (3.0, 4.0)
    norm(torch.tensor([[[-2.0], [-2.0]]]))
    # 0.9 x 3 - 0.1 x 2 and 0.9 x 4 + 0.1 x 0, by hand.
    torch.testing.assert_close(norm.mean, torch.tensor([2.5]))
    torch.testing.assert_close(norm.variance, torch.tensor([3.6]))


def test_evaluation_uses_the_running_statistics_and_leaves_them_alone():
    norm = FrameNorm(2).eval()
    norm.mean.copy_(torch.tensor([1.0, -2.0]))
    norm.variance.copy_(torch.tensor([4.0, 0.25]))
    x = torch.tensor([[[3.0, -1.0], [1.0, -2.5]]])
    # (3 - 1) / 2, (-1 + 2) / 0.5; (1 - 1) / 2, (-2.5 + 2) / 0.5
    torch.testing.assert_close(norm(x), torch.tensor([[[1.0, 2.0], [0.0, -1.0]]]))
    assert norm.mean.tolist() == [1.0, -2.0]
    assert norm.variance.tolist() == [4.0, 0.25]


def test_evaluation_of_a_frame_does_not_hang_on_its_neighbours():
    norm = FrameNorm(3)
    norm(torch.randn(2, 10, 3))
    norm.eval()
    x = torch.randn(1, 10, 3)
    assert torch.equal(norm(x)[:, 4:5], norm(x[:, 4:5]))


def test_equals_torch_batch_norm_where_all_frames_count():
    x = torch.randn(3, 40, 5)
    reference = torch.nn.BatchNorm1d(5, affine=False, eps=1e-6)
    expected = reference(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(FrameNorm(5)(x), expected, atol=1e-5, rtol=1e-5)


def test_gradient_equals_finite_differences():
    x = torch.randn(1, 6, 2)
    mask = torch.tensor([[True, True, False, True, True, True]])
    weights = torch.tensor(np.random.default_rng(0).normal(size=(1, 6, 2)), dtype=torch.float32)

    def value(x: torch.Tensor) -> torch.Tensor:
        return (FrameNorm(2).train()(x, mask) * weights)[mask].sum()

    x.requires_grad_()
    (gradient,) = torch.autograd.grad(value(x), x)
    for n, c in [(0, 0), (2, 1), (5, 1)]:
        step = torch.zeros_like(x)
        step[0, n, c] = 1e-2
        difference = (value(x + step) - value(x - step)) / 2e-2
        torch.testing.assert_close(gradient[0, n, c], difference.detach(), atol=2e-3, rtol=1e-2)


@given(seed=st.integers(0, 1000), past=st.integers(2, 9), length=st.integers(1, 12))
def test_normalisation_by_the_past_equals_a_naive_loop(seed, past, length):
    random = np.random.default_rng(seed)
    norm = PastNorm(2, past, prior=3.0).eval()
    norm.mean.copy_(torch.tensor([0.5, -1.0]))
    norm.variance.copy_(torch.tensor([2.0, 0.5]))
    x = random.normal(1, 2, (1, past - 1 + length, 2)).astype(np.float32)
    mask = random.random((1, past - 1 + length)) < 0.7
    found = norm(torch.from_numpy(x), torch.from_numpy(mask))[0].numpy()
    for n in range(length):
        window, counts = x[0, n : n + past].astype(float), mask[0, n : n + past]
        for c, (m, v) in enumerate(((0.5, 2.0), (-1.0, 0.5))):
            # The frames that count, and three of the training's mean and variance.
            values = window[counts, c]
            weight = len(values) + 3.0
            mean = (values.sum() + 3.0 * m) / weight
            variance = (((values - m) ** 2).sum() + 3.0 * v) / weight - (mean - m) ** 2
            expected = (window[-1, c] - mean) / np.sqrt(variance + 1e-6)
            assert abs(found[n, c] - expected) < 1e-3 * (1 + abs(expected))


def test_a_constant_that_lasts_is_taken_off():
    norm = PastNorm(3, past=50, prior=0.01).eval()
    x = torch.randn(2, 120, 3)
    torch.testing.assert_close(norm(x + 4.0), norm(x), atol=0.01, rtol=0.01)
    torch.testing.assert_close(norm(3.0 * x), norm(x), atol=0.01, rtol=0.01)


def test_where_nothing_counts_the_training_statistics_stand_in():
    norm = PastNorm(1, past=4).eval()
    norm.mean.fill_(2.0)
    norm.variance.fill_(9.0)
    x = torch.tensor([[[0.0], [0.0], [0.0], [8.0]]])
    # (8 - 2) / 3
    torch.testing.assert_close(norm(x, torch.zeros(1, 4, dtype=torch.bool)), torch.tensor([[[2.0]]]))


def test_training_teaches_the_running_statistics_by_the_frames_that_count():
    norm = PastNorm(1, past=2).train()
    norm(torch.tensor([[[1.0], [5.0], [100.0]]]), torch.tensor([[True, True, False]]))
    assert (norm.mean.item(), norm.variance.item()) == (3.0, 4.0)
    before = norm.mean.clone()
    norm.eval()(torch.randn(1, 5, 1))
    assert torch.equal(norm.mean, before)
