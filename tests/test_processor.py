"""One variable takes away what ordinary processors lack; one that makes no sense is refused in a sentence."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from commands import refuse
from vqspeech import processor
from vqspeech.processor import LIMITS

SCRIPT = """
import json
import vqspeech, torch
from vqspeech import vectors
from vqspeech.training.acceleration import find_acceleration
from vqspeech.config import TrainConfig
print(json.dumps([torch.backends.cpu.get_cpu_capability(), vectors.LANES, vectors.HAS_BFLOAT16, vectors.HAS_FLOAT16,
                  find_acceleration(TrainConfig(), "cpu").bfloat16]))
"""
X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="AVX2 is of x86-64 processors")


@X86
def test_told_to_have_avx2_alone_torch_sampling_and_training_use_no_more():
    environment = {name: value for name, value in os.environ.items() if name not in LIMITS["avx2"]}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment | {"VQSPEECH_CPU": "avx2"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["AVX2", 8, False, True, False]


def test_what_is_set_already_stays(monkeypatch):
    monkeypatch.setattr(
        os, "environ", {name: value for name, value in os.environ.items() if name not in LIMITS["avx2"]}
    )
    monkeypatch.setenv("VQSPEECH_CPU", "avx2")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    processor.limit()
    assert os.environ["ATEN_CPU_CAPABILITY"] == "default"
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_without_it_nothing_is_set(monkeypatch):
    monkeypatch.delenv("VQSPEECH_CPU", raising=False)
    before = dict(os.environ)
    processor.limit()
    assert dict(os.environ) == before


def test_a_processor_that_nobody_knows_is_refused_before_any_work(place, monkeypatch):
    monkeypatch.setenv("VQSPEECH_CPU", "avx3")
    assert "VQSPEECH_CPU=avx3 names no processor that we know. Use avx2, or unset it" in refuse("models")


def test_one_of_another_make_is_refused(place, monkeypatch):
    monkeypatch.setenv("VQSPEECH_CPU", "avx2")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert "is for x86-64 processors, and this is arm64" in refuse("models")
