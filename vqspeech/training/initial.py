"""`vqspeech train --init MODEL`: a training that starts from a model's weights, not from random ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vqspeech.config import Recipe
from vqspeech.errors import RecipeError
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.checkpoint import SPEAKER_TABLE
from vqspeech.training.run import changed_keys

# What gives the weights their shapes and the codes their meaning.
SHAPED: dict[str, Any] = {
    "data": {"sample_rate"},
    "encoder": True,
    "bottleneck": {"kind", "num_codes", "code_dim", "normalize"},
    "decoder": True,
}


def check_start(recipe: Recipe, model: VQVAE | None, name: str) -> None:
    """Whether a recipe's training can start from a model's weights, or without one.

    Parameters
    ----------
    recipe : of the training
    model : whose weights are given, None for random ones
    name : of the model, for errors

    Raises
    ------
    RecipeError
        If encoder, codebook or decoder have other shapes: the message names the keys. Without a model, if the recipe
        freezes an encoder, or filters by a spectrum, that nothing trains.
    """
    if model is None:
        if recipe.train.freeze_encoder and not recipe.train.warm_start_steps:
            raise RecipeError(
                "train.freeze_encoder without train.warm_start_steps freezes an encoder that has learned nothing. Give "
                "a warm start, or a trained model with --init"
            )
        if recipe.decoder.prediction_order and not recipe.train.warm_start_steps:
            raise RecipeError(
                "decoder.prediction_order needs train.warm_start_steps > 0: without a warm start the spectrum that "
                "gives the filters is random. Give one, or a trained model with --init"
            )
        return
    shaped = SHAPED | ({"loss": {"spectral_bands"}} if recipe.decoder.prediction_order else {})
    own, given = (one.model_dump(mode="json", include=shaped) for one in (recipe, model.recipe))
    if changed := changed_keys(own, given):
        listed = ", ".join(f"{key} = {_value(own, key)!r}, there {_value(given, key)!r}" for key in changed)
        raise RecipeError(
            f"the recipe {recipe.name} cannot start from {name}: {listed}. Encoder, codebook and decoder must have the "
            "same shapes: give the model's values with --set, or another --init"
        )


def take_weights(model: VQVAE, source: VQVAE) -> tuple[str, ...]:
    """Give a model the weights of another of the same shapes.

    Speakers that both know keep their vectors; the others' begin as usual. So do the parts that training alone uses,
    the spectral head and the adversary, unless the source has the same.

    Returns
    -------
    kept : names of the speakers that keep their vectors
    """
    weights = source.state_dict()
    own = model.state_dict()  # shares memory with the model
    leave_out = [SPEAKER_TABLE]
    if not _has_alike(own, weights, "spectral_head."):
        leave_out.append("spectral_head.")
    if model.speakers != source.speakers or not _has_alike(own, weights, "adversary."):  # it names the speakers
        leave_out.append("adversary.")
    for name, value in weights.items():
        if not name.startswith(tuple(leave_out)):
            own[name].copy_(value)
    kept = tuple(name for name in model.speakers if name in source.speakers)
    for name in kept:
        own[SPEAKER_TABLE][model.speakers.index(name)] = weights[SPEAKER_TABLE][source.speakers.index(name)]
    return kept


def _has_alike(own: dict[str, Tensor], given: dict[str, Tensor], part: str) -> bool:
    """Whether a part has the same tensors in both."""
    shapes = [{name: value.shape for name, value in one.items() if name.startswith(part)} for one in (own, given)]
    return shapes[0] == shapes[1]


def _value(values: dict[str, object], key: str) -> object:
    for name in key.split("."):
        assert isinstance(values, dict)
        values = values[name]  # type: ignore[assignment]
    return values
