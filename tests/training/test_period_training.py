"""Long-term prediction in model and training: the pitch that codes and speaker tell goes with the frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vqspeech.config import parse_recipe
from vqspeech.conversion import (
    CodesRequest,
    Request,
    SamplingOptions,
    convert_many,
    convert_stream,
    decode,
    decode_many,
)
from vqspeech.data.batches import Batches
from vqspeech.errors import RecipeError
from vqspeech.likelihood.nats import sample_nats, utterance_nats
from vqspeech.losses import OCTAVES, vqvae_losses
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import previous_classes
from vqspeech.nn.conditioning import PitchHead
from vqspeech.nn.mel import LogMel
from vqspeech.nn.pitch import PitchTracker
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.training.start import train

OPTIONS = SamplingOptions(seed=3, precision="float32")
PITCHED = {"prediction_order": 4, "condition_blocks": 2, "samples_per_step": 4, "pitch_taps": 8}


@pytest.fixture
def recipe(tiny_values):
    return parse_recipe(tiny_values | {"decoder": tiny_values["decoder"] | PITCHED}, "test")


def codes(count: int = 200) -> np.ndarray:
    return np.repeat(np.random.default_rng(0).integers(0, 8, count // 4), 4)


def test_frames_bring_the_period_that_the_head_tells(pitched_model):
    frames = pitched_model.condition(codes(), 1)
    condition, periods = frames[:, :-1], frames[:, -1]
    with torch.no_grad():
        odds, octaves = pitched_model.pitch_head(condition).unbind(-1)
    hz = 8000 / np.exp2(octaves.numpy() + np.log2(np.sqrt(20 * 134)))  # the middle of 60 to 400 Hz
    expected = np.where(odds.numpy() > 0, np.round(np.clip(8000 / hz, 20, 134)), 0)
    np.testing.assert_array_equal(periods.numpy(), expected)
    assert 0 < (periods > 0).float().mean() < 1
    assert len(set(periods.tolist())) > 3


def test_heads_octaves_are_those_of_its_periods():
    head = PitchHead(4, 16000)
    periods = torch.tensor([40.0, 80.0, 267.0])
    np.testing.assert_allclose(head.octaves(periods).numpy(), np.log2(periods.numpy() / np.sqrt(40 * 267)), rtol=1e-5)


def test_drawn_alike_by_both_engines(pitched_model):
    spoken = [
        decode(pitched_model, codes(40), "theo", temperature=0, engine=engine, precision="float32")
        for engine in ("torch", "numba")
    ]
    assert np.std(spoken[0]) > 1e-3
    np.testing.assert_allclose(*spoken, atol=1e-5)


def test_side_by_side_as_alone_and_in_one_stream(pitched_model, chirp):
    requests = [Request(chirp[:n], "bob", number) for number, n in enumerate((6000, 4100, 7777))]
    together = convert_many(pitched_model, requests, OPTIONS, num_threads=2)
    for request, wav in zip(requests, together, strict=True):
        pieces = np.array_split(request.wav, 5)
        stream = np.concatenate(list(convert_stream(pitched_model, pieces, "bob", OPTIONS, request.utterance)))
        np.testing.assert_allclose(stream[: len(wav)], wav, atol=1e-6)
    every = decode_many(pitched_model, [CodesRequest(codes(), "ann", 7)], OPTIONS, num_threads=1)[0]
    np.testing.assert_array_equal(
        every, decode(pitched_model, codes(), "ann", seed=3, utterance=7, precision="float32")
    )


def test_loss_of_pitch_is_voicing_and_octaves(recipe, store):
    model = VQVAE(recipe, store.speakers).eval()
    batch = Batches.for_model(model, store, "train", crop_samples=512, batch_size=4).batch(3)
    tracker = PitchTracker(4000, model.hop_length)
    periods = tracker.around_frames(batch.wav, model.lead, 512 // model.hop_length)
    assert 0.2 < (periods > 0).float().mean()
    out = model(batch.wav, previous_classes(batch.classes), batch.frame_mask, batch.speaker, periods=periods)
    losses = vqvae_losses(model, out, batch, LogMel(4000, model.hop_length, 40), periods=periods)
    context, voicing, octaves, inside, voiced = model.conditioner.context, 0.0, 0.0, 0, 0
    told = out.pitch.detach().numpy()
    for row, n in np.ndindex(*periods.shape):
        if batch.frame_mask[row, context + n]:
            inside += 1
            share = 1 / (1 + np.exp(-told[row, n, 0]))
            period = float(periods[row, n])
            voicing -= np.log(share if period else 1 - share)
            if period:
                voiced += 1
                octaves += abs(told[row, n, 1] - np.log2(period / np.sqrt(10 * 67)))  # 60 to 400 Hz at 4 kHz
    assert losses.pitch.item() == pytest.approx(voicing / inside + OCTAVES * octaves / voiced, rel=1e-4)
    terms = (losses.reconstruction, losses.codebook, losses.commitment, losses.spectral, losses.adversary)
    assert (losses.total - losses.pitch).item() == pytest.approx(sum(term.item() for term in terms), rel=1e-5)
    other = model(batch.wav, previous_classes(batch.classes), batch.frame_mask, batch.speaker, periods=0 * periods)
    assert not torch.equal(other.logits, out.logits)  # the true periods reach the WaveNet


def test_likelihood_knows_what_codes_and_speaker_tell_alone(recipe, store):
    model = VQVAE(recipe, store.speakers).eval()
    batch = Batches.for_model(model, store, "train").utterance_batch([0, 1], 2048)
    quantized = model.inference_codes(batch.wav, batch.frame_mask)
    nats = sample_nats(model, batch, quantized.codes, batch.speaker)
    whole = utterance_nats(model, batch, quantized.codes, batch.speaker)
    torch.testing.assert_close(nats.double().sum(1), whole, rtol=1e-5, atol=1e-2)


def test_a_trained_model_keeps_its_pitch_and_speaks(work, corpus, write_recipe):
    changes = {"decoder." + name: value for name, value in PITCHED.items()} | {"train.warm_start_steps": 3}
    train(write_recipe(changes), data=corpus, out=Path("run"), stage="vqvae")
    model = read_model("run")
    assert model.pitch_head is not None
    wav = decode(model, codes(40), "ben")
    assert np.isfinite(wav).all() and np.abs(wav).max() <= 1


@pytest.mark.parametrize(
    ("decoder", "loss", "message"),
    [
        ({"pitch_taps": 4}, {"spectral": 0.0}, "decoder.pitch_taps needs loss.spectral > 0"),
        ({"pitch_taps": 2, "samples_per_step": 4}, {"spectral": 1.0}, "less than decoder.samples_per_step = 4"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(tiny_values, decoder, loss, message):
    values = tiny_values | {"decoder": tiny_values["decoder"] | decoder, "loss": tiny_values.get("loss", {}) | loss}
    with pytest.raises(RecipeError, match=message):
        parse_recipe(values, "test")
