"""Teacher-forced nats: all callers get the same ones, and what lies outside an utterance costs nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from priors import make_prior
from vqspeech.config import parse_recipe
from vqspeech.data.code_store import open_code_store
from vqspeech.likelihood import nats
from vqspeech.likelihood.bound import utterance_batches
from vqspeech.likelihood.nats import code_nats, sample_nats, surprisals, utterance_nats
from vqspeech.models.vqvae import VQVAE


@pytest.fixture(params=[1, 4], ids=["a sample a pass", "four samples a pass"])
def model(request, tiny_values, store):
    """An untrained model of the tests' recipe."""
    decoder = tiny_values["decoder"] | {"samples_per_step": request.param}
    return VQVAE(parse_recipe(tiny_values | {"decoder": decoder}, "the tests' recipe"), store.speakers)


@pytest.fixture
def batch(model, store):
    """Utterances of different lengths in one batch."""
    (batch,) = utterance_batches(model, store, "train", list(store.utterances("train"))[:4])
    assert not batch.sample_mask.all()
    return batch


def test_a_sample_costs_its_negative_log_probability_given_the_true_past(model, batch):
    codes = model.bottleneck.encode(model.encoder(batch.wav))
    found = sample_nats(model.eval(), batch, codes, batch.speaker)
    with torch.no_grad():
        condition = model.decoder_condition(model.bottleneck.lookup(codes), batch.frame_mask, batch.speaker)
        for row, classes, frames, inside in zip(found, batch.classes, condition, batch.sample_mask, strict=True):
            previous = torch.tensor([128, *classes[:-1].tolist()])  # silence before the first
            p = model.wavenet(previous[None], frames[None])[0].double().softmax(-1)
            for t in range(0, len(classes), 97):
                assert float(row[t]) == pytest.approx(-math.log(p[t, classes[t]]) if inside[t] else 0, rel=1e-5)


def test_an_utterance_costs_the_sum_of_its_samples_whatever_the_window(model, batch, monkeypatch):
    codes = model.bottleneck.encode(model.encoder(batch.wav))
    samples = sample_nats(model.eval(), batch, codes, batch.speaker).double().sum(1)
    for window in (1, 3000, nats.WINDOW_SAMPLES):
        monkeypatch.setattr(nats, "WINDOW_SAMPLES", window)
        torch.testing.assert_close(utterance_nats(model, batch, codes, batch.speaker), samples)


def test_surprisals_are_the_nats_of_codes_in_bits(model, store, tmp_path):
    prior, codes = make_prior(model), open_code_store(tmp_path / "codes", model, store, 2)
    numbers = codes.sequences("train")[:5]
    for row, number in zip(surprisals(prior, codes, numbers), numbers.tolist(), strict=True):
        own = torch.from_numpy(codes.read(number).astype(np.int64))[None]
        speaker = torch.tensor([codes.speaker(number)])
        alone = code_nats(prior, own, torch.tensor([own.shape[1]]), speaker)[0]
        np.testing.assert_allclose(row, alone.numpy() / math.log(2), rtol=1e-5)
