"""`benchmarks/units.py`: from recordings with labels to figures and an item file, by one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_unit_figures import say, talk

from vqspeech.audio import save_audio
from vqspeech.units import read_items

ROOT = Path(__file__).resolve().parents[2]
FIGURES = 10


@pytest.fixture
def recordings(tmp_path) -> Path:
    """Two speakers of six utterances each, with festival's labels beside them."""
    for number in range(12):
        phones = talk(number)
        path = tmp_path / "corpus" / ("ann" if number % 2 else "bob") / f"u{number}.wav"
        save_audio(path, say(phones, number), 8000)
        path.with_suffix(".lab").write_text("#\n" + "".join(f"{end_s:.3f} 26 {name}\n" for _, end_s, name in phones))
    return tmp_path / "corpus"


def test_figures_and_items_of_a_folder(tiny_run, recordings, tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "units.py", tiny_run, "--data", recordings, "--corpus", "folder"]
    command += ["--share", "0.7", "--json", tmp_path / "units.json", "--items", tmp_path / "x.item"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "units.json").read_text())
    assert (written["title"], written["seed"], len(written["figures"])) == ("Units", 0, FIGURES)
    assert all(0 <= figure["value"] <= 1 for figure in written["figures"] if figure["name"].startswith("ABX"))
    items = read_items(tmp_path / "x.item")
    assert {item.speaker for item in items} == {"ann", "bob"} and all(item.file.startswith("u") for item in items)
    assert np.isin(["AA", "IY", "S", "M", "UW"], [item.phone for item in items]).all()
