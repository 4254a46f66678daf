"""Learning rate by step, and a time budget turned into a number of steps."""

from __future__ import annotations

import math

from vqspeech.config import TrainConfig


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


def steps_within(budget_s: float, step_s: float, warm_step_s: float, validation_s: float, train: TrainConfig) -> int:
    """Steps that fit into a time budget, at least one and at most `train.steps`.

    Parameters
    ----------
    budget_s : seconds that are left
    step_s, warm_step_s : seconds of a full step, and of one before the WaveNet joins
    validation_s : seconds of a validation, one every `validate_every` steps
    """
    share_s = validation_s / train.validate_every
    warm = min(train.warm_start_steps, int(budget_s / (warm_step_s + share_s)))
    rest_s = budget_s - warm * (warm_step_s + share_s)
    return max(1, min(train.steps, warm + int(rest_s / (step_s + share_s))))
