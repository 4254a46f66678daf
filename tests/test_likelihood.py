"""The bound on log p(x): bits of samples given codes and speaker, plus the prior's bits for the codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from priors import make_flat_prior, make_prior

from vqspeech.audio import FULL_SCALE, mu_law_encode
from vqspeech.data.batches import Batches
from vqspeech.likelihood import Likelihood, measure_likelihood, prior_nats


def batches_of(model, store, split="valid", at_a_time=3):
    batches = Batches(
        store,
        split,
        crop_samples=model.hop_length,
        hop_length=model.hop_length,
        halo=model.encoder.halo,
        context_frames=model.conditioner.context,
    )
    utterances = list(store.utterances(split))
    for start in range(0, len(utterances), at_a_time):
        yield batches.utterance_batch(utterances[start : start + at_a_time])


def test_the_bound_is_the_sum_over_samples_and_codes_one_utterance_at_a_time(model, store):
    prior = make_prior(model)
    found = measure_likelihood(model, prior, batches_of(model, store))
    sample_bits = code_bits = 0.0
    num_samples = num_codes = 0
    with torch.no_grad():
        for index in store.utterances("valid"):
            wav = store.read(index).astype(np.float32) / FULL_SCALE
            speaker = store.speaker(index)
            classes = mu_law_encode(wav)
            codes = model.encode(wav)
            condition = model.condition(codes, speaker)
            padded = np.pad(classes, (0, len(codes) * 16 - len(classes)), constant_values=128)
            previous = torch.from_numpy(np.concatenate([[128], padded[:-1]]))
            log_p = model.wavenet(previous[None], condition[None])[0].double().log_softmax(-1).numpy()
            sample_bits -= sum(log_p[t, c] for t, c in enumerate(classes)) / math.log(2)
            said = [*codes.tolist(), prior.stop]
            for n, code in enumerate(said):
                past = torch.tensor([said[:n]], dtype=torch.long)
                code_bits -= float(
                    prior(past, torch.tensor([speaker]))[0, -1].double().log_softmax(-1)[code]
                ) / math.log(2)
            num_samples += len(wav)
            num_codes += len(codes)
    assert (found.num_samples, found.num_codes) == (num_samples, num_codes)
    assert found.sample_bits == pytest.approx(sample_bits, rel=1e-5)
    assert found.code_bits == pytest.approx(code_bits, rel=1e-5)
    assert found.bits_per_sample == pytest.approx((sample_bits + code_bits) / num_samples, rel=1e-5)


def test_batching_changes_nothing(model, store):
    prior = make_prior(model)
    one = measure_likelihood(model, prior, batches_of(model, store, at_a_time=1))
    three = measure_likelihood(model, prior, batches_of(model, store, at_a_time=3))
    assert one.as_metrics() == pytest.approx(three.as_metrics(), rel=1e-5)


def test_a_decoder_and_a_prior_that_know_nothing_cost_eight_bits_and_the_logarithm_of_k(model, store):
    with torch.no_grad():
        model.wavenet.head.weight.zero_()
        model.wavenet.head.bias.zero_()
    without = measure_likelihood(model, None, batches_of(model, store))
    assert without.sample_bits == pytest.approx(8 * without.num_samples)
    assert without.code_bits == pytest.approx(3 * without.num_codes)  # K = 8
    flat = measure_likelihood(model, make_flat_prior(model, [0.0] * 9), batches_of(model, store))
    utterances = len(store.utterances("valid"))
    assert flat.code_bits == pytest.approx((flat.num_codes + utterances) * math.log2(9))  # each end is a symbol too


def test_codes_after_the_end_do_not_count(model):
    prior = make_prior(model)
    speaker = torch.tensor([1, 2])
    codes = torch.randint(0, 8, (2, 10))
    short = prior_nats(prior, codes[:, :4], torch.tensor([4, 4]), speaker)
    assert prior_nats(prior, codes, torch.tensor([4, 4]), speaker).tolist() == pytest.approx(short.tolist())


def test_rates_follow_by_hand():
    likelihood = Likelihood(sample_bits=24_000.0, code_bits=400.0, num_samples=8000, num_codes=125, sample_rate=4000)
    assert likelihood.bits_per_sample == 3.05
    assert likelihood.code_bits_per_sample == 0.05
    assert likelihood.bits_per_second == pytest.approx(12_200)
    assert likelihood.code_bits_per_second == pytest.approx(200)
    assert likelihood.describe() == (
        "3.050 bits/sample, 0.0500 of them for the codes; 12200 bit/s, 200 of them for the codes"
    )
