"""Losses: term by term against numpy, and none of them hears padding."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.config import parse_recipe
from vqspeech.data.batches import Batches
from vqspeech.losses import (
    Losses,
    bits,
    cross_entropy,
    masked_mean,
    vqvae_losses,
)
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import previous_classes
from vqspeech.nn.mel import LogMel
from vqspeech.training.acceleration import Acceleration

EAGER = Acceleration("cpu", bfloat16=False, compile=False, notices=())
TERMS = ("reconstruction", "codebook", "commitment", "spectral", "adversary")


@given(seed=st.integers(0, 1000))
def test_masked_cross_entropy_equals_numpy(seed):
    random = np.random.default_rng(seed)
    logits, target = random.normal(0, 3, (2, 9, 5)), random.integers(0, 5, (2, 9))
    mask = random.random((2, 9)) < 0.6
    mask[0, 0] = True
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.mean([math.log(probabilities[b, t, target[b, t]]) for b, t in zip(*mask.nonzero(), strict=True)])
    found = cross_entropy(torch.tensor(logits), torch.tensor(target), torch.tensor(mask))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_of_a_uniform_guess_among_256_is_eight_bits():
    nats = cross_entropy(torch.zeros(1, 4, 256), torch.arange(4)[None], torch.ones(1, 4, dtype=torch.bool))
    assert bits(float(nats)) == pytest.approx(8.0)


def test_masked_mean_of_nothing_is_zero():
    assert float(masked_mean(torch.ones(3), torch.zeros(3, dtype=torch.bool))) == 0.0


def test_previous_classes_are_one_sample_earlier():
    assert previous_classes(torch.tensor([[5, 6, 7], [1, 2, 3]])).tolist() == [[128, 5, 6], [128, 1, 2]]


def test_total_is_the_sum_of_the_terms():
    terms = Losses(*(torch.tensor(value) for value in (1.0, 0.5, 0.25, 2.0, 8.0, 4.0)))
    assert float(terms.total) == 15.75


def make_batch(model, store, indices, num_samples):
    batches = Batches.for_model(model, store, "train", crop_samples=1024)
    return batches.assemble(np.asarray(indices), np.zeros(len(indices), np.int64), num_samples)


def losses_of(model, batch) -> Losses:
    torch.manual_seed(0)
    log_mel = LogMel(model.sample_rate, model.hop_length, 40)
    out = model(batch.wav, previous_classes(batch.classes), batch.frame_mask, batch.speaker)
    return vqvae_losses(model, out, batch, log_mel)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["vq", "vq-ema"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_padding_changes_no_loss_and_no_gradient(training, kind, norm, tiny_values, store):
    values = tiny_values | {
        "encoder": tiny_values["encoder"] | {"norm": norm},
        "bottleneck": tiny_values["bottleneck"] | {"kind": kind},
    }
    longest = max(store.length(index) for index in store.utterances("train"))
    needed = -(-longest // 16) * 16
    outcomes = []
    for num_samples in (needed, needed + 800):
        torch.manual_seed(0)
        model = VQVAE(parse_recipe(values, "test"), store.speakers).train(training)
        losses = losses_of(model, make_batch(model, store, [0, 3, 9], num_samples))
        losses.total.backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        outcomes.append(([getattr(losses, term).detach() for term in TERMS], gradients, dict(model.named_buffers())))
    (losses, gradients, buffers), (padded_losses, padded_gradients, padded_buffers) = outcomes
    for term, few, many in zip(TERMS, losses, padded_losses, strict=True):
        torch.testing.assert_close(few, many, atol=1e-5, rtol=1e-5, msg=term)
    for name in gradients:
        torch.testing.assert_close(gradients[name], padded_gradients[name], atol=1e-4, rtol=1e-3, msg=name)
    for name in buffers:
        torch.testing.assert_close(buffers[name], padded_buffers[name], atol=1e-5, rtol=1e-5, msg=name)


def test_each_term_is_what_its_definition_says(model, store):
    model.eval()
    batch = make_batch(model, store, [1, 5], 640)
    losses = losses_of(model, batch)
    with torch.no_grad():
        out = model(batch.wav, previous_classes(batch.classes), batch.frame_mask, batch.speaker)
    z = model.bottleneck.prepare(model.encoder(batch.wav))[batch.frame_mask].detach().numpy()
    e = model.bottleneck.codebook.numpy()
    nearest = e[((z[:, None] - e) ** 2).sum(-1).argmin(1)]
    assert float(losses.commitment.detach()) == pytest.approx(0.25 * ((z - nearest) ** 2).mean(), rel=1e-4)  # beta
    assert float(losses.codebook) == 0  # moved by averages

    logits = out.logits.numpy()[batch.sample_mask.numpy()]
    target = batch.classes.numpy()[batch.sample_mask.numpy()]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -log_p[np.arange(len(target)), target].mean()
    assert float(losses.reconstruction.detach()) == pytest.approx(expected, rel=1e-4)

    speaker = np.repeat(batch.speaker.numpy()[:, None], batch.frame_mask.shape[1], axis=1)[batch.frame_mask.numpy()]
    logits = out.speaker_logits.numpy()[batch.frame_mask.numpy()]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -log_p[np.arange(len(speaker)), speaker].mean()
    assert float(losses.adversary.detach()) == pytest.approx(expected, rel=1e-4)


def test_warm_start_trains_encoder_and_conditioner_without_the_wavenet(model, store):
    batch = make_batch(model, store, [0, 1], 640)
    log_mel = LogMel(model.sample_rate, model.hop_length, 40)
    previous = previous_classes(batch.classes)
    out = model(batch.wav, previous, batch.frame_mask, batch.speaker, with_decoder=False)
    assert out.logits is None
    losses = vqvae_losses(model, out, batch, log_mel)
    assert float(losses.reconstruction) == 0
    losses.total.backward()
    assert all(p.grad is None for p in model.wavenet.parameters())
    assert all(p.grad.abs().sum() > 0 for p in model.encoder.parameters())
    assert model.conditioner.local.weight.grad.abs().sum() > 0
