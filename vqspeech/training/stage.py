"""One stage of `vqspeech train`, the model's or its prior's: begin or go on, train, and tell how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from vqspeech.config import Recipe, TrainConfig, load_recipe
from vqspeech.data.corpora import find_root
from vqspeech.data.preparation import prepare_store, store_folder
from vqspeech.data.store import Store
from vqspeech.distributed import barrier, local_device, rank
from vqspeech.errors import RunError
from vqspeech.pretrained.run_record import Origin, RunRecord
from vqspeech.progress import Notify
from vqspeech.training.acceleration import Acceleration, find_acceleration
from vqspeech.training.loop import fit
from vqspeech.training.recorder import Recorder
from vqspeech.training.run import Run, changed_keys
from vqspeech.training.schedule import continued
from vqspeech.training.state import Task, TrainingState, new_state


@dataclass(frozen=True)
class TrainingResult:
    """How a call to `train` ended.

    Attributes
    ----------
    folder : the run
    step, total_steps : done, and in all
    finished : False if a signal stopped it; `--resume` goes on
    metrics : figures of the last validation; the prior's best
    prior : the same of the prior, if it was its turn
    """

    folder: Path
    step: int
    total_steps: int
    finished: bool
    metrics: dict[str, Any]
    prior: TrainingResult | None = None


@dataclass
class Call:
    """What both stages were asked for.

    Attributes
    ----------
    recipe : folder with recipe.toml, or a TOML file
    overrides : "section.key=value" each
    data : folder of the corpus, where it is known
    progress : whether bars are shown
    notify : is told sentences for the user
    """

    recipe: str | Path
    overrides: tuple[str, ...]
    data: Path | None
    progress: bool
    notify: Notify
    _corpus: tuple[Path, Store] | None = field(default=None, init=False)

    def corpus(self, recipe: Recipe) -> tuple[Path, Store]:
        """The folder of the recordings, and the prepared speech: prepared once, by the first process."""
        if self._corpus is None:
            root, folder = find_root(recipe.data, self.data), store_folder(recipe.name)
            if rank() == 0:
                report = prepare_store(recipe.data, root, folder, progress=self.progress)
                self.notify(f"{recipe.name}: {report}")
                for problem in report.problems[:5]:
                    self.notify(f"  left out: {problem}")
                if len(report.problems) > 5:
                    self.notify(f"  ... and {len(report.problems) - 5} more; vqspeech prepare lists them all")
            barrier()
            self._corpus = root, Store.open(folder)
        return self._corpus


class Stage(Protocol):
    """What differs between the model's training and the prior's; the methods are called in this order.

    Attributes
    ----------
    run : its files
    model_id : of the model whose codes are learned, None in the model's own stage
    origin : the model from whose weights the training starts, or started
    changeable : keys of the recipe that may change when the training goes on
    """

    run: Run
    model_id: str | None
    origin: Origin | None
    changeable: tuple[str, ...]

    def make_room(self, notify: Notify) -> None:
        """Refuse to begin with a RunError where its run has been begun already."""

    def kept(self, recipe: Recipe) -> dict[str, Any]:
        """What of a recipe has to stay as it was when the training goes on; the changeable keys are no part of it."""

    def open(self, recipe: Recipe, store: Store, begun: RunRecord | None) -> TrainConfig:
        """Check that recipe and speech fit; returns what the loop has to know."""

    def make_model(self, notify: Notify) -> nn.Module:
        """The model before its first step, from torch's random state, or with the weights that are given."""

    def make_task(self, model: nn.Module, acceleration: Acceleration, call: Call) -> Task:
        """Losses and figures of the model, whose weights are there by now."""

    def make_recorder(self, task: Task, training: dict[str, Any], visible: bool) -> Recorder:
        """Who shows and keeps it; `training` is what the card says of it besides step and metrics."""

    def finish(self, notify: Notify) -> None:
        """What is left to do after the last step."""

    def figures(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Those of the result, from all validations."""


def run_stage(stage: Stage, call: Call, *, resume: bool) -> TrainingResult:
    """Begin a stage, or go on with it, until it is done or a signal stops it.

    Raises
    ------
    RunError
        If its run is begun already, or, to go on, if it is not or if recipe, recordings or model changed since.
    TrainingError
        If the training stopped itself, with a diagnosis.
    """
    run = stage.run
    begun = run.record() if resume else None
    if not begun and rank() == 0:
        stage.make_room(call.notify)
    overrides = merged(begun.overrides, call.overrides) if begun else call.overrides
    base, settled = load_recipe(call.recipe), load_recipe(call.recipe, overrides)
    if begun:
        _check_recipe(stage, begun, base, settled)
    root, store = call.corpus(settled)
    train = stage.open(settled, store, begun)
    record = RunRecord(
        base.model_dump(mode="json"), overrides, str(root.resolve()), store.fingerprint, stage.model_id, stage.origin
    )  # fmt: skip
    if begun:
        _check_data(run, begun, record)

    device = local_device()
    acceleration = find_acceleration(train, device)
    torch.manual_seed(train.seed)
    model = stage.make_model(call.notify).to(device)
    state = new_state(model, train)
    if begun:
        _load(run, state, device)
        if stage.changeable:
            _set_end(run, state, begun.settled().train, train, call.notify)
    if rank() == 0:
        if begun:
            run.forget_after(state.step)
            run.keep(record)
        else:
            run.begin(record)
    task = stage.make_task(model, acceleration, call)
    training = {"seed": train.seed, "data": store.fingerprint}
    training |= {"model": stage.model_id} if stage.model_id else {}
    training |= {"init": stage.origin.weights} if stage.origin else {}
    training |= {"precision": "bfloat16" if acceleration.bfloat16 else "float32", "device": device}
    recorder = stage.make_recorder(task, training, call.progress)
    try:
        finished = fit(task, state, train, recorder)
    finally:
        recorder.close()
    if finished and rank() == 0:
        stage.finish(call.notify)
    figures = stage.figures(state.history) if state.history else {}
    return TrainingResult(run.folder, state.step, state.total_steps, finished, figures)


def _load(run: Run, state: TrainingState, device: str) -> None:
    try:
        state.from_dict(run.load(device))
    except (KeyError, RuntimeError, ValueError) as reason:  # what load_state_dict raises for weights that do not fit
        first = str(reason).strip().splitlines()[0]
        raise RunError(f"{run.file('state.pt')} does not fit the recipe ({first}). {run.anew}") from None


def _set_end(run: Run, state: TrainingState, then: TrainConfig, now: TrainConfig, notify: Notify) -> None:
    """Give a training that goes on the end that the recipe has now."""
    if (then.steps, then.max_minutes) == (now.steps, now.max_minutes):
        return
    if now.steps < state.step:
        raise RunError(
            f"{run.title} has done {state.step} steps, and train.steps = {now.steps}. Give more: --set train.steps=N"
        )
    if now.max_minutes is not None and 60 * now.max_minutes <= state.seconds:
        raise RunError(
            f"{run.title} has trained for {state.seconds / 60:.2f} minutes, and train.max_minutes = "
            f"{now.max_minutes:g}. Give more: --set train.max_minutes=N"
        )
    state.schedule = continued(state.schedule, now, state.step, state.seconds)
    notify(f"{run.title} goes on from step {state.step}, now to step {state.total_steps}")


def merged(begun: tuple[str, ...], given: tuple[str, ...]) -> tuple[str, ...]:
    """Overrides of a training that goes on: those it was begun with, but for those that are given anew."""

    def key(override: str) -> str:
        return override.partition("=")[0].strip()

    keys = {key(one) for one in given}
    return (*(one for one in begun if key(one) not in keys), *given)


def _check_recipe(stage: Stage, begun: RunRecord, base: Recipe, settled: Recipe) -> None:
    """Neither the recipe's file nor an override may change what the training was begun with."""
    run = stage.run
    may = f" With --resume only {', '.join(stage.changeable)} may change." if stage.changeable else ""
    if changed := changed_keys(stage.kept(begun.base()), stage.kept(base)):
        older = "train.optimizer" in changed and not begun.names_optimizer
        hint = " (its optimizer was adam, then the default: the recipe has to say so now)" if older else ""
        raise RunError(
            f"the recipe changed since {run.title} was started ({', '.join(changed)}). Restore it{hint}.{may} "
            f"{run.anew}"
        )
    if changed := changed_keys(stage.kept(begun.settled()), stage.kept(settled)):
        raise RunError(
            f"{run.title} was started with --set {' '.join(begun.overrides) or '(nothing)'}, which --resume repeats by "
            f"itself; another {', '.join(changed)} would change it. Leave out --set.{may} {run.anew}"
        )


def _check_data(run: Run, begun: RunRecord, now: RunRecord) -> None:
    if begun.model != now.model:
        raise RunError(f"the model in {run.folder} changed since its prior was started. {run.anew}")
    if begun.fingerprint != now.fingerprint:
        raise RunError(
            f"the recordings in {now.root} (or how they are prepared) changed since {run.title} was started. Restore "
            f"them. {run.anew}"
        )
