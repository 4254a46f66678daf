"""What a step costs: time by a clock that the tests hold, arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vqspeech.config import TrainConfig, load_recipe
from vqspeech.models.vqvae import VQVAE
from vqspeech.training import acceleration, step_cost
from vqspeech.training.acceleration import accelerate, find_acceleration
from vqspeech.training.optimizer import Optimizer
from vqspeech.training.state import Task, new_state
from vqspeech.training.step_cost import StepCost, StepMeter, measure_peak, measure_step
from vqspeech.training.vqvae import VQVAETask


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Sums(Task):
    """A task of two layers: (rows, 5) -> (rows, 3) -> (rows, 2). A step takes 7, 7, then 1, 5 and 2 s by the clock."""

    rows = 11

    def __init__(self, clock: Clock) -> None:
        self.clock, self.took = clock, iter([7.0, 7.0, 1.0, 5.0, 2.0, 7.0])
        self.model = nn.Sequential(nn.Linear(5, 3, bias=False), nn.Linear(3, 2, bias=False))

    def losses(self, step: int) -> dict[str, Tensor]:
        self.clock.now += next(self.took)
        return {"total": self.model(torch.ones(self.rows, 5)).sum()}


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """Steps of the optimiser take 2 s, of the average 1 s; all else takes no time."""
    clock = Clock()
    monkeypatch.setattr(step_cost, "time", clock)

    def takes(owner: type, name: str, took_s: float) -> None:
        method = getattr(owner, name)

        def slow(self, *args):
            clock.now += took_s
            return method(self, *args)

        monkeypatch.setattr(owner, name, slow)

    takes(Optimizer, "step", 2.0)
    takes(AveragedModel, "update_parameters", 1.0)
    return clock


def cost_of_sums(clock: Clock) -> StepCost:
    task, train = Sums(clock), TrainConfig(steps=10, optimizer="adam")
    return measure_step(task, new_state(task.model, train), train, 0, rounds=3)


def test_the_median_step_leaves_out_those_that_warm_up_and_the_one_that_is_counted(clock):
    assert cost_of_sums(clock).step_s == 2 + 2 + 1


def test_shares_of_optimiser_and_average_are_of_the_whole_step(clock):
    """Steps of 4, 8 and 5 s; the median share is that of the third."""
    cost = cost_of_sums(clock)
    assert cost.optimizer_share == pytest.approx(2 / 5)
    assert cost.average_share == pytest.approx(1 / 5)


def test_a_multiply_add_counts_as_two_and_backward_has_a_product_for_weights_and_one_for_inputs(clock):
    """Of the first layer backward needs the weight's gradient alone: its input is data."""
    rows, first, second = Sums.rows, 5 * 3, 3 * 2
    forward = 2 * rows * (first + second)
    backward = 2 * rows * (first + 2 * second)
    cost = cost_of_sums(clock)
    assert cost.flop == forward + backward
    assert cost.optimizer_flop == 0
    assert cost.gflop_per_s == pytest.approx(cost.flop / 5 / 1e9)


def test_measuring_leaves_optimiser_and_average_as_they_were(clock):
    task, train = Sums(clock), TrainConfig(steps=10, optimizer="adam")
    state = new_state(task.model, train)
    before = set(vars(state.optimizer)), set(vars(state.average))
    measure_step(task, state, train, 0, rounds=1)
    assert (set(vars(state.optimizer)), set(vars(state.average))) == before


def test_a_step_that_is_measured_moves_weights_as_any_other(store, tiny_recipe):
    from vqspeech.training.loop import take_step

    def weights(is_measured: bool) -> Tensor:
        torch.manual_seed(0)
        model, train = VQVAE(tiny_recipe, store.speakers), tiny_recipe.train
        task, state = VQVAETask(model, store, find_acceleration(train, "cpu")), new_state(model, train)
        meter = StepMeter(task, state, train, 3)
        for _ in range(2):
            state.step = 3
            meter.take() if is_measured else take_step(task, state, train)
        moved = (*model.parameters(), *state.average.parameters())
        return torch.cat([parameter.detach().flatten() for parameter in moved])

    assert torch.equal(weights(True), weights(False))


def newton_schulz_flop(matrix: Tensor) -> int:
    """Five iterations, s the shorter side and l the longer: x x^T, its square, and that times x."""
    s, l = sorted(matrix.shape)
    return 5 * (2 * s * s * l + 2 * s**3 + 2 * s * s * l)


def meter_of(recipe, store) -> tuple[StepMeter, VQVAE]:
    torch.manual_seed(0)
    model = VQVAE(recipe, store.speakers)
    acceleration = find_acceleration(recipe.train, "cpu")
    accelerate(model.wavenet, acceleration)
    task = VQVAETask(model, store, acceleration)
    return StepMeter(task, new_state(model, recipe.train), recipe.train, 1), model


