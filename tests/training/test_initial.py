"""`vqspeech train --init MODEL`: a training that starts from a model's weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from commands import call, refuse
from trainings import after_step, assert_same, state_of, stop
from vqspeech.config import parse_recipe
from vqspeech.errors import CheckpointError, RecipeError, RunError
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.checkpoint import read_card, read_model
from vqspeech.pretrained.packing import pack
from vqspeech.training.initial import check_start, take_weights
from vqspeech.training.start import train
from vqspeech.training.vqvae import VQVAETask

AT_ONCE = {"train.warm_start_steps": 0, "train.continuous_steps": 0, "train.freeze_encoder": True}
PHASES = {"train.warm_start_steps": 3, "train.continuous_steps": 2}


@pytest.fixture
def base(work, corpus, write_recipe) -> Path:
    """A trained model: four steps of the tests' recipe."""
    train(write_recipe({"train.steps": 4}, "base.toml"), data=corpus, out=Path("base"), stage="vqvae")
    return Path("base")


def lively(recipe, speakers, seed: int = 0) -> VQVAE:
    torch.manual_seed(seed)
    return VQVAE(recipe, speakers)


def test_speakers_of_the_same_name_keep_their_vectors_and_others_begin_as_usual(tiny_recipe):
    source, model = lively(tiny_recipe, ("ada", "ben", "cyd")), lively(tiny_recipe, ("dan", "cyd", "ada"), seed=1)
    usual = lively(tiny_recipe, ("dan", "cyd", "ada"), seed=1)
    assert take_weights(model, source) == ("cyd", "ada")
    found, given = model.speaker_vectors.weight, source.speaker_vectors.weight
    assert torch.equal(found[1], given[2]) and torch.equal(found[2], given[0])
    assert torch.equal(found[0], usual.speaker_vectors.weight[0])
    for name, value in source.state_dict().items():
        if not name.startswith(("speaker_vectors.", "adversary.")):
            assert torch.equal(model.state_dict()[name], value), name
    # The adversary names speakers, and they are others.
    for name, value in usual.adversary.state_dict().items():
        assert torch.equal(model.adversary.state_dict()[name], value), name


def test_the_same_speakers_have_the_same_adversary(tiny_recipe):
    source, model = lively(tiny_recipe, ("ada", "ben")), lively(tiny_recipe, ("ada", "ben"), seed=1)
    take_weights(model, source)
    assert_same(dict(source.state_dict()), dict(model.state_dict()))


def test_a_model_without_what_training_alone_uses_will_do(tiny_recipe):
    source, model = lively(tiny_recipe, ("ada", "ben")), lively(tiny_recipe, ("ada", "ben"), seed=1)
    usual = lively(tiny_recipe, ("ada", "ben"), seed=1)
    source.drop_training_parts()
    assert take_weights(model, source) == ("ada", "ben")
    assert torch.equal(model.wavenet.head.weight, source.wavenet.head.weight)
    for part in ("spectral_head", "adversary"):
        assert_same(dict(getattr(model, part).state_dict()), dict(getattr(usual, part).state_dict()))


def test_a_kept_encoder_gives_the_models_own_codes_while_the_decoder_learns(base, corpus, write_recipe):
    said: list[str] = []
    recipe = write_recipe(AT_ONCE | {"train.steps": 3})
    result = train(recipe, data=corpus, out=Path("run"), init="base", stage="vqvae", notify=said.append)
    assert result.finished
    assert "starts from the weights of base; 3 of 3 speakers keep their vectors" in said
    before, after = read_model(base), read_model("run")
    assert after.codes_id() == before.codes_id()
    assert not torch.equal(after.wavenet.head.weight, before.wavenet.head.weight)
    assert read_card("run").training["init"] == before.weights_id()
    assert read_card("run").is_settled
    assert json.loads(Path("run/run.json").read_text())["init"] == {"model": "base", "weights": before.weights_id()}


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        ({}, []),  # the model's codebook learns on
        (PHASES, [2]),  # after the steps without quantization there is a new one
        ({"train.warm_start_steps": 3}, []),
    ],
)
def test_k_means_makes_a_codebook_only_after_steps_without_quantization(
    changes, made, base, corpus, write_recipe, monkeypatch
):
    calls: list[int] = []
    monkeypatch.setattr(VQVAETask, "initialise", lambda self, step=0: calls.append(step))
    recipe = write_recipe({"train.steps": 4} | changes)
    train(recipe, data=corpus, out=Path("run"), init=base, stage="vqvae")
    assert calls == made


