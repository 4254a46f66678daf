"""A run folder: what a training leaves behind, and what it needs to go on.

model.safetensors   weights for inference (their moving average) and the model's card
state.pt            for resuming: live weights, average, optimiser, step, number of steps
run.json            recipe as given, overrides, data: written once
metrics.jsonl       one line for each report and validation
samples/            free-running audio and pictures of each validation
tensorboard/

and of the prior, trained afterwards, prior.safetensors, prior_state.pt, prior_run.json, prior_metrics.jsonl and the
codes/ of the corpus.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from vqspeech.config import Recipe
from vqspeech.errors import RunError
from vqspeech.files import write_whole
from vqspeech.pretrained.cards import ModelCard, PriorCard
from vqspeech.pretrained.checkpoint import MODEL_FILE, PRIOR_FILE, save_model, save_prior

FORMAT = 1  # of state.pt


class Run:
    """An open run folder, locked against a second training.

    Attributes
    ----------
    prefix : of the names of the files
    model_file : name of the file for inference

    Raises
    ------
    RunError
        If another training holds the folder, or it cannot be written.
    """

    prefix = ""
    model_file = MODEL_FILE

    def __init__(self, folder: str | Path) -> None:
        from filelock import FileLock, Timeout

        self.folder = Path(folder)
        self._made = [place for place in (self.folder, *self.folder.parents) if not place.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / ".lock", timeout=0)
            self._lock.acquire()
        except Timeout:
            raise RunError(
                f"another training is writing to {self.folder}. Wait for it, or choose another folder with --out"
            ) from None
        except OSError as reason:
            raise RunError(
                f"cannot write to {self.folder}: {reason.strerror}. Choose another folder with --out"
            ) from None

    @property
    def anew(self) -> str:
        """How to begin once more."""
        return "Start anew with another --out"

    def close(self) -> None:
        """Let others train here; a folder that nothing was written to goes again."""
        with suppress(OSError):
            if [path.name for path in self.folder.iterdir()] == [".lock"]:
                (self.folder / ".lock").unlink()  # while it is held: nobody else may have it
                for place in self._made:
                    place.rmdir()
        self._lock.release()

    @property
    def is_started(self) -> bool:
        """Whether a training has saved its state, or a model, here."""
        return self._file("state.pt").is_file() or (self.folder / self.model_file).is_file()

    def _file(self, name: str) -> Path:
        return self.folder / f"{self.prefix}{name}"

    def begin(self, base: Recipe, overrides: tuple[str, ...], data: dict[str, str]) -> None:
        """Note what this run is: the recipe's file, what was set on the command line, the data."""
        self._file("metrics.jsonl").unlink(missing_ok=True)  # of a run that ended before its first checkpoint
        said = {"recipe": base.model_dump(mode="json"), "overrides": list(overrides), "data": data}
        with write_whole(self._file("run.json"), RunError) as temporary:
            temporary.write_text(json.dumps(said, indent=2), encoding="utf-8")

    def said(self) -> dict[str, Any]:
        """What `begin` noted.

        Raises
        ------
        RunError
            If there is nothing to resume.
        """
        try:
            said: dict[str, Any] = json.loads(self._file("run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise self._nothing_to_resume() from None
        except (OSError, ValueError) as reason:
            raise RunError(f"{self._file('run.json')} is damaged ({reason}). {self.anew}") from None
        if not isinstance(said, dict) or said.keys() < {"recipe", "overrides", "data"}:
            raise RunError(f"{self._file('run.json')} is not what a training writes. {self.anew}")
        return said

    def save(self, state: dict[str, Any], weights: dict[str, Any] | None, card: ModelCard | PriorCard) -> None:
        """Write the state for resuming and, if `weights` are given, the model for inference, each whole or not."""
        import torch

        path = self._file("state.pt")
        with write_whole(path, RunError) as temporary:
            try:
                torch.save({"format": FORMAT} | state, temporary)
            except RuntimeError as reason:  # torch's writer reports a full disk so
                raise RunError(f"cannot write {path}: {reason}. Free some space") from None
        if weights is None:
            return
        if isinstance(card, ModelCard):
            save_model(self.folder / self.model_file, weights, card)
        else:
            save_prior(self.folder / self.model_file, weights, card)

    def load(self, device: str) -> dict[str, Any]:
        """The state for resuming; only tensors and plain values are ever unpickled.

        Raises
        ------
        RunError
            If it is missing or damaged.
        """
        import torch

        path = self._file("state.pt")
        try:
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except FileNotFoundError:
            raise self._nothing_to_resume() from None
        except Exception as reason:  # torch raises many kinds for a damaged file
            first = (str(reason).strip() or type(reason).__name__).splitlines()[0]
            raise RunError(f"{path} is damaged ({first}). {self.anew}") from None
        written = state.pop("format", None) if isinstance(state, dict) else None
        if written != FORMAT:
            raise RunError(
                f"{path} is not a state that this vqspeech can resume (format {written}, expected {FORMAT}). Resume it "
                f"with the version that wrote it. {self.anew}"
            )
        return state

    def _nothing_to_resume(self) -> RunError:
        return RunError(f"nothing to resume in {self.folder}. Leave out --resume to start a training there")

    def forget_after(self, step: int) -> None:
        """Drop reports of steps that a resumed training will do again."""
        path = self._file("metrics.jsonl")
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):
                continue  # the line that a crash cut short
        with write_whole(path, RunError) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def report(self, row: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        try:
            with open(self._file("metrics.jsonl"), "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as reason:
            raise RunError(
                f"cannot write to {self.folder}: {reason.strerror}. Free some space, then --resume"
            ) from None


class PriorRun(Run):
    """The part of a run folder that is the prior's; the folder's lock is its owner's."""

    prefix = "prior_"
    model_file = PRIOR_FILE

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def anew(self) -> str:
        """How to begin once more."""
        return f"Delete {self._file('state.pt')} and {self.folder / self.model_file}, and train it anew: --stage prior"

    def clear(self) -> None:
        """Remove a prior of another model."""
        for path in (self.folder / self.model_file, self._file("state.pt"), self._file("run.json")):
            path.unlink(missing_ok=True)


def changed_keys(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted paths at which two nested dictionaries differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [path for key in keys for path in changed_keys(old.get(key), new.get(key), f"{prefix}{key}.")]
    return [] if old == new else [prefix.rstrip(".")]
