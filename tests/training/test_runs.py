"""A run folder belongs to one training, and a training to one recipe and one set of recordings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from trainings import after_step, assert_same, state_of, stop
from vqspeech.config import load_recipe
from vqspeech.data.preparation import prepare_store
from vqspeech.errors import RunError
from vqspeech.training.run import changed_keys, hold
from vqspeech.training.start import train


@pytest.fixture
def run(work, corpus, write_recipe) -> Path:
    """A finished run of three steps, by recipe.toml."""
    train(write_recipe({"train.steps": 3}), data=corpus, out=Path("run"))
    return Path("run")


def test_two_trainings_in_one_run_folder_are_refused(work, corpus, write_recipe):
    with hold(Path("run")), pytest.raises(RunError, match="another training is writing to run. Wait for it"):
        train(write_recipe(), data=corpus, out=Path("run"))
    train(write_recipe(), data=corpus, out=Path("run"))


def test_a_folder_that_holds_a_training_is_not_overwritten(run, corpus):
    before = (run / "state.pt").read_bytes()
    with pytest.raises(RunError, match="already holds a training. Go on with it: --resume, or .* --out"):
        train("recipe.toml", data=corpus, out=run)
    assert (run / "state.pt").read_bytes() == before


def test_a_changed_recipe_is_named_by_its_key(run, corpus, write_recipe):
    write_recipe({"train.steps": 3, "train.learning_rate": 5e-4, "encoder.channels": 16})
    with pytest.raises(RunError, match=r"changed since run .*\(encoder\.channels, train\.learning_rate\)"):
        train("recipe.toml", data=corpus, out=run, resume=True)


def test_a_run_older_than_its_default_optimiser_asks_the_recipe_to_say_adam(run, corpus):
    file = run / "run.json"
    record = json.loads(file.read_text())
    del record["recipe"]["train"]["optimizer"]
    file.write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"\(train\.optimizer\)\. Restore it \(its optimizer was adam, then the default"):
        train("recipe.toml", data=corpus, out=run, resume=True)


def test_changed_overrides_are_named(run, corpus):
    with pytest.raises(RunError, match=r"\(nothing\).*train\.batch_size would change it. Leave out --set"):
        train("recipe.toml", data=corpus, out=run, resume=True, overrides=["train.batch_size=4"])


def test_overrides_are_repeated_by_resume(work, corpus, write_recipe, monkeypatch):
    recipe = write_recipe()
    after_step(monkeypatch, 2, stop)
    train(recipe, data=corpus, out=Path("run"), overrides=["train.steps=5"])
    result = train(recipe, out=Path("run"), resume=True)  # finds the recordings again, too
    assert result.step == result.total_steps == 5


def test_changed_recordings_are_recognised(work, corpus, write_recipe):
    (work / "prepared").unlink()
    own = shutil.copytree(corpus, work / "own")
    recipe = write_recipe({"train.steps": 3})
    data = load_recipe(recipe).data
    prepare_store(data, own, Path("prepared/tiny"), num_workers=1)
    train(recipe, data=own, out=Path("run"))
    (own / "ada" / "ada-0.wav").unlink()
    prepare_store(data, own, Path("prepared/tiny"), num_workers=1)
    with pytest.raises(RunError, match="the recordings in .*own .* changed since run was started. Restore them"):
        train(recipe, data=own, out=Path("run"), resume=True)


def test_nothing_to_resume_is_said(work, corpus, write_recipe):
    with pytest.raises(RunError, match="nothing to resume in empty. Leave out --resume"):
        train(write_recipe(), data=corpus, out=Path("empty"), resume=True)


@pytest.mark.parametrize("content", [b"", b"not a state", None])
def test_a_damaged_state_is_recognised(content, run, corpus):
    state = run / "state.pt"
    state.write_bytes(state.read_bytes()[:-500] if content is None else content)
    with pytest.raises(RunError, match=r"state\.pt is damaged .*another --out"):
        train("recipe.toml", data=corpus, out=run, resume=True)


def test_a_damaged_run_file_is_recognised(run, corpus):
    (run / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        train("recipe.toml", data=corpus, out=run, resume=True)


def test_the_state_is_never_unpickled_into_code(run, corpus):
    class Trap:
        def __reduce__(self):
            return (open, ("sprung", "w"))

    torch.save({"model": Trap()}, run / "state.pt")
    with pytest.raises(RunError, match="damaged"):
        train("recipe.toml", data=corpus, out=run, resume=True)
    assert not Path("sprung").exists()


def test_a_file_in_the_way_is_told(work, corpus, write_recipe):
    Path("run").write_text("in the way")
    with pytest.raises(RunError, match="cannot write to run"):
        train(write_recipe(), data=corpus, out=Path("run"))


def test_a_finished_training_stays_as_it_is(run, corpus):
    before = state_of("run")
    result = train("recipe.toml", data=corpus, out=run, resume=True)
    assert (result.step, result.finished) == (3, True)
    assert_same(state_of("run"), before)


def test_changed_keys_are_dotted_paths():
    old = {"a": 1, "b": {"c": [1, 2], "d": 2}, "gone": 0}
    assert changed_keys(old, {"a": 1, "b": {"c": [1, 3], "d": 2}, "new": None}) == ["b.c", "gone"]
    assert changed_keys(old, old) == []
