"""The README holds: its code runs, its commands parse, its recipe is one, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from vqspeech.audio import load_audio
from vqspeech.cli.main import main
from vqspeech.config import parse_recipe

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
LINES = [line for kind, block in BLOCKS if not kind for line in block.replace("\\\n", "").splitlines()]
COMMANDS = [line.partition(" #")[0].strip() for line in LINES]


def test_the_python_runs_as_it_stands(place, tiny_run):
    Path("runs").mkdir()
    os.symlink(tiny_run, "runs/fsdd")
    (code,) = [block for kind, block in BLOCKS if kind == "python"]
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(load_audio("out.wav")) == len(load_audio("in.wav"))
    assert len(names["codes"]) == 125


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("vqspeech ")])
def test_every_command_of_ours_parses(command):
    verb, *arguments = shlex.split(command)[1:]
    assert verb in main.commands
    found = main.commands[verb]
    if isinstance(found, click.Group):
        verb, *arguments = arguments
        found = found.commands[verb]
    context = found.make_context(verb, arguments)  # parses, calls nothing
    recipe = context.params.get("recipe")
    assert recipe is None or (REPOSITORY / recipe / "recipe.toml").is_file()


def test_the_first_three_commands_make_sound_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VQSPEECH_MODEL", raising=False)
    first = COMMANDS[:3]
    assert [command.split()[1] for command in first] == ["convert", "sample", "listening-test"]
    for command in first:
        result = CliRunner().invoke(main, shlex.split(command)[1:])
        assert result.exit_code == 0, (command, result.output)
    (sampled,) = Path("samples").glob("*.wav")
    for wav in (Path("example.p225.wav"), sampled, *Path("test/sounds").iterdir()):
        samples = np.abs(load_audio(wav))
        assert samples.max() > 0.01 and np.mean(samples == 1) < 1e-3, wav
    assert Path("test/index.html").is_file()


def test_every_verb_is_shown():
    shown = {command.split()[1] for command in re.findall(r"vqspeech [a-z-]+", README)}
    assert set(main.commands) - {"demo"} <= shown  # make demo calls that one


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("python ")])
def test_every_script_and_module_is_there(command):
    words = command.split()
    path = words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1]
    assert (REPOSITORY / path).is_file()


def test_every_make_target_is_there():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^make (\w+)|`make (\w+)`", README, re.MULTILINE))
    targets = {name for pair in targets for name in pair if name}
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_its_recipe_is_one():
    (text,) = [block for kind, block in BLOCKS if kind == "toml"]
    recipe = parse_recipe(tomllib.loads(text), "README.md")
    assert recipe.encoder.hop_length == 64


def test_the_codes_of_the_recipes_are_as_its_table_says():
    from vqspeech.config import load_recipe

    rows = re.findall(r"^\| \[(\w+)\]\(recipes/\w+\) \|.*?\| (\d+)×, ([\d.]+) Hz \|", README, re.MULTILINE)
    recipes = {path.parent.name for path in (REPOSITORY / "recipes").glob("*/recipe.toml")}
    assert {name for name, *_ in rows} == recipes
    for name, factor, rate in rows:
        recipe = load_recipe(REPOSITORY / "recipes" / name)
        assert (recipe.encoder.hop_length, recipe.code_rate) == (int(factor), float(rate))


def test_links_within_the_repository_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("https://")]
    assert links
    for link in links:
        assert (REPOSITORY / link).exists(), link


def test_the_environment_variables_it_names_are_read():
    sources = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "vqspeech").rglob("*.py"))
    names = set(re.findall(r"VQSPEECH_[A-Z]+", README))
    assert names == {"VQSPEECH_DATA", "VQSPEECH_MODEL", "VQSPEECH_ALIGNMENTS"}
    assert all(f'"{name}"' in sources for name in names)


def test_every_citation_key_in_the_package_is_defined():
    keys = set()
    for path in (REPOSITORY / "vqspeech").rglob("*.py"):
        keys |= set(re.findall(r"\[((?:VQ-VAE|WaveNet)\b)", path.read_text(encoding="utf-8")))
    assert {"VQ-VAE", "WaveNet"} >= keys
    for key in keys:
        assert f"**[{key}]**" in README


def test_a_command_with_an_unknown_option_would_not_parse():
    with pytest.raises(click.UsageError):
        main.commands["convert"].make_context("convert", ["--sped", "x", "in.wav"])
