"""`train.max_minutes` on a machine made by hand, whose clock moves only with steps and validations."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from vqspeech.config import TrainConfig
from vqspeech.errors import TrainingError
from vqspeech.training import budget as budget_module
from vqspeech.training import loop as loop
from vqspeech.training.budget import Budget
from vqspeech.training.loop import fit
from vqspeech.training.schedule import Schedule, continued
from vqspeech.training.state import Task, TrainingState, new_state

TRAIN = TrainConfig(
    steps=2500, max_minutes=10, warm_start_steps=1000, continuous_steps=250, warm_start_share=0.35, warmup_steps=0,
    validate_every=125, checkpoint_every=10**9, learning_rate=1e-3, precision="float32", compile="off",
)  # fmt: skip


class Machine(Task):
    """A task and its clock: seconds of a warm step, of a full one, of a validation; `slow` maps steps to a factor."""

    def __init__(self, warm_s=0.4, full_s=2.0, validation_s=8.0, slow=lambda step: 1.0) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        self.least_steps = 40
        self.now, self.calls = 1000.0, 0
        self.warm_s, self.full_s, self.validation_s, self.slow = warm_s, full_s, validation_s, slow
        self.warm_start = TRAIN.warm_start_steps

    def monotonic(self) -> float:
        return self.now

    def losses(self, step):
        self.now += (self.warm_s if step < self.warm_start else self.full_s) * self.slow(step)
        total = (self.model.weight - 3).pow(2).sum()
        return {"total": total, "bits": total.detach()}

    def validate(self, model, step):
        self.now += self.validation_s if step > self.warm_start else self.validation_s / 8
        return {"bits": 1.0}

    def reschedule(self, train):
        self.warm_start = train.warm_start_steps


class Silence:
    """An observer that is interested in nothing, unless `stop_at` a step asks it to raise."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at

    def started(self, state): ...

    def stepped(self, state, terms):
        if state.step == self.stop_at:
            raise KeyboardInterrupt

    def validated(self, state, figures): ...

    def save(self, state): ...


@pytest.fixture()
def train_on(monkeypatch):
    """Train on a machine, in its own time; the final state, and the seconds it took."""

    def run(machine: Machine, train: TrainConfig = TRAIN, state: TrainingState | None = None, observer=None):
        monkeypatch.setattr(loop, "time", machine)
        monkeypatch.setattr(budget_module, "time", machine)
        state = state or new_state(machine.model, train)
        begun = machine.now
        fit(machine, state, train, observer or Silence())
        return state, machine.now - begun

    return run


def test_on_a_fast_machine_the_warm_start_has_the_recipes_steps(train_on):
    state, seconds = train_on(Machine(warm_s=0.1, full_s=0.5))
    assert state.schedule.warm_start == 1000 and state.schedule.continuous == 250
    assert seconds == pytest.approx(600, abs=5)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_on_a_slow_machine_the_decoder_still_gets_the_larger_part(train_on, factor):
    machine = Machine(warm_s=0.4 * factor, full_s=2.0 * factor)
    state, seconds = train_on(machine)
    warm_s = state.schedule.warm_start * machine.warm_s
    full_s = (state.step - state.schedule.warm_start) * machine.full_s
    assert 0.25 * 600 < warm_s <= 0.35 * 600 < 0.5 * 600 < full_s
    assert 600 - machine.full_s <= seconds <= 600 + machine.validation_s
    # The share of steps without quantization is the recipe's, as calibration saw the warm start.
    assert state.schedule.continuous / state.schedule.warm_start == pytest.approx(1 / 4, abs=0.03)


def test_a_busy_moment_costs_no_more_than_it_lasts(train_on):
    quiet, _ = train_on(Machine())
    begin = quiet.schedule.warm_start + 30
    busy, seconds = train_on(Machine(slow=lambda step: 10.0 if begin <= step < begin + 5 else 1.0))
    lost_s = 5 * 9 * 2.0
    assert busy.schedule.warm_start == quiet.schedule.warm_start
    assert busy.step == pytest.approx(quiet.step - lost_s / 2.0, abs=3)
    assert 597 <= seconds <= 601


def test_a_busy_moment_while_calibrating_is_made_good(train_on):
    quiet, _ = train_on(Machine())
    machine = Machine()
    machine.slow = lambda step: 5.0 if machine.now < 1020 else 1.0  # the first twenty seconds
    busy, seconds = train_on(machine)
    # Of twenty seconds sixteen are lost, to the warm start and then to the decoder; a plan that believed them would
    # have had a fifth of the steps.
    assert busy.schedule.warm_start == pytest.approx(quiet.schedule.warm_start, abs=75)
    assert busy.step == pytest.approx(quiet.step, abs=75)
    assert 597 <= seconds <= 601


