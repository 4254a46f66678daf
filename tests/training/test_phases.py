"""Which parts of a model learn at which step."""

from __future__ import annotations

import signal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vqspeech.config import TrainConfig, parse_recipe
from vqspeech.models.vqvae import VQVAE
from vqspeech.training.acceleration import Acceleration
from vqspeech.training.loop import fit
from vqspeech.training.phases import phase_at, samples_until
from vqspeech.training.state import Task, new_state
from vqspeech.training.vqvae import FREQUENCY_BATCHES, VQVAETask

EAGER = Acceleration("cpu", bfloat16=False, compile=False, notices=())


def steps(continuous: int = 0, warm_start: int = 0, **others: object) -> TrainConfig:
    settings = {"steps": 12, "precision": "float32", "compile": "off", "validate_every": 100, "checkpoint_every": 100}
    return TrainConfig(continuous_steps=continuous, warm_start_steps=warm_start, **settings | others)


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (steps(), {0: "decoder"}),
        (steps(2, 5), {0: "continuous", 2: "warm start", 5: "decoder"}),
        (steps(0, 5), {0: "warm start", 5: "decoder"}),
        (steps(5, 5), {0: "continuous", 5: "decoder"}),
        (steps(5, 2), {0: "continuous", 2: "continuous decoder", 5: "decoder"}),
        (steps(5, 0), {0: "continuous decoder", 5: "decoder"}),
    ],
)
def test_a_training_goes_through_its_phases(train, expected):
    found = [phase_at(step, train) for step in range(12)]
    assert {phase.first: phase.name for phase in found} == expected
    for step, phase in enumerate(found):
        assert phase.first == max(first for first in expected if first <= step)
        assert phase.quantized == (step >= train.continuous_steps)
        assert phase.with_decoder == (step >= train.warm_start_steps)
        assert phase.is_settled == (step >= train.settling_steps)


@given(continuous=st.integers(0, 20), warm_start=st.integers(0, 20), freeze=st.booleans())
def test_codes_begin_once_and_the_decoder_joins_once(continuous, warm_start, freeze):
    train = steps(continuous, warm_start, freeze_encoder=freeze)
    phases = {phase.first: phase for phase in (phase_at(step, train) for step in range(25))}.values()
    assert [phase.first for phase in phases if phase.codes_begin] == [continuous]
    assert [phase.first for phase in phases if phase.decoder_joins] == [warm_start]
    assert [phase.first for phase in phases if phase.encoder_frozen] == (
        [phase.first for phase in phases if phase.with_decoder] if freeze else []
    )


@given(
    step=st.integers(0, 30), warm_start=st.integers(0, 20), batch=st.integers(1, 5), warm=st.none() | st.integers(1, 5)
)
def test_samples_until_a_step_are_those_of_all_batches_before_it(step, warm_start, batch, warm):
    train = steps(0, warm_start, batch_size=batch, warm_start_batch_size=warm, crop_samples=10)
    assert samples_until(step, train) == sum(10 * phase_at(before, train).batch_size for before in range(step))


