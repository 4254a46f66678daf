"""The pages hold: commands parse, code runs, recipes are ones, links and anchors lead somewhere, lines end in time."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pytest
from click.testing import CliRunner

from vqspeech.audio import load_audio
from vqspeech.cli.main import main
from vqspeech.config import load_recipe, parse_recipe

REPOSITORY = Path(__file__).resolve().parent.parent
WIDTH = 120  # columns of a line of prose
README_WORDS = 900
SENTENCE_WORDS = 28  # at most, on pages that strangers read first; most have half as many
PATTERNS = ("*.md", "docs/**/*.md", "recipes/**/*.md", "benchmarks/*.md")
MODEL_PAGES = "vqspeech/weights/*/README.md"  # written by `pack`, of sentences that whoever packs gives
PAGES = {
    str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8")
    for pattern in PATTERNS
    for path in sorted(REPOSITORY.glob(pattern))
}
README = PAGES["README.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


class Command(NamedTuple):
    """A command of a page, as its words; a pipeline is several."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def blocks(kind: str) -> list[tuple[str, str]]:
    """Pages and the fenced blocks of a kind on them; "" are commands."""
    return [(page, block) for page, text in PAGES.items() for found, block in FENCE.findall(text) if found == kind]


def commands_in(page: str, block: str) -> list[Command]:
    """The commands of a block, without comments, redirections and the variables that are set before them."""
    commands = []
    for line in block.replace("\\\n", "").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("|") if "|" in words else len(words)
            own, words = words[:end], words[end + 1 :]
            own = own[: own.index(">")] if ">" in own else own
            while own and re.fullmatch(r"[A-Z_]+=\S*", own[0]):
                own = own[1:]
            if own[0] == "torchrun":
                own = own[own.index("-m") + 1 :]
            commands.append(Command(page, tuple(own)))
    return commands


COMMANDS = [command for page, block in blocks("") for command in commands_in(page, block)]


def of(program: str) -> list[Command]:
    """All pages' commands of a program, each once."""
    return list(dict.fromkeys(command for command in COMMANDS if command.words[0] == program))


def prose(text: str) -> list[str]:
    """Lines of a page outside fenced blocks and tables, without the targets of links."""
    lines = FENCE.sub("", text).splitlines()
    return [re.sub(r"\]\([^)]*\)|https?://\S+", "]", line) for line in lines if not line.startswith("|")]


def sentences(text: str) -> list[str]:
    """Sentences of a page; the items of a list are such, headings and pictures are left out."""
    kept = "\n".join("" if line.startswith(("#", "!", "<")) else line for line in prose(text))
    paragraphs = re.split(r"\n\s*\n|\n\s*(?:-|\d+\.) ", kept)
    return [found for each in paragraphs for found in re.split(r"(?<=[.:;?!])\s+", " ".join(each.split())) if found]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def test_readme_is_read_in_a_few_minutes():
    assert len(README.split()) <= README_WORDS


@pytest.mark.parametrize("page", [*PAGES, *(str(path) for path in sorted(REPOSITORY.glob(MODEL_PAGES)))])
def test_lines_of_prose_end_in_time(page):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert [line for line in prose(text) if len(line) > WIDTH] == []


@pytest.mark.parametrize("page", [page for page in PAGES if re.fullmatch(r"README.md|(docs|recipes)/.*", page)])
def test_sentences_are_short(page):
    words = {sentence: len(re.findall(r"\w\S*", sentence)) for sentence in sentences(PAGES[page])}
    assert [sentence for sentence, count in words.items() if count > SENTENCE_WORDS] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_within_the_repository_lead_somewhere(page):
    for link in LINK.findall(FENCE.sub("", PAGES[page])):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])  # which tells of what was
def test_files_that_sentences_name_are_there(page):
    for code in INLINE.findall(FENCE.sub("", PAGES[page])):
        for word in code.split():
            if re.match(r"(vqspeech|tests|benchmarks|egs|recipes|docs)/", word):
                assert (REPOSITORY / word).exists(), word


