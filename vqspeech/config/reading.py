"""Recipes are TOML files: read, changed by overrides, checked."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vqspeech.config.recipe import Recipe
from vqspeech.errors import RecipeError


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe: a TOML file, or a folder that holds `recipe.toml`.

    Parameters
    ----------
    path : str or Path
        File or folder.
    overrides : iterable of "section.key=value"
        Values are TOML (`8`, `0.5`, `true`, `[2, 2]`, `"vq"`); a bare word is taken as a string.

    Returns
    -------
    recipe : Recipe
        Frozen; sections as in the file, such as `recipe.train.steps`.

    Raises
    ------
    RecipeError
        If the file is missing or not TOML, or a key or value is not allowed: the message gives the key's path, what
        was given and what is allowed.

    Examples
    --------
    >>> settled = load_recipe(recipe, ["train.steps=9"])  # `recipe`: a file, from conftest
    >>> settled.train.steps, settled.encoder.hop_length
    (9, 16)
    """
    path = Path(path)
    file = path / "recipe.toml" if path.is_dir() else path
    if not file.is_file():
        raise RecipeError(f"no recipe at {file}. Give a folder with a recipe.toml, for example recipes/vctk")
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise RecipeError(f"{file} is not valid TOML: {reason}") from None
    for override in overrides:
        _set(values, override)
    return parse_recipe(values, str(file))


def parse_recipe(values: dict[str, Any], source: str) -> Recipe:
    """Check a recipe given as nested dictionaries; `source` names it in errors."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as invalid:
        lines = [_explain(error) for error in invalid.errors()]
        raise RecipeError(f"{source}: " + "; ".join(lines)) from None


def parse_stored_recipe(values: dict[str, Any], source: str, overrides: Iterable[str] = ()) -> Recipe:
    """As `parse_recipe`, a recipe that a run or a model keeps; older ones do not name what was then the default."""
    if isinstance(values, dict) and isinstance(train := values.get("train", {}), dict):
        values = deepcopy(values) | {"train": {"optimizer": "adam"} | train}
    for override in overrides:
        _set(values, override)
    return parse_recipe(values, source)


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *sections, name = key.strip().split(".")
    if not equals or not name:
        raise RecipeError(f"--set {override!r} is not of the form section.key=value, for example train.batch_size=8")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise RecipeError(f"--set {override!r}: {section!r} is a value, not a section")
    values[name] = value


def _explain(error: Any) -> str:
    location = list(error["loc"])
    key = ".".join(str(part) for part in location)
    if error["type"] == "extra_forbidden":
        allowed = _keys_at(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(allowed)}"
        return f"unknown key {key!r}: {hint}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return message
    return f"{key} = {error['input']!r}: {message}" if error["type"] != "missing" else f"{key} is missing"


def _keys_at(location: list[Any]) -> list[str]:
    model: Any = Recipe
    for part in location:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
