"""Models on disk: safetensors whose metadata carries, as JSON, all that is needed to build the model again.

Loading one runs no code. What resuming needs besides (optimiser, live weights) lies in another file, see
`vqspeech.training.run`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vqspeech.config import parse_stored_recipe
from vqspeech.errors import CheckpointError, RecipeError
from vqspeech.files import write_whole
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.cards import ModelCard, PriorCard

Card = TypeVar("Card")

MODEL_FILE = "model.safetensors"
PRIOR_FILE = "prior.safetensors"
FORMAT = 2  # raised when files of this version can no longer be read by older ones; 1 knew no linear prediction
KEY, PRIOR_KEY = "vqspeech", "vqspeech prior"
SPEAKER_TABLE = "speaker_vectors.weight"


def save_model(path: str | Path, weights: dict[str, Tensor], card: ModelCard) -> None:
    """Write weights and card to one file, whole or not at all.

    Raises
    ------
    CheckpointError
        If the place cannot be written.
    """
    _save(path, weights, card, KEY)


def save_prior(path: str | Path, weights: dict[str, Tensor], card: PriorCard) -> None:
    """As `save_model`."""
    _save(path, weights, card, PRIOR_KEY)


def _save(path: str | Path, weights: dict[str, Tensor], card: ModelCard | PriorCard, key: str) -> None:
    from safetensors.torch import save

    header = asdict(card) | {"recipe": card.recipe.model_dump(mode="json"), "format": FORMAT}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with write_whole(path, CheckpointError) as temporary:
        temporary.write_bytes(save(tensors, metadata={key: json.dumps(header)}))  # save_file would deny others to read


def find_model_file(path: str | Path) -> Path:
    """The model file of a run folder, or the file itself.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    path = Path(path)
    file = path / MODEL_FILE if path.is_dir() else path
    if not file.is_file():
        what = f"{path} holds no {MODEL_FILE}" if path.is_dir() else f"there is no model at {path}"
        raise CheckpointError(
            f"{what}. Give a run folder, for example runs/fsdd, or train one: vqspeech train recipes/fsdd"
        )
    return file


def read_card(path: str | Path) -> ModelCard:
    """The card alone, without the weights (fast: no torch tensors are made).

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, from a newer version, or not one of ours.
    """
    file = find_model_file(path)
    return _read_card(ModelCard, file, KEY, "model", "Copy it again, or train again")


def _read_card(kind: Callable[..., Card], file: Path, key: str, what: str, remedy: str) -> Card:
    header = _read_header(file, key, what)
    try:
        recipe = parse_stored_recipe(header.pop("recipe"), str(file))
        return kind(recipe=recipe, speakers=tuple(header.pop("speakers")), **header)
    except (KeyError, TypeError, RecipeError) as reason:
        raise CheckpointError(f"{file} has an incomplete header ({reason}). {remedy}") from None


def _read_header(file: Path, key: str, what: str) -> dict[str, Any]:
    import safetensors

    try:
        with safetensors.safe_open(file, framework="pt") as tensors:
            metadata = tensors.metadata() or {}
    except (safetensors.SafetensorError, OSError) as reason:
        raise CheckpointError(
            f"{file} cannot be read as a {what} ({reason}): it is truncated or not a safetensors file. "
            "Copy it again, or train again"
        ) from None
    if key not in metadata:
        raise CheckpointError(
            f"{file} is a safetensors file, but not a vqspeech {what}. Give a run folder of vqspeech train"
        )
    try:
        header: dict[str, Any] = json.loads(metadata[key])
        written = int(header.pop("format"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{file} has a damaged header. Copy it again, or train again") from None
    if written > FORMAT:
        raise CheckpointError(
            f"{file} was written by a newer vqspeech ({header.get('version', '?')}, format {written}; this one reads "
            f"up to {FORMAT}). Upgrade vqspeech: pip install -U vqspeech"
        )
    return header


def read_model(path: str | Path, device: str = "cpu") -> VQVAE:
    """Load a trained model, ready for inference.

    Parameters
    ----------
    path : run folder, or model file
    device : torch device

    Returns
    -------
    model : VQVAE in evaluation mode, with its card as `model.card` and its prior as `model.prior`

    Raises
    ------
    CheckpointError
        See `read_card`; also if weights are missing or of another shape.
    """
    file = find_model_file(path)
    card = read_card(file)
    model = VQVAE(card.recipe, card.speakers)
    _fill(model, file)
    model.card = card
    model.read_prior = partial(read_prior, file)
    return model.to(torch.device(device))


def _fill(model: nn.Module, file: Path) -> None:
    """Give a model the weights of a file, for inference; what is packed lacks the parts that training alone uses."""
    from safetensors.torch import load_file

    try:
        tensors = load_file(file)
        if isinstance(model, VQVAE) and not any(name.startswith(model.training_parts) for name in tensors):
            model.drop_training_parts()
        model.load_state_dict(tensors)
    except Exception as reason:  # torch and safetensors raise several kinds for weights that do not fit
        first = str(reason).strip().splitlines()[:2]
        raise CheckpointError(f"{file} does not hold the weights its recipe asks for: {' '.join(first)}") from None
    model.eval().requires_grad_(False)


def find_prior_file(path: str | Path) -> Path:
    """The prior's file of a run folder or beside a model file, or the file itself.

    Raises
    ------
    CheckpointError
        If there is none; the message says how to train one.
    """
    path = Path(path)
    file = path / PRIOR_FILE if path.is_dir() else path.parent / PRIOR_FILE if path.name == MODEL_FILE else path
    if not file.is_file():
        raise CheckpointError(
            f"{file.parent} holds no prior over codes ({file.name}). {_how_to_train(file)}, the model's recipe"
        )
    return file


def read_prior_card(path: str | Path) -> PriorCard:
    """The prior's card alone; paths as in `find_prior_file`, errors as in `read_card`."""
    file = find_prior_file(path)
    return _read_card(PriorCard, file, PRIOR_KEY, "prior", _how_to_train(file))


def read_prior(path: str | Path, model: VQVAE) -> Prior:
    """Load the prior of a model's codes, ready for inference, to where the model is.

    Parameters
    ----------
    path : run folder, its model file, or the prior's file
    model : the VQ-VAE whose codes are meant

    Returns
    -------
    prior : Prior in evaluation mode, with its card as `prior.card`

    Raises
    ------
    CheckpointError
        If there is none, it is damaged, or it was trained on codes of another model.
    """
    file = find_prior_file(path)
    card = read_prior_card(file)
    trained = model.speakers[: len(card.speakers)]  # enrolled voices come after them
    if (card.model, card.num_codes, card.speakers) != (model.codes_id(), model.num_codes, trained):
        raise CheckpointError(
            f"{file} was trained on the codes of another model ({card.model[:12]}, this one is "
            f"{model.codes_id()[:12]}): the same number means another sound there. Delete it, then train anew. "
            + _how_to_train(file)
        )
    prior = Prior(card.recipe, card.num_codes, card.speakers)
    _fill(prior, file)
    prior.card = card
    return prior.to(model.device)


def _how_to_train(file: Path) -> str:
    return f"Train one: vqspeech train RECIPE --stage prior --out {file.parent}"
