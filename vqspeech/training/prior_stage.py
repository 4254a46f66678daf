"""The second stage of `vqspeech train`: the prior over codes, beside the VQ-VAE whose encoder it leaves as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vqspeech.config import Recipe
from vqspeech.data.code_store import FOLDER, CodeStore, num_sequences, open_code_store
from vqspeech.data.store import Store
from vqspeech.distributed import barrier, rank, world_size
from vqspeech.errors import RunError
from vqspeech.likelihood.bound import held_out_likelihood
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.cards import PriorCard
from vqspeech.pretrained.checkpoint import PRIOR_FILE, read_model, read_prior, save_prior
from vqspeech.training.acceleration import find_acceleration
from vqspeech.training.loop import fit
from vqspeech.training.prior import PriorTask, prior_training
from vqspeech.training.recorder import Display
from vqspeech.training.run import PriorRun, changed_keys
from vqspeech.training.state import TrainingState, new_state


class PriorDisplay(Display):
    """The observer of a prior's training; the file for inference holds the weights of the best validation."""

    title = "training the prior"
    tensorboard = "tensorboard/prior"

    def __init__(self, run: PriorRun, task: PriorTask, training: dict[str, Any], visible: bool) -> None:
        self.prior_task = task
        self._prepare(run, training, visible)

    def save(self, state: TrainingState) -> None:
        """Keep the state for resuming and, if the last validation was the best, its weights."""
        if rank() > 0:
            return
        history, prior = state.history, self.prior_task.prior
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

    def _speed(self, steps_per_s: float, step: int) -> dict[str, int]:
        return {"utterances_per_s": round(steps_per_s * world_size() * self.prior_task.recipe.prior.batch_size)}

    def _describe_step(self, row: dict[str, Any], step: int) -> str:
        return f"{row['bits']:.2f} bits/code, {row['utterances_per_s']:,} utterances/s"

    def _describe(self, figures: dict[str, Any]) -> str:
        return (
            f"step {figures['step']:6d}  {figures['bits']:.3f} bits/code ({figures['bit_rate']:.0f} bit/s)  beside: "
            f"uniform {figures['uniform']:.2f}, unigram {figures['unigram']:.2f}, bigram {figures['bigram']:.2f}, "
            f"trigram {figures['trigram']:.2f}"
        )

    def _keep_samples(self, state: TrainingState) -> None:
        """What a prior says is heard through `vqspeech sample`."""


def best_of(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The validation with the fewest bits, the first of several."""
    return min(history, key=lambda figures: float(figures["bits"]))


def train_prior(
    folder: Path,
    settled: Recipe,
    base: Recipe,
    overrides: tuple[str, ...],
    store: Store,
    root: Path,
    device: str,
    *,
    resume: bool,
    progress: bool,
    notify: Callable[[str], None],
) -> TrainingState:
    """Train a prior on the codes of the model in `folder`, or go on with one.

    Parameters
    ----------
    folder : a run with a trained VQ-VAE, locked by the caller
    settled, base : the recipe with and without `overrides`
    store, root : the corpus that the model was trained on, and where its recordings are
    resume : whether to go on with what was begun

    Returns
    -------
    state : as the loop left it

    Raises
    ------
    CheckpointError
        If the folder has no model.
    RunError
        If it holds another prior, or model, recipe or data do not fit.
    TrainingError
        If the training stopped itself, with a diagnosis.
    """
    model = read_model(folder, device)
    _check_model(folder, model, settled, store)
    recipe = model.recipe.model_copy(update={"prior": settled.prior, "train": settled.train})
    run = PriorRun(folder)
    train = prior_training(recipe)
    told = {"root": str(root.resolve()), "fingerprint": store.fingerprint, "model": model.codes_id()}
    if resume:
        _check_same(run, base, overrides, told)
    elif run.is_started and rank() == 0:
        if _model_of(run) == told["model"]:
            raise RunError(f"{folder} already holds a prior. Go on with it: --stage prior --resume. {run.anew}")
        notify("the prior at hand is another model's: training one for this model")
        run.clear()
    acceleration = find_acceleration(train, device)
    torch.manual_seed(train.seed)
    prior = Prior(recipe, model.num_codes, model.speakers).to(device)
    state = new_state(prior, train)
    if resume:
        try:
            state.from_dict(run.load(device))
        except (KeyError, RuntimeError, ValueError) as reason:  # for weights that do not fit
            first = str(reason).strip().splitlines()[0]
            raise RunError(f"{folder}/prior_state.pt does not fit the recipe ({first}). {run.anew}") from None
    if rank() == 0:
        run.forget_after(state.step) if resume else run.begin(base, overrides, told)
        codes = _open_codes(folder, model, store, recipe.prior.shifts, progress)
    barrier()
    if rank() > 0:
        codes = open_code_store(folder / FOLDER, model, store, recipe.prior.shifts)
    task = PriorTask(prior, codes, model.code_rate, acceleration)
    seen_s = prior.receptive_field_s(model.code_rate)
    notify(f"prior: sees {prior.wavenet.receptive_field} codes, {seen_s:.2f} s; {len(codes)} sequences of codes")
    training = {
        "seed": train.seed,
        "data": store.fingerprint,
        "model": model.codes_id(),
        "precision": "bfloat16" if acceleration.bfloat16 else "float32",
        "device": device,
    }
    display = PriorDisplay(run, task, training, progress)
    try:
        finished = fit(task, state, train, display)
    finally:
        display.close()
    if finished and rank() == 0:
        _keep_likelihood(run, model, store, notify)
    return state


def _keep_likelihood(run: PriorRun, model: VQVAE, store: Store, notify: Callable[[str], None]) -> None:
    """Note in the prior's card and metrics how likely held-out speech is, with the weights that are kept."""
    prior = read_prior(run.folder, model)
    card: PriorCard = prior.card
    if "likelihood" in card.metrics:
        return  # finished by an earlier call
    found = held_out_likelihood(model, prior, store, "valid")
    run.report({"kind": "likelihood", "step": card.step} | found.as_metrics())
    card = replace(card, metrics=card.metrics | {"likelihood": found.as_metrics()})
    save_prior(run.folder / PRIOR_FILE, prior.state_dict(), card)
    notify(f"held-out speech: {found.describe()}")


def _check_model(folder: Path, model: VQVAE, settled: Recipe, store: Store) -> None:
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


def _model_of(run: PriorRun) -> object:
    try:
        return run.said()["data"].get("model")
    except RunError:
        return None


def _check_same(run: PriorRun, base: Recipe, overrides: tuple[str, ...], told: dict[str, str]) -> None:
    said = run.said()
    changed = changed_keys(said["recipe"]["prior"], base.model_dump(mode="json")["prior"])
    if changed:
        raise RunError(
            f"the recipe changed since the prior in {run.folder} was started (prior.{', prior.'.join(changed)}). "
            f"Restore it. {run.anew}"
        )
    if list(overrides) != said["overrides"]:
        raise RunError(
            f"the prior in {run.folder} was started with --set {' '.join(said['overrides']) or '(nothing)'}, not "
            f"{' '.join(overrides) or '(nothing)'}. Give the same. {run.anew}"
        )
    if said["data"].get("model") != told["model"]:
        raise RunError(f"the model in {run.folder} changed since its prior was started. {run.anew}")


def _open_codes(folder: Path, model: VQVAE, store: Store, shifts: int, progress: bool) -> CodeStore:
    """The corpus's codes, with a bar while they are made."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("coding the corpus", total=num_sequences(store, shifts))
        return open_code_store(folder / FOLDER, model, store, shifts, lambda count: bar.advance(task, count))