def test_muons_products_are_counted_apart(write_recipe, store):
    costs = {}
    for optimizer in ("adam", "muon"):
        meter, model = meter_of(load_recipe(write_recipe({"train.optimizer": optimizer})), store)
        meter.take()
        meter.count()
        costs[optimizer] = meter.cost()
        assert costs[optimizer].optimizer == optimizer
    assert costs["adam"].flop == costs["muon"].flop > 0
    assert costs["adam"].optimizer_flop == 0
    assert costs["muon"].optimizer_flop == sum(newton_schulz_flop(m) for m in model.wavenet.hidden_matrices())


def test_a_fused_model_loses_the_same_and_is_counted_like_the_eager_one(write_recipe, store):
    terms, flop = {}, {}
    for way in ("off", "auto"):
        sizes = {"decoder.residual_channels": 32, "decoder.skip_channels": 64, "train.precision": "float32"}
        meter, model = meter_of(load_recipe(write_recipe(sizes | {"train.compile": way})), store)
        assert model.wavenet.fused == (way == "auto")
        terms[way] = float(meter.task.losses(1)["bits"])
        meter.take()
        meter.count()
        flop[way] = meter.cost().flop
        assert model.wavenet.fused == (way == "auto")
    assert flop["off"] == flop["auto"] > 0
    assert terms["auto"] == pytest.approx(terms["off"], rel=1e-5)


def test_on_processors_auto_is_fused_and_nothing_else_is():
    ways = {way: find_acceleration(TrainConfig(compile=way), "cpu").fused for way in ("auto", "on", "off")}
    assert ways == {"auto": True, "on": False, "off": False}
    assert not find_acceleration(TrainConfig(precision="float32"), "cuda").fused


@pytest.mark.parametrize("sizes", [{"decoder.samples_per_step": 2}, {"decoder.pitch_taps": 3}, {}])
def test_what_the_loops_do_not_know_is_left_to_torch_and_a_missing_compiler_is_told(sizes, write_recipe, monkeypatch):
    monkeypatch.setattr(acceleration, "_missing_for_compile", lambda: "No compiler")
    channels = {"decoder.residual_channels": 32, "decoder.skip_channels": 64, "train.precision": "float32"}
    recipe = load_recipe(write_recipe(channels | {"train.compile": "auto", "loss.spectral": 1.0} | sizes))
    wavenet, found = VQVAE(recipe, ["ann"]).wavenet, find_acceleration(recipe.train, "cpu")
    assert found.notices == ()
    said = accelerate(wavenet, found)
    assert wavenet.fused == (not sizes)
    assert said == (("No compiler: training without torch.compile, about half as fast.",) if sizes else ())


@pytest.mark.slow
def test_a_compiled_model_is_counted_like_the_eager_one(write_recipe, store):
    """What torch compiled hides its products from the counter; the step that is counted has to be eager."""
    flop = {}
    for compiled in ("off", "on"):
        recipe = load_recipe(write_recipe({"train.compile": compiled}))
        if compiled == "on" and not find_acceleration(TrainConfig(steps=1), "cpu").compile:
            pytest.skip("no compiler")
        meter, _ = meter_of(recipe, store)
        meter.warm_up()
        meter.take()
        meter.count()
        flop[compiled] = meter.flop
    assert flop["on"] == flop["off"] > 0


def test_the_peak_is_two_operations_an_element_and_inner_position(monkeypatch):
    """A clock by which products of 2,048 x 2,048 take 9 s for warming up, then 1, 4 and 2 s."""
    clock, took, shapes = Clock(), iter([9.0, 1.0, 4.0, 2.0]), []

    def mm(left: Tensor, right: Tensor) -> Tensor:
        clock.now += next(took)
        shapes.append((*left.shape, *right.shape, left.dtype))
        return left

    monkeypatch.setattr(step_cost, "time", clock)
    monkeypatch.setattr(torch, "mm", mm)
    assert measure_peak("cpu", 3) == pytest.approx(2 * 2048**3 / 2 / 1e9)
    assert set(shapes) == {(2048, 2048, 2048, 2048, torch.float32)}


def test_plain_values_are_the_figures_beside_a_peak():
    plain = StepCost(0.5, "muon", 0.2, 0.05, 10_000_000_000, 4_000).to_json(peak=80.0)
    assert plain["gflop_per_s"] == pytest.approx(20.0)
    assert plain["share_of_peak"] == pytest.approx(0.25)
    assert plain["optimizer"] == "muon" and plain["optimizer_flop"] == 4_000
    assert all(isinstance(value, str | int | float) and not isinstance(value, np.generic) for value in plain.values())