def test_the_house_on_its_page_has_every_room():
    from test_architecture import ROOMS

    (house,) = re.findall(r"## The house\n.*?^## ", PAGES["CONTRIBUTING.md"], re.MULTILINE | re.DOTALL)
    named = {name.strip("/").rpartition("/")[2] for name in re.findall(r"`([\w/]+)`", house)}
    rooms = {room.rpartition(".")[2] for room in ROOMS if room and not room.startswith("_")} - {"evaluation"}
    assert [room for room in sorted(rooms) if room not in named] == []


def test_every_page_in_docs_is_reached_from_readme():
    reached, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page not in PAGES:
            continue
        reached.add(page)
        for link in LINK.findall(PAGES[page]):
            target = ((REPOSITORY / page).parent / link.partition("#")[0]).resolve()
            target = target / "README.md" if target.is_dir() else target
            if target.is_relative_to(REPOSITORY):
                waiting.append(str(target.relative_to(REPOSITORY)))
    assert set(PAGES) == reached


def test_every_command_is_of_a_program_that_is_checked():
    assert {command.words[0] for command in COMMANDS} <= {
        "vqspeech", "python", "make", "pip",  # below
        "cat", "ffmpeg", "tensorboard",
    }  # fmt: skip


@pytest.mark.parametrize("command", of("vqspeech"), ids=str)
def test_every_command_of_ours_parses(command):
    verb, *arguments = command.words[1:]
    assert verb in main.commands
    found = main.commands[verb]
    if isinstance(found, click.Group):
        verb, *arguments = arguments
        found = found.commands[verb]
    context = found.make_context(verb, arguments)  # parses, calls nothing
    if (recipe := context.params.get("recipe")) is not None:
        load_recipe(REPOSITORY / recipe, context.params.get("overrides") or ())


def test_every_verb_that_a_sentence_names_is_one():
    for page, text in PAGES.items():
        for code in INLINE.findall(FENCE.sub("", text)):
            if found := re.match(r"vqspeech (?:listening-test )?([a-z][a-z-]*)", code):
                listening = main.commands["listening-test"]
                assert isinstance(listening, click.Group)
                assert found[1] in {*main.commands, *listening.commands}, (page, code)


def test_every_verb_is_shown():
    shown = {command.words[1] for command in of("vqspeech")}
    assert set(main.commands) - {"demo"} <= shown  # make demo calls that one


@pytest.mark.parametrize("command", of("python"), ids=str)
def test_every_script_and_module_is_there_with_its_options(command):
    words = command.words[1:]
    if words[0] == "-m":
        path = words[1].replace(".", "/") + ".py"
        if words[1] == "build":
            return
    else:
        path = words[0]
    source = (REPOSITORY / path).read_text(encoding="utf-8")
    for option in (word for word in words[1:] if word.startswith("--")):
        assert f'"{option}' in source, option


@pytest.mark.parametrize("command", of("pip"), ids=str)
def test_every_extra_is_one(command):
    assert command.words[1:5] == ("install", "-c", "constraints.txt", "-e")
    declared = configparser.ConfigParser()
    declared.read(REPOSITORY / "setup.cfg")
    named = re.fullmatch(r"\.(?:\[([a-z,]+)\])?", command.words[5])
    assert named and set((named[1] or "dev").split(",")) <= set(declared["options.extras_require"])


