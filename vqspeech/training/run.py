"""A run folder: what a training leaves behind, and what it needs to go on.

model.safetensors   weights for inference (their moving average) and the model's card
state.pt            for resuming: live weights, average, optimizer, step, number of steps
run.json            recipe as given, overrides, data
metrics.jsonl       one line for each report and validation
model-<step>.safetensors, model-best.safetensors: the last checkpoints and the best, with `train.keep`
samples/            free-running audio and pictures of each validation
tensorboard/

and of the prior, trained afterwards, prior.safetensors, prior_state.pt, prior_run.json, prior_metrics.jsonl and the
codes/ of the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqspeech.errors import RunError
from vqspeech.files import write_whole
from vqspeech.pretrained.cards import ModelCard, PriorCard
from vqspeech.pretrained.checkpoint import MODEL_FILE, PRIOR_FILE, save_model, save_prior
from vqspeech.pretrained.run_record import RunRecord

FORMAT = 1  # of state.pt


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Lock a run folder against a second training; a folder that nothing was written to goes again.

    Raises
    ------
    RunError
        If another training holds the folder, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another training is writing to {folder}. Wait for it, or choose another folder with --out"
        ) from None
    except OSError as reason:
        raise RunError(f"cannot write to {folder}: {reason.strerror}. Choose another folder with --out") from None
    try:
        yield
    finally:
        with suppress(OSError):
            if [path.name for path in folder.iterdir()] == [".lock"]:
                (folder / ".lock").unlink()  # while it is held: nobody else may have it
                for place in made:
                    place.rmdir()
        lock.release()


@dataclass(frozen=True)
class Run:
    """The files of one training in a run folder: the model's, or its prior's.

    Attributes
    ----------
    folder : of the run, held by the caller
    title : what errors call the training
    anew : how to begin once more
    prefix : of the names of the files
    model_file : name of the file for inference
    """

    folder: Path
    title: str
    anew: str
    prefix: str
    model_file: str

    @classmethod
    def of_model(cls, folder: Path) -> Run:
        """The model's files."""
        return cls(folder, str(folder), "Start anew with another --out", "", MODEL_FILE)

    @classmethod
    def of_prior(cls, folder: Path) -> Run:
        """The prior's files."""
        files = f"{folder / 'prior_state.pt'} and {folder / PRIOR_FILE}"
        anew = f"Delete {files}, and train it anew: --stage prior"
        return cls(folder, f"the prior in {folder}", anew, "prior_", PRIOR_FILE)

    @property
    def is_started(self) -> bool:
        """Whether a training has saved its state, or a model, here."""
        return self.file("state.pt").is_file() or (self.folder / self.model_file).is_file()

    def file(self, name: str) -> Path:
        """Where a file of this training lies."""
        return self.folder / f"{self.prefix}{name}"

    def begin(self, record: RunRecord) -> None:
        """Forget a training that ended before its first checkpoint, and keep what the next one begins with."""
        self.file("metrics.jsonl").unlink(missing_ok=True)
        self.keep(record)

    def keep(self, record: RunRecord) -> None:
        """Keep what a training is begun with, or goes on with from now on."""
        record.write(self.file("run.json"))

    def clear(self) -> None:
        """Remove what was trained; its metrics go when the next training begins."""
        for path in (self.folder / self.model_file, self.file("state.pt"), self.file("run.json")):
            path.unlink(missing_ok=True)

    def record(self) -> RunRecord:
        """What the training was begun with.

        Raises
        ------
        RunError
            If there is nothing to resume.
        """
        path = self.file("run.json")
        try:
            return RunRecord.read(path)
        except FileNotFoundError:
            raise self._nothing_to_resume() from None
        except (OSError, ValueError) as reason:
            raise RunError(f"{path} is damaged ({reason}). {self.anew}") from None

    def save(self, state: dict[str, Any], weights: dict[str, Any] | None, card: ModelCard | PriorCard) -> None:
        """Write the state for resuming and, if `weights` are given, the model for inference, each whole or not."""
        import torch

        path = self.file("state.pt")
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

        path = self.file("state.pt")
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
        path = self.file("metrics.jsonl")
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
            with open(self.file("metrics.jsonl"), "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as reason:
            raise RunError(
                f"cannot write to {self.folder}: {reason.strerror}. Free some space, then --resume"
            ) from None


def changed_keys(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted paths at which two nested dictionaries differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [path for key in keys for path in changed_keys(old.get(key), new.get(key), f"{prefix}{key}.")]
    return [] if old == new else [prefix.rstrip(".")]
