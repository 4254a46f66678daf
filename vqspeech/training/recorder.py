"""What a training shows and keeps: progress bar, metrics.jsonl, TensorBoard, samples, checkpoints."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any, cast

from torch import Tensor

from vqspeech.audio import save_audio
from vqspeech.distributed import rank, world_size
from vqspeech.models.vqvae import VQVAE
from vqspeech.pictures import plot_spectrograms, save_picture
from vqspeech.pretrained.cards import ModelCard
from vqspeech.training.phases import phase_at, samples_until
from vqspeech.training.run import Run
from vqspeech.training.state import TrainingState
from vqspeech.training.vqvae import VQVAETask

REPORT_EVERY = 20  # steps between two lines of metrics.jsonl


class Display:
    """The observer of a training run; see `Observer`.

    Parameters
    ----------
    run : open run folder
    task : what is trained
    training : what the model's card says of the training besides step and metrics
    visible : whether a progress bar and lines are printed
    """

    title = "training"
    tensorboard = "tensorboard"  # its folder in the run's

    def __init__(self, run: Run, task: VQVAETask, training: dict[str, Any], visible: bool) -> None:
        self.task = task
        self._prepare(run, training, visible)

    def _prepare(self, run: Run, training: dict[str, Any], visible: bool) -> None:
        self.run = run
        self.training = training
        self.visible = visible and rank() == 0
        self.bar: Any = None
        self.writer: Any = None
        self.last = (0.0, 0)  # when, and at which step, the last report was

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
        row |= self._speed((state.step - self.last[1]) / (now - self.last[0]), state.step)
        self.last = (now, state.step)
        learning = state.descent.learning_rate
        self.run.report({"kind": "train", "step": state.step, "seconds": round(state.seconds, 1), "lr": learning} | row)
        for name, value in row.items():
            self.writer.add_scalar(f"train/{name}", value, state.step)
        self.bar.update(self.bar_task, figures=self._describe_step(row, state.step))

    def validated(self, state: TrainingState, figures: dict[str, Any]) -> None:
        """Report a validation, and keep what it can be heard and seen by."""
        if rank() > 0:
            return
        self.run.report({"kind": "validation", "seconds": round(state.seconds, 1)} | figures)
        flat = {k: v for k, v in figures.items() if k not in ("probe", "step", "warm_start")} | figures.get("probe", {})
        for name, value in flat.items():
            self.writer.add_scalar(f"validation/{name}", value, state.step)
        self._keep_samples(state)
        if self.visible:
            self.bar.console.print(self._describe(figures), highlight=False, soft_wrap=True)
        self.last = (time.monotonic(), state.step)  # a validation's time is not a step's

    def save(self, state: TrainingState) -> None:
        """Keep the state for resuming and the averaged weights for inference."""
        if rank() > 0:
            return
        speakers, weights = self.task.finished_weights(state.average.module.state_dict())
        card = ModelCard(
            recipe=self.task.recipe,
            speakers=speakers,
            step=state.step,
            metrics=state.history[-1] if state.history else {},
            training=self.training
            | {
                "minutes": round(state.seconds / 60, 1),
                "total_steps": state.total_steps,
                "samples": world_size() * samples_until(state.step, self.task.recipe.train),
            },
            version=version("vqspeech"),
        )
        self.run.save(state.to_dict(), weights, card)

    def close(self) -> None:
        """Stop the bar and flush what is written."""
        if self.bar is not None:
            self.bar.stop()
            self.writer.close()

    def _speed(self, steps_per_s: float, step: int) -> dict[str, int]:
        train = self.task.recipe.train
        return {
            "samples_per_s": round(
                steps_per_s * world_size() * phase_at(step - 1, train).batch_size * train.crop_samples
            )
        }

    def _describe_step(self, row: dict[str, Any], step: int) -> str:
        progress = (
            f"{row['bits']:.2f} bits/sample"
            if phase_at(step - 1, self.task.recipe.train).with_decoder
            else f"warm start, spectral loss {row['spectral']:.2f}"
        )
        return f"{progress}, perplexity {row['perplexity']:.0f}, {row['samples_per_s']:,} samples/s"

    def _describe(self, figures: dict[str, Any]) -> str:
        return describe(figures)

    def _keep_samples(self, state: TrainingState) -> None:
        model, step, rate = cast(VQVAE, state.average.module), state.step, self.task.vqvae.sample_rate
        assert isinstance(model, VQVAE)
        for number, c in enumerate(self.task.conversions):
            source, target = model.speakers[c.speaker], model.speakers[c.target]
            rows = [
                (f"source, {source}", c.source),
                ("reconstruction", c.reconstruction),
                (f"as {target}", c.converted),
            ]
            names = (f"{number}.source", f"{number}.reconstruction", f"{number}.conversion")
            for name, (_, wav) in zip(names, rows, strict=True):
                save_audio(self.run.folder / "samples" / f"step{step:07d}" / f"{name}.wav", wav, rate)
                self.writer.add_audio(name, wav[None], step, sample_rate=rate)
            if number == 0:
                codes = model.encode(c.source).cpu().numpy()
                figure = plot_spectrograms(rows, rate, codes, model.hop_length)
                save_picture(figure, self.run.folder / "samples" / f"step{step:07d}" / "0.png")
                self.writer.add_figure("conversion", figure, step)
        self.task.conversions = ()


def describe(figures: dict[str, Any]) -> str:
    """One line for the terminal on a validation."""
    line = f"step {figures['step']:6d}  perplexity {figures['perplexity']:.0f} ({figures['bit_rate']:.0f} bit/s)  "
    if figures["warm_start"]:
        return line + "warm start: the decoder joins later"
    line += (
        f"{figures['bits']:.3f} bits/sample (speech {figures['bits_speech']:.2f})  "
        f"gain: codes {figures['code_gain']:.3f}, speaker {figures['speaker_gain']:.3f}"
    )
    if probe := figures.get("probe"):
        line += f"  free-running: content {probe['content']:.2f} (control {probe['content_control']:.2f})"
        if "target" in probe:
            line += f", target {probe['target']:.0%}, still source {probe['still_source']:.0%}, own {probe['own']:.0%}"
        if "distillmos" in probe:
            line += f", DistillMOS {probe['distillmos']:.2f}"
    return line
