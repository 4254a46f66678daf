"""The one training loop; what is trained is a `Task`."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vqspeech.config import TrainConfig
from vqspeech.distributed import all_reduce_sum, world_size
from vqspeech.errors import TrainingError
from vqspeech.training.budget import Budget
from vqspeech.training.phases import phase_at
from vqspeech.training.schedule import Schedule, learning_rate
from vqspeech.training.state import Observer, Task, TrainingState


def fit(task: Task, state: TrainingState, train: TrainConfig, observer: Observer) -> bool:
    """Train until `state.total_steps`; return whether they were all done (False: a signal asked to stop).

    Raises
    ------
    TrainingError
        When the loss is no longer finite (the last checkpoint stays as it is), or the task's diagnosis says that going
        on is futile (the state is saved).
    """
    if state.total_steps <= state.step:
        return True  # done by an earlier call
    recipe = train
    started = time.monotonic() - state.seconds
    budget = Budget(recipe) if recipe.max_minutes is not None else None
    if budget and not state.step:
        state.schedule = budget.calibrate(task, state, started)
    train = _follow(task, state, recipe, state.schedule)
    observer.started(state)
    task.model.train()
    with stop_requests() as is_stopping:
        while state.step < state.total_steps and not is_stopping():
            begun = time.monotonic()
            state.optimizer.learning_rate = learning_rate(state.step, state.total_steps, train)
            terms = take_step(task, state, train)
            state.seconds = time.monotonic() - started
            is_due = budget is not None and budget.stepped(state.step, time.monotonic() - begun, state.schedule)
            observer.stepped(state, terms)
            if state.step % train.validate_every == 0 or state.step == state.total_steps:
                begun = time.monotonic()
                _validate(task, state, observer)
                if budget:
                    budget.validated(state.step, time.monotonic() - begun, state.schedule)
            if budget and is_due and state.step < state.total_steps:
                train = _follow(task, state, recipe, budget.correct(state))
            if state.step % train.checkpoint_every == 0:
                observer.save(state)
        observer.save(state)
    return state.step >= state.total_steps


def _validate(task: Task, state: TrainingState, observer: Observer) -> None:
    figures = {"step": state.step} | task.validate(state.average.module, state.step)
    state.history.append(figures)
    observer.validated(state, figures)
    if diagnosis := task.diagnose(state.history):
        observer.save(state)
        raise TrainingError(f"stopped at step {state.step}: {diagnosis}")


def take_step(task: Task, state: TrainingState, train: TrainConfig) -> dict[str, Tensor]:
    """One optimiser step; nothing is changed when the loss is not finite.

    Raises
    ------
    TrainingError
        With a diagnosis, before the optimiser moves.
    """
    phase = phase_at(state.step, train)
    if state.step == phase.first:
        task.enter(phase, state)
    terms = task.losses(state.step)
    state.optimizer.zero_grad()
    terms["total"].backward()
    norm = nn.utils.clip_grad_norm_(task.model.parameters(), train.clip_norm)
    if not math.isfinite(float(norm)) or not math.isfinite(float(terms["total"].detach())):
        found = ", ".join(f"{name} {float(value.detach()):.4g}" for name, value in terms.items())
        raise TrainingError(
            f"stopped at step {state.step}: the loss or its gradient (norm {float(norm):.4g}) is not finite ({found}). "
            "Lower train.learning_rate (with Muon train.muon_rate too), lengthen train.warmup_steps, or set "
            "train.precision=float32"
        )
    state.optimizer.step()
    state.average.update_parameters(state.model)
    state.step += 1
    return {name: value.detach() for name, value in terms.items()} | {"gradient_norm": norm}


def _follow(task: Task, state: TrainingState, train: TrainConfig, schedule: Schedule) -> TrainConfig:
    """Take over a schedule; returns the recipe's section with its numbers of steps."""
    state.schedule = schedule
    settled = schedule.applied(train)
    task.reschedule(settled)
    return settled


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """A function that says whether SIGINT or SIGTERM came; the second SIGINT interrupts at once."""
    requested = threading.Event()

    def request(number: int, frame: object) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    def asked() -> bool:
        if world_size() == 1:
            return requested.is_set()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return bool(all_reduce_sum(torch.tensor(float(requested.is_set()), device=device)))

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
