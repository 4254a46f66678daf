"""Set-up: every requirement is pinned and explained, and nothing names where packages come from."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

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
    assert re.search(rf"^\| .*\b{re.escape(package)}\b.*\|", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE)


def test_torch_is_pinned_without_a_local_version_so_that_cpu_and_cuda_builds_both_fit():
    assert "torch==2.13.0\n" in (REPOSITORY / "constraints.txt").read_text()


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml", "constraints.txt", "Makefile", ".ci/run"])
def test_set_up_names_no_package_index(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert not re.search(r"index-url|find-links|https?://", text)
