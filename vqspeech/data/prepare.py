"""A recipe's corpus, prepared for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vqspeech.config import load_recipe
from vqspeech.data.corpora import find_root
from vqspeech.data.preparation import PreparationReport, prepare_store, store_folder


def prepare(
    recipe: str | Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    num_workers: int | None = None,
    progress: bool = False,
) -> PreparationReport:
    """Decode, resample and store a recipe's corpus for training, or recognise that it is done.

    `train` does it by itself. What an interrupted call finished is kept, and the next one goes on from there.

    Parameters
    ----------
    recipe : str or Path
        Folder with recipe.toml, or a TOML file.
    data : Path or None
        Folder of the corpus; see `find_root` for what stands in for it.
    out : Path or None
        Folder of the prepared speech; None takes prepared/<recipe's name>.
    overrides : sequence of str
        "section.key=value" each.
    num_workers : int or None
        Processes; None takes all cores that this process may use, 1 works in this process.
    progress : bool
        Whether a progress bar is shown on stderr.

    Returns
    -------
    report : PreparationReport
        Hours, speakers and utterances of each split, and what was left out and why.

    Raises
    ------
    RecipeError
        If the recipe or an override is not valid.
    CorpusError
        If the corpus is not found, nothing in it can be used, `out` cannot be written, or another process prepares it.

    Notes
    -----
    With several processes a script that calls this needs `if __name__ == "__main__":`.

    Examples
    --------
    >>> report = prepare(recipe, data=corpus, out="speech", num_workers=1)  # of three voices, from conftest
    >>> report.speakers, report.utterances
    (('ada', 'ben', 'cyd'), 24)
    """
    settled = load_recipe(recipe, overrides)
    folder = Path(out or store_folder(settled.name))
    root = find_root(settled.data, data)
    return prepare_store(settled.data, root, folder, num_workers=num_workers, progress=progress)
