"""`train.max_minutes`: a machine's pace is timed, the minutes are divided, and both are corrected on the way."""

from __future__ import annotations

import math
import time
from collections import deque

import numpy as np

from vqspeech.config import TrainConfig
from vqspeech.distributed import share
from vqspeech.errors import TrainingError
from vqspeech.training.schedule import Pace, Schedule, divide
from vqspeech.training.state import Task, TrainingState

CALIBRATED = 8  # steps of a phase that are timed beforehand, fewer where they are long
CALIBRATION_SHARE = 0.02  # of the budget, for the steps of one phase
OPTIMISER = 1.1  # the optimiser and the weight average take time too, which calibration leaves out
RESERVE = 1.25  # of the minutes that a refusal names, so that who gives them is not refused again
REMEMBERED = 20  # steps of whose durations the median is taken, again and again


class Budget:
    """Divides the minutes of a recipe into steps.

    The pace is the median of a phase's last steps, and the division is corrected by it all the way: a busy moment costs
    no more than it lasts, and a machine that stays busy ends in time too.

    Parameters
    ----------
    train : with max_minutes
    """

    def __init__(self, train: TrainConfig) -> None:
        assert train.max_minutes is not None
        self.train = train
        self.warm_s = self.full_s = 0.0  # seconds of a step
        self.warm_validation_s = self.validation_s = 0.0
        self.last_s: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def pace(self) -> Pace:
        """Of a step with its share of a validation."""
        every = self.train.validate_every
        return Pace(
            self.warm_s + self.warm_validation_s / every, self.full_s + self.validation_s / every, self.validation_s
        )

    def calibrate(self, task: Task, state: TrainingState, started: float) -> Schedule:
        """Time steps and a validation on a state that is then put back, and divide the minutes.

        Parameters
        ----------
        started : when the budget began to run, by `time.monotonic`

        Raises
        ------
        TrainingError
            If a phase would have fewer than the task's `least_steps`; the message tells how many minutes would do.
        """
        train = self.train
        saved = {name: value.clone() for name, value in state.model.state_dict().items()}
        settling = train.settling_steps
        try:
            self.full_s = OPTIMISER * self._time_steps(task, state, settling)
            self.warm_s = OPTIMISER * self._time_steps(task, state, 0) if train.warm_start_steps else self.full_s
            self._check(task.least_steps, time.monotonic() - started)
            begun = time.monotonic()
            task.validate(state.average.module, settling + 1)  # with all that later ones include
            self.validation_s = time.monotonic() - begun
        finally:
            state.model.load_state_dict(saved)
            task.model.train()
        return share(self._check(task.least_steps, time.monotonic() - started))

    def _time_steps(self, task: Task, state: TrainingState, step: int) -> float:
        """Mean seconds of steps in the place of `step`, the first of which compiles and warms up."""

        def seconds(count: int) -> float:
            begun = time.monotonic()
            for ahead in range(count):
                task.losses(step + ahead)["total"].backward()
                state.optimizer.zero_grad()
            return (time.monotonic() - begun) / count

        assert self.train.max_minutes is not None
        limit_s = CALIBRATION_SHARE * 60 * self.train.max_minutes
        seconds(1)
        first_s = seconds(1)
        more = share(min(CALIBRATED - 1, int(limit_s / first_s)))  # the same for all processes: they work in step
        return seconds(more) if more else first_s

    def _check(self, least: int, spent_s: float) -> Schedule:
        train, pace = self.train, self.pace
        schedule = divide(train, pace, spent_s)
        least_warm = min(least, train.warm_start_steps)
        least_full = min(least, train.steps - train.warm_start_steps)
        if schedule.warm_start >= least_warm and schedule.total - schedule.warm_start >= least_full:
            return schedule
        needed_s = spent_s + pace.end_s + least_warm * pace.warm_s + least_full * pace.full_s
        if least_warm:
            needed_s = max(needed_s, (spent_s + least_warm * pace.warm_s) / train.warm_start_share)
        # In more minutes more steps are timed.
        minutes = math.ceil(RESERVE * (needed_s / (1 - 2 * CALIBRATION_SHARE)) / 60)
        warm = f" ({pace.warm_s:.2g} s in the warm start)" if least_warm else ""
        raise TrainingError(
            f"train.max_minutes={train.max_minutes:g} is too little on this machine, where a step takes "
            f"{pace.full_s:.2g} s{warm}: with fewer than {least} steps of each phase a model gives noise. Give at "
            f"least {minutes} minutes: --set train.max_minutes={minutes}"
        )

    def stepped(self, step: int, seconds: float, schedule: Schedule) -> bool:
        """Note how long a step took; whether it is time to correct the schedule."""
        if step == schedule.warm_start + 1:
            self.last_s.clear()
        self.last_s.append(seconds)
        return step % REMEMBERED == 0 and len(self.last_s) == REMEMBERED

    def validated(self, step: int, seconds: float, schedule: Schedule) -> None:
        """Note how long a validation took."""
        if step > schedule.warm_start:
            self.validation_s = seconds
        else:
            self.warm_validation_s = seconds

    def correct(self, state: TrainingState) -> Schedule:
        """The schedule, by the pace of the last steps."""
        median_s = float(np.median(self.last_s))
        if state.step > state.schedule.warm_start:
            self.full_s = median_s
        else:
            self.warm_s = median_s
        if not self.full_s:  # resumed within the warm start: how long later steps take is not known yet
            return state.schedule
        return share(divide(self.train, self.pace, state.seconds, state.step, state.schedule))
