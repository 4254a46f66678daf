"""What a step of training costs: seconds, the optimiser's part of them, and arithmetic beside the machine's peak."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vqspeech.config import TrainConfig
from vqspeech.nn.wavenet import WaveNet
from vqspeech.training.loop import take_step
from vqspeech.training.state import Task, TrainingState

UNTIMED = 2  # first steps, which compile and warm up
PEAK_ROUNDS = 7  # products, of which the median counts

Action = Callable[[], object]
Timer = Callable[[Action], None]


@dataclass(frozen=True)
class StepCost:
    """What one step takes.

    Attributes
    ----------
    step_s : seconds of a whole step, the median
    optimizer : "adam", or "muon" where Muon moved matrices beside Adam
    optimizer_share : of the step's time, for moving the weights; the median of steps
    average_share : likewise, for the average that follows them
    flop : of the model's products in a step, forward and backward; a multiply-add counts as two
    optimizer_flop : of the optimiser's own products (Muon's), which `flop` leaves out
    """

    step_s: float
    optimizer: str
    optimizer_share: float
    average_share: float
    flop: int
    optimizer_flop: int

    @property
    def gflop_per_s(self) -> float:
        """The model's arithmetic over the whole step's time, as in model FLOPs utilisation [arXiv 2204.02311, B]."""
        return self.flop / self.step_s / 1e9

    def to_json(self, peak: float) -> dict[str, Any]:
        """Plain values, beside a peak in GFLOP/s."""
        return asdict(self) | {"gflop_per_s": self.gflop_per_s, "share_of_peak": self.gflop_per_s / peak}


class StepMeter:
    """Takes whole steps as the training loop does, all of them in the place of one, and measures them.

    Parameters
    ----------
    task, state, train : see `take_step`
    step : in whose place they are
    """

    def __init__(self, task: Task, state: TrainingState, train: TrainConfig, step: int) -> None:
        self.task, self.state, self.train, self.step = task, state, train, step
        self.seconds: list[float] = []
        self.parts: dict[str, list[float]] = {"optimizer": [], "average": []}
        self.flop = self.optimizer_flop = 0
        task.model.train()

    def warm_up(self) -> None:
        """The first steps, which compile."""
        for _ in range(UNTIMED):
            self._take({})

    def take(self) -> None:
        """One step, timed."""
        spent = dict.fromkeys(self.parts, 0.0)

        def watch(part: str, action: Action) -> None:
            spent[part] += seconds(action)

        self.seconds.append(seconds(lambda: self._take({part: partial(watch, part) for part in spent})))
        for part, values in self.parts.items():
            values.append(spent[part])

    def count(self) -> None:
        """One step whose products are counted, in eager mode: what is compiled or fused hides them from the counter."""
        optimizer_flop = 0
        with _unfused(self.task.model), FlopCounterMode(display=False) as counter:

            def watch(action: Action) -> None:
                nonlocal optimizer_flop
                before = counter.get_total_flops()
                action()
                optimizer_flop += counter.get_total_flops() - before

            self._take({"optimizer": watch})
        self.optimizer_flop = optimizer_flop
        self.flop = counter.get_total_flops() - optimizer_flop

    def cost(self) -> StepCost:
        """Of the steps that were timed and counted so far."""
        whole = np.array(self.seconds)
        optimizer, average = (float(np.median(np.array(values) / whole)) for values in self.parts.values())
        return StepCost(
            float(np.median(whole)), self._optimizer(), optimizer, average, self.flop, self.optimizer_flop
        )  # fmt: skip

    def _take(self, watches: dict[str, Timer]) -> None:
        self.state.step = self.step
        with ExitStack() as stack:
            if watch := watches.get("optimizer"):
                stack.enter_context(_watched(self.state.optimizer, "step", watch))
            if watch := watches.get("average"):
                stack.enter_context(_watched(self.state.average, "update_parameters", watch))
            take_step(self.task, self.state, self.train)

    def _optimizer(self) -> str:
        """Who moved the weights: in a warm start the WaveNet's matrices have no gradient, and Muon nothing to do."""
        muon = self.state.optimizer.muon
        moved = muon is not None and any(
            parameter.grad is not None for group in muon.param_groups for parameter in group["params"]
        )
        return "muon" if moved else "adam"


def measure_step(task: Task, state: TrainingState, train: TrainConfig, step: int, rounds: int) -> StepCost:
    """Cost of whole steps as the training loop takes them, all of them in the place of `step`."""
    meter = StepMeter(task, state, train, step)
    meter.warm_up()
    for _ in range(rounds):
        meter.take()
    meter.count()
    return meter.cost()


def measure_peak(device: str, rounds: int = PEAK_ROUNDS) -> float:
    """GFLOP/s of a plain large matrix product in float32 on all threads: the median of `rounds`, after one untimed."""
    size = 8192 if device.startswith("cuda") else 2048
    left, right = (torch.rand(size, size, device=device) for _ in range(2))
    took = [seconds(lambda: torch.mm(left, right)) for _ in range(1 + rounds)][1:]
    return 2 * size**3 / float(np.median(took)) / 1e9


def seconds(action: Action) -> float:
    """How long something takes, what it left to a graphics card included."""
    _synchronize()
    started = time.perf_counter()
    action()
    _synchronize()
    return time.perf_counter() - started


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def _unfused(model: nn.Module) -> Iterator[None]:
    """For a while, a model's WaveNets compute their losses in torch."""
    fused = [part for part in model.modules() if isinstance(part, WaveNet) and part.fused]
    for wavenet in fused:
        wavenet.fused = False
    try:
        yield
    finally:
        for wavenet in fused:
            wavenet.fused = True


@contextmanager
def _watched(owner: object, name: str, watch: Timer) -> Iterator[None]:
    """For a while, calls of an object's method go through `watch`."""
    method = getattr(owner, name)
    setattr(owner, name, lambda *args: watch(lambda: method(*args)))
    try:
        yield
    finally:
        delattr(owner, name)
