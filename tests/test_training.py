"""`vqspeech train` on a tiny corpus: resuming is invisible, runs are guarded, evidence is kept."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vqspeech.checkpoint import load_model, read_card
from vqspeech.data.preparation import prepare
from vqspeech.errors import RunError, TrainingError
from vqspeech.training import fit as loop
from vqspeech.training.acceleration import Acceleration, compile_model
from vqspeech.training.display import Display
from vqspeech.training.fit import calibrate, new_state
from vqspeech.training.run import Run, changed_keys
from vqspeech.training.start import train
from vqspeech.training.vqvae import VQVAETask

EAGER = Acceleration("cpu", bfloat16=False, compile=False, notices=())


@pytest.fixture
def work(tmp_path, store, monkeypatch) -> Path:
    """An empty working folder with the prepared corpus in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prepared").symlink_to(store.folder.parent)
    return tmp_path


def after_step(monkeypatch, step: int, action) -> None:
    """Let something happen once, right after a step."""
    stepped = Display.stepped
    todo = [step]

    def patched(self, state, terms):
        stepped(self, state, terms)
        if [state.step] == todo:
            todo.clear()
            action()

    monkeypatch.setattr(Display, "stepped", patched)


def stop() -> None:
    signal.raise_signal(signal.SIGTERM)


def crash() -> None:
    raise RuntimeError("the power failed")


def steps_of(folder: Path, kind: str) -> list[int]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if row["kind"] == kind]


