"""`vqspeech train`: from a recipe and a folder of speech to a trained model, and its prior, in a run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from vqspeech.config import Recipe, load_recipe, parse_stored_recipe
from vqspeech.data.corpora import find_root
from vqspeech.data.preparation import num_cores, prepare_store, store_folder
from vqspeech.data.store import Store
from vqspeech.data.variants import Variants, make_variants
from vqspeech.distributed import barrier, local_device, rank, start_processes, stop_processes
from vqspeech.errors import RunError
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.checkpoint import find_model_file
from vqspeech.training.acceleration import compile_model, find_acceleration
from vqspeech.training.loop import fit
from vqspeech.training.prior_stage import best_of, train_prior
from vqspeech.training.recorder import Display
from vqspeech.training.run import PriorRun, Run, changed_keys
from vqspeech.training.state import new_state
from vqspeech.training.vqvae import VQVAETask


@dataclass(frozen=True)
class TrainingResult:
    """How a call to `train` ended.

    Attributes
    ----------
    folder : the run
    step, total_steps : done, and in all
    finished : False if a signal stopped it; `--resume` goes on
    metrics : figures of the last validation
    prior : the same of the prior, if it was its turn
    """

    folder: Path
    step: int
    total_steps: int
    finished: bool
    metrics: dict[str, Any]
    prior: TrainingResult | None = None


def train(
    recipe: str | Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    stage: Literal["vqvae", "prior"] | None = None,
    progress: bool = False,
    notify: Callable[[str], None] = lambda line: None,
) -> TrainingResult:
    """Prepare a corpus if needed, train a recipe's model and then its prior, and leave them in a run folder.

    Parameters
    ----------
    recipe : folder with recipe.toml, or a TOML file
    data : folder of the corpus; see `find_root` for what stands in for it
    out : run folder; runs/<recipe's name> if None
    overrides : "section.key=value" each
    resume : go on with the training in `out`
    stage : the VQ-VAE alone, or the prior of the model in `out` alone; both if None
    progress : show bars
    notify : is told sentences for the user

    Raises
    ------
    RunError
        If the folder is in use, holds another training, or the recipe or the data changed since.
    CheckpointError
        If the prior alone is asked for and there is no model.
    TrainingError
        If the training stopped itself, with a diagnosis.

    Notes
    -----
    Preparation starts processes: a script that calls this needs `if __name__ == "__main__":`.
    """
    base = load_recipe(recipe)
    settled = load_recipe(recipe, overrides)
    if not resume and stage != "prior":
        find_root(settled.data, data)  # what is wrong in the call is told before a folder is made
    out = Path(out or Path("runs") / settled.name)
    if stage == "prior":
        find_model_file(out)
    run = Run(out) if rank() == 0 else None
    try:
        start_processes()
        if rank() > 0:
            notify = _say_nothing
        call = _Call(run or _Follower(out), base, recipe, data, tuple(overrides), progress, notify)
        result = TrainingResult(out, 0, 0, True, {}) if stage == "prior" else _train(call, resume)
        if stage == "vqvae" or not result.finished:
            return result
        barrier()  # the first process has written the model
        # What has both stages goes on with the one that was interrupted.
        goes_on = resume and (stage == "prior" or PriorRun(out).is_started)
        prior = _train_prior(call, goes_on)
        if stage == "prior":
            result = replace(prior, prior=prior)
        return replace(result, finished=prior.finished, prior=prior)
    finally:
        stop_processes()
        if run:
            run.close()


@dataclass
class _Call:
    """What both stages were asked for."""

    run: Run
    base: Recipe
    path: str | Path
    data: Path | None
    overrides: tuple[str, ...]
    progress: bool
    notify: Callable[[str], None]
    store: Store | None = None  # once the first stage has opened it


def _train(call: _Call, resume: bool) -> TrainingResult:
    folder, notify = call.run, call.notify
    said: dict[str, Any] = {}
    if resume:
        said = folder.said()
        _check_same(folder, call.base, call.overrides, said)
        call.overrides = tuple(said["overrides"])
        call.data = call.data or Path(said["data"]["root"])
    elif folder.is_started and rank() == 0:
        raise RunError(
            f"{folder.folder} already holds a training. Go on with it: --resume, or choose another folder: --out"
        )
    settled = load_recipe(call.path, call.overrides)
    root = find_root(settled.data, call.data)
    store = call.store = _open_store(settled, root, call.progress, notify)
    if said and said["data"]["fingerprint"] != store.fingerprint:
        raise RunError(
            f"the recordings in {root} (or how they are prepared) changed since {folder.folder} was started. Restore "
            "them, or start a new training with another --out"
        )

    device = local_device()
    acceleration = find_acceleration(settled.train, device)
    for notice in acceleration.notices:
        notify(notice)
    torch.manual_seed(settled.train.seed)
    model = VQVAE(settled, store.speakers).to(device)
    state = new_state(model, settled.train)
    if resume:
        try:
            state.from_dict(folder.load(device))
        except (
            KeyError,
            RuntimeError,
            ValueError,
        ) as reason:  # what load_state_dict raises for weights that do not fit
            first = str(reason).strip().splitlines()[0]
            raise RunError(
                f"{folder.folder}/state.pt does not fit the recipe ({first}). Start anew with another --out"
            ) from None
        folder.forget_after(state.step)
    elif rank() == 0:
        told = {"root": str(root.resolve()), "fingerprint": store.fingerprint}
        folder.begin(call.base, call.overrides, told)
    if acceleration.compile:
        compile_model(model)
    task = VQVAETask(model, store, acceleration, _open_variants(settled, store, call.progress))
    training = {
        "seed": settled.train.seed,
        "data": store.fingerprint,
        "precision": "bfloat16" if acceleration.bfloat16 else "float32",
        "device": device,
    }
    display = Display(folder, task, training, call.progress)
    try:
        finished = fit(task, state, settled.train, display)
    finally:
        display.close()
    return TrainingResult(
        folder.folder, state.step, state.total_steps, finished, state.history[-1] if state.history else {}
    )


def _train_prior(call: _Call, resume: bool) -> TrainingResult:
    folder = call.run.folder
    if call.data is None and (folder / "run.json").is_file():
        call.data = Path(call.run.said()["data"]["root"])
    if resume:
        call.overrides = call.overrides or tuple(PriorRun(folder).said()["overrides"])
    settled = load_recipe(call.path, call.overrides)
    root = find_root(settled.data, call.data)
    store = call.store or _open_store(settled, root, call.progress, call.notify)
    state = train_prior(
        folder, settled, call.base, call.overrides, store, root, local_device(),
        resume=resume, progress=call.progress, notify=call.notify,
    )  # fmt: skip
    figures = best_of(state.history) if state.history else {}
    return TrainingResult(folder, state.step, state.total_steps, state.step >= state.total_steps, figures)


def _say_nothing(line: str) -> None:
    """What the processes after the first tell the user."""


class _Follower(Run):
    """The run folder as the other processes of a distributed training see it: read, never locked or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def forget_after(self, step: int) -> None:
        """Left to the first process."""


