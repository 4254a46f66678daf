"""Trainings in tests: stopped at a step, and compared bit for bit."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import torch

from vqspeech.training.recorder import Recorder


def after_step(monkeypatch, step: int, action) -> None:
    """Let something happen once, right after a step."""
    stepped = Recorder.stepped
    todo = [step]

    def patched(self, state, terms):
        stepped(self, state, terms)
        if [state.step] == todo:
            todo.clear()
            action()

    monkeypatch.setattr(Recorder, "stepped", patched)


def stop() -> None:
    signal.raise_signal(signal.SIGTERM)


def crash() -> None:
    raise RuntimeError("the power failed")


def steps_of(folder: Path, kind: str) -> list[int]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if row["kind"] == kind]


def assert_same(a, b, path="state") -> None:
    """Two saved states are equal bit for bit, but for the clock."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a.keys() - {"seconds"}:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}.{number}")
    else:
        assert a == b, path


def state_of(folder: str) -> dict:
    return torch.load(Path(folder) / "state.pt", weights_only=True)