def assert_same(a, b, path="state") -> None:
    """Two saved states are equal bit for bit, but for the clock."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a.keys() - {"seconds"}:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}.{number}")
    else:
        assert a == b, path


def state_of(folder: str) -> dict:
    return torch.load(Path(folder) / "state.pt", weights_only=True)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        # A warm start of three steps, quantization from the fifth on, codes that restart at every step.
        {
            "train.warm_start_steps": 3,
            "train.continuous_steps": 4,
            "bottleneck.restart_below": 5.0,
            "encoder.norm": "batch",
        },
        # An encoder that is frozen after its warm start.
        {"train.warm_start_steps": 4, "train.continuous_steps": 2, "train.freeze_encoder": True},
        # The paper's.
        {"bottleneck.kind": "vq", "bottleneck.normalize": "none", "bottleneck.data_init": False},
    ],
)
def test_resumed_training_equals_uninterrupted_training(changes, work, corpus, write_recipe, monkeypatch):
    recipe = write_recipe(changes)
    result = train(recipe, data=corpus, out=Path("whole"))
    assert (result.step, result.finished) == (8, True)
    for number, step in enumerate((2, 3, 4, 5, 8)):
        after_step(monkeypatch, step, stop)
        result = train(recipe, data=corpus, out=Path("stopped"), resume=number > 0)
        assert (result.step, result.finished) == (step, step == 8)
    assert_same(state_of("whole"), state_of("stopped"))
    whole, stopped = (load_file(f"{name}/model.safetensors") for name in ("whole", "stopped"))
    assert_same(whole, stopped)
    assert read_card("whole").metrics == read_card("stopped").metrics
    assert steps_of(Path("whole"), "validation") == steps_of(Path("stopped"), "validation") == [4, 8]


def test_seeds_repeat_a_training_and_another_seed_is_another(work, corpus, write_recipe):
    recipe = write_recipe({"train.steps": 3})
    for out in ("one", "two"):
        train(recipe, data=corpus, out=Path(out))
    train(recipe, data=corpus, out=Path("three"), overrides=["train.seed=1"])
    one, two, three = (load_file(f"{name}/model.safetensors") for name in ("one", "two", "three"))
    assert_same(one, two)
    assert not torch.equal(one["wavenet.head.weight"], three["wavenet.head.weight"])


def test_training_lowers_the_loss_and_leaves_a_model_that_says_so(work, corpus, write_recipe):
    recipe = write_recipe({"train.steps": 60, "train.validate_every": 30, "train.learning_rate": 1e-2})
    result = train(recipe, data=corpus)
    assert result.folder == Path("runs/tiny")  # by the recipe's name
    card = read_card("runs/tiny")
    assert card.speakers == ("ada", "ben", "cyd")
    assert card.step == card.training["total_steps"] == 60
    assert card.training["samples"] == 60 * 2 * 1024
    rows = [json.loads(line) for line in Path("runs/tiny/metrics.jsonl").read_text().splitlines()]
    bits = [row["bits"] for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in rows if row["kind"] == "train"] == [20, 40, 60]
    assert bits[-1] < bits[0] < 8  # better than a guess among 256, and better still
    assert card.metrics["bits"] < 8
    assert list(Path("runs/tiny/tensorboard").glob("events*"))
    assert load_model("runs/tiny").encode(torch.zeros(160)).shape == (10,)
    assert "60 of 60" in card.describe()


@pytest.mark.parametrize("kind", ["vq", "vq-ema"])
def test_a_frozen_encoder_and_its_codebook_stay_as_the_warm_start_left_them(kind, work, corpus, write_recipe):
    changes = {
        "train.warm_start_steps": 3,
        "train.freeze_encoder": True,
        "bottleneck.kind": kind,
        "encoder.norm": "batch",
    }
    for steps, out in ((3, "warm"), (8, "frozen")):
        train(write_recipe(changes | {"train.steps": steps}), data=corpus, out=Path(out))
    warm, frozen = state_of("warm")["model"], state_of("frozen")["model"]
    moved = {name.split(".")[0] for name in warm if not torch.equal(warm[name], frozen[name])}
    assert moved == {"speaker_vectors", "conditioner", "wavenet", "spectral_head"}


def test_a_frozen_encoder_gives_the_codes_of_inference(model, store):
    model.bottleneck.codebook.normal_()
    batch = VQVAETask(model, store, EAGER).train_batches.batch(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        codes = model.settled_codes(batch.wav, batch.frame_mask).codes
    assert_same(before, dict(model.state_dict()))
    assert model.encoder.training
    model.eval()
    assert torch.equal(codes, model.bottleneck.encode(model.encoder(batch.wav)))
    assert len(codes.unique()) > 1


def test_the_model_file_holds_the_average_and_the_state_the_live_weights(work, corpus, write_recipe):
    train(write_recipe({"train.weight_average": 0.9}), data=corpus, out=Path("run"))
    file, state = load_file("run/model.safetensors"), state_of("run")
    for name, value in file.items():
        assert torch.equal(value, state["average"][f"module.{name}"])
    assert not torch.equal(file["wavenet.head.weight"], state["model"]["wavenet.head.weight"])


def test_after_a_crash_no_step_is_reported_twice(work, corpus, write_recipe, monkeypatch):
    recipe = write_recipe({"train.validate_every": 2})
    after_step(monkeypatch, 7, crash)
    with pytest.raises(RuntimeError, match="the power failed"):
        train(recipe, data=corpus, out=Path("run"))
    assert steps_of(Path("run"), "validation") == [2, 4, 6]  # the checkpoint is of step 4
    with open("run/metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "st')  # a line that was cut short
    train(recipe, data=corpus, out=Path("run"), resume=True)
    assert steps_of(Path("run"), "validation") == [2, 4, 6, 8]


def test_a_crash_before_the_first_checkpoint_leaves_the_folder_free(work, corpus, write_recipe, monkeypatch):
    recipe = write_recipe({"train.validate_every": 2})
    after_step(monkeypatch, 3, crash)
    with pytest.raises(RuntimeError):
        train(recipe, data=corpus, out=Path("run"))
    with pytest.raises(RunError, match="nothing to resume in run. Leave out --resume"):
        train(recipe, data=corpus, out=Path("run"), resume=True)
    train(recipe, data=corpus, out=Path("run"))
    assert steps_of(Path("run"), "validation") == [2, 4, 6, 8]


class TestGuards:
    """A run folder belongs to one training, and a training to one recipe and one set of recordings."""

    @pytest.fixture
    def run(self, work, corpus, write_recipe) -> Path:
        """A finished run of three steps, by recipe.toml."""
        train(write_recipe({"train.steps": 3}), data=corpus, out=Path("run"))
        return Path("run")

    def test_two_trainings_in_one_run_folder_are_refused(self, work, corpus, write_recipe):
        first = Run("run")
        try:
            with pytest.raises(RunError, match="another training is writing to run. Wait for it"):
                train(write_recipe(), data=corpus, out=Path("run"))
        finally:
            first.close()
        train(write_recipe(), data=corpus, out=Path("run"))

    def test_a_folder_that_holds_a_training_is_not_overwritten(self, run, corpus):
        before = (run / "state.pt").read_bytes()
        with pytest.raises(RunError, match="already holds a training. Go on with it: --resume, or .* --out"):
            train("recipe.toml", data=corpus, out=run)
        assert (run / "state.pt").read_bytes() == before

    def test_a_changed_recipe_is_named_by_its_key(self, run, corpus, write_recipe):
        write_recipe({"train.steps": 3, "train.learning_rate": 5e-4, "encoder.channels": 16})
        with pytest.raises(RunError, match=r"changed since run .*\(encoder\.channels, train\.learning_rate\)"):
            train("recipe.toml", data=corpus, out=run, resume=True)

    def test_changed_overrides_are_named(self, run, corpus):
        with pytest.raises(RunError, match=r"\(nothing\).*train\.batch_size=4 would change it. Leave out --set"):
            train("recipe.toml", data=corpus, out=run, resume=True, overrides=["train.batch_size=4"])

    def test_overrides_are_repeated_by_resume(self, work, corpus, write_recipe, monkeypatch):
        recipe = write_recipe()
        after_step(monkeypatch, 2, stop)
        train(recipe, data=corpus, out=Path("run"), overrides=["train.steps=5"])
        result = train(recipe, out=Path("run"), resume=True)  # finds the recordings again, too
        assert result.step == result.total_steps == 5

    def test_changed_recordings_are_recognised(self, work, corpus, write_recipe):
        (work / "prepared").unlink()
        own = shutil.copytree(corpus, work / "own")
        recipe = write_recipe({"train.steps": 3})
        data = load_data(recipe)
        prepare(data, own, Path("prepared/tiny"), num_workers=1)
        train(recipe, data=own, out=Path("run"))
        (own / "ada" / "ada-0.wav").unlink()
        prepare(data, own, Path("prepared/tiny"), num_workers=1)
        with pytest.raises(RunError, match="the recordings in .*own .* changed since run was started. Restore them"):
            train(recipe, data=own, out=Path("run"), resume=True)

    def test_nothing_to_resume_is_said(self, work, corpus, write_recipe):
        with pytest.raises(RunError, match="nothing to resume in empty. Leave out --resume"):
            train(write_recipe(), data=corpus, out=Path("empty"), resume=True)

    @pytest.mark.parametrize("content", [b"", b"not a state", None])
    def test_a_damaged_state_is_recognised(self, content, run, corpus):
        state = run / "state.pt"
        state.write_bytes(state.read_bytes()[:-500] if content is None else content)
        with pytest.raises(RunError, match=r"state\.pt is damaged .*another --out"):
            train("recipe.toml", data=corpus, out=run, resume=True)

    def test_a_damaged_run_file_is_recognised(self, run, corpus):
        (run / "run.json").write_text("{")
        with pytest.raises(RunError, match=r"run\.json is damaged"):
            train("recipe.toml", data=corpus, out=run, resume=True)

    def test_the_state_is_never_unpickled_into_code(self, run, corpus):
        class Trap:
            def __reduce__(self):
                return (open, ("sprung", "w"))

        torch.save({"model": Trap()}, run / "state.pt")
        with pytest.raises(RunError, match="damaged"):
            train("recipe.toml", data=corpus, out=run, resume=True)
        assert not Path("sprung").exists()

    def test_a_file_in_the_way_is_told(self, work, corpus, write_recipe):
        Path("run").write_text("in the way")
        with pytest.raises(RunError, match="cannot write to run"):
            train(write_recipe(), data=corpus, out=Path("run"))

    def test_a_finished_training_stays_as_it_is(self, run, corpus):
        before = state_of("run")
        result = train("recipe.toml", data=corpus, out=run, resume=True)
        assert (result.step, result.finished) == (3, True)
        assert_same(state_of("run"), before)


def load_data(recipe: Path):
    from vqspeech.config import load_recipe

    return load_recipe(recipe).data


def test_changed_keys_are_dotted_paths():
    old = {"a": 1, "b": {"c": [1, 2], "d": 2}, "gone": 0}
    assert changed_keys(old, {"a": 1, "b": {"c": [1, 3], "d": 2}, "new": None}) == ["b.c", "gone"]
    assert changed_keys(old, old) == []


def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(work, corpus, write_recipe, monkeypatch):
    losses = VQVAETask.losses

    def explode(self, step):
        terms = losses(self, step)
        return terms | {"total": terms["total"] * (float("inf") if step == 6 else 1)}

    monkeypatch.setattr(VQVAETask, "losses", explode)
    with pytest.raises(TrainingError, match=r"stopped at step 6: .* not finite"):
        train(write_recipe(), data=corpus, out=Path("run"))
    assert state_of("run")["step"] == 4
    assert all(bool(value.isfinite().all()) for value in load_file("run/model.safetensors").values())
    monkeypatch.setattr(VQVAETask, "losses", losses)
    assert train(write_recipe(), data=corpus, out=Path("run"), resume=True).finished


def test_collapse_stops_the_training_with_a_diagnosis(work, corpus, write_recipe, monkeypatch):
    from vqspeech.nn.bottleneck import VectorQuantizer

    monkeypatch.setattr(VectorQuantizer, "nearest", lambda self, z: torch.zeros(z.shape[:-1], dtype=torch.long))
    monkeypatch.setattr("vqspeech.training.vqvae.GRACE_STEPS", 0)
    recipe = write_recipe({"train.steps": 50, "train.validate_every": 2, "bottleneck.restart_below": 0.0})
    with pytest.raises(TrainingError, match="stopped at step 6: the codebook collapsed: perplexity 1.00"):
        train(recipe, data=corpus, out=Path("run"))
    assert state_of("run")["step"] == 6


def test_a_time_budget_becomes_a_number_of_steps_once(work, corpus, write_recipe, monkeypatch):
    train(write_recipe({"train.steps": 6}), data=corpus, out=Path("counted"))
    asked: list[float] = []

    def six(budget_s, *others):
        asked.append(budget_s)
        return 6

    monkeypatch.setattr(loop, "steps_within", six)
    recipe = write_recipe({"train.max_minutes": 2.0})
    after_step(monkeypatch, 3, stop)
    first = train(recipe, data=corpus, out=Path("timed"))
    second = train(recipe, data=corpus, out=Path("timed"), resume=True)
    assert (first.step, first.total_steps, second.step, second.total_steps) == (3, 6, 6, 6)
    assert len(asked) == 1  # resuming keeps the schedule
    assert 0 < asked[0] < 120  # what calibration took is taken off
    assert_same(state_of("counted"), state_of("timed"))  # calibration left no trace


def test_calibration_leaves_weights_and_statistics_untouched(model, store):
    settings = model.recipe.train.model_copy(update={"max_minutes": 0.2, "steps": 5000})
    state = new_state(model, settings)
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    assert 1 <= calibrate(VQVAETask(model, store, EAGER), state, settings) <= 5000
    assert_same(before, dict(model.state_dict()))
    assert_same(before, dict(state.average.module.state_dict()))


def test_figures_mean_nothing_while_parts_of_the_model_wait(tiny_values, store):
    from vqspeech.config import parse_recipe
    from vqspeech.models.vqvae import VQVAE

    values = tiny_values | {"train": tiny_values["train"] | {"warm_start_steps": 2, "continuous_steps": 5}}
    model = VQVAE(parse_recipe(values, "test"), store.speakers)
    task = VQVAETask(model, store, EAGER)
    collapsed = {"perplexity": 1.0, "code_gain": 0.0, "speaker_gain": 0.0}
    waiting = [task.validate(model, step)["warm_start"] for step in (2, 4, 5, 6)]
    assert waiting == [True, True, True, False]
    # Nor are they held against a training in the 500 steps after that.
    history = [{"step": step} | collapsed for step in (2, 5, 6, 300, 504, 505, 600)]
    assert task.diagnose(history) is None
    history.append({"step": 700} | collapsed)
    assert "codebook collapsed" in str(task.diagnose(history))


def test_the_first_codebook_lies_among_the_encoders_outputs(model, store):
    task = VQVAETask(model, store, EAGER)
    task.initialise()
    model.eval()
    batch = task.train_batches.batch(0)
    with torch.no_grad():
        codes = model.bottleneck.encode(model.encoder(batch.wav))[batch.frame_mask]
    assert len(codes.unique()) >= 4  # of 8: a uniform codebook near zero leaves most of them dead


def test_the_probe_leaves_sound_and_pictures(work, corpus, write_recipe):
    recipe = write_recipe({"train.steps": 2, "train.probe_utterances": 2, "train.probe_seconds": 0.1})
    probe = train(recipe, data=corpus, out=Path("run")).metrics["probe"]
    assert set(probe) == {"content", "content_control", "target", "still_source", "own", "voice_ceiling"}
    assert all(-1 <= figure <= 1 for figure in probe.values())
    kept = {path.name for path in Path("run/samples/step0000002").iterdir()}
    names = ("conversion", "reconstruction", "source")
    assert kept == {"0.png", *(f"{number}.{name}.wav" for number in (0, 1) for name in names)}
    assert read_card("run").metrics["probe"] == probe


@pytest.mark.slow
def test_a_compiled_model_computes_the_same_and_keeps_its_names(model, store):
    task = VQVAETask(model, store, EAGER)
    state = new_state(model, model.recipe.train)
    names = set(model.state_dict())
    expected = {name: value.detach() for name, value in task.losses(1).items()}
    compile_model(model)
    model.load_state_dict(state.average.module.state_dict())
    found = task.losses(1)
    for name, value in expected.items():
        torch.testing.assert_close(found[name].detach(), value, atol=1e-3, rtol=1e-3, msg=name)
    assert set(model.state_dict()) == names
