"""Calls of the command line in tests."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from vqspeech.cli.main import main


def call(*arguments: object) -> str:
    """What a successful call prints on stdout."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refuse(*arguments: object) -> str:
    """The sentence that a refused call prints on stderr: one line, exit code 1, and everything on disk as before."""
    before = contents(Path())
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 1, (result.exit_code, result.output, result.exception)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert "Traceback" not in sentence
    assert contents(Path()) == before
    return sentence


def contents(folder: Path) -> dict[Path, bytes | None]:
    """All files below a folder with their bytes, hidden ones and locks too, and the folders with None."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
