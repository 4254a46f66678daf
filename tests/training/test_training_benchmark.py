"""`benchmarks/training.py` names each row by what ran."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vqspeech.config import load_recipe
from vqspeech.training import acceleration

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "training.py"


@pytest.fixture
def benchmark():
    spec = importlib.util.spec_from_file_location("training_benchmark", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ways_of(benchmark, monkeypatch, recipe: Path, *, bfloat16: bool, compiler: bool) -> list[str]:
    for module in (acceleration, benchmark):
        monkeypatch.setattr(module, "has_bfloat16", lambda device: bfloat16)
    monkeypatch.setattr(acceleration, "_missing_for_compile", lambda: None if compiler else "No compiler was found")
    return list(benchmark.find_ways(load_recipe(recipe), "cpu"))


def test_a_machine_that_only_emulates_bfloat16_has_no_row_of_that_name(benchmark, monkeypatch, write_recipe):
    recipe = write_recipe({"train.optimizer": "adam", "train.precision": "auto"})
    assert ways_of(benchmark, monkeypatch, recipe, bfloat16=False, compiler=True) == [
        "eager float32, adam",
        "eager float32, muon",
        "compiled float32, adam",
        "compiled float32, muon",
    ]


def test_a_machine_with_everything_has_all_rows(benchmark, monkeypatch, write_recipe):
    names = ways_of(benchmark, monkeypatch, write_recipe({}), bfloat16=True, compiler=True)
    assert len(names) == len(set(names)) == 8
    assert {name.split(",")[0] for name in names} == {
        "eager float32", "eager bfloat16", "compiled float32", "compiled bfloat16",
    }  # fmt: skip


def test_a_decoder_whose_channels_fill_vectors_is_fused_too(benchmark, monkeypatch, write_recipe):
    recipe = write_recipe({"decoder.residual_channels": 32, "decoder.skip_channels": 64})
    names = ways_of(benchmark, monkeypatch, recipe, bfloat16=False, compiler=True)
    assert [name.split()[0] for name in names] == ["eager", "eager", "compiled", "compiled", "fused", "fused"]


def test_without_a_compiler_nothing_is_called_compiled(benchmark, monkeypatch, write_recipe):
    names = ways_of(benchmark, monkeypatch, write_recipe({}), bfloat16=False, compiler=False)
    assert names == ["eager float32, muon", "eager float32, adam"]  # the recipe's own first


@pytest.mark.slow
def test_the_benchmark_ends_with_its_headline_and_writes_its_figures(write_recipe, tmp_path):
    recipe, figures = write_recipe({"train.optimizer": "adam"}), tmp_path / "figures.json"
    command = [sys.executable, str(SCRIPT), "--recipe", str(recipe), "--quick", "--json", str(figures)]
    # AVX2 has no bfloat16. torch's cache of compiled graphs does not tell AVX2 from AVX-512, and mixing them crashes.
    narrow = {"ATEN_CPU_CAPABILITY": "avx2", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    environment = os.environ | narrow | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    told = json.loads(figures.read_text())
    assert not [name for name in told["ways"] if "bfloat16" in name]
    assert {"eager float32, adam", "eager float32, muon"} <= set(told["ways"])
    for row in told["ways"].values():
        assert row["share_of_peak"] == pytest.approx(row["gflop_per_s"] / told["peak_gflop_per_s"])
        assert 0 < row["optimizer_share"] < 1
    assert len({row["flop"] for row in told["ways"].values()}) == 1  # the same model each time
    headline = told["headline"]
    assert headline["against"] == "eager float32, adam"
    assert done.stdout.splitlines()[-1] == (f"{headline['name']} over {headline['against']}: {headline['ratio']:.2f}x")
