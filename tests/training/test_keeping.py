"""`train.keep`: the last checkpoints and the best, each a model of its own."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file

from trainings import after_step, assert_same, stop
from vqspeech.pretrained.checkpoint import read_card, read_model
from vqspeech.training.start import train

EVERY = {"train.validate_every": 2, "train.checkpoint_every": 2}


def kept(folder: str = "run") -> set[str]:
    return {path.name for path in Path(folder).glob("model*.safetensors")}


def test_by_default_only_the_last_checkpoint_is_kept(work, corpus, write_recipe):
    train(write_recipe(EVERY), data=corpus, out=Path("run"), stage="vqvae")
    assert kept() == {"model.safetensors"}


def test_the_last_checkpoints_and_the_best_are_kept(work, corpus, write_recipe):
    recipe = write_recipe(EVERY | {"train.keep": 2})
    train(recipe, data=corpus, out=Path("run"), stage="vqvae")
    assert kept() == {"model.safetensors", "model-6.safetensors", "model-8.safetensors", "model-best.safetensors"}
    assert read_card("run/model-6.safetensors").step == 6
    assert_same(load_file("run/model-8.safetensors"), load_file("run/model.safetensors"))
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    best = min((row for row in rows if row["kind"] == "validation"), key=lambda row: row["bits"])
    card = read_card("run/model-best.safetensors")
    assert (card.step, card.metrics["bits"]) == (best["step"], best["bits"])
    assert read_model("run/model-6.safetensors").speakers == ("ada", "ben", "cyd")


def test_the_best_is_the_model_as_it_was_validated(work, corpus, write_recipe, monkeypatch):
    """Bits that rise after the fourth step leave the weights of the fourth."""
    from vqspeech.training.vqvae import VQVAETask

    validate = VQVAETask.validate
    monkeypatch.setattr(
        VQVAETask, "validate", lambda self, model, step: validate(self, model, step) | {"bits": 5 + abs(step - 4)}
    )
    train(write_recipe(EVERY | {"train.keep": 3}), data=corpus, out=Path("run"), stage="vqvae")
    assert read_card("run/model-best.safetensors").step == 4
    assert_same(load_file("run/model-best.safetensors"), load_file("run/model-4.safetensors"))


def test_validations_of_the_warm_start_are_no_best(work, corpus, write_recipe, monkeypatch):
    from vqspeech.training.vqvae import VQVAETask

    validate = VQVAETask.validate
    monkeypatch.setattr(VQVAETask, "validate", lambda self, model, step: validate(self, model, step) | {"bits": step})
    recipe = write_recipe(EVERY | {"train.keep": 1, "train.warm_start_steps": 5})
    train(recipe, data=corpus, out=Path("run"), stage="vqvae")
    assert read_card("run/model-best.safetensors").step == 6
    assert kept() == {"model.safetensors", "model-8.safetensors", "model-best.safetensors"}


def test_resuming_keeps_what_an_uninterrupted_training_keeps(work, corpus, write_recipe, monkeypatch):
    recipe = write_recipe(EVERY | {"train.keep": 2})
    train(recipe, data=corpus, out=Path("whole"), stage="vqvae")
    after_step(monkeypatch, 6, stop)
    train(recipe, data=corpus, out=Path("run"), stage="vqvae")
    train(recipe, data=corpus, out=Path("run"), stage="vqvae", resume=True)
    assert kept() == kept("whole")
    for name in kept():
        assert_same(load_file(f"run/{name}"), load_file(f"whole/{name}"))


def test_a_training_that_goes_on_may_begin_to_keep(work, corpus, write_recipe):
    recipe = write_recipe(EVERY)
    train(recipe, data=corpus, out=Path("run"), stage="vqvae", overrides=["train.steps=4"])
    train(recipe, out=Path("run"), stage="vqvae", resume=True, overrides=["train.steps=8", "train.keep=1"])
    assert {"model.safetensors", "model-8.safetensors"} <= kept() <= {
        "model.safetensors", "model-8.safetensors", "model-best.safetensors"
    }  # fmt: skip