def _open_store(recipe: Recipe, root: Path, progress: bool, notify: Callable[[str], None]) -> Store:
    """The prepared corpus; the first process prepares it while the others wait."""
    folder = store_folder(recipe.name)
    if rank() == 0:
        report = prepare_store(recipe.data, root, folder, progress=progress)
        notify(f"{recipe.name}: {report}")
        for problem in report.problems[:5]:
            notify(f"  left out: {problem}")
        if len(report.problems) > 5:
            notify(f"  ... and {len(report.problems) - 5} more; vqspeech prepare lists them all")
    barrier()
    return Store.open(folder)


def _open_variants(recipe: Recipe, store: Store, progress: bool) -> Variants | None:
    """Perturbed copies of the training split, if the recipe asks for them; the first process makes them."""
    if not (recipe.perturbation.share or recipe.perturbation.decoder_share):
        return None
    for turn in range(2):
        if (rank() == 0) == (turn == 0):
            variants = make_variants(store, recipe.perturbation, num_workers=num_cores(), progress=progress)
        barrier()
    return variants


def _check_same(run: Run, base: Recipe, overrides: tuple[str, ...], said: dict[str, Any]) -> None:
    then = parse_stored_recipe(said["recipe"], f"{run.folder}/run.json").model_dump(mode="json")
    changed = changed_keys(then | {"prior": None}, base.model_dump(mode="json") | {"prior": None})
    if changed:
        older = "train.optimizer" in changed and "optimizer" not in said["recipe"].get("train", {})
        hint = " (its optimizer was adam, then the default: the recipe has to say so now)" if older else ""
        raise RunError(
            f"the recipe changed since {run.folder} was started ({', '.join(changed)}). Restore it{hint}, or start a "
            "new training with another --out"
        )
    if overrides and list(overrides) != said["overrides"]:
        raise RunError(
            f"{run.folder} was started with --set {' '.join(said['overrides']) or '(nothing)'}, which --resume repeats "
            f"by itself; {' '.join(overrides)} would change it. Leave out --set, or start a new training with another "
            "--out"
        )
