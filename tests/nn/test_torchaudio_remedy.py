"""torchaudio works beside any torch, and the remedy for its compiled part can be undone."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest

from vqspeech.errors import DependencyError
from vqspeech.nn import torchaudio_remedy

COMPILED = ["_torchaudio.abi3.so", "libtorchaudio.abi3.so"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in [*COMPILED, "notes.txt"]:
        (tmp_path / name).write_text(name)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def answer_by(condition):
    return lambda: (True, "2.11.0") if condition() else (False, "OSError: Could not load this library")


def test_the_installed_torchaudio_does_all_that_is_used_of_it():
    works, answer = torchaudio_remedy.check()
    assert works, f"{answer}: run {torchaudio_remedy.COMMAND}"
    assert torchaudio_remedy.import_torchaudio().__name__ == "torchaudio"


def test_where_torchaudio_works_nothing_is_touched(folder, monkeypatch):
    monkeypatch.setattr(torchaudio_remedy, "check", lambda: (True, "2.11.0"))
    assert torchaudio_remedy.remedy(folder) == ["torchaudio 2.11.0 works; nothing to do"]
    assert names(folder) == sorted([*COMPILED, "notes.txt"])


def test_a_compiled_part_that_does_not_load_is_set_aside_and_a_second_call_has_nothing_to_do(folder, monkeypatch):
    monkeypatch.setattr(torchaudio_remedy, "check", answer_by(lambda: not list(folder.glob("*.so"))))
    told = "\n".join(torchaudio_remedy.remedy(folder))
    assert "set aside _torchaudio.abi3.so as _torchaudio.abi3.so.disabled" in told and "--undo" in told
    assert names(folder) == sorted([name + ".disabled" for name in COMPILED] + ["notes.txt"])
    assert torchaudio_remedy.remedy(folder) == ["torchaudio 2.11.0 works; nothing to do"]


def test_undo_gives_the_files_their_names_back(folder):
    torchaudio_remedy.set_aside(folder)
    assert torchaudio_remedy.restore(folder) == [f"restored {name}" for name in COMPILED]
    assert [(folder / name).read_text() for name in COMPILED] == COMPILED
    assert torchaudio_remedy.restore(folder) == ["nothing was set aside"]


def test_a_remedy_that_does_not_help_leaves_the_installation_as_it_was(folder, monkeypatch):
    monkeypatch.setattr(torchaudio_remedy, "check", answer_by(lambda: False))
    with pytest.raises(DependencyError, match="with or without its compiled part: OSError"):
        torchaudio_remedy.remedy(folder)
    assert names(folder) == sorted([*COMPILED, "notes.txt"])


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run_beside(packages: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that finds the packages of a folder before those that are installed."""
    paths = os.pathsep.join([str(packages), str(Path(torchaudio_remedy.__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """A folder with torchaudio as it is installed, whose compiled files load beside no torch."""
    packages = tmp_path_factory.mktemp("packages")
    installed = torchaudio_remedy.find_compiled_folder().parent
    shutil.copytree(installed, packages / "torchaudio", ignore=shutil.ignore_patterns("lib", "__pycache__"))
    (packages / "torchaudio" / "lib").mkdir()
    for name in COMPILED:
        (packages / "torchaudio" / "lib" / name).write_bytes(b"linked against another torch")
    return packages


MEL = """
import sys, threading
import numpy as np, torch
from vqspeech.nn.mel import FLOOR, LogMel
from vqspeech.nn.torchaudio_remedy import import_torchaudio

if "tried before" in sys.argv:
    try:
        import torchaudio
    except OSError:
        pass
    else:
        sys.exit("torchaudio should not have loaded")
found = []
threads = [threading.Thread(target=lambda: found.append(import_torchaudio())) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(found) == 8 and all(module is sys.modules["torchaudio"] for module in found)
import torchaudio
assert torchaudio is found[0] and torchaudio.__file__.startswith(sys.argv[1]), torchaudio.__file__
assert not torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE
assert not [finder for finder in sys.meta_path if "_WithoutCompiledPart" in str(finder)]
wav = torch.from_numpy(np.load(sys.argv[2]))
np.save(sys.argv[3], torch.exp(LogMel(8000, 64, 40)(wav[None])[0] * 2.5 - 2.5).numpy() - FLOOR)
"""


@pytest.mark.parametrize("before", ["", "tried before"], ids=["at once", "after a failed import"])
def test_beside_a_compiled_part_that_does_not_load_the_mel_front_equals_librosas_and_no_file_is_touched(
    packages, tmp_path, before
):
    wav = np.random.default_rng(0).uniform(-0.5, 0.5, 1600).astype(np.float32)
    expected = librosa.feature.melspectrogram(
        y=wav, sr=8000, n_fft=256, hop_length=64, n_mels=40, center=False, power=1.0, htk=True, norm=None
    )
    np.save(tmp_path / "wav.npy", wav)
    untouched = digests(packages)
    assert len(untouched) > 50
    arguments = ["", str(packages), str(tmp_path / "wav.npy"), str(tmp_path / "heard.npy"), before]
    done = run_beside(packages, f"import sys; sys.argv = {arguments!r}\n" + MEL)
    assert done.returncode == 0, done.stderr
    heard = np.load(tmp_path / "heard.npy")
    assert expected.std() > 1 and heard.shape == expected.shape
    assert np.abs(heard - expected).max() < 1e-3 * expected.max()
    assert digests(packages) == untouched


def test_a_torchaudio_that_loads_is_imported_as_it_is(tmp_path):
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text("from . import _extension\n")
    (tmp_path / "torchaudio" / "_extension").mkdir()
    (tmp_path / "torchaudio" / "_extension" / "__init__.py").write_text("from .utils import _LIB_DIR\n")
    (tmp_path / "torchaudio" / "_extension" / "utils.py").write_text("_LIB_DIR = 'its own'\n")
    done = run_beside(
        tmp_path,
        "from vqspeech.nn.torchaudio_remedy import import_torchaudio\nprint(import_torchaudio()._extension._LIB_DIR)",
    )
    assert done.stdout == "its own\n", done.stderr


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError("Could not load this library"), r"with or without its compiled part \(Could not load this library\)"),
        (ModuleNotFoundError("torchaudio"), "pip install torchaudio"),
    ],
)
def test_an_import_that_fails_all_the_same_names_its_remedy(monkeypatch, failure, message):
    def fail(name: str) -> None:
        raise failure

    monkeypatch.setattr(sys, "modules", dict(sys.modules))  # what is loaded here stays so
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(DependencyError, match=message):
        torchaudio_remedy.import_torchaudio()


def test_a_missing_torchaudio_is_one_sentence_and_exit_status_1(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert torchaudio_remedy.main([]) == 1
    assert capsys.readouterr().err.strip() == (
        "Error: torchaudio is not installed. Install it with: pip install torchaudio"
    )
