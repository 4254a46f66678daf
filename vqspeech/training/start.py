"""`vqspeech train`: from a recipe and a folder of speech to a trained model, and its prior, in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

from vqspeech.config import load_recipe
from vqspeech.data.corpora import find_root
from vqspeech.distributed import barrier, local_device, rank, start_processes, stop_processes
from vqspeech.errors import RunError
from vqspeech.pretrained.checkpoint import find_model_file
from vqspeech.pretrained.registry import load_model
from vqspeech.progress import Notify
from vqspeech.training.initial import check_start
from vqspeech.training.prior_stage import PriorStage
from vqspeech.training.run import hold
from vqspeech.training.stage import Call, TrainingResult, merged, run_stage
from vqspeech.training.vqvae_stage import VQVAEStage


def _say_nothing(line: str) -> None:
    """What nobody is told."""


def train(
    recipe: str | Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    init: str | Path | None = None,
    resume: bool = False,
    stage: Literal["vqvae", "prior"] | None = None,
    progress: bool = False,
    notify: Notify = _say_nothing,
) -> TrainingResult:
    """Prepare a corpus if needed, train a recipe's model and then its prior, and leave them in a run folder.

    Parameters
    ----------
    recipe : str or Path
        Folder with recipe.toml, or a TOML file.
    data : Path or None
        Folder of the corpus; see `find_root` for what stands in for it.
    out : Path or None
        Run folder; None takes runs/<recipe's name>.
    overrides : sequence of str
        "section.key=value" each.
    init : str, Path or None
        A model whose weights the training starts from: a run, a file, the name of a bundled model or one of the Hub.
        Encoder, codebook and decoder must have the recipe's shapes. Speakers of the same name keep their vectors, new
        ones begin as usual, and so does the optimizer. The phases are the recipe's: after `train.continuous_steps` a
        new codebook is made, with 0 of them the model's is kept and learns on. With `train.warm_start_steps` and
        `train.continuous_steps` both 0 the decoder learns from the first step on; `train.freeze_encoder` then keeps
        the model's encoder and codebook, and its codes stay the same.
    resume : bool
        Go on with the training in `out`, exactly where it stopped. With overrides of train.steps or train.max_minutes
        also beyond its end, or to an earlier one: the learning rate then falls towards the new end. Beside these two
        only train.keep, train.validate_every and train.checkpoint_every may change.
    stage : "vqvae", "prior" or None
        The VQ-VAE alone, or the prior of the model in `out` alone; both if None.
    progress : bool
        Show bars.
    notify : callable
        Is told sentences for the user.

    Returns
    -------
    result : TrainingResult
        The run folder, steps, whether it is finished, and figures of the last validation.

    Raises
    ------
    RunError
        If the folder is in use, holds another training, or anything else of the recipe or the data changed since.
    CheckpointError
        If the prior alone is asked for and there is no model, or there is none as `init` says.
    RecipeError
        If the recipe is not valid, or its shapes are not those of `init`; the message names the keys.
    TrainingError
        If the training stopped itself, with a diagnosis.

    Notes
    -----
    Preparation starts processes: a script that calls this needs `if __name__ == "__main__":`.

    Examples
    --------
    >>> result = train(recipe, data=corpus, out="run", stage="vqvae")  # of 8 steps, three voices, from conftest
    >>> result.finished, result.step
    (True, 8)
    """
    # What goes on is only whole with the overrides that it was begun with; here its name is all that counts.
    named = [override for override in overrides if override.partition("=")[0].strip() == "name"]
    settled = load_recipe(recipe, named if resume else overrides)
    if init is not None and (resume or stage == "prior"):
        raise RunError("--init begins the training of a model. Leave it out with --resume and with --stage prior")
    source = load_model(init) if init is not None else None
    if not resume and stage != "prior":
        find_root(settled.data, data)  # what is wrong in the call is told before a folder is made
        check_start(settled, source, str(init))
    out = Path(out or Path("runs") / settled.name)
    if stage == "prior":
        find_model_file(out)
    with hold(out) if rank() == 0 else nullcontext():
        try:
            start_processes()
            call = Call(recipe, tuple(overrides), data, progress, notify if rank() == 0 else _say_nothing)
            return _run_stages(call, VQVAEStage(out, source, str(init)), resume, stage)
        finally:
            stop_processes()


def _run_stages(call: Call, first: VQVAEStage, resume: bool, stage: Literal["vqvae", "prior"] | None) -> TrainingResult:
    run = first.run
    if call.data is None and (resume or stage == "prior") and run.file("run.json").is_file():
        call.data = Path(run.record().root)  # where the recordings were
    result = None
    if stage != "prior":
        result = run_stage(first, call, resume=resume)
        if stage == "vqvae" or not result.finished:
            return result
        barrier()  # the first process has written the model
    second = PriorStage(run.folder, local_device())
    # What has both stages goes on with the one that was interrupted.
    goes_on = resume and (stage == "prior" or second.is_begun)
    if resume and not goes_on:
        call.overrides = merged(run.record().overrides, call.overrides)
    prior = run_stage(second, call, resume=goes_on)
    return replace(result or prior, finished=prior.finished, prior=prior)
