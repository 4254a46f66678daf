"""`--resume` with other numbers of steps or minutes: a training goes on to another end, and to nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from trainings import after_step, assert_same, state_of, steps_of, stop
from vqspeech.config import load_recipe
from vqspeech.errors import RecipeError, RunError
from vqspeech.pretrained.checkpoint import read_card, read_model, read_prior_card
from vqspeech.training.schedule import learning_rate
from vqspeech.training.start import train

STEADY = {"train.warmup_steps": 0, "train.final_rate": 1.0}  # a learning rate that does not know the end


def more(recipe, *overrides: str, out: str = "run", **options):
    return train(recipe, out=Path(out), resume=True, overrides=overrides, **options)


def test_a_finished_training_that_goes_on_equals_one_that_was_never_finished(work, corpus, write_recipe):
    recipe = write_recipe(STEADY)
    train(recipe, data=corpus, out=Path("whole"), stage="vqvae")
    train(recipe, data=corpus, out=Path("run"), stage="vqvae", overrides=["train.steps=4"])
    said: list[str] = []
    result = more(recipe, "train.steps=8", stage="vqvae", notify=said.append)
    assert (result.step, result.total_steps, result.finished) == (8, 8, True)
    assert "run goes on from step 4, now to step 8" in said
    assert_same(state_of("whole"), state_of("run"))
    assert steps_of(Path("run"), "validation") == [4, 8]
    assert read_card("run").step == read_card("run").training["total_steps"] == 8


def test_the_learning_rate_falls_towards_the_new_end(work, corpus, write_recipe):
    recipe = write_recipe({"train.steps": 4})
    train(recipe, data=corpus, out=Path("run"), stage="vqvae")
    more(recipe, "train.steps=7", stage="vqvae")
    last = state_of("run")["optimizer"]["param_groups"][0]["lr"]
    assert last == pytest.approx(learning_rate(6, 7, load_recipe(recipe).train))
    assert last < learning_rate(3, 7, load_recipe(recipe).train)


def test_the_new_end_is_remembered_by_the_next_resume(work, corpus, write_recipe, monkeypatch):
    recipe = write_recipe({"train.steps": 3})
    train(recipe, data=corpus, out=Path("run"), stage="vqvae", overrides=["train.seed=5"])
    after_step(monkeypatch, 5, stop)
    assert not more(recipe, "train.steps=6", stage="vqvae").finished
    result = more(recipe, stage="vqvae")
    assert (result.step, result.total_steps, result.finished) == (6, 6, True)
    record = json.loads(Path("run/run.json").read_text())
    assert record["overrides"] == ["train.seed=5", "train.steps=6"]
    assert read_card("run").training["seed"] == 5


def test_the_new_end_is_read_beside_what_the_run_was_begun_with(work, corpus, write_recipe):
    """An end that is too early for the recipe's file alone may do for the run."""
    recipe = write_recipe({"train.warm_start_steps": 30, "train.continuous_steps": 0, "train.steps": 40})
    train(recipe, data=corpus, out=Path("run"), stage="vqvae", overrides=["train.steps=3", "train.warm_start_steps=0"])
    result = more(recipe, "train.steps=6", stage="vqvae")
    assert (result.step, result.total_steps, result.finished) == (6, 6, True)


def test_an_end_before_the_decoder_joins_is_refused(work, corpus, write_recipe):
    recipe = write_recipe({"train.warm_start_steps": 3, "train.steps": 6})
    train(recipe, data=corpus, out=Path("run"), stage="vqvae")
    with pytest.raises(RecipeError, match="train.steps = 2, but the decoder joins after 3 steps"):
        more(recipe, "train.steps=2", stage="vqvae")


def test_an_unfinished_training_may_end_earlier(work, corpus, write_recipe, monkeypatch):
    recipe = write_recipe()
    after_step(monkeypatch, 2, stop)
    train(recipe, data=corpus, out=Path("run"), stage="vqvae")
    result = more(recipe, "train.steps=3", "train.validate_every=1", stage="vqvae")
    assert (result.step, result.finished) == (3, True)
    assert steps_of(Path("run"), "validation") == [3]


def test_the_recipes_file_may_ask_for_it_too(work, corpus, write_recipe):
    train(write_recipe({"train.steps": 3}), data=corpus, out=Path("run"), stage="vqvae")
    changed = write_recipe({"train.steps": 5, "train.checkpoint_every": 2, "train.validate_every": 5})
    assert more(changed, stage="vqvae").step == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps=2", r"run has done 3 steps, and train\.steps = 2\. Give more: --set train\.steps=N"),
        ("train.max_minutes=1e-9", r"run has trained for .* minutes, and train\.max_minutes = 1e-09\. Give more"),
        (
            "train.learning_rate=0.01",
            r"another train\.learning_rate would change it.*With --resume only train\.steps, train\.max_minutes, "
            r"train\.keep, train\.validate_every, train\.checkpoint_every may change",
        ),
        ("train.warm_start_steps=1", r"another train\.warm_start_steps would change it"),
        ("encoder.channels=16", r"another encoder\.channels would change it"),
    ],
)
def test_everything_else_is_refused_and_the_run_stays_as_it_is(override, message, work, corpus, write_recipe):
    recipe = write_recipe({"train.steps": 3})
    train(recipe, data=corpus, out=Path("run"), stage="vqvae")
    before = {name: Path("run", name).read_bytes() for name in ("state.pt", "run.json", "model.safetensors")}
    with pytest.raises(RunError, match=message):
        more(recipe, override, stage="vqvae")
    assert before == {name: Path("run", name).read_bytes() for name in before}


def test_a_model_whose_encoder_learns_on_gets_a_new_prior(work, corpus, write_recipe):
    recipe = write_recipe({"train.steps": 3})
    train(recipe, data=corpus, out=Path("run"))
    old = read_prior_card("run").model
    said: list[str] = []
    result = more(recipe, "train.steps=5", notify=said.append)
    assert (result.step, result.prior.step, result.prior.finished) == (5, 4, True)
    assert any("another model's" in line for line in said)
    assert read_prior_card("run").model == read_model("run").codes_id() != old


def test_a_model_whose_encoder_is_frozen_keeps_its_prior(work, corpus, write_recipe):
    recipe = write_recipe({"train.steps": 4, "train.warm_start_steps": 2, "train.freeze_encoder": True})
    train(recipe, data=corpus, out=Path("run"))
    before = Path("run/prior.safetensors").read_bytes()
    result = more(recipe, "train.steps=6")
    assert (result.step, result.prior.step, result.prior.finished) == (6, 4, True)
    assert Path("run/prior.safetensors").read_bytes() == before
    assert torch.load("run/state.pt", weights_only=True)["schedule"] == {"continuous": 0, "warm_start": 2, "total": 6}
