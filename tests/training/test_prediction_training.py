"""A training with linear prediction and a deeper conditioner: from the warm start to a model that speaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainings import after_step, assert_same, state_of, stop
from vqspeech.config import parse_recipe
from vqspeech.conversion import convert
from vqspeech.data.batches import Batches
from vqspeech.errors import RecipeError
from vqspeech.losses import cross_entropy, vqvae_losses
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import mu_law_encode, previous_classes
from vqspeech.nn.linear_prediction import excite
from vqspeech.nn.mel import LogMel
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.pretrained.packing import pack
from vqspeech.training.start import train

PREDICTING = {"decoder.prediction_order": 4, "decoder.condition_blocks": 2, "train.warm_start_steps": 3}


@pytest.fixture
def recipe(tiny_values):
    values = tiny_values | {"decoder": tiny_values["decoder"] | {"prediction_order": 4, "condition_blocks": 2}}
    return parse_recipe(values, "test")


@pytest.fixture
def batch(recipe, store):
    model = VQVAE(recipe, store.speakers)
    return Batches.for_model(model, store, "train", crop_samples=512, batch_size=4).batch(3)


def run(model, batch, **options):
    return model(batch.wav, previous_classes(batch.classes), batch.frame_mask, batch.speaker, **options)


def test_what_is_taught_is_the_excitation_by_the_filters_of_the_predicted_spectrum(recipe, store, batch):
    model = VQVAE(recipe, store.speakers).eval()
    out = run(model, batch)
    filters = model.prediction(out.spectrum)
    expected = excite(batch.wav, model.lead, filters, model.hop_length)
    assert model.lead == (1 + 3) * 16 + model.encoder.halo[0]  # one frame of context, and 1 + 2 of the blocks
    assert torch.equal(out.classes, mu_law_encode(expected.level))
    assert not torch.equal(out.classes, batch.classes)
    losses = vqvae_losses(model, out, batch, LogMel(4000, 16, 40))
    assert torch.equal(losses.reconstruction, cross_entropy(out.logits, out.classes, batch.sample_mask))
    condition = model.decoder_condition(out.quantized.z_q, batch.frame_mask, batch.speaker)
    torch.testing.assert_close(out.logits, model.wavenet(previous_classes(out.classes), condition))


def test_the_samples_before_the_crop_are_the_recordings(recipe, store):
    """A crop's excitation is that of the whole utterance."""
    model = VQVAE(recipe, store.speakers).eval()
    batches = Batches.for_model(model, store, "train", crop_samples=512)
    whole = batches.assemble(np.array([0]), np.array([0]), 1024)
    crop = batches.assemble(np.array([0]), np.array([256]), 512)
    with torch.no_grad():
        out = [run(model, one).classes[0] for one in (whole, crop)]
    assert torch.equal(out[1], out[0][256:768])


def test_the_decoder_says_what_was_said_whatever_voice_the_encoder_heard(recipe, store, batch):
    model = VQVAE(recipe, store.speakers).eval()
    heard = replace(batch, encoder_wav=batch.wav.flip(1))
    out = model(heard.encoder_wav, previous_classes(batch.classes), batch.frame_mask, batch.speaker, spoken=batch.wav)
    expected = excite(batch.wav, model.lead, model.prediction(out.spectrum), model.hop_length)
    assert torch.equal(out.classes, expected.classes)


def test_filters_are_those_of_full_precision_and_get_no_gradient(recipe, store, batch):
    model = VQVAE(recipe, store.speakers).eval()
    condition = torch.randn(2, 9, model.conditioner.channels)
    expected = model.filters(condition)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.filters(condition)
    assert torch.equal(found.coefficients, expected.coefficients)
    assert not found.coefficients.requires_grad
    run(model, batch).logits.sum().backward()
    assert all(p.grad is None for p in model.spectral_head.parameters())


def test_the_warm_start_predicts_nothing_yet(recipe, store, batch):
    assert run(VQVAE(recipe, store.speakers), batch, with_decoder=False).classes is None


