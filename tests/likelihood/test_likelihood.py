"""The bound on log p(x): bits of samples given codes and speaker, plus the prior's bits for the codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from priors import make_flat_prior, make_prior
from vqspeech.audio import FULL_SCALE
from vqspeech.errors import CorpusError
from vqspeech.likelihood import nats
from vqspeech.likelihood.bound import (
    Likelihood,
    choose_utterances,
    held_out_likelihood,
    likelihoods,
    measure_likelihood,
    utterance_batches,
)
from vqspeech.likelihood.nats import code_nats
from vqspeech.mu_law import mu_law_encode


def batches_of(model, store, split="valid", at_a_time=3):
    return utterance_batches(model, store, split, store.utterances(split), at_a_time)


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
    short = code_nats(prior, codes[:, :4], torch.tensor([4, 4]), speaker)
    whole = code_nats(prior, codes, torch.tensor([4, 4]), speaker)
    torch.testing.assert_close(whole[:, :5], short)
    assert not whole[:, 5:].any()


def test_rates_follow_by_hand():
    bound = Likelihood(sample_bits=24_000.0, code_bits=400.0, num_samples=8000, num_codes=125, sample_rate=4000)
    assert bound.bits_per_sample == 3.05
    assert bound.code_bits_per_sample == 0.05
    assert bound.bits_per_second == pytest.approx(12_200)
    assert bound.code_bits_per_second == pytest.approx(200)
    assert bound.describe() == (
        "3.050 bits/sample, 0.0500 of them for the codes; 12200 bit/s, 200 of them for the codes"
    )


def test_windows_change_nothing(model, store, monkeypatch):
    whole = measure_likelihood(model, None, batches_of(model, store))
    assert whole.num_samples > 10_000
    for samples in (150, 2000):  # a few frames of each utterance, or many
        monkeypatch.setattr(nats, "WINDOW_SAMPLES", samples)
        assert measure_likelihood(model, None, batches_of(model, store)).sample_bits == pytest.approx(
            whole.sample_bits, rel=1e-6
        )


def test_speech_taken_together_weighs_by_its_length(model, store):
    prior = make_prior(model)
    parts = [one for batch in batches_of(model, store) for one in likelihoods(model, prior, batch)]
    assert len(parts) == len(store.utterances("valid"))
    pooled = Likelihood.pool(parts)
    assert pooled == measure_likelihood(model, prior, batches_of(model, store))
    assert pooled.bits_per_sample == pytest.approx(
        sum(part.bits_per_sample * part.num_samples for part in parts) / sum(part.num_samples for part in parts)
    )
    assert pooled.duration_s == pytest.approx(sum(store.length(i) for i in store.utterances("valid")) / 4000)


def test_metrics_give_the_likelihood_back():
    found = Likelihood(24_000.0, 400.0, 8000, 125, 4000)
    assert Likelihood.from_metrics(found.as_metrics()) == found


class Lengths:
    """A store of utterances of these lengths, a sample a second."""

    sample_rate = 1

    def __init__(self, *lengths: int) -> None:
        self.lengths = lengths

    def utterances(self, split: str) -> range:
        return range(len(self.lengths))

    def length(self, index: int) -> int:
        return self.lengths[index]


def test_as_much_is_measured_as_asked_for_spread_over_the_split():
    store = Lengths(*[10] * 20)
    assert choose_utterances(store, "valid", 50) == [2, 6, 10, 14, 18]
    assert choose_utterances(store, "valid", 10_000) == choose_utterances(store, "valid", None) == list(range(20))
    assert choose_utterances(store, "valid", 1) == [10]


def test_long_recordings_are_left_out_unless_there_are_no_others():
    assert choose_utterances(Lengths(10, 31, 30, 3600), "valid", None) == [0, 2]
    assert choose_utterances(Lengths(3600, 40, 50), "valid", 10) == [1]


def test_a_split_without_utterances_is_told(model, store, monkeypatch):
    monkeypatch.setattr(store, "utterances", lambda split: range(0))
    with pytest.raises(CorpusError, match="no utterance in its valid split"):
        held_out_likelihood(model, None, store, "valid")
