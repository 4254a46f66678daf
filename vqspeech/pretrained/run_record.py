"""run.json and prior_run.json of a run folder: what a training was begun with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vqspeech.config import Recipe, parse_stored_recipe
from vqspeech.errors import RunError
from vqspeech.files import write_whole


@dataclass(frozen=True)
class Origin:
    """The model from whose weights a training started: its name as it was given, and its `weights_id`."""

    model: str
    weights: str


@dataclass(frozen=True)
class RunRecord:
    """What a training was begun with, or last continued with.

    Attributes
    ----------
    recipe : the recipe's file as plain values, without the overrides; what an old one does not name was the default
    overrides : "section.key=value" each
    root : folder of the recordings
    fingerprint : of the prepared speech
    model : `codes_id` of the model whose codes a prior learns; None in the record of a model
    origin : the model from whose weights it started; None for random ones
    """

    recipe: dict[str, Any]
    overrides: tuple[str, ...]
    root: str
    fingerprint: str
    model: str | None = None
    origin: Origin | None = None

    @classmethod
    def read(cls, file: Path) -> RunRecord:
        """Read a record of this version or an older one.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is damaged, or not a record.
        """
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            data, recipe, init = stored["data"], dict(stored["recipe"]), stored.get("init")
            origin = Origin(init["model"], init["weights"]) if init else None
            overrides = tuple(stored["overrides"])
            return cls(recipe, overrides, data["root"], data["fingerprint"], data.get("model"), origin)
        except (KeyError, TypeError) as reason:
            raise ValueError(f"it lacks {reason}" if isinstance(reason, KeyError) else str(reason)) from None

    def write(self, file: Path) -> None:
        """Write the record; raises RunError if it cannot be written."""
        data = {"root": self.root, "fingerprint": self.fingerprint} | ({"model": self.model} if self.model else {})
        stored: dict[str, Any] = {"recipe": self.recipe, "overrides": list(self.overrides), "data": data}
        stored |= {"init": asdict(self.origin)} if self.origin else {}
        with write_whole(file, RunError) as temporary:
            temporary.write_text(json.dumps(stored, indent=2), encoding="utf-8")

    def base(self) -> Recipe:
        """The recipe without the overrides."""
        return parse_stored_recipe(self.recipe, "the recipe that the run keeps")

    def settled(self) -> Recipe:
        """The recipe with them."""
        return parse_stored_recipe(self.recipe, "the recipe that the run keeps", self.overrides)

    @property
    def names_optimizer(self) -> bool:
        """Whether the recipe says who moves the weights: a run from when Adam was the default does not."""
        return "optimizer" in self.recipe.get("train", {})
