"""How many steps each phase of a training has, the learning rate at each, and a time budget divided among phases."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from vqspeech.config import TrainConfig


@dataclass(frozen=True)
class Schedule:
    """Steps of a training's phases, all counted from the first step.

    Attributes
    ----------
    continuous : first steps without quantization
    warm_start : first steps without the WaveNet
    total : all steps
    """

    continuous: int
    warm_start: int
    total: int

    @classmethod
    def of(cls, train: TrainConfig) -> Schedule:
        """What the recipe says."""
        return cls(train.continuous_steps, train.warm_start_steps, train.steps)

    def applied(self, train: TrainConfig) -> TrainConfig:
        """The recipe's section with these numbers of steps."""
        steps = {"continuous_steps": self.continuous, "warm_start_steps": self.warm_start, "steps": self.total}
        return train.model_copy(update=steps)


@dataclass(frozen=True)
class Pace:
    """Seconds of one step of the warm start, and of one with the WaveNet, each with its share of a validation.

    `end_s` are those of the validation at the end.
    """

    warm_s: float
    full_s: float
    end_s: float = 0.0


def learning_rate(step: int, total_steps: int, train: TrainConfig) -> float:
    """Linear warm-up, then half a cosine down to `final_rate` of the peak.

    The cosine begins when the WaveNet joins, after `warm_start_steps`: it would come too late for most of it otherwise.

    Examples
    --------
    >>> train = TrainConfig(learning_rate=0.1, warmup_steps=10, final_rate=0.0)
    >>> [round(learning_rate(step, 110, train), 3) for step in (0, 9, 60, 110)]
    [0.01, 0.1, 0.05, 0.0]
    """
    warm = min(1.0, (step + 1) / max(1, train.warmup_steps))
    start = max(train.warmup_steps, train.warm_start_steps)
    done = min(1.0, max(0.0, (step - start) / max(1, total_steps - start)))
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return train.learning_rate * warm * (train.final_rate + (1 - train.final_rate) * cosine)


def continued(schedule: Schedule, train: TrainConfig, step: int, seconds: float) -> Schedule:
    """The schedule of a training that goes on with other `train.steps` or `train.max_minutes`.

    Phases that are over stay as they were. How fast the machine is now, a time budget finds out on the way; until then
    a step takes what it took on average.

    Parameters
    ----------
    schedule : so far
    train : the recipe's section as it is now
    step, seconds : that are done

    Examples
    --------
    >>> continued(Schedule(10, 30, 100), TrainConfig(steps=250, warm_start_steps=40), step=100, seconds=60.0)
    Schedule(continuous=10, warm_start=30, total=250)
    """
    if train.max_minutes is None or not step:
        return replace(schedule, total=train.steps)
    return divide(train, Pace(seconds / step, seconds / step), seconds, step, schedule)


def divide(
    train: TrainConfig, pace: Pace, spent_s: float = 0.0, step: int = 0, now: Schedule | None = None
) -> Schedule:
    """Steps of each phase that fit into `train.max_minutes`, at least one more than are done.

    The warm start ends when it has had the recipe's steps, or `warm_start_share` of the time; the decoder has the rest,
    so that it gets the larger part on any machine. The first steps, without quantization, keep their proportion.

    Parameters
    ----------
    train : the recipe's section; its steps are the most
    pace : of this machine
    spent_s : seconds that are gone
    step : steps that are done
    now : the schedule so far; what is over in it stays as it was
    """
    assert train.max_minutes is not None
    budget_s = 60 * train.max_minutes
    now = now or Schedule.of(train)
    continuous, warm_start = now.continuous, now.warm_start
    if step < warm_start:
        ahead = max(1, int((train.warm_start_share * budget_s - spent_s) / pace.warm_s))
        warm_start = min(train.warm_start_steps, step + ahead)
        if step:  # k-means may be over, or about to come
            warm_start = max(warm_start, continuous + 1)
        elif train.continuous_steps < train.warm_start_steps:
            continuous = train.continuous_steps * warm_start // train.warm_start_steps
    rest_s = budget_s - spent_s - pace.end_s - max(0, warm_start - step) * pace.warm_s
    total = max(warm_start, step) + max(1, int(rest_s / pace.full_s))
    return Schedule(continuous, warm_start, max(step + 1, min(train.steps, total)))
