"""Bundled models in tests: runs packed into a temporary folder that stands for the package's."""

from __future__ import annotations

from pathlib import Path

from vqspeech.pretrained import bundled
from vqspeech.pretrained.packing import pack

DATA = "eight vowels of three people"
LICENCE = "CC BY 4.0"


def bundle(monkeypatch, folder: Path, **runs: Path) -> Path:
    """Let `folder` be that of the bundled models, with these runs packed in it by name."""
    monkeypatch.setattr(bundled, "FOLDER", folder)
    for name, run in runs.items():
        pack(run, folder / name, data=DATA, licence=LICENCE, quality=["Right vowel: 90 %."])
    return folder
