"""The fused step: the loss and gradients of autograd, whatever the tiles, the threads and what ran before."""

import numba
import numpy as np
import pytest
import torch

from vqspeech.nn.cross_entropy import cross_entropy
from vqspeech.nn.fused import function
from vqspeech.nn.fused.block import BIAS, SUMS, ZEROS, multiply
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling.layout import to_bfloat16
from vqspeech.vectors import HAS_BFLOAT16, LANES

C = 24
NEEDS_BFLOAT16 = pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor has no bfloat16 products")


def make_wavenet(residual=32, skip=64, cycles=2, layers=4, outputs=256) -> WaveNet:
    torch.manual_seed(0)
    wavenet = WaveNet(256, outputs, residual, skip, cycles, layers, C)
    wavenet.fused = True
    return wavenet


def make_batch(batch, frames, hop, outputs=256) -> tuple[torch.Tensor, ...]:
    """Previous classes, conditioning, targets and where they count."""
    random = torch.Generator().manual_seed(1)
    shape = batch, frames * hop
    previous, target = (torch.randint(count, shape, generator=random) for count in (256, outputs))
    condition = torch.randn(batch, frames, C, generator=random)
    return previous, condition, target, torch.rand(shape, generator=random) < 0.9


def gradients(wavenet, batch, *, fused, bfloat16=False, dtype=torch.float32) -> dict[str, torch.Tensor]:
    """Of every parameter and of the conditioning, and the loss beside them, in float64."""
    previous, condition, target, mask = batch
    copy = WaveNet(256, wavenet.num_outputs, wavenet.embedding.embedding_dim, wavenet.skip.out_features,
                   2, len(wavenet.dilations) // 2, C).to(dtype)  # fmt: skip
    copy.load_state_dict(wavenet.state_dict())
    copy.fused = fused
    condition = condition.to(dtype, copy=True).requires_grad_()
    if dtype == torch.float64:
        log_p = copy(previous, condition).log_softmax(-1).gather(-1, target[..., None])[..., 0]
        loss = -log_p[mask].mean()
    else:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = copy.mean_nats(previous, condition, target, mask)
    (3 * loss).backward()
    found = {name: parameter.grad for name, parameter in copy.named_parameters()}
    found |= {"input condition": condition.grad, "loss": loss.detach()[None]}
    return {name: value.double() for name, value in found.items()}


def distance(found, expected) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("frames", "hop", "options"),
    [
        (3, 10, {}),  # less than a tile
        (2, 130, {}),  # a tile and two positions
        (1, 301, {"outputs": 129}),  # an odd number, as of a prior: classes and positions fill no vector
        (4, 64, {"residual": 64, "skip": 32, "layers": 8}),  # dilations beyond the crop's end
    ],
)
def test_loss_and_gradients_are_those_of_autograd_in_float64(frames, hop, options):
    wavenet = make_wavenet(**options)
    batch = make_batch(3, frames, hop, wavenet.num_outputs)
    expected = gradients(wavenet, batch, fused=False, dtype=torch.float64)
    for name, value in gradients(wavenet, batch, fused=True).items():
        assert distance(value, expected[name]) < 1e-5, name


@NEEDS_BFLOAT16
def test_in_bfloat16_gradients_are_as_near_to_the_true_ones_as_those_of_autocast():
    wavenet, batch = make_wavenet(), make_batch(3, 2, 130)
    expected = gradients(wavenet, batch, fused=False, dtype=torch.float64)
    theirs = gradients(wavenet, batch, fused=False, bfloat16=True)
    ours = gradients(wavenet, batch, fused=True, bfloat16=True)
    assert distance(ours["loss"], expected["loss"]) < 1e-4
    for name, value in ours.items():
        assert distance(value, expected[name]) < max(0.01, 1.5 * distance(theirs[name], expected[name])), name


def test_neither_threads_nor_batches_before_change_a_bit():
    wavenet = make_wavenet()

    def found(batch) -> list[torch.Tensor]:
        previous, condition, target, mask = batch
        biases = wavenet.layer_conditions(condition).detach().requires_grad_()  # by torch, whose threads change bits
        parameters = function.Parameters.of(wavenet)
        loss = function.fused_cross_entropy(
            parameters, wavenet.dilations, previous, biases, target, mask, bfloat16=False
        )
        return [loss.detach(), *torch.autograd.grad(loss, [biases, *parameters.flat()])]

    batch, other, threads = make_batch(5, 3, 70), make_batch(2, 2, 33), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = found(batch)
        torch.set_num_threads(3)
        found(other)
        for _ in range(2):  # the second time with memory that is not new
            assert all(torch.equal(before, now) for before, now in zip(first, found(batch), strict=True))
    finally:
        torch.set_num_threads(threads)


