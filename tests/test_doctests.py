"""The examples in docstrings run as written."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

import vqspeech

ROOT = Path(vqspeech.__file__).parent
MODULES = [
    ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted(ROOT.rglob("*.py"))
    if ">>>" in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run_as_written(name, model):
    module = importlib.import_module(name)
    names = {"model": model, "torch": torch, "np": np}
    failed, _ = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_there_are_examples():
    assert len(MODULES) >= 8
