"""`vqspeech train`: from a recipe and a folder of speech to a trained model in a run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vqspeech.config import Recipe, load_recipe, parse_recipe
from vqspeech.data.corpora import find_root
from vqspeech.data.preparation import prepare, store_folder
from vqspeech.data.store import Store
from vqspeech.distributed import local_device, rank, start_processes, stop_processes, world_size
from vqspeech.errors import RunError
from vqspeech.models.vqvae import VQVAE
from vqspeech.training.acceleration import compile_model, find_acceleration
from vqspeech.training.display import Display
from vqspeech.training.fit import fit, new_state
from vqspeech.training.run import Run, changed_keys
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
    """

    folder: Path
    step: int
    total_steps: int
    finished: bool
    metrics: dict[str, Any]


def train(
    recipe: str | Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    progress: bool = False,
    notify: Callable[[str], None] = lambda line: None,
) -> TrainingResult:
    """Prepare a corpus if needed, train a recipe's model, and leave it in a run folder.

    Parameters
    ----------
    recipe : folder with recipe.toml, or a TOML file
    data : folder of the corpus; see `find_root` for what stands in for it
    out : run folder; runs/<recipe's name> if None
    overrides : "section.key=value" each
    resume : go on with the training in `out`
    progress : show bars
    notify : is told sentences for the user

    Raises
    ------
    RunError
        If the folder is in use, holds another training, or the recipe or the data changed since.
    TrainingError
        If the training stopped itself, with a diagnosis.

    Notes
    -----
    Preparation starts processes: a script that calls this needs `if __name__ == "__main__":`.
    """
    base = load_recipe(recipe)
    settled = load_recipe(recipe, overrides)
    if not resume:
        find_root(settled.data, data)  # what is wrong in the call is told before a folder is made
    out = Path(out or Path("runs") / settled.name)
    run = Run(out) if rank() == 0 else None
    try:
        return _train(run, base, recipe, data, out, tuple(overrides), resume, progress, notify)
    finally:
        stop_processes()
        if run:
            run.close()


def _train(
    run: Run | None,
    base: Recipe,
    path: str | Path,
    data: Path | None,
    out: Path,
    overrides: tuple[str, ...],
    resume: bool,
    progress: bool,
    notify: Callable[[str], None],
) -> TrainingResult:
    start_processes()
    if rank() > 0:
        notify = _say_nothing
    folder = run or _Follower(out)
    said: dict[str, Any] = {}
    if resume:
        said = folder.said()
        _check_same(folder, base, overrides, said)
        overrides = tuple(said["overrides"])
        data = data or Path(said["data"]["root"])
    elif folder.is_started and run:
        raise RunError(
            f"{folder.folder} already holds a training. Go on with it: --resume, or choose another folder: --out"
        )
    settled = load_recipe(path, overrides)
    root = find_root(settled.data, data)
    store = _open_store(settled, root, progress, notify)
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
    elif run:
        run.begin(base, overrides, {"root": str(root.resolve()), "fingerprint": store.fingerprint})
    if acceleration.compile:
        compile_model(model)
    task = VQVAETask(model, store, acceleration)
    training = {
        "seed": settled.train.seed,
        "data": store.fingerprint,
        "precision": "bfloat16" if acceleration.bfloat16 else "float32",
        "device": device,
    }
    display = Display(folder, task, training, progress)
    try:
        finished = fit(task, state, settled.train, display)
    finally:
        display.close()
    return TrainingResult(
        folder.folder, state.step, state.total_steps, finished, state.history[-1] if state.history else {}
    )


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
        report = prepare(recipe.data, root, folder, progress=progress)
        notify(f"{recipe.name}: {report}")
        for problem in report.problems[:5]:
            notify(f"  left out: {problem}")
        if len(report.problems) > 5:
            notify(f"  ... and {len(report.problems) - 5} more; vqspeech prepare lists them all")
    if world_size() > 1:
        from torch.distributed import barrier

        barrier()
    return Store.open(folder)


def _check_same(run: Run, base: Recipe, overrides: tuple[str, ...], said: dict[str, Any]) -> None:
    then = parse_recipe(said["recipe"], f"{run.folder}/run.json").model_dump(mode="json")
    changed = changed_keys(then, base.model_dump(mode="json"))
    if changed:
        raise RunError(
            f"the recipe changed since {run.folder} was started ({', '.join(changed)}). Restore it, or start a new "
            "training with another --out"
        )
    if overrides and list(overrides) != said["overrides"]:
        raise RunError(
            f"{run.folder} was started with --set {' '.join(said['overrides']) or '(nothing)'}, which --resume repeats "
            f"by itself; {' '.join(overrides)} would change it. Leave out --set, or start a new training with another "
            "--out"
        )
