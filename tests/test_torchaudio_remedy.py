"""torchaudio works beside any torch, and the remedy for its compiled part can be undone."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from vqspeech import torchaudio_remedy
from vqspeech.errors import DependencyError

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


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError("Could not load this library"), r"Could not load this library.*python -m vqspeech\.torchaudio_remedy"),
        (ModuleNotFoundError("torchaudio"), "pip install torchaudio"),
    ],
)
def test_a_failed_import_names_its_remedy(monkeypatch, failure, message):
    def fail(name: str) -> None:
        raise failure

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(DependencyError, match=message):
        torchaudio_remedy.import_torchaudio()


def test_a_missing_torchaudio_is_one_sentence_and_exit_status_1(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert torchaudio_remedy.main([]) == 1
    assert capsys.readouterr().err.strip() == (
        "Error: torchaudio is not installed. Install it with: pip install torchaudio"
    )
