"""Set-up: every requirement is pinned and explained, and nothing names where packages come from."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vqspeech.audio import load_audio, save_audio
from vqspeech.cli.main import main

REPOSITORY = Path(__file__).resolve().parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg", encoding="utf-8")


def requirements() -> list[str]:
    lines = [SETUP["options"]["install_requires"], *SETUP["options.extras_require"].values()]
    return sorted({re.split(r"\W*[<>=~]", line)[0] for line in "\n".join(lines).splitlines() if line.strip()})


@pytest.mark.parametrize("package", requirements())
def test_every_requirement_is_pinned_and_has_its_reason(package):
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(package)}==[\d.]+$", pins, re.MULTILINE | re.IGNORECASE)
    reasons = (REPOSITORY / "docs/dependencies.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| .*\b{re.escape(package)}\b.*\|", reasons, re.MULTILINE)


def test_torch_is_pinned_without_a_local_version_so_that_cpu_and_cuda_builds_both_fit():
    assert "torch==2.13.0\n" in (REPOSITORY / "constraints.txt").read_text()


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml", "constraints.txt", "Makefile", ".ci/run"])
def test_set_up_names_no_package_index(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert not re.search(r"index-url|find-links|https?://", text)


def make_lines(target: str) -> list[str]:
    """The recipe of a target of the Makefile, its variables as they are."""
    lines = (REPOSITORY / "Makefile").read_text(encoding="utf-8").splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith(f"{target}:"))
    end = next(n for n in range(begin + 1, len(lines) + 1) if n == len(lines) or not lines[n].startswith("\t"))
    return lines[begin + 1 : end]


def test_the_demo_installs_wheels_only_and_no_extra_but_its_own():
    installs = [line for line in make_lines("$(DEMO)") if "$(PIP) install" in line]
    assert len(installs) == 4 and all("--only-binary=:all:" in line for line in installs)
    assert re.findall(r"\.\[(.*?)\]", "".join(installs)) == ["demo"]
    assert "demo: $(DEMO)" in (REPOSITORY / "Makefile").read_text(encoding="utf-8")


def test_a_set_up_that_was_done_is_not_done_again_and_the_demo_waits_for_its_half_alone(tmp_path):
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / ".venv").mkdir()

    def would_run(target: str) -> str:
        return subprocess.run(
            ["make", "-n", "--no-print-directory", target], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert "pip" in would_run("demo") and "'.[demo]'" in would_run("setup") and "dev" in would_run("setup")
    (tmp_path / ".venv" / ".demo").touch()
    assert would_run("demo").splitlines() == [".venv/bin/vqspeech demo --out runs/demo"]
    assert "dev" in would_run("setup") and "'.[demo]'" not in would_run("setup")
    (tmp_path / ".venv" / ".ready").touch()
    assert "pip" not in would_run("setup")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Files of the package that git knows."""
    if not (REPOSITORY / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout: what belongs to the package is not known")
    listed = subprocess.run(
        ["git", "ls-files", "vqspeech"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )  # fmt: skip
    return [name for name in listed.stdout.splitlines() if (REPOSITORY / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tracked, tmp_path_factory) -> Path:
    """The wheel, built from a copy of what git knows."""
    source = tmp_path_factory.mktemp("source")
    for name in [*tracked, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, source / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(source / "dist")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package_unchanged_and_nothing_else(wheel, tracked):
    assert {"vqspeech/py.typed", "vqspeech/evaluation/report/report.html.jinja"} <= set(tracked)
    with zipfile.ZipFile(wheel) as archive:
        assert sorted(name for name in archive.namelist() if ".dist-info/" not in name) == sorted(tracked)
        for name in tracked:
            assert archive.read(name) == (REPOSITORY / name).read_bytes(), name


OUT_OF_REACH = re.compile(r"NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|Retrying \(Retry")


@pytest.fixture
def own_environment(tmp_path) -> Iterator[Path]:
    """An environment without packages; gone afterwards, for it takes gigabytes."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "own"], check=True)
    yield tmp_path / "own"
    shutil.rmtree(tmp_path / "own")


@pytest.mark.slow
def test_the_wheel_installed_with_pip_alone_converts(wheel, own_environment, tmp_path, chirp):
    """Outside the source and without make; pip takes the packages from where it always does."""
    python = own_environment / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NUMBA"))}

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    pins = REPOSITORY / "constraints.txt"
    done = run(python, "-m", "pip", "install", "--no-input", "--only-binary=:all:", "-c", pins, wheel)
    if done.returncode and OUT_OF_REACH.search(done.stdout + done.stderr):
        pytest.skip("pip reaches no packages")
    assert done.returncode == 0, done.stdout + done.stderr
    save_audio(tmp_path / "in.wav", chirp, 16000)  # half a second
    done = run(python.with_name("vqspeech"), "convert", "--speaker", "p225", "in.wav")
    assert (done.returncode, done.stdout) == (0, "in.p225.wav\n"), done.stderr
    assert len(load_audio(tmp_path / "in.p225.wav")) == len(chirp)
    origin = run(python, "-c", "import vqspeech; print(vqspeech.__file__)").stdout
    assert origin.startswith(str(own_environment))
    again = run(python, "-m", "vqspeech", "convert", "--speaker", "p225", "in.wav", "--out", "again")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "in.p225.wav").read_bytes() == (tmp_path / "in.p225.wav").read_bytes()
    mel = "from vqspeech.nn.mel import LogMel; print(LogMel(8000, 64, 40).window)"
    assert run(python, "-c", mel).stdout == "256\n"


def test_as_a_module_it_has_the_same_name_and_the_same_verbs():
    command = [sys.executable, "-m", "vqspeech"]
    done = subprocess.run([*command, "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("Usage: vqspeech [OPTIONS] COMMAND")
    assert set(main.commands) <= set(done.stdout.split())
    done = subprocess.run([*command, "convert"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("Usage: vqspeech convert ")


@pytest.mark.slow
def test_torchrun_starts_it():
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "vqspeech", "--version"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^vqspeech, version [\d.]+$", done.stdout, re.MULTILINE)) == 2
