"""The second stage of `vqspeech train`: the prior over codes, beside the VQ-VAE whose encoder it leaves as it is."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from torch import nn

from vqspeech.config import Recipe, TrainConfig
from vqspeech.data.code_store import FOLDER, CodeStore, num_sequences, open_code_store
from vqspeech.data.store import Store
from vqspeech.distributed import barrier, rank, world_size
from vqspeech.errors import RunError
from vqspeech.likelihood.bound import held_out_likelihood
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.cards import PriorCard
from vqspeech.pretrained.checkpoint import PRIOR_FILE, read_model, read_prior, save_prior
from vqspeech.pretrained.run_record import RunRecord
from vqspeech.progress import Notify
from vqspeech.training.acceleration import Acceleration
from vqspeech.training.prior import PriorTask, prior_training
from vqspeech.training.recorder import Recorder, best_of
from vqspeech.training.run import Run, changed_keys
from vqspeech.training.stage import Call, Stage
from vqspeech.training.state import Task, TrainingState


class PriorStage(Stage):
    """See `Stage`.

    Parameters
    ----------
    folder : a run with a trained VQ-VAE
    device : torch device

    Raises
    ------
    CheckpointError
        If the folder has no model.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.run, self.vqvae, self.changeable = Run.of_prior(folder), read_model(folder, device), ()
        self.model_id, self.origin = self.vqvae.codes_id(), None

    @property
    def is_begun(self) -> bool:
        """Whether there is a prior of this very model."""
        has_record = self.run.is_started and self.run.file("run.json").is_file()
        return has_record and self.run.record().model == self.model_id

    def make_room(self, notify: Notify) -> None:
        """See `Stage.make_room`; a prior of another model gives way."""
        if self.is_begun:
            raise RunError(
                f"{self.run.folder} already holds a prior. Go on with it: --stage prior --resume. {self.run.anew}"
            )
        if self.run.is_started:
            notify("the prior at hand is another model's: training one for this model")
            self.run.clear()

    def kept(self, recipe: Recipe) -> dict[str, Any]:
        """What `prior_training` and the prior are made of."""
        train = {"seed", "precision", "final_rate", "clip_norm"}
        return recipe.model_dump(mode="json", include={"prior": True, "train": train})

    def open(self, recipe: Recipe, store: Store, begun: RunRecord | None) -> TrainConfig:
        """See `Stage.open`."""
        _check_model(self.run.folder, self.vqvae, recipe, store)
        self.store = store
        self.recipe = self.vqvae.recipe.model_copy(update={"prior": recipe.prior, "train": recipe.train})
        return prior_training(self.recipe)

    def make_model(self, notify: Notify) -> nn.Module:
        """See `Stage.make_model`."""
        return Prior(self.recipe, self.vqvae.num_codes, self.vqvae.speakers)

    def make_task(self, model: nn.Module, acceleration: Acceleration, call: Call) -> Task:
        """See `Stage.make_task`; the first process codes the corpus while the others wait."""
        prior = cast(Prior, model)
        for turn in range(2):
            if (rank() == 0) == (turn == 0):
                codes = self._open_codes(call.progress)
            barrier()
        seen_s = prior.receptive_field_s(self.vqvae.code_rate)
        call.notify(
            f"prior: sees {prior.wavenet.receptive_field} codes, {seen_s:.2f} s; {len(codes)} sequences of codes"
        )
        return PriorTask(prior, codes, self.vqvae.code_rate, acceleration)

    def _open_codes(self, progress: bool) -> CodeStore:
        """The corpus's codes, with a bar while they are made."""
        from rich.console import Console
        from rich.progress import Progress

        folder, shifts = self.run.folder / FOLDER, self.recipe.prior.shifts
        with Progress(console=Console(stderr=True), transient=True, disable=not progress or rank() > 0) as bar:
            task = bar.add_task("coding the corpus", total=num_sequences(self.store, shifts))
            return open_code_store(folder, self.vqvae, self.store, shifts, lambda count: bar.advance(task, count))

    def make_recorder(self, task: Task, training: dict[str, Any], visible: bool) -> Recorder:
        """See `Stage.make_recorder`."""
        return PriorRecorder(self.run, cast(PriorTask, task), training, visible)

    def finish(self, notify: Notify) -> None:
        """Note in the prior's card and metrics how likely held-out speech is, with the weights that are kept."""
        prior = read_prior(self.run.folder, self.vqvae)
        card: PriorCard = prior.card
        if "likelihood" in card.metrics:
            return  # finished by an earlier call
        found = held_out_likelihood(self.vqvae, prior, self.store, "valid")
        self.run.report({"kind": "likelihood", "step": card.step} | found.as_metrics())
        card = replace(card, metrics=card.metrics | {"likelihood": found.as_metrics()})
        save_prior(self.run.folder / PRIOR_FILE, prior.state_dict(), card)
        notify(f"held-out speech: {found.describe()}")

    def figures(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Those of the best validation: its weights are kept."""
        return best_of(history)


class PriorRecorder(Recorder):
    """The observer of a prior's training; the file for inference holds the weights of the best validation.

    What a prior says is heard through `vqspeech sample`.
    """

    def __init__(self, run: Run, task: PriorTask, training: dict[str, Any], visible: bool) -> None:
        super().__init__(run, "training the prior", "tensorboard/prior", training, visible)
        self.prior = task.prior

    def checkpoint(self, state: TrainingState) -> None:
        """Keep the state for resuming and, if the last validation was the best, its weights."""
        history, prior = state.history, self.prior
        is_best = bool(history) and history[-1]["step"] == state.step and history[-1] == best_of(history)
        card = PriorCard(
            recipe=prior.recipe,
            speakers=prior.speakers,
            model=self.training["model"],
            num_codes=prior.num_codes,
            step=state.step,
            metrics=history[-1] if history else {},
            training=self.training | {"minutes": round(state.seconds / 60, 1), "total_steps": state.total_steps},
            version=version("vqspeech"),
        )
        self.run.save(state.to_dict(), state.average.module.state_dict() if is_best else None, card)

    def speed(self, steps_per_s: float, step: int) -> dict[str, int]:
        """Utterances."""
        return {"utterances_per_s": round(steps_per_s * world_size() * self.prior.recipe.prior.batch_size)}

    def describe_step(self, row: dict[str, Any], step: int) -> str:
        """See `Recorder.describe_step`."""
        return f"{row['bits']:.2f} bits/code, {row['utterances_per_s']:,} utterances/s"

    def describe(self, figures: dict[str, Any]) -> str:
        """See `Recorder.describe`."""
        return (
            f"step {figures['step']:6d}  {figures['bits']:.3f} bits/code ({figures['bit_rate']:.0f} bit/s)  beside: "
            f"uniform {figures['uniform']:.2f}, unigram {figures['unigram']:.2f}, bigram {figures['bigram']:.2f}, "
            f"trigram {figures['trigram']:.2f}"
        )


def _check_model(folder: Path, model: VQVAE, settled: Recipe, store: Store) -> None:
    """The prior's recipe and speech have to be the model's."""
    own = model.recipe.model_dump(mode="json")
    given = settled.model_dump(mode="json")
    sections = ("name", "data", "encoder", "bottleneck")
    changed = changed_keys({key: own[key] for key in sections}, {key: given[key] for key in sections})
    changed = [key for key in changed if key not in ("data.root", "data.help")]
    if changed:
        raise RunError(
            f"the model in {folder} was trained with another recipe ({', '.join(changed)}). Give its recipe, with the "
            "same --set, or the folder of another model with --out"
        )
    trained_on = model.card.training.get("data", store.fingerprint)
    if model.speakers != store.speakers[: store.num_voices] or trained_on != store.fingerprint:
        raise RunError(
            f"the prepared speech in {store.folder} is not what the model in {folder} was trained on. Give its "
            "recordings with --data, or train a new model with another --out"
        )
