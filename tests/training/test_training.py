"""`vqspeech train` on a tiny corpus: resuming is invisible, its figures are kept, and futile trainings stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainings import after_step, assert_same, crash, state_of, steps_of, stop
from vqspeech.errors import RunError, TrainingError
from vqspeech.pretrained.checkpoint import read_card, read_model
from vqspeech.training.acceleration import Acceleration, accelerate
from vqspeech.training.start import train
from vqspeech.training.state import new_state
from vqspeech.training.vqvae import VQVAETask

EAGER = Acceleration("cpu", bfloat16=False, compile=False, notices=())


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
        # Codes that jitter and drop out, against an adversary of the whole crop whose strength grows.
        {
            "bottleneck.jitter": 0.3,
            "bottleneck.dropout": 0.2,
            "loss.adversary_context": "crop",
            "loss.adversary_ramp": 6,
        },
        # An encoder that hears other voices while it learns, and a decoder that hears their codes.
        {
            "train.warm_start_steps": 4,
            "train.freeze_encoder": True,
            "perturbation.share": 0.7,
            "perturbation.decoder_share": 0.4,
            "perturbation.variants": 2,
        },
        # Mel frames, normalised by their past.
        {
            "encoder.input": "log-mel",
            "encoder.mel_hop": 4,
            "encoder.mel_bands": 8,
            "encoder.strides": [4],
            "encoder.norm": "instance",
            "encoder.norm_frames": 5,
        },
        # Muon, which has nothing to move before the decoder joins.
        {
            "train.optimizer": "muon",
            "train.warm_start_steps": 4,
            "train.continuous_steps": 2,
            "train.freeze_encoder": True,
        },
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
    recipe = write_recipe({"train.steps": 120, "train.validate_every": 60, "train.learning_rate": 1e-2})
    result = train(recipe, data=corpus)
    assert result.folder == Path("runs/tiny")  # by the recipe's name
    card = read_card("runs/tiny")
    assert card.speakers == ("ada", "ben", "cyd")
    assert card.step == card.training["total_steps"] == 120
    assert card.training["samples"] == 120 * 2 * 1024
    rows = [json.loads(line) for line in Path("runs/tiny/metrics.jsonl").read_text().splitlines()]
    bits = [row["bits"] for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in rows if row["kind"] == "train"] == [20, 40, 60, 80, 100, 120]
    # Better than a guess among 256 from the first step on, by the classes' frequencies, and better still.
    assert bits[-1] + 0.2 < bits[0] < 8
    assert card.metrics["bits"] < 8
    assert list(Path("runs/tiny/tensorboard").glob("events*"))
    assert read_model("runs/tiny").encode(torch.zeros(160)).shape == (10,)
    assert "120 of 120" in card.describe()


@pytest.mark.parametrize("kind", ["vq", "vq-ema"])
def test_a_frozen_encoder_and_its_codebook_stay_the_mean_of_the_warm_starts_last_weights(
    kind, work, corpus, write_recipe, monkeypatch
):
    changes = {
        "train.warm_start_steps": 3,
        "train.freeze_encoder": True,
        "bottleneck.kind": kind,
        "encoder.norm": "batch",
    }
    recipe = write_recipe(changes)
    after_step(monkeypatch, 3, stop)
    train(recipe, data=corpus, out=Path("run"))
    left = state_of("run")
    warm = {name.removeprefix("module."): value for name, value in left["average"].items()}
    assert not torch.equal(warm["encoder.project.weight"], left["model"]["encoder.project.weight"])
    train(recipe, data=corpus, out=Path("run"), resume=True)
    state = state_of("run")
    moved = {name.split(".")[0] for name in state["model"] if not torch.equal(warm[name], state["model"][name])}
    assert moved == {"speaker_vectors", "conditioner", "wavenet", "spectral_head"}
    # The weights for inference hold this very encoder, not a mean with what it was before.
    for name in (name for name in warm if name.startswith(("encoder.", "bottleneck."))):
        torch.testing.assert_close(state["average"][f"module.{name}"], warm[name])


def test_a_frozen_encoder_gives_the_codes_of_inference(model, store):
    model.bottleneck.codebook.normal_()
    batch = VQVAETask(model, store, EAGER).train_batches.batch(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        codes = model.inference_codes(batch.wav, batch.frame_mask).codes
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


def test_a_time_budget_becomes_numbers_of_steps_that_resuming_keeps(work, corpus, write_recipe, monkeypatch):
    """With a clock that stands still but for the steps, a run in minutes is the run of that many steps."""
    from vqspeech.training.budget import Budget
    from vqspeech.training.schedule import Schedule

    fixed = Schedule(2, 3, 6)
    steps = {"train.steps": 6, "train.warm_start_steps": 3, "train.continuous_steps": 2}
    train(write_recipe(steps), data=corpus, out=Path("counted"))
    asked: list[int] = []

    def divide(recipe, pace, spent_s=0.0, step=0, now=None):
        asked.append(step)
        return fixed

    monkeypatch.setattr("vqspeech.training.budget.divide", divide)
    monkeypatch.setattr(VQVAETask, "least_steps", 1, raising=False)
    monkeypatch.setattr("vqspeech.training.vqvae.LEAST_STEPS", 1)
    monkeypatch.setattr(Budget, "stepped", lambda self, step, seconds, schedule: False)
    recipe = write_recipe({"train.max_minutes": 2.0, "train.steps": 50, "train.warm_start_steps": 9})
    after_step(monkeypatch, 4, stop)
    first = train(recipe, data=corpus, out=Path("timed"))
    second = train(recipe, data=corpus, out=Path("timed"), resume=True)
    assert (first.step, first.total_steps, second.step, second.total_steps) == (4, 6, 6, 6)
    assert set(asked) == {0}  # resuming keeps the schedule
    assert_same(state_of("counted"), state_of("timed"))  # calibration left no trace
    card = read_card(Path("timed/model.safetensors"))
    assert card.recipe.train.warm_start_steps == 3  # what was really done
    assert card.is_settled


def test_calibration_leaves_weights_and_statistics_untouched(model, store):
    from vqspeech.training import budget

    settings = model.recipe.train.model_copy(update={"max_minutes": 2.0, "steps": 50_000})
    state = new_state(model, settings)
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    task = VQVAETask(model, store, EAGER)
    task.least_steps = 1
    assert 1 <= budget.Budget(settings).calibrate(task, state, budget.time.monotonic()).total <= 50_000
    assert_same(before, dict(model.state_dict()))
    assert_same(before, dict(state.average.module.state_dict()))


def test_the_warm_start_may_have_batches_of_its_own(tiny_values, store):
    from vqspeech.config import parse_recipe
    from vqspeech.models.vqvae import VQVAE
    from vqspeech.training.phases import phase_at, samples_until

    steps = {"warm_start_steps": 3, "batch_size": 2, "warm_start_batch_size": 5}
    values = tiny_values | {"train": tiny_values["train"] | steps}
    recipe = parse_recipe(values, "test")
    task = VQVAETask(VQVAE(recipe, store.speakers), store, EAGER)
    seen: list[int] = []
    forward = task.vqvae.forward
    task.vqvae.forward = lambda *args, **options: seen.append(len(args[0])) or forward(*args, **options)  # type: ignore[method-assign]
    for step in range(5):
        task.losses(step)
    assert seen == [5, 5, 5, 2, 2] == [phase_at(step, recipe.train).batch_size for step in range(5)]
    assert [samples_until(step, recipe.train) // recipe.train.crop_samples for step in range(6)] == [
        0,
        5,
        10,
        15,
        17,
        19,
    ]


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
    opinions = {name: probe[name] for name in ("distillmos", "dnsmos_ovrl") if name in probe}  # of those installed
    shares = {name: figure for name, figure in probe.items() if name not in opinions}
    assert set(shares) == {"content", "content_control", "target", "still_source", "own", "voice_ceiling"}
    assert all(-1 <= figure <= 1 for figure in shares.values())
    assert all(0.9 <= score <= 5 for score in opinions.values())
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
    accelerate(model.wavenet, Acceleration("cpu", bfloat16=False, compile=True, notices=()))
    model.load_state_dict(state.average.module.state_dict())
    found = task.losses(1)
    for name, value in expected.items():
        torch.testing.assert_close(found[name].detach(), value, atol=1e-3, rtol=1e-3, msg=name)
    assert set(model.state_dict()) == names