def test_a_machine_that_gets_slow_for_good_ends_in_time_too(train_on):
    state, seconds = train_on(Machine(slow=lambda step: 3.0 if step > 520 else 1.0))
    assert 590 <= seconds <= 620
    assert state.step == state.total_steps


def test_a_finished_budget_of_more_minutes_takes_as_many_more(train_on):
    machine = Machine(warm_s=0.1, full_s=0.5, slow=lambda step: 2.0 if step > 1500 else 1.0)
    state, first_s = train_on(machine)
    longer = TRAIN.model_copy(update={"max_minutes": 15, "steps": 10_000})
    state.schedule = continued(state.schedule, longer, state.step, state.seconds)
    _, second_s = train_on(machine, longer, state)
    assert 900 - machine.full_s <= first_s + second_s <= 900 + machine.validation_s
    assert state.step == state.total_steps > 1500
    assert state.schedule.warm_start == 1000  # that is over


def test_calibration_leaves_the_state_untouched(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(budget_module, "time", machine)
    state = new_state(machine.model, TRAIN)
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    average = {name: value.clone() for name, value in state.average.state_dict().items()}
    schedule = Budget(TRAIN).calibrate(machine, state, machine.now)
    assert schedule != Schedule.of(TRAIN)
    assert all(torch.equal(value, before[name]) for name, value in state.model.state_dict().items())
    assert all(torch.equal(value, average[name]) for name, value in state.average.state_dict().items())
    assert not state.optimizer.adam.state
    assert all(parameter.grad is None for parameter in machine.model.parameters())
    assert (state.step, state.history) == (0, [])


def test_calibration_is_a_small_part_of_the_minutes(monkeypatch):
    machine = Machine(warm_s=0.5, full_s=4.0, validation_s=8.0)
    monkeypatch.setattr(budget_module, "time", machine)
    begun = machine.now
    Budget(TRAIN.model_copy(update={"max_minutes": 60})).calibrate(machine, new_state(machine.model, TRAIN), begun)
    # Two steps of each phase at least, eight at most, within 2 % of the time; one validation.
    assert machine.now - begun <= 2 * (0.5 + 4.0) + 2 * 0.02 * 3600 + 8


def test_too_few_minutes_are_refused_before_they_are_spent_and_the_minutes_named_are_enough(monkeypatch):
    machine = Machine(warm_s=1.0, full_s=6.0, validation_s=30.0)
    monkeypatch.setattr(budget_module, "time", machine)
    begun = machine.now
    few = TRAIN.model_copy(update={"max_minutes": 2})
    with pytest.raises(TrainingError, match=r"max_minutes=2 is too little .* fewer than 40 steps of each") as refusal:
        Budget(few).calibrate(machine, new_state(machine.model, few), begun)
    assert machine.now - begun <= 2 * (1.0 + 6.0) + 3  # and no validation
    (minutes,) = re.findall(r"--set train\.max_minutes=(\d+)", str(refusal.value))
    enough = TRAIN.model_copy(update={"max_minutes": float(minutes)})
    schedule = Budget(enough).calibrate(machine, new_state(machine.model, enough), machine.now)
    assert schedule.warm_start >= 40 and schedule.total - schedule.warm_start >= 40


def test_without_a_budget_the_recipes_steps_are_taken(train_on):
    train = TRAIN.model_copy(update={"max_minutes": None, "steps": 60, "warm_start_steps": 30, "continuous_steps": 10})
    state, _ = train_on(Machine(), train)
    assert state.schedule == Schedule(10, 30, 60)


def test_what_is_resumed_keeps_its_schedule_and_its_time(train_on):
    machine = Machine()
    state = new_state(machine.model, TRAIN)
    with pytest.raises(KeyboardInterrupt):
        train_on(machine, state=state, observer=Silence(stop_at=300))
    saved = state.to_dict()
    again = new_state(machine.model, TRAIN)
    again.from_dict(saved)
    assert again.schedule == state.schedule and again.seconds == state.seconds > 100
    machine.now += 10_000  # the time in between does not count
    resumed, seconds = train_on(machine, state=again)
    assert 590 <= again.seconds + machine.validation_s <= 610
    assert seconds == pytest.approx(600 - saved["seconds"], abs=10)
    assert resumed.schedule.continuous == state.schedule.continuous


def test_a_state_of_before_budgets_were_divided_keeps_its_number_of_steps(train_on):
    machine = Machine()
    state = new_state(machine.model, TRAIN)
    old = state.to_dict() | {"total_steps": 4321, "step": 100}
    del old["schedule"]
    state.from_dict(old)
    assert state.schedule == Schedule(250, 1000, 4321)
