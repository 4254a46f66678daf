"""Bottlenecks: nearest entries, straight-through gradients, averages by hand arithmetic, nothing from padding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.config import parse_recipe
from vqspeech.models.vqvae import VQVAE
from vqspeech.nn.bottleneck import EMAQuantizer, VectorQuantizer, make_bottleneck


def make(kind="vq-ema", num_codes=4, code_dim=2, normalize="none", decay=0.9, restart_below=0.0) -> VectorQuantizer:
    return make_bottleneck(kind, num_codes, code_dim, normalize, decay, restart_below).train()


def set_codebook(quantizer: VectorQuantizer, entries) -> None:
    entries = torch.as_tensor(entries, dtype=torch.float32)
    quantizer.codebook.data.copy_(entries)
    if isinstance(quantizer, EMAQuantizer):
        quantizer.ema_sum.copy_(entries)  # counts start at 1


def full(z: torch.Tensor) -> torch.Tensor:
    return torch.ones(z.shape[:2], dtype=torch.bool)


@given(seed=st.integers(0, 10_000), num=st.integers(1, 30), codes=st.integers(2, 20), dim=st.integers(1, 8))
def test_nearest_entry_equals_brute_force_distances(seed, num, codes, dim):
    random = np.random.default_rng(seed)
    entries, z = random.normal(size=(codes, dim)), random.normal(size=(num, dim))
    quantizer = make("vq", codes, dim)
    set_codebook(quantizer, entries)
    found = quantizer.nearest(torch.tensor(z, dtype=torch.float32)).numpy()
    distances = ((z[:, None] - entries[None]) ** 2).sum(-1)
    chosen = distances[np.arange(num), found]
    np.testing.assert_allclose(chosen, distances.min(1), atol=1e-4)


@pytest.mark.parametrize("kind", ["vq", "vq-ema"])
def test_straight_through_gradient_is_the_identity(kind):
    quantizer = make(kind)
    z_e = torch.randn(2, 5, 2, requires_grad=True)
    out = quantizer(z_e, full(z_e))
    upstream = torch.randn(2, 5, 2)
    (gradient,) = torch.autograd.grad(out.z_q, z_e, upstream)
    assert torch.equal(gradient, upstream)


def test_quantized_vectors_are_codebook_entries():
    quantizer = make("vq").eval()
    entries = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    set_codebook(quantizer, entries)
    z_e = torch.tensor([[[0.9, 0.2], [0.4, 0.4], [0.1, 3.0]]])
    out = quantizer(z_e, full(z_e))
    assert out.codes.tolist() == [[1, 0, 2]]
    torch.testing.assert_close(out.z_q, entries[[1, 0, 2]][None])


def test_codebook_loss_and_commitment_equal_hand_arithmetic():
    quantizer = make("vq", num_codes=2)
    set_codebook(quantizer, [[0.0, 0.0], [4.0, 0.0]])
    z_e = torch.tensor([[[1.0, 1.0], [3.0, 2.0], [50.0, 50.0]]])
    out = quantizer(z_e, torch.tensor([[True, True, False]]))
    # ((1 + 1) + (1 + 4)) / (2 frames x 2 dimensions); the third frame is padding.
    assert float(out.codebook_loss.detach()) == pytest.approx(7 / 4)
    assert float(out.commitment_loss) == pytest.approx(7 / 4)


def test_codebook_loss_moves_the_codebook_alone_and_commitment_the_encoder_alone():
    quantizer = make("vq", num_codes=2)
    set_codebook(quantizer, [[0.0, 0.0], [4.0, 0.0]])
    z_e = torch.tensor([[[1.0, 1.0], [3.0, 2.0]]], requires_grad=True)
    out = quantizer(z_e, full(z_e))
    to_codebook, to_encoder = torch.autograd.grad(
        out.codebook_loss, (quantizer.codebook, z_e), retain_graph=True, allow_unused=True
    )
    # d/de of ((1 - e)^2 + (1 - e)^2 + (3 - e)^2 + (2 - e)^2) / 4 = 2 (e - z) / 4
    torch.testing.assert_close(to_codebook, torch.tensor([[-0.5, -0.5], [0.5, -1.0]]))
    assert to_encoder is None
    to_codebook, to_encoder = torch.autograd.grad(out.commitment_loss, (quantizer.codebook, z_e), allow_unused=True)
    assert to_codebook is None
    torch.testing.assert_close(to_encoder, torch.tensor([[[0.5, 0.5], [-0.5, 1.0]]]))


def test_reconstruction_does_not_move_the_codebook():
    quantizer = make("vq")
    z_e = torch.randn(1, 6, 2, requires_grad=True)
    out = quantizer(z_e, full(z_e))
    (gradient,) = torch.autograd.grad(out.z_q.sum(), quantizer.codebook, allow_unused=True)
    assert gradient is None or not gradient.any()


def test_ema_code_moves_to_the_mean_of_its_vectors():
    quantizer = make(num_codes=2, code_dim=1, decay=0.5)
    set_codebook(quantizer, [[0.0], [10.0]])
    z_e = torch.tensor([[[1.0], [3.0], [2.0], [13.0]]])
    quantizer(z_e, full(z_e))
    # N = 0.5 x 1 + 0.5 x (3, 1) = (2, 1); m = 0.5 x (0, 10) + 0.5 x (6, 13) = (3, 11.5); e = m / N [appendix A.1].
    torch.testing.assert_close(quantizer.ema_count, torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(quantizer.ema_sum, torch.tensor([[3.0], [11.5]]))
    torch.testing.assert_close(quantizer.codebook, torch.tensor([[1.5], [11.5]]), atol=1e-3, rtol=0)
    for _ in range(40):
        quantizer(z_e, full(z_e))
    torch.testing.assert_close(quantizer.codebook, torch.tensor([[2.0], [13.0]]), atol=1e-3, rtol=0)


def test_ema_codebook_has_no_gradient_and_no_codebook_loss():
    quantizer = make()
    assert not list(quantizer.parameters())
    z_e = torch.randn(1, 6, 2, requires_grad=True)
    out = quantizer(z_e, full(z_e))
    assert float(out.codebook_loss) == 0
    assert float(out.commitment_loss.detach()) > 0


def test_evaluation_moves_nothing():
    quantizer = make(restart_below=0.5).eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    z_e = torch.randn(3, 20, 2)
    quantizer(z_e, full(z_e))
    quantizer.encode(z_e)
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


def test_usage_is_one_for_uniform_codes():
    quantizer = make("vq", num_codes=2, decay=0.0)
    set_codebook(quantizer, [[0.0, 0.0], [1.0, 1.0]])
    z_e = torch.tensor([[[0.1, 0.0], [0.9, 1.0], [1.1, 1.0], [1.0, 0.9]]])
    quantizer(z_e, full(z_e))
    # Shares 1/4 and 3/4 of the frames, times K = 2.
    torch.testing.assert_close(quantizer.usage, torch.tensor([0.5, 1.5]))


@pytest.mark.parametrize("kind", ["vq", "vq-ema"])
def test_dead_code_restarts_at_an_encoder_output(kind):
    quantizer = make(kind, num_codes=3, decay=0.5, restart_below=0.6)
    set_codebook(quantizer, [[0.0, 0.0], [1.0, 1.0], [900.0, 900.0]])
    z_e = torch.tensor([[[0.1, 0.0], [0.9, 1.0], [1.1, 1.0], [0.0, 0.1], [70.0, 70.0]]])
    mask = torch.tensor([[True, True, True, True, False]])
    quantizer(z_e, mask)  # usage of the third: 0.5 x 1 + 0.5 x 0 = 0.5 < 0.6
    entry = quantizer.codebook.detach()[2]
    assert any(torch.equal(entry, vector) for vector in z_e[mask])
    assert float(quantizer.usage[2]) == 1.0  # a new life, not to be taken at once
    if isinstance(quantizer, EMAQuantizer):
        torch.testing.assert_close(quantizer.ema_sum[2] / quantizer.ema_count[2], entry)


def test_restarts_depend_on_the_number_of_the_update_alone():
    z_e = torch.randn(1, 40, 2)
    entries = []
    for noise in (0, 1):
        torch.manual_seed(noise)
        quantizer = make(num_codes=8, restart_below=2.0)
        set_codebook(quantizer, torch.linspace(-1, 1, 16).view(8, 2))
        quantizer(z_e, full(z_e))
        entries.append(quantizer.codebook.clone())
    assert torch.equal(*entries)


@pytest.mark.parametrize("kind", ["vq", "vq-ema"])
def test_zero_never_restarts(kind):
    quantizer = make(kind, num_codes=2, code_dim=1, decay=0.9, restart_below=0.0)
    set_codebook(quantizer, [[0.0], [1000.0]])
    z_e = torch.tensor([[[0.0], [1.0]]])
    for _ in range(20):
        quantizer(z_e, full(z_e))
    assert float(quantizer.codebook[1].detach()) == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize("kind", ["vq", "vq-ema"])
def test_kmeans_initialisation_finds_separated_clusters(kind):
    quantizer = make(kind)
    centres = torch.tensor([[10.0, 0.0], [-10.0, 0.0], [0.0, 10.0], [0.0, -10.0]])
    quantizer.initialise(centres.repeat(50, 1) + 0.1 * torch.randn(200, 2), seed=0)
    distances = torch.cdist(centres, quantizer.codebook.detach())
    assert distances.min(1).values.max() < 0.2  # each centre has an entry
    assert sorted(distances.argmin(1).tolist()) == [0, 1, 2, 3]  # of its own
    if isinstance(quantizer, EMAQuantizer):
        torch.testing.assert_close(quantizer.ema_sum / quantizer.ema_count[:, None], quantizer.codebook)


def test_initialisation_repeats_with_its_seed():
    first, second = make(), make()
    z_e = torch.randn(100, 2)
    first.initialise(z_e, seed=3)
    second.initialise(z_e, seed=3)
    assert torch.equal(first.codebook, second.codebook)


@pytest.mark.parametrize("kind", ["vq", "vq-ema"])
@pytest.mark.parametrize("normalize", ["none", "batch", "sphere"])
@given(seed=st.integers(0, 1000))
def test_masked_frames_do_not_count(kind, normalize, seed):
    generator = torch.Generator().manual_seed(seed)
    z_e = torch.randn(2, 12, 3, generator=generator)
    mask = torch.rand(2, 12, generator=generator) < 0.7
    mask[:, 0] = True
    outcomes = []
    for junk in (0.0, 40.0):
        torch.manual_seed(1)
        quantizer = make(kind, 5, 3, normalize, restart_below=0.3)
        out = quantizer(torch.where(mask[..., None], z_e, junk), mask)
        state = {name: value.clone() for name, value in quantizer.state_dict().items()}
        outcomes.append((out.codebook_loss, out.commitment_loss, out.codes[mask], state))
    (first, second) = outcomes
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(first[2], second[2])
    assert all(torch.equal(first[3][name], second[3][name]) for name in first[3])


def test_sphere_gives_vectors_and_entries_unit_length():
    quantizer = make(num_codes=3, code_dim=4, normalize="sphere")
    quantizer.initialise(torch.randn(60, 4), seed=0)
    z_e = 7 * torch.randn(2, 30, 4)
    for _ in range(3):
        quantizer(z_e, full(z_e))
    torch.testing.assert_close(quantizer.prepare(z_e).norm(dim=-1), torch.ones(2, 30))
    torch.testing.assert_close(quantizer.codebook.norm(dim=-1), torch.ones(3))
    assert torch.equal(quantizer.encode(z_e), quantizer.encode(3 * z_e))  # length carries nothing


def test_continuous_leaves_everything_alone():
    quantizer = make(restart_below=0.5)
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    z_e = torch.randn(2, 9, 2, requires_grad=True)
    out = quantizer(z_e, full(z_e), continuous=True)
    assert torch.equal(out.z_q, z_e)
    assert float(out.codebook_loss) == float(out.commitment_loss) == 0
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


def test_bfloat16_autocast_does_not_change_codes():
    quantizer = make("vq", 64, 8).eval()
    set_codebook(quantizer, torch.randn(64, 8))
    z_e = torch.randn(1, 500, 8)
    expected = quantizer.encode(z_e)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer.encode(z_e), expected)
        assert torch.equal(quantizer(z_e, full(z_e)).codes, expected)


def test_the_papers_setting_is_plain_vector_quantization(tiny_values):
    paper = {"kind": "vq", "normalize": "none", "data_init": False, "restart_below": 0, "num_codes": 16}
    model = VQVAE(parse_recipe(tiny_values | {"bottleneck": paper | {"code_dim": 4}}, "test"), ("a", "b"))
    bottleneck = model.bottleneck
    assert type(bottleneck) is VectorQuantizer
    assert isinstance(bottleneck.codebook, torch.nn.Parameter)
    assert float(bottleneck.codebook.detach().abs().max()) <= 1 / 16  # uniform in [-1/K, 1/K]
    z_e = torch.randn(1, 50, 4)
    assert torch.equal(bottleneck.prepare(z_e), z_e)  # quantized as the encoder gave it
    before = bottleneck.codebook.detach().clone()
    bottleneck.train()(z_e, full(z_e))
    assert torch.equal(bottleneck.codebook.detach(), before)  # only its loss moves it
