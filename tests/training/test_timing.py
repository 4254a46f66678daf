"""`vqspeech bench`: hours from seconds of real steps, with a recipe's own settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from commands import call, refuse
from vqspeech.config import load_recipe
from vqspeech.data.store import Store
from vqspeech.data.synthetic import make_store
from vqspeech.models.vqvae import VQVAE
from vqspeech.training import step_cost
from vqspeech.training.acceleration import find_acceleration
from vqspeech.training.loop import take_step
from vqspeech.training.step_cost import StepCost
from vqspeech.training.timing import MadeUpCodes, Prediction, StageTime, predict, time_vqvae
from vqspeech.training.vqvae import VQVAETask


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """Steps of the decoder take 0.5 s, of the warm start 0.1 s, validations 8 s; all else takes no time."""
    clock = Clock()
    monkeypatch.setattr(step_cost, "time", clock)

    def step(task, state, train) -> dict:
        clock.now += 0.1 if state.step < train.warm_start_steps else 0.5
        return {}

    def validate(self, model, step) -> dict:
        clock.now += 8
        return {}

    monkeypatch.setattr(step_cost, "take_step", step)
    monkeypatch.setattr(VQVAETask, "validate", validate)
    return clock


def stages_of(recipe: Path, store: Store, overrides: tuple[str, ...] = ()) -> tuple[list[StageTime], list[str]]:
    settled = load_recipe(recipe, overrides)
    model = VQVAE(settled, store.speakers)
    acceleration = find_acceleration(settled.train, "cpu")
    return time_vqvae(model, store, acceleration, 3, lambda line: None)


STEPS = {"train.steps": 10_000, "train.warm_start_steps": 4000, "train.validate_every": 500}


def test_hours_are_steps_and_validations_of_each_stage(clock, write_recipe, store):
    (warm, decoder), notes = stages_of(write_recipe(STEPS), store)
    assert (warm.name, decoder.name) == ("warm start", "decoder")
    assert (warm.steps, decoder.steps) == (4000, 6000)
    assert warm.cost.step_s == pytest.approx(0.1) and decoder.cost.step_s == pytest.approx(0.5)
    assert warm.hours == pytest.approx((4000 * 0.1 + 8 * 8) / 3600)  # a validation every 500 steps
    assert decoder.hours == pytest.approx((6000 * 0.5 + 12 * 8) / 3600)
    assert decoder.items_per_s == pytest.approx(2 * 1024 / 0.5)  # batch x crop of the tests' recipe
    assert notes == []


def test_without_a_warm_start_there_is_one_stage(clock, write_recipe, store):
    (decoder,), _ = stages_of(write_recipe({"train.steps": 100}), store)
    assert (decoder.name, decoder.steps) == ("decoder", 100)


def test_a_budget_of_minutes_is_turned_into_the_steps_it_allows(clock, write_recipe, store):
    """10 minutes: 600 s. Warm start: 1,000 steps of 0.1 + 8 / 500 s; the other 484 s are steps of 0.5 + 8 / 500 s."""
    recipe = write_recipe(STEPS | {"train.warm_start_steps": 1000, "train.max_minutes": 10})
    (warm, decoder), (note,) = stages_of(recipe, store)
    assert warm.steps == 1000
    assert decoder.steps == int((600 - 1000 * 0.116) / 0.516)
    assert (warm.hours + decoder.hours) * 60 == pytest.approx(10, abs=0.02)
    assert "train.max_minutes=10 allows about 1,9" in note


def test_the_steps_that_are_timed_are_those_of_the_training_loop(write_recipe, store, monkeypatch):
    """Whole steps, in the place where each stage has them, and not the one in which k-means makes the codebook."""
    taken = []

    def step(task, state, train) -> dict:
        taken.append(state.step)
        return take_step(task, state, train)

    monkeypatch.setattr(step_cost, "take_step", step)
    recipe = write_recipe({"train.steps": 50, "train.warm_start_steps": 20, "train.continuous_steps": 10})
    stages, _ = stages_of(recipe, store)
    assert set(taken) == {11, 21}
    assert all(stage.cost.step_s > 0 for stage in stages)


def test_a_warm_start_is_adams_alone_and_its_arithmetic_is_not_the_decoders(write_recipe, store):
    """The WaveNet's matrices, which are Muon's, take no part in it."""
    recipe = write_recipe({"train.steps": 50, "train.warm_start_steps": 20, "train.optimizer": "muon"})
    (warm, decoder), _ = stages_of(recipe, store)
    assert (warm.cost.optimizer, decoder.cost.optimizer) == ("adam", "muon")
    assert warm.cost.optimizer_flop == 0 < decoder.cost.optimizer_flop
    assert 0 < warm.cost.flop < decoder.cost.flop


def test_prediction_of_all_stages_on_prepared_speech(work, write_recipe):
    said: list[str] = []
    recipe = write_recipe({"train.steps": 40, "train.warm_start_steps": 10})
    found = predict(recipe, rounds=2, notify=said.append)
    assert found.speech == "prepared speech, prepared/tiny"
    assert [(stage.name, stage.steps) for stage in found.stages] == [("warm start", 10), ("decoder", 30), ("prior", 4)]
    assert found.hours == pytest.approx(sum(stage.hours for stage in found.stages))
    assert found.sampling["many_streams"] > 0 < found.sampling["one_stream"]
    assert said == ["a matrix product", "sampling", "the decoder", "the warm start", "a validation", "the prior"]


def test_without_prepared_speech_it_is_made_up_and_nothing_is_left_behind(place, write_recipe):
    recipe = write_recipe({"train.steps": 20})
    before = sorted(Path().rglob("*"))
    said = call("bench", recipe, "--steps", 1, "--json", "bench.json", "--set", "prior.steps=7")
    assert "made-up speech" in said and "coding the corpus for the prior is not counted" in said
    figures = json.loads(Path("bench.json").read_text())
    assert figures["hours"] == pytest.approx(sum(stage["hours"] for stage in figures["stages"]))
    decoder, prior = figures["stages"]
    assert (decoder["steps"], prior["steps"]) == (20, 7)
    assert (decoder["optimizer"], prior["optimizer"]) == ("muon", "adam")
    for stage in figures["stages"]:
        assert 0 < stage["optimizer_share"] < 1 > stage["average_share"] > 0
        assert stage["gflop_per_s"] == pytest.approx(stage["flop"] / stage["step_s"] / 1e9)
        assert stage["share_of_peak"] == pytest.approx(stage["gflop_per_s"] / figures["peak_gflop_per_s"])
    assert said.splitlines()[-1] == f"in all {figures['hours']:.2f} hours"
    assert sorted(Path().rglob("*")) == sorted([*before, Path("bench.json")])


def test_a_recipe_that_perturbs_is_timed_without_making_copies(place, write_recipe):
    found = predict(write_recipe({"perturbation.share": 0.5, "train.compile": "off"}), rounds=1)
    assert "making perturbed copies of the recordings is not counted" in found.notices
    assert found.hours > 0
    assert not list(place.rglob("*variant*"))


def test_the_table_tells_what_the_figures_say():
    warm = StepCost(0.1, "adam", 0.12, 0.03, 2_000_000_000, 0)  # 20 GFLOP/s
    later = StepCost(0.05, "muon", 0.25, 0.03, 1_750_000_000, 10**9)  # 35
    stages = StageTime("warm start", 4000, warm, 200_000, 200), StageTime("prior", 3000, later, 90_000, 30)
    sampling = {"one_stream": 16_000.0, "many_streams": 80_000.0}
    found = Prediction("x", "cpu", "float32", True, 2, "made-up speech", stages, 100.0, sampling, 8000, ("Slow.",))
    lines = found.describe().splitlines()
    assert "2 threads, float32, compiled" in lines[0]
    assert lines[2].split() == "warm start 4,000 10.00 200,000 samples adam 12% 20.0 20% 0.17".split()  # 600 s
    assert lines[3].split() == "prior 3,000 20.00 90,000 codes muon 25% 35.0 35% 0.05".split()  # 180 s
    assert len({len(line) for line in lines[1:4]}) == 1  # columns stand under their heads
    assert "Slow." in lines
    assert "peak: 100 GFLOP/s, a plain matrix product in float32" in lines
    assert "16,000 samples/s in one stream (2.0 x real time), 80,000 in many (10.0 x)" in found.describe()
    assert lines[-1] == "in all 0.22 hours"  # 780 s


def test_made_up_codes_have_the_lengths_of_the_speech(store):
    codes = MadeUpCodes(store, 8, 16)
    for number in range(len(store)):
        read = codes.read(number)
        assert len(read) == -(-store.length(number) // 16)
        assert np.array_equal(read, codes.read(number))
        assert set(read) <= set(range(8))


def test_made_up_speech_is_prepared_by_the_recipes_rate(tmp_path, write_recipe):
    recipe = load_recipe(write_recipe({"data.sample_rate": 8000}))
    made = make_store(recipe, tmp_path, speakers=2, utterances=4)
    assert made.sample_rate == 8000 and len(made.speakers) == 2 and len(made) == 8
    assert made.split_sizes["train"] and made.split_sizes["valid"]
    assert 1.5 * 8 < sum(made.duration_s(split) for split in ("train", "valid")) < 5 * 8


def test_a_recipe_that_is_not_there_is_a_sentence(place):
    assert "no recipe at" in refuse("bench", "nowhere")
