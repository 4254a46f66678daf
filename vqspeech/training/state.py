"""What the training loop works with: a task, who watches it, and all that changes while training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vqspeech.config import TrainConfig
from vqspeech.training.optimizer import Optimizer
from vqspeech.training.phases import Phase
from vqspeech.training.schedule import Schedule


class Task(Protocol):
    """What the loop needs to know of a model and its data; a task of a single phase can leave `enter` as it is."""

    model: nn.Module
    least_steps: int  # of each phase: what a time budget has to allow to be of use

    def enter(self, phase: Phase, state: TrainingState) -> None:
        """Make the changes that a phase begins with, before its first step.

        They may depend on the weights and the seed alone: a training that is resumed at that step repeats them.
        """
        return None

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of one step by name; "total" is minimised, "bits" is shown."""

    def validate(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Figures of the averaged model on held-out data."""

    def diagnose(self, history: list[dict[str, Any]]) -> str | None:
        """A sentence if the validations so far show that going on is futile."""
        return None

    def reschedule(self, train: TrainConfig) -> None:
        """Take over the numbers of steps that a time budget allows."""
        return None


class Observer(Protocol):
    """Who is told how it goes, and who keeps what must not be lost."""

    def started(self, state: TrainingState) -> None: ...

    def stepped(self, state: TrainingState, terms: dict[str, Tensor]) -> None: ...

    def validated(self, state: TrainingState, figures: dict[str, Any]) -> None: ...

    def save(self, state: TrainingState) -> None: ...


@dataclass
class TrainingState:
    """All that changes while training, and nothing else: saved and loaded as one."""

    average: AveragedModel  # holds the weights for inference
    model: nn.Module
    optimizer: Optimizer
    history: list[dict[str, Any]]  # figures of all validations
    schedule: Schedule
    step: int = 0
    seconds: float = 0.0  # of training, over all sittings

    @property
    def total_steps(self) -> int:
        """Steps in all."""
        return self.schedule.total

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors, loadable with weights_only=True."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "step": self.step,
            "schedule": asdict(self.schedule),
            "seconds": self.seconds,
        }

    def from_dict(self, saved: dict[str, Any]) -> None:
        """Take over what `to_dict` gave."""
        self.model.load_state_dict(saved["model"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.history = saved["history"]
        self.step, self.seconds = saved["step"], saved["seconds"]
        # Before budgets were divided, a state kept the number of all steps alone.
        old = {"total": saved["total_steps"]} if "total_steps" in saved else {}
        self.schedule = replace(self.schedule, **saved.get("schedule", old))


def new_state(model: nn.Module, train: TrainConfig) -> TrainingState:
    """The state before the first step."""

    def follow(average: Sequence[Tensor], live: Sequence[Tensor], count: Tensor | int) -> None:
        # The average starts short and lengthens: the random first weights leave it within a few hundred steps.
        decay = min(train.weight_average, (1 + float(count)) / (10 + float(count)))
        if average[0].is_floating_point():  # AveragedModel hands tensors over kind by kind
            torch._foreach_lerp_(list(average), list(live), 1 - decay)
        else:
            torch._foreach_copy_(list(average), list(live))

    return TrainingState(
        average=AveragedModel(model, multi_avg_fn=follow, use_buffers=True),
        model=model,
        optimizer=Optimizer(model, train),
        history=[],
        schedule=Schedule.of(train),
    )
