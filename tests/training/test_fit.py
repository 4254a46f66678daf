"""The training loop on a task made by hand: when it validates, saves, stops, and how it answers signals."""

from __future__ import annotations

import inspect
import signal
import threading

import pytest
from torch import nn

from vqspeech.config import TrainConfig
from vqspeech.errors import TrainingError
from vqspeech.training.loop import fit, stop_requests
from vqspeech.training.state import Task, TrainingState, new_state

TRAIN = TrainConfig(
    steps=10, learning_rate=0.1, warmup_steps=0, validate_every=4, checkpoint_every=3, clip_norm=1e9,
    weight_average=0.5, precision="float32", compile="off",
)  # fmt: skip


class Parabola(Task):
    """Minimise (w - 3)^2."""

    def __init__(self) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.broken_at: int | None = None
        self.diagnosis: str | None = None
        self.least_steps = 1
        self.schedules: list[int] = []  # their numbers of steps

    def losses(self, step):
        total = (self.model.weight - 3).pow(2).sum()
        if step == self.broken_at:
            total = total * float("nan")
        return {"total": total, "bits": total.detach()}

    def validate(self, model, step):
        return {"bits": float((model.weight.detach() - 3).pow(2).sum())}

    def diagnose(self, history):
        return self.diagnosis

    def reschedule(self, train):
        self.schedules.append(train.steps)


class Diary:
    """Notes what it is told; `at` maps a step to something that happens after it."""

    def __init__(self, at=None) -> None:
        self.events: list[tuple[str, int]] = []
        self.weights: list[float] = []
        self.at = at or {}

    def started(self, state):
        self.events.append(("start", state.step))

    def stepped(self, state, terms):
        self.weights.append(float(state.model.weight.detach()))
        self.at.get(state.step, lambda: None)()

    def validated(self, state, figures):
        self.events.append(("validate", state.step))

    def save(self, state):
        self.events.append(("save", state.step))


def run(task, diary, train=TRAIN, state=None) -> tuple[bool, TrainingState]:
    state = state or new_state(task.model, train)
    return fit(task, state, train, diary), state


def test_validations_and_checkpoints_fall_on_their_steps():
    diary = Diary()
    finished, state = run(Parabola(), diary)
    assert finished
    assert state.step == state.total_steps == 10
    assert diary.events == [
        ("start", 0), ("save", 3), ("validate", 4), ("save", 6), ("validate", 8), ("save", 9), ("validate", 10),
        ("save", 10),
    ]  # fmt: skip
    assert [figures["step"] for figures in state.history] == [4, 8, 10]


def test_first_step_is_adams():
    diary = Diary()
    run(Parabola(), diary)
    assert diary.weights[0] == pytest.approx(0.1)  # Adam's first step is the learning rate, whatever the gradient
    assert len(diary.weights) == 10


def test_the_average_follows_the_weights():
    diary = Diary()
    _, state = run(Parabola(), diary)
    average = diary.weights[0]  # the first update copies
    for count, weight in enumerate(diary.weights[1:], start=1):
        decay = min(0.5, (1 + count) / (10 + count))
        average = decay * average + (1 - decay) * weight
    assert float(state.average.module.weight.detach()) == pytest.approx(average, rel=1e-5)


def test_gradients_are_clipped():
    diary, task = Diary(), Parabola()
    norms: list[float] = []
    diary.stepped = lambda state, terms: norms.append(float(state.model.weight.grad.norm()))
    run(task, diary, TRAIN.model_copy(update={"clip_norm": 0.25}))
    assert max(norms) <= 0.25 + 1e-6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_before_leaving(number):
    before = signal.getsignal(number)
    diary = Diary({5: lambda: signal.raise_signal(number)})
    finished, state = run(Parabola(), diary)
    assert not finished
    assert state.step == 5
    assert diary.events[-1] == ("save", 5)
    assert signal.getsignal(number) is before


def test_stopped_and_continued_training_takes_the_same_steps():
    whole, first, second = Diary(), Diary({5: lambda: signal.raise_signal(signal.SIGTERM)}), Diary()
    run(Parabola(), whole)
    _, state = run(Parabola(), first)
    saved = state.to_dict()
    task = Parabola()
    fresh = new_state(task.model, TRAIN)
    fresh.from_dict(saved)
    finished, _ = run(task, second, state=fresh)
    assert finished
    assert first.weights + second.weights == whole.weights


def test_a_second_signal_interrupts_at_once():
    with stop_requests() as is_stopping:
        assert not is_stopping()
        signal.raise_signal(signal.SIGINT)
        assert is_stopping()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_outside_the_main_thread_signals_are_left_alone():
    outcome: list[bool] = []
    before = signal.getsignal(signal.SIGINT)

    def work():
        outcome.append(run(Parabola(), Diary())[0])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert outcome == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_loss_that_is_not_finite_stops_with_a_diagnosis_and_keeps_the_last_checkpoint():
    task, diary = Parabola(), Diary()
    task.broken_at = 7
    with pytest.raises(TrainingError, match=r"step 7: .*not finite \(total nan.*Lower train\.learning_rate"):
        run(task, diary)
    assert diary.events[-1] == ("save", 6)
    assert len(diary.weights) == 7  # the eighth step was not taken
    assert float(task.model.weight.detach()) == diary.weights[-1]


def test_a_diagnosis_stops_after_saving():
    task, diary = Parabola(), Diary()
    task.diagnosis = "the codebook collapsed"
    with pytest.raises(TrainingError, match="stopped at step 4: the codebook collapsed"):
        run(task, diary)
    assert diary.events[-2:] == [("validate", 4), ("save", 4)]


def test_fit_is_at_most_sixty_lines():
    assert len(inspect.getsource(fit).splitlines()) <= 60
