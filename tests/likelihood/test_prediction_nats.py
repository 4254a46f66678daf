"""Bits of a model with linear prediction: those of the waveform's own classes, so that they compare with all others."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vqspeech.config import parse_recipe
from vqspeech.data.batches import Batch
from vqspeech.likelihood import nats
from vqspeech.likelihood.bound import utterance_batches
from vqspeech.likelihood.nats import sample_nats, utterance_nats, waveform_nats
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import MU_LAW_CLASSES, class_edges, mu_law_decode, mu_law_encode, previous_classes
from vqspeech.nn.linear_prediction import Excitation

EDGES = class_edges()


@pytest.fixture
def predicting(tiny_values, store):
    """A model of the tests' recipe that predicts, in evaluation mode."""
    decoder = tiny_values["decoder"] | {"prediction_order": 4, "condition_blocks": 1}
    return VQVAE(parse_recipe(tiny_values | {"decoder": decoder}, "test"), store.speakers).eval()


@pytest.fixture
def batch(predicting, store) -> Batch:
    """Utterances of different lengths."""
    (batch,) = utterance_batches(predicting, store, "train", list(store.utterances("train"))[:4])
    assert not batch.sample_mask.all()
    return batch


def shares_by_hand(p: np.ndarray, level: float, scale: float, x: float) -> np.ndarray:
    """Probability of each class of x, naively: every class of the excitation, spread over the amplitudes it means."""
    prediction = x - level / scale
    lower, upper = EDGES[:-1] / scale + prediction, EDGES[1:] / scale + prediction
    lower[0], upper[-1] = min(lower[0], -1), max(upper[-1], 1)
    found = np.zeros(MU_LAW_CLASSES)
    for k in range(MU_LAW_CLASSES):
        shared = np.minimum(upper, EDGES[k + 1]) - np.maximum(lower, EDGES[k])
        found[k] = float(p @ (np.maximum(shared, 0) / (upper - lower)))
    return found


CASES = [
    (0.0, 0.5, 0.0),  # classes of the excitation as wide as two of the waveform's
    (0.01, 1.0, 0.01),  # the same as the waveform's: nothing is predicted
    (-0.3, 40.0, 0.2),  # narrow ones
    (0.001, 3000.0, 0.0),  # narrower by far than the waveform's
    (5.0, 50.0, 0.5),  # clipped
    (-700.0, 1000.0, -0.9),  # by far
    (0.2, 0.05, 0.9),  # they reach far beyond full scale
]


@pytest.mark.parametrize(("level", "scale", "x"), CASES)
def test_a_class_of_the_waveform_gets_what_falls_into_it(level, scale, x):
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(0, 3, (1, 1, MU_LAW_CLASSES)))
    shares = shares_by_hand(logits.softmax(-1).numpy()[0, 0], level, scale, x)
    assert shares.sum() <= 1 + 1e-9
    if scale > 1:  # the classes of the excitation reach from full scale to full scale, and hardly beyond
        assert shares.sum() == pytest.approx(1, abs=0.3)
    for k in (0, 1, 40, 127, 128, 129, 200, 255):
        # The same past, another sample: prediction and scale stay, so the level moves.
        other = float(mu_law_decode(np.array(k)))
        moved = Excitation(torch.tensor([[level + (other - x) * scale]], dtype=torch.float64),
                           torch.tensor([[scale]], dtype=torch.float64))  # fmt: skip
        found = waveform_nats(logits, moved, torch.tensor([[other]], dtype=torch.float64), torch.tensor([[k]]))
        if shares[k] > 0:
            assert float(found) == pytest.approx(-math.log(shares[k]), rel=1e-5, abs=1e-6)


