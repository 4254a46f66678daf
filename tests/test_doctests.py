"""The examples in docstrings run as written."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

import vqspeech
from vqspeech.audio import save_audio
from vqspeech.pretrained.cards import ModelCard
from vqspeech.pretrained.checkpoint import MODEL_FILE, save_model

ROOT = Path(vqspeech.__file__).parent
MODULES = [
    ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted(ROOT.rglob("*.py"))
    if ">>>" in file.read_text(encoding="utf-8")
]


@pytest.fixture
def names(work, model, write_recipe, corpus, chirp) -> dict:
    """What examples may name: the tests' model, a run and recordings in a working folder, its recipe and corpus."""
    save_model(work / "tiny" / MODEL_FILE, model.state_dict(), ModelCard(model.recipe, model.speakers, step=8))
    for take in range(16):
        save_audio(work / "recordings" / f"{take}.wav", np.roll(chirp, 500 * take), 8000)
    own = {"recipe": write_recipe(), "corpus": corpus, "run": work / "tiny", "recordings": work / "recordings"}
    return own | {"model": model, "torch": torch, "np": np}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run_as_written(name, names, monkeypatch):
    monkeypatch.delenv("VQSPEECH_MODEL", raising=False)
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_there_are_examples():
    assert len(MODULES) >= 8