class Diary(Task):
    """A task that notes the phases it enters; as an observer it stops a training after a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.model = nn.Linear(1, 1)
        self.least_steps = 1
        self.entered: list[tuple[int, str]] = []
        self.stop_at = stop_at

    def enter(self, phase, state):
        self.entered.append((state.step, phase.name))

    def losses(self, step):
        total = self.model.weight.sum()
        return {"total": total, "bits": total.detach()}

    def validate(self, model, step):
        return {"bits": 0.0}

    def started(self, state): ...

    def stepped(self, state, terms):
        if state.step == self.stop_at:
            signal.raise_signal(signal.SIGTERM)

    def validated(self, state, figures): ...

    def save(self, state): ...


@pytest.mark.parametrize(
    ("stop_at", "before", "after"),
    [
        (1, [(0, "continuous")], [(2, "warm start"), (5, "decoder")]),
        (2, [(0, "continuous")], [(2, "warm start"), (5, "decoder")]),  # what the phase begins with is not done yet
        (3, [(0, "continuous"), (2, "warm start")], [(5, "decoder")]),
        (7, [(0, "continuous"), (2, "warm start"), (5, "decoder")], []),
    ],
)
def test_a_resumed_training_enters_the_phases_whose_first_step_is_ahead(stop_at, before, after):
    train = steps(2, 5)
    first, second = Diary(stop_at), Diary()
    state = new_state(first.model, train)
    assert not fit(first, state, train, first)
    again = new_state(second.model, train)
    again.from_dict(state.to_dict())
    assert fit(second, again, train, second)
    assert (first.entered, second.entered) == (before, after)


def test_only_what_a_phase_begins_with_happens_when_it_is_entered(tiny_values, store, monkeypatch):
    values = tiny_values | {"train": tiny_values["train"] | {"warm_start_steps": 2, "continuous_steps": 5}}
    model = VQVAE(parse_recipe(values, "test"), store.speakers)
    task, train = VQVAETask(model, store, EAGER), model.recipe.train
    state = new_state(model, train)
    made: list[int] = []
    monkeypatch.setattr(task, "initialise", made.append)
    counts = []
    for step in (0, 2, 5):
        state.average.n_averaged.fill_(7)
        task.enter(phase_at(step, train), state)
        counts.append(int(state.average.n_averaged))
    assert counts == [7, 0, 7]  # the average starts anew with the decoder
    assert made == [5]  # k-means makes the codebook when vectors become codes


def test_a_frozen_encoder_begins_as_the_average_of_its_weights(tiny_values, store, monkeypatch):
    changes = {"warm_start_steps": 3, "freeze_encoder": True}
    model = VQVAE(parse_recipe(tiny_values | {"train": tiny_values["train"] | changes}, "test"), store.speakers)
    task, train = VQVAETask(model, store, EAGER), model.recipe.train
    state = new_state(model, train)
    with torch.no_grad():
        for parameter in state.average.module.parameters():
            parameter.add_(1)
    task.enter(phase_at(3, train), state)
    average = dict(state.average.module.named_parameters())
    for name, live in model.named_parameters():
        assert name == "wavenet.head.bias" or torch.equal(live, average[name]), name


@pytest.mark.parametrize("samples_per_step", [1, 4])
@pytest.mark.parametrize("joins", [0, 3])
def test_the_decoder_joins_at_the_frequencies_of_the_classes(tiny_values, store, joins, samples_per_step):
    values = {
        "train": tiny_values["train"] | {"warm_start_steps": joins},
        "decoder": tiny_values["decoder"] | {"samples_per_step": samples_per_step},
    }
    model = VQVAE(parse_recipe(tiny_values | values, "test"), store.speakers)
    task, train = VQVAETask(model, store, EAGER), model.recipe.train
    task.enter(phase_at(joins, train), new_state(model, train))
    counts = torch.ones(256, dtype=torch.float64)
    for step in range(joins, joins + FREQUENCY_BATCHES):
        batch = task.train_batches.batch(step, 0, 1)
        for inside in batch.classes[batch.sample_mask].tolist():
            counts[inside] += 1
    for bias in model.wavenet.head.bias.detach().chunk(samples_per_step):
        torch.testing.assert_close(bias, (counts / counts.sum()).log().float())


def test_with_linear_prediction_the_frequencies_are_those_of_the_excitation(tiny_values, store):
    values = {
        "train": tiny_values["train"] | {"warm_start_steps": 3, "batch_size": 1, "freeze_encoder": True},
        "decoder": tiny_values["decoder"] | {"prediction_order": 4},
    }
    model = VQVAE(parse_recipe(tiny_values | values, "test"), store.speakers)
    task, train = VQVAETask(model, store, EAGER), model.recipe.train
    task.enter(phase_at(3, train), new_state(model, train))
    counts = torch.ones(256, dtype=torch.float64)
    for step in range(3, 3 + FREQUENCY_BATCHES):
        batch = task.voice_batches.batch(step, 0, 1)
        out = model(batch.encoder_wav, batch.classes, batch.frame_mask, batch.speaker, encoder_frozen=True,
                    spoken=batch.wav)  # fmt: skip
        for inside in out.classes[batch.sample_mask].tolist():
            counts[inside] += 1
    torch.testing.assert_close(model.wavenet.head.bias.detach(), (counts / counts.sum()).log().float())


def test_a_trained_decoder_keeps_its_own_frequencies(tiny_values, store):
    model = VQVAE(parse_recipe(tiny_values, "test"), store.speakers)
    before = model.wavenet.head.bias.detach().clone()
    task, train = VQVAETask(model, store, EAGER, has_codebook=True), model.recipe.train
    task.enter(phase_at(0, train), new_state(model, train))
    assert torch.equal(model.wavenet.head.bias, before)