def test_over_all_classes_probabilities_sum_to_one_where_full_scale_is_not_exceeded():
    logits = torch.randn(1, 1, MU_LAW_CLASSES, dtype=torch.float64)
    scale, prediction = 3.0, 0.1  # the excitation's range is a third of the waveform's, and its last classes go on
    x = mu_law_decode(torch.arange(MU_LAW_CLASSES)).double()[None]  # (1, Q)
    excitation = Excitation((x - prediction) * scale, torch.full_like(x, scale))
    found = waveform_nats(logits.expand(1, MU_LAW_CLASSES, -1), excitation, x, torch.arange(MU_LAW_CLASSES)[None])
    assert float((-found).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_where_cells_are_wide_it_is_the_change_of_variables():
    # Cells of the excitation that each hold many of the waveform's: density times width, by hand.
    level, scale, x = 0.4, 0.5, 0.02
    logits = torch.randn(1, 1, MU_LAW_CLASSES)
    target, own = int(mu_law_encode(np.array(level))), int(mu_law_encode(np.array(x)))
    width = (EDGES[target + 1] - EDGES[target]) / scale
    expected = -float(logits.log_softmax(-1)[0, 0, target]) + math.log(width) - math.log(EDGES[own + 1] - EDGES[own])
    each = [torch.tensor([[value]]) for value in (level, scale, x)]
    found = waveform_nats(logits, Excitation(*each[:2]), each[2], torch.tensor([[own]]))
    assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("unlikely", [20.0, 100.0, 2000.0])
def test_what_is_next_to_impossible_costs_its_finite_nats(unlikely):
    """Differences of sums near 1 would be rounded to nothing, or to less."""
    level, scale, wav = torch.tensor([[0.31]]), torch.tensor([[1.0]]), torch.tensor([[0.31]])
    classes = mu_law_encode(wav)
    logits = torch.full((1, 1, 256), -unlikely)
    logits[..., 10] = 0.0
    found = waveform_nats(logits, Excitation(level, scale), wav, classes)
    # The excitation is the waveform: its own class alone lies there.
    assert float(found) == pytest.approx(unlikely + np.log1p(255 * np.exp(-unlikely)), rel=1e-5)


def test_without_a_filter_it_is_the_cross_entropy_of_the_classes(store):
    wav = torch.from_numpy(store.wav(0)[:500])[None]
    logits, classes = torch.randn(1, 500, MU_LAW_CLASSES), mu_law_encode(wav)
    found = waveform_nats(logits, Excitation(wav, torch.ones_like(wav)), wav, classes)
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), classes, reduction="none")
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_a_sample_costs_what_the_models_own_distribution_over_its_excitation_says(predicting, batch):
    codes = predicting.bottleneck.encode(predicting.encoder(batch.wav))
    found = sample_nats(predicting, batch, codes, batch.speaker)
    with torch.no_grad():
        entries = predicting.bottleneck.lookup(codes)
        condition = predicting.decoder_condition(entries, batch.frame_mask, batch.speaker)
        level, scale = predicting.excitation(batch.wav, condition)
        p = predicting.wavenet(previous_classes(mu_law_encode(level)), condition).double().softmax(-1).numpy()
    wav = batch.wav[:, predicting.lead :]
    for row in range(2):
        for t in range(0, level.shape[1], 97):
            x = float(wav[row, t])
            share = shares_by_hand(p[row, t], float(level[row, t]), float(scale[row, t]), x)[batch.classes[row, t]]
            expected = -math.log(share) if batch.sample_mask[row, t] else 0
            assert float(found[row, t]) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_an_utterance_costs_the_sum_of_its_samples_whatever_the_window(predicting, batch, monkeypatch):
    codes = predicting.bottleneck.encode(predicting.encoder(batch.wav))
    samples = sample_nats(predicting, batch, codes, batch.speaker).double().sum(1)
    for window, piece in ((1, 7), (3000, 1 << 13), (nats.WINDOW_SAMPLES, 100)):
        monkeypatch.setattr(nats, "WINDOW_SAMPLES", window)
        monkeypatch.setattr(nats, "PIECE_SAMPLES", piece)
        torch.testing.assert_close(utterance_nats(predicting, batch, codes, batch.speaker), samples)


def test_a_filter_that_fits_badly_pays(predicting, batch):
    """Loud speech as silence says it: the excitation is clipped, which must not look cheap."""
    codes = predicting.bottleneck.encode(predicting.encoder(batch.wav))
    with torch.no_grad():
        predicting.wavenet.head.weight.zero_()
        predicting.wavenet.head.bias.zero_()
        cost = []
        for level in (-3.0, -7.0):
            predicting.spectral_head.layers[2].weight.zero_()
            predicting.spectral_head.layers[2].bias.fill_(level)
            cost.append(float(sample_nats(predicting, batch, codes, batch.speaker)[batch.sample_mask].mean()))
    assert cost[1] > cost[0] + 1
