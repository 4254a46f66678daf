"""What a training shows and keeps: progress bar, metrics.jsonl, TensorBoard, samples, checkpoints."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from vqspeech.distributed import rank
from vqspeech.training.run import Run
from vqspeech.training.state import TrainingState

REPORT_EVERY = 20  # steps between two lines of metrics.jsonl


def best_of(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The validation with the fewest bits, the first of several."""
    return min(history, key=lambda figures: float(figures["bits"]))


class Recorder(ABC):
    """The observer of a training run, see `Observer`; what differs from model to model is left open.

    Parameters
    ----------
    run : files of the training
    title : of the progress bar
    tensorboard : TensorBoard's folder in the run's
    training : what the model's card says of the training besides step and metrics
    visible : whether a progress bar and lines are printed
    """

    def __init__(self, run: Run, title: str, tensorboard: str, training: dict[str, Any], visible: bool) -> None:
        self.run, self.title, self.tensorboard, self.training = run, title, tensorboard, training
        self.visible = visible and rank() == 0
        self.bar: Any = None
        self.writer: Any = None
        self.last = (0.0, 0)  # when, and at which step, the last report was

    @abstractmethod
    def checkpoint(self, state: TrainingState) -> None:
        """Keep the state for resuming and the averaged weights for inference."""

    @abstractmethod
    def speed(self, steps_per_s: float, step: int) -> dict[str, int]:
        """What is trained on in a second, after `step` steps."""

    @abstractmethod
    def describe_step(self, row: dict[str, Any], step: int) -> str:
        """A few words for the bar, from a line of metrics.jsonl."""

    @abstractmethod
    def describe(self, figures: dict[str, Any]) -> str:
        """One line for the terminal on a validation."""

    def keep_samples(self, state: TrainingState) -> None:
        """Keep what a validation can be heard and seen by."""
        return None

    def started(self, state: TrainingState) -> None:
        """Open the bar and TensorBoard's writer."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed
        from rich.progress import TimeRemainingColumn as Remaining
        from torch.utils.tensorboard import SummaryWriter

        if rank() > 0:
            return
        self.writer = SummaryWriter(
            str(self.run.folder / self.tensorboard), purge_step=state.step + 1 if state.step else None
        )
        columns = (
            TextColumn(self.title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"),
            Elapsed(), TextColumn("left"), Remaining(),
        )  # fmt: skip
        self.bar = Progress(*columns, console=Console(stderr=True), disable=not self.visible)
        self.bar.start()
        self.last = (time.monotonic(), state.step)
        self.bar_task = self.bar.add_task("", total=state.total_steps, completed=state.step, figures="")

    def stepped(self, state: TrainingState, terms: dict[str, Tensor]) -> None:
        """Report now and then."""
        if rank() > 0:
            return
        self.bar.update(self.bar_task, completed=state.step, total=state.total_steps)
        if state.step % REPORT_EVERY:
            return
        now = time.monotonic()
        row: dict[str, Any] = {name: round(float(value), 5) for name, value in terms.items()}
        row |= self.speed((state.step - self.last[1]) / (now - self.last[0]), state.step)
        self.last = (now, state.step)
        learning = state.optimizer.learning_rate
        self.run.report({"kind": "train", "step": state.step, "seconds": round(state.seconds, 1), "lr": learning} | row)
        for name, value in row.items():
            self.writer.add_scalar(f"train/{name}", value, state.step)
        self.bar.update(self.bar_task, figures=self.describe_step(row, state.step))

    def validated(self, state: TrainingState, figures: dict[str, Any]) -> None:
        """Report a validation, and keep what it can be heard and seen by."""
        if rank() > 0:
            return
        self.run.report({"kind": "validation", "seconds": round(state.seconds, 1)} | figures)
        flat = {k: v for k, v in figures.items() if k not in ("probe", "step", "warm_start")} | figures.get("probe", {})
        for name, value in flat.items():
            self.writer.add_scalar(f"validation/{name}", value, state.step)
        self.keep_samples(state)
        if self.visible:
            self.bar.console.print(self.describe(figures), highlight=False, soft_wrap=True)
        self.last = (time.monotonic(), state.step)  # a validation's time is not a step's

    def save(self, state: TrainingState) -> None:
        """See `checkpoint`; one process does it."""
        if rank() == 0:
            self.checkpoint(state)

    def close(self) -> None:
        """Stop the bar and flush what is written."""
        if self.bar is not None:
            self.bar.stop()
            self.writer.close()
