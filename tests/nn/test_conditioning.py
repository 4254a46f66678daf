"""Conditioning: how far it sees. The speaker adversary: what it guesses from, and what its reversed gradients do."""

import pytest
import torch
from torch.nn import functional as F

from vqspeech.losses import bits, cross_entropy
from vqspeech.nn.conditioning import Conditioner, SpeakerAdversary


@pytest.mark.parametrize(("near", "num_blocks", "context"), [(0, 0, 0), (2, 0, 2), (1, 1, 2), (2, 3, 9)])
def test_a_conditioning_frame_sees_its_context_and_nothing_beyond(near, num_blocks, context):
    conditioner = Conditioner(3, 2, 8, near, num_blocks).double()
    assert conditioner.context == context  # 1 + 2 + 4 of three blocks, beside the first convolution's
    z_q = torch.randn(1, 2 * context + 5, 3, dtype=torch.float64, requires_grad=True)
    frames = conditioner(z_q, torch.randn(1, 2, dtype=torch.float64))
    assert frames.shape == (1, 5, 10)
    (seen,) = torch.autograd.grad(frames[0, 2].pow(2).sum(), z_q)
    seen = seen[0].abs().sum(1).nonzero()[:, 0].tolist()
    assert min(seen) >= 2 and max(seen) <= 2 + 2 * context
    if num_blocks:  # zeros of the ReLUs aside, it sees all of it
        assert len(seen) >= context


def test_a_block_adds_to_a_frame_what_it_makes_of_those_a_dilation_away():
    conditioner = Conditioner(3, 2, 4, 0, 2)
    block = conditioner.blocks[1]
    assert block.dilation == 2
    x = torch.randn(4, 9)
    weight, bias = block.around.weight, block.around.bias
    for n in range(5):
        around = sum(weight[:, :, k] @ x[:, n + 2 * k] for k in range(3)) + bias
        expected = F.relu(x[:, n + 2] + block.mix.weight[:, :, 0] @ F.relu(around) + block.mix.bias)
        torch.testing.assert_close(block(x[None])[0, :, n], expected)


def test_an_adversary_of_the_crop_pools_mean_and_maximum_over_the_frames_inside():
    adversary = SpeakerAdversary(3, 4, width=5, context="crop")
    z_q = torch.randn(2, 8, 3)
    mask = torch.arange(8) < torch.tensor([[8], [5]])
    logits = adversary(z_q, mask, 1.0)
    assert logits.shape == (2, 8, 4)
    for row, z, length in zip(logits, z_q, (8, 5), strict=True):
        x = z[:length].T[None]
        for layer in adversary.layers[:-1]:
            x = layer(x)
        pooled = torch.cat([x[0].mean(1), x[0].max(1).values])
        expected = adversary.layers[-1].weight[:, :, 0] @ pooled + adversary.layers[-1].bias
        for found in row:  # one guess, the same at every frame
            torch.testing.assert_close(found, expected)


def test_an_adversary_of_the_crop_hears_what_no_nine_frames_tell():
    # Speaker 0 makes one sound at frame 4, speaker 1 none: of speaker 0's frames 23 see nothing of it.
    z_q, mask = torch.zeros(2, 32, 2), torch.ones(2, 32, dtype=torch.bool)
    z_q[0, 4] = 1.0
    bits_of = {}
    for context in ("frames", "crop"):
        torch.manual_seed(0)
        adversary = SpeakerAdversary(2, 2, width=8, context=context)
        optimizer = torch.optim.Adam(adversary.parameters(), 3e-2)
        for _ in range(150):
            loss = cross_entropy(adversary(z_q, mask, 1.0), torch.tensor([[0], [1]]).expand(-1, 32), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        bits_of[context] = bits(float(loss.detach()))
    # 23 of speaker 0's frames look as 30 of speaker 1's do (two hear their edge): 53 / 64 x H(23 / 53) = 0.817 bits
    # cannot be told.
    assert bits_of["frames"] > 0.81
    assert bits_of["crop"] < 0.05


def test_adversary_learns_the_speaker_while_the_encoder_unlearns_it(model):
    z_q = torch.randn(2, 9, 4, requires_grad=True)
    mask = torch.ones(2, 9, dtype=torch.bool)
    forward = model.adversary(z_q, mask, 0.0)
    (still,) = torch.autograd.grad(forward.sum(), z_q)
    assert not still.any()
    (once,) = torch.autograd.grad(model.adversary(z_q, mask, 1.0).pow(2).sum(), z_q)
    (half,) = torch.autograd.grad(model.adversary(z_q, mask, 0.5).pow(2).sum(), z_q)
    plain = z_q.transpose(1, 2)
    (ascent,) = torch.autograd.grad(model.adversary.layers(plain).pow(2).sum(), z_q)
    torch.testing.assert_close(once, -ascent)
    torch.testing.assert_close(half, -0.5 * ascent)
