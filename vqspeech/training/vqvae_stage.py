"""The first stage of `vqspeech train`: the VQ-VAE."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from vqspeech.audio import save_audio
from vqspeech.config import Recipe, TrainConfig
from vqspeech.data.processes import num_cores
from vqspeech.data.store import Store
from vqspeech.data.variants import Variants, make_variants
from vqspeech.distributed import barrier, rank, world_size
from vqspeech.errors import RunError
from vqspeech.models.vqvae import VQVAE
from vqspeech.pictures import plot_spectrograms, save_picture
from vqspeech.pretrained.cards import ModelCard
from vqspeech.pretrained.checkpoint import save_model
from vqspeech.pretrained.run_record import Origin, RunRecord
from vqspeech.progress import Notify
from vqspeech.training.acceleration import Acceleration, accelerate
from vqspeech.training.initial import take_weights
from vqspeech.training.phases import phase_at, samples_until
from vqspeech.training.recorder import Recorder, best_of
from vqspeech.training.run import Run
from vqspeech.training.stage import Call, Stage
from vqspeech.training.state import Task, TrainingState
from vqspeech.training.vqvae import VQVAETask

BEST_FILE = "model-best.safetensors"
CHANGEABLE = ("steps", "max_minutes", "keep", "validate_every", "checkpoint_every")  # of a training that goes on


class VQVAEStage(Stage):
    """See `Stage`.

    Parameters
    ----------
    folder : of the run
    source : a model whose weights the training starts from, None for random ones
    name : of that model, as it was given
    """

    def __init__(self, folder: Path, source: VQVAE | None, name: str) -> None:
        self.run, self.model_id, self.source = Run.of_model(folder), None, source
        self.origin = Origin(name, source.weights_id()) if source else None
        self.changeable = tuple(f"train.{name}" for name in CHANGEABLE)

    def make_room(self, notify: Notify) -> None:
        """See `Stage.make_room`."""
        if self.run.is_started:
            raise RunError(
                f"{self.run.folder} already holds a training. Go on with it: --resume, or choose another folder: --out"
            )

    def kept(self, recipe: Recipe) -> dict[str, Any]:
        """All but how long it lasts, what is kept of it, and what the prior's stage asks about."""
        return recipe.model_dump(mode="json", exclude={"prior": True, "sampling": True, "train": set(CHANGEABLE)})

    def open(self, recipe: Recipe, store: Store, begun: RunRecord | None) -> TrainConfig:
        """See `Stage.open`."""
        self.recipe, self.store = recipe, store
        self.origin = begun.origin if begun else self.origin
        return recipe.train

    def make_model(self, notify: Notify) -> nn.Module:
        """See `Stage.make_model`."""
        model = VQVAE(self.recipe, self.store.speakers)
        if self.source and self.origin:
            kept = take_weights(model, self.source)
            notify(
                f"starts from the weights of {self.origin.model}; {len(kept)} of {len(model.speakers)} speakers keep "
                "their vectors"
            )
        return model

    def make_task(self, model: nn.Module, acceleration: Acceleration, call: Call) -> Task:
        """See `Stage.make_task`; where it pays, the model is compiled."""
        assert isinstance(model, VQVAE)
        for notice in (*acceleration.notices, *accelerate(model.wavenet, acceleration)):
            call.notify(notice)
        variants = _open_variants(self.recipe, self.store, call.progress)
        return VQVAETask(model, self.store, acceleration, variants, has_codebook=self.origin is not None)

    def make_recorder(self, task: Task, training: dict[str, Any], visible: bool) -> Recorder:
        """See `Stage.make_recorder`."""
        return VQVAERecorder(self.run, cast(VQVAETask, task), training, visible)

    def finish(self, notify: Notify) -> None:
        """Nothing is left to do."""

    def figures(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Those of the last validation: its weights are kept."""
        return history[-1]


def _open_variants(recipe: Recipe, store: Store, progress: bool) -> Variants | None:
    """Perturbed copies of the training split, if the recipe asks for them; the first process makes them."""
    if not (recipe.perturbation.share or recipe.perturbation.decoder_share):
        return None
    for turn in range(2):
        if (rank() == 0) == (turn == 0):
            variants = make_variants(store, recipe.perturbation, num_workers=num_cores(), progress=progress)
        barrier()
    return variants


def forget_older(folder: Path, count: int, step: int) -> None:
    """Remove all of the kept model-<step>.safetensors up to a step but the last `count`."""
    found = {int(path.stem.rpartition("-")[2]): path for path in folder.glob("model-[0-9]*.safetensors")}
    for old in sorted(number for number in found if number <= step)[:-count]:
        found[old].unlink()


class VQVAERecorder(Recorder):
    """The observer of a VQ-VAE's training; see `Recorder`."""

    def __init__(self, run: Run, task: VQVAETask, training: dict[str, Any], visible: bool) -> None:
        super().__init__(run, "training", "tensorboard", training, visible)
        self.task = task

    def checkpoint(self, state: TrainingState) -> None:
        """See `Recorder.checkpoint`."""
        weights, card = self._finished(state)
        self.run.save(state.to_dict(), weights, card)
        if keep := self.task.recipe.train.keep:
            save_model(self.run.folder / f"model-{state.step}.safetensors", weights, card)
            forget_older(self.run.folder, keep, state.step)

    def validated(self, state: TrainingState, figures: dict[str, Any]) -> None:
        """See `Recorder.validated`; where the recipe asks for it, the weights of the best validation are kept."""
        super().validated(state, figures)
        settled = [one for one in state.history if not one["warm_start"]]
        if rank() == 0 and self.task.recipe.train.keep and settled and best_of(settled) is figures:
            save_model(self.run.folder / BEST_FILE, *self._finished(state))

    def _finished(self, state: TrainingState) -> tuple[dict[str, Tensor], ModelCard]:
        """The averaged weights, and what the model says of itself."""
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
        return weights, card

    def speed(self, steps_per_s: float, step: int) -> dict[str, int]:
        """Samples."""
        train = self.task.recipe.train
        samples = world_size() * phase_at(step - 1, train).batch_size * train.crop_samples
        return {"samples_per_s": round(steps_per_s * samples)}

    def describe_step(self, row: dict[str, Any], step: int) -> str:
        """See `Recorder.describe_step`."""
        if phase_at(step - 1, self.task.recipe.train).with_decoder:
            what = "bits/sample of the excitation" if self.task.vqvae.prediction else "bits/sample"
            progress = f"{row['bits']:.2f} {what}"
        else:
            progress = f"warm start, spectral loss {row['spectral']:.2f}"
        return f"{progress}, perplexity {row['perplexity']:.0f}, {row['samples_per_s']:,} samples/s"

    def describe(self, figures: dict[str, Any]) -> str:
        """See `Recorder.describe`."""
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
                line += (
                    f", target {probe['target']:.0%}, still source {probe['still_source']:.0%}, own {probe['own']:.0%}"
                )
            if "distillmos" in probe:
                line += f", DistillMOS {probe['distillmos']:.2f}"
        return line

    def keep_samples(self, state: TrainingState) -> None:
        """The probe's conversions as sound, in the run's folder and in TensorBoard, and the first as a picture."""
        model, step, rate = cast(VQVAE, state.average.module), state.step, self.task.vqvae.sample_rate
        folder = self.run.folder / "samples" / f"step{step:07d}"
        for number, c in enumerate(self.task.conversions):
            source, target = model.speakers[c.speaker], model.speakers[c.target]
            rows = [
                (f"source, {source}", c.source),
                ("reconstruction", c.reconstruction),
                (f"as {target}", c.converted),
            ]
            names = (f"{number}.source", f"{number}.reconstruction", f"{number}.conversion")
            for name, (_, wav) in zip(names, rows, strict=True):
                save_audio(folder / f"{name}.wav", wav, rate)
                self.writer.add_audio(name, wav[None], step, sample_rate=rate)
            if number == 0:
                codes = model.encode(c.source).cpu().numpy()
                figure = plot_spectrograms(rows, rate, codes, model.hop_length)
                save_picture(figure, folder / "0.png")
                self.writer.add_figure("conversion", figure, step)
        self.task.conversions = ()