def test_every_make_target_is_there():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = {command.words[1] for command in of("make")}
    targets |= {target for text in PAGES.values() for target in re.findall(r"`make ([\w-]+)`", text)}
    assert {"demo", "test", "setup"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_python_runs_as_it_stands(place, tiny_run):
    Path("runs").mkdir()
    os.symlink(tiny_run, "runs/fsdd")
    ((page, code),) = blocks("python")
    names: dict = {}
    exec(compile(code, page, "exec"), names)
    assert len(load_audio("out.wav")) == len(load_audio("in.wav"))
    assert len(names["codes"]) == 125


@pytest.mark.parametrize(("folder", "page"), [("benchmarks", "benchmarks/README.md"), ("egs", "docs/python.md")])
def test_every_script_is_on_its_page(folder, page):
    scripts = {path.name for path in (REPOSITORY / folder).glob("*.py")}
    assert sorted(script for script in scripts if script not in PAGES[page]) == []


def test_every_name_of_the_package_is_explained():
    import vqspeech

    explained = set(INLINE.findall(PAGES["docs/python.md"]))
    assert set(vqspeech.__all__) - {"__version__"} <= explained


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_every_recipe_on_a_page_is_one(page, text):
    recipe = parse_recipe(tomllib.loads(text), page)
    assert recipe.encoder.hop_length == 64


def test_the_first_commands_make_sound_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VQSPEECH_MODEL", raising=False)
    recording = next((REPOSITORY / "vqspeech/recordings").glob("rain.flac"))
    Path("in.wav").write_bytes(recording.read_bytes())  # a recording of one's own; its kind is told by its content
    first = [command for command in COMMANDS if command.page == "README.md" and command.words[0] == "vqspeech"]
    assert [command.words[1] for command in first] == ["convert", "convert", "sample", "listening-test"]
    for command in first:
        result = CliRunner().invoke(main, command.words[1:])
        assert result.exit_code == 0, (command, result.output)
    (sampled,) = Path("samples").glob("*.wav")
    for wav in (Path("example.p225.wav"), Path("in.p225.wav"), sampled, *Path("test/sounds").iterdir()):
        samples = np.abs(load_audio(wav))
        assert samples.max() > 0.01 and np.mean(samples == 1) < 1e-3, wav
    assert Path("test/index.html").is_file()


def test_the_sounds_that_readme_shows_are_sound():
    shown = [REPOSITORY / link for link in LINK.findall(README) if link.endswith((".wav", ".flac"))]
    source, conversion = (load_audio(path) for path in shown)
    assert abs(len(source) - len(conversion)) < 128  # a conversion has its source's timing
    assert min(np.abs(source).max(), np.abs(conversion).max()) > 0.01


def test_the_codes_of_the_recipes_are_as_their_table_says():
    rows = re.findall(r"^\| \[(\w+)\]\(\w+\) \|.*?\| (\d+)×, ([\d.]+) Hz \|", PAGES["recipes/README.md"], re.MULTILINE)
    recipes = {path.parent.name for path in (REPOSITORY / "recipes").glob("*/recipe.toml")}
    assert {name for name, *_ in rows} == recipes
    for name, factor, rate in rows:
        recipe = load_recipe(REPOSITORY / "recipes" / name)
        assert (recipe.encoder.hop_length, recipe.code_rate) == (int(factor), float(rate))


def test_what_readme_says_of_the_encoders_is_so():
    """Who learns through the decoder, and who hears raw audio."""
    files = sorted((REPOSITORY / "recipes").glob("*/*.toml"))
    recipes = {str(path.relative_to(REPOSITORY / "recipes")): load_recipe(path) for path in files}
    through_decoder = {name for name, recipe in recipes.items() if not recipe.train.freeze_encoder}
    raw = {name for name, recipe in recipes.items() if recipe.encoder.input == "raw"}
    assert through_decoder == {"vctk/paper.toml"} and raw == {"vctk/paper.toml", "fsdd/recipe.toml"}
    for name in recipes.keys() - through_decoder:
        assert recipes[name].loss.spectral and recipes[name].loss.adversary and recipes[name].train.warm_start_steps
    assert all(len(recipes[name].encoder.strides) == 1 for name in recipes.keys() - raw)


def test_the_environment_variables_that_pages_name_are_read():
    places = [*(REPOSITORY / "vqspeech").rglob("*.py"), *(REPOSITORY / "tests").rglob("*.py")]
    sources = "".join(path.read_text(encoding="utf-8") for path in places if path != Path(__file__))
    names = set(re.findall(r"VQSPEECH_[A-Z_]+", "".join(PAGES.values())))
    assert names >= {"VQSPEECH_DATA", "VQSPEECH_MODEL", "VQSPEECH_ALIGNMENTS"}
    assert [name for name in names if f'"{name}"' not in sources] == []


def test_every_citation_key_is_defined_in_readme():
    places = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "vqspeech").rglob("*.py")]
    keys = {key for text in (*places, *PAGES.values()) for key in re.findall(r"\[((?:VQ-VAE|WaveNet)\b)", text)}
    assert keys == {"VQ-VAE", "WaveNet"}
    for key in keys:
        assert f"**[{key}]**" in README


def test_a_command_with_an_unknown_option_would_not_parse():
    with pytest.raises(click.UsageError):
        main.commands["convert"].make_context("convert", ["--sped", "x", "in.wav"])