def test_defaults_leave_weights_and_their_names_as_they_are(tiny_values, store):
    changed = tiny_values | {"decoder": tiny_values["decoder"] | {"prediction_order": 4}}
    weights = []
    for values in (tiny_values, changed):
        torch.manual_seed(0)
        weights.append(VQVAE(parse_recipe(values, "test"), store.speakers).state_dict())
    assert_same(*map(dict, weights))  # prediction has no weights, and draws no random numbers


@pytest.mark.parametrize("decoder", [{}, {"decoder.samples_per_step": 4, "decoder.pitch_taps": 8}])
def test_a_resumed_training_equals_an_uninterrupted_one(work, corpus, write_recipe, monkeypatch, decoder):
    recipe = write_recipe(PREDICTING | decoder | {"train.freeze_encoder": True})
    assert train(recipe, data=corpus, out=Path("whole"), stage="vqvae").finished
    after_step(monkeypatch, 5, stop)
    for resume in (False, True):
        result = train(recipe, data=corpus, out=Path("stopped"), resume=resume, stage="vqvae")
    assert result.finished
    assert_same(state_of("whole"), state_of("stopped"))


def test_a_trained_model_speaks_and_keeps_its_spectrum_when_packed(work, corpus, write_recipe, chirp):
    train(write_recipe(PREDICTING), data=corpus, out=Path("run"), stage="vqvae")
    pack("run", "packed", data="vowels", licence="CC0")
    names = load_file("packed/model.safetensors").keys()
    assert any(name.startswith("spectral_head.") for name in names)
    assert not any(name.startswith(("adversary.", "prediction.")) for name in names)
    whole, packed = read_model("run"), read_model("packed")
    assert packed.adversary is None
    for model in (whole, packed):
        wav = convert(model, chirp[:2000], "ben")
        assert len(wav) == 2000
        assert np.isfinite(wav).all() and np.abs(wav).max() <= 1
    condition = whole.condition(whole.encode(chirp), 1)
    torch.testing.assert_close(packed.filters(condition).gain, whole.filters(condition).gain, rtol=0.02, atol=0)


def test_voices_alone_keep_the_spectrum_too(work, corpus, write_recipe):
    changes = PREDICTING | {"data.voices": ["ada", "cyd"], "train.freeze_encoder": True}
    train(write_recipe(changes), data=corpus, out=Path("run"), stage="vqvae")
    model = read_model("run")
    assert model.speakers == ("ada", "cyd")
    assert model.spectral_head is not None


def test_a_training_goes_on_from_a_model_with_prediction(work, corpus, write_recipe):
    train(write_recipe(PREDICTING, "base.toml"), data=corpus, out=Path("base"), stage="vqvae")
    at_once = PREDICTING | {"train.warm_start_steps": 0, "train.freeze_encoder": True, "train.steps": 2,
                            "train.learning_rate": 1e-30, "train.muon_rate": 1e-30}  # fmt: skip
    train(write_recipe(at_once), data=corpus, out=Path("run"), init="base", stage="vqvae")
    assert_same(load_file("run/model.safetensors"), load_file("base/model.safetensors"))


def test_recipes_that_cannot_predict_are_refused_in_words(work, corpus, write_recipe):
    with pytest.raises(RecipeError, match=r"decoder.prediction_order needs loss.spectral > 0"):
        train(write_recipe({"decoder.prediction_order": 4, "loss.spectral": 0.0}), data=corpus, out=Path("run"))
    with pytest.raises(RecipeError, match=r"decoder.prediction_order needs train.warm_start_steps > 0"):
        train(write_recipe({"decoder.prediction_order": 4}), data=corpus, out=Path("run"))
    train(write_recipe(PREDICTING, "base.toml"), data=corpus, out=Path("base"), stage="vqvae")
    others = {"loss.spectral_bands": 20, "decoder.prediction_order": 3, "decoder.condition_blocks": 1}
    for key, value in others.items():
        with pytest.raises(RecipeError, match=f"cannot start from base: {key} = {value}"):
            train(write_recipe(PREDICTING | {key: value}), data=corpus, out=Path("run"), init="base", stage="vqvae")