def test_where_nothing_counts_the_loss_is_zero():
    wavenet, (previous, condition, target, mask) = make_wavenet(), make_batch(2, 2, 10)
    loss = wavenet.mean_nats(previous, condition, target, torch.zeros_like(mask))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(float(parameter.grad.abs().max()) == 0 for parameter in wavenet.parameters())


@pytest.mark.parametrize("name", ["embedding.weight", "layers.3.past.weight", "skip.weight", "head.bias"])
def test_weights_that_are_not_finite_show_in_loss_or_gradient(name):
    wavenet, batch = make_wavenet(), make_batch(2, 2, 40)
    with torch.no_grad():
        dict(wavenet.named_parameters())[name].view(-1)[:256] = float("nan")
    found = gradients(wavenet, batch, fused=True)
    assert not all(bool(value.isfinite().all()) for value in found.values())


def test_without_gradients_and_where_channels_fill_no_vector_the_way_is_torchs(monkeypatch):
    monkeypatch.setattr(function, "_RUN", None)  # a call would fail
    wavenet, (previous, condition, target, mask) = make_wavenet(), make_batch(1, 2, 10)
    with torch.no_grad():
        expected = cross_entropy(wavenet(previous, condition), target, mask)
        assert torch.equal(wavenet.mean_nats(previous, condition, target, mask), expected)
    with pytest.raises(TypeError):
        wavenet.mean_nats(previous, condition, target, mask)
    assert function.can_fuse(function.Parameters.of(make_wavenet()), bfloat16=False)
    for sizes in ({"residual": 12}, {"skip": 20}):
        assert not function.can_fuse(function.Parameters.of(make_wavenet(**sizes)), bfloat16=False)
    assert function.takes(130, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert not function.takes(130, 2)  # 65 positions are no pairs


@numba.njit(_nrt=False)
def multiply_once(*arguments):
    multiply(*arguments)


def decode(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("begin", [ZEROS, SUMS, BIAS])
@pytest.mark.parametrize("m", [1, 4, 6, 7, 8, 14, 17])
@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("element", [np.float32, pytest.param(np.uint16, marks=NEEDS_BFLOAT16)])
def test_blocks_make_the_product_of_numpy(begin, m, is_turned, element):
    random, n, k = np.random.default_rng(0), 3 * LANES, 10
    pair = 2 if element is np.uint16 else 1
    a, b = (random.normal(size=(2, *shape)).astype(np.float32) for shape in ((m, k), (k, n)))  # two segments
    c, bias = random.normal(size=(m, n)).astype(np.float32), random.normal(size=n).astype(np.float32)
    if pair == 2:
        a, b = decode(to_bfloat16(a)), decode(to_bfloat16(b))
    first = {ZEROS: 0, SUMS: c, BIAS: bias}[begin]
    expected = first + (a.astype(np.float64) @ b.astype(np.float64)).sum(0)
    left = a.reshape(2, m, k // pair, pair).swapaxes(1, 2) if is_turned else a  # (k / pair, m, pair), or as it is
    right = b.reshape(2, k // pair, pair, n).swapaxes(2, 3)  # (k / pair, n, pair)
    left, right = (np.ascontiguousarray(to_bfloat16(x) if pair == 2 else x).ravel() for x in (left, right))
    row, step = (pair, pair * m) if is_turned else (k, pair)
    out = c.copy().ravel()
    starts = tuple(np.int64(s * m * k) for s in range(2)), tuple(np.int64(s * k * n) for s in range(2))
    sizes = np.int64(m), np.int64(n), np.int64(k // pair)
    multiply_once(*sizes, left, starts[0], np.int64(row), np.int64(step), right, starts[1], np.int64(pair * n),
                  out, np.int64(0), np.int64(n), begin, bias, np.int64(0))  # fmt: skip
    np.testing.assert_allclose(out.reshape(m, n), expected, atol=2e-5)