def test_the_first_step_is_taken_from_the_models_weights(base, corpus, write_recipe, monkeypatch):
    """With steps of no length the model stays what it was."""
    recipe = write_recipe(AT_ONCE | {"train.steps": 2, "train.learning_rate": 1e-30, "train.muon_rate": 1e-30})
    train(recipe, data=corpus, out=Path("run"), init=base / "model.safetensors", stage="vqvae")
    found, given = load_file("run/model.safetensors"), load_file(base / "model.safetensors")
    assert_same(found, given)


def test_a_stopped_training_from_a_model_is_resumed_bit_for_bit(base, corpus, write_recipe, monkeypatch):
    recipe = write_recipe()
    train(recipe, data=corpus, out=Path("whole"), init=base, stage="vqvae")
    after_step(monkeypatch, 3, stop)
    train(recipe, data=corpus, out=Path("run"), init=base, stage="vqvae")
    (base / "model.safetensors").unlink()  # it is needed no more
    train(recipe, data=corpus, out=Path("run"), resume=True, stage="vqvae")
    assert_same(state_of("whole"), state_of("run"))
    assert read_card("run").training["init"] == read_card("whole").training["init"]


def test_other_shapes_are_named_by_their_keys_before_a_folder_is_made(base, corpus, write_recipe):
    recipe = write_recipe({"encoder.channels": 16, "bottleneck.num_codes": 32})
    with pytest.raises(
        RecipeError,
        match=r"tiny cannot start from base: bottleneck\.num_codes = 32, there 8, encoder\.channels = 16, there 8\. "
        r"Encoder, codebook and decoder must have the same shapes: give the model's values with --set",
    ):
        train(recipe, data=corpus, out=Path("run"), init="base")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"sample_rate": 8000}},
        {"encoder": {"strides": [2, 8]}},
        {"bottleneck": {"code_dim": 8}},
        {"bottleneck": {"kind": "vq"}},
        {"decoder": {"context_frames": 2}},
    ],
)
def test_whatever_changes_shapes_or_codes_is_refused(changes, tiny_values, tiny_recipe):
    (section, (key,)) = next((section, list(values)) for section, values in changes.items())
    recipe = parse_recipe(tiny_values | {section: tiny_values[section] | changes[section]}, "test")
    with pytest.raises(RecipeError, match=rf"{section}\.{key}"):
        check_start(recipe, VQVAE(tiny_recipe, ("ada",)), "base")


def test_losses_and_training_may_be_others(tiny_values, tiny_recipe):
    changes = {"loss": {"spectral": 0.5, "adversary": 0.0}, "train": tiny_values["train"] | {"batch_size": 7}}
    recipe = parse_recipe(tiny_values | changes, "test")
    model = VQVAE(recipe, ("ada",))
    check_start(recipe, VQVAE(tiny_recipe, ("ada",)), "base")
    assert take_weights(model, VQVAE(tiny_recipe, ("ada",))) == ("ada",)


def test_an_encoder_that_nothing_trains_is_not_frozen(work, corpus, write_recipe):
    with pytest.raises(RecipeError, match=r"has learned nothing\. Give a warm start, or a trained model with --init"):
        train(write_recipe(AT_ONCE), data=corpus, out=Path("run"))
    assert not Path("run").exists()


def test_it_only_begins_a_training(base, corpus, write_recipe):
    write_recipe()
    for option in (["--resume"], ["--stage", "prior"]):
        sentence = refuse("train", "recipe.toml", "--data", corpus, "--out", "base", "--init", "base", *option)
        assert "--init begins the training of a model. Leave it out" in sentence
    with pytest.raises(RunError, match="already holds a training"):
        train("recipe.toml", data=corpus, out=base, init=base)


def test_a_model_that_is_not_there_is_told(work, corpus, write_recipe):
    with pytest.raises(CheckpointError, match="nowhere"):
        train(write_recipe(), data=corpus, out=Path("run"), init="./nowhere")
    assert not Path("run").exists()


def test_the_command_line_starts_from_a_model_and_packing_tells_it(base, corpus, write_recipe):
    write_recipe({"train.steps": 2})
    call("train", "recipe.toml", "--data", corpus, "--out", "run", "--init", "base", "--stage", "vqvae")
    page = pack(Path("run"), Path("packed"), data="vowels", licence="CC0-1.0")
    assert "vqspeech train recipes/tiny --data FOLDER --init base" in str(page)
