"""What `import vqspeech` offers: these names and no others, each explained with a runnable example."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

import vqspeech

NAMES = (
    "load_model", "convert", "convert_stream", "encode", "decode", "sample", "compress", "decompress", "evaluate",
    "prepare", "train", "enroll", "load_audio", "save_audio", "load_recipe", "example_recording",
)  # fmt: skip


def sections_of(function) -> dict[str, str]:
    """Headings of a numpy docstring and what stands below each."""
    parts = re.split(r"(?m)^ *([A-Z][A-Za-z ]+)\n *-{3,}\n", inspect.cleandoc(function.__doc__ or ""))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_these_names_are_exported_and_no_others():
    assert sorted(vqspeech.__all__) == sorted([*NAMES, "__version__"])


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_takes_gives_and_raises_and_shows_it(name):
    function = getattr(vqspeech, name)
    assert function.__name__ == name
    signature, sections = inspect.signature(function), sections_of(function)
    described = re.findall(r"(?m)^(\w[\w, ]*?)(?: :|$)", sections.get("Parameters", ""))
    assert {each for line in described for each in line.split(", ")} >= set(signature.parameters)
    if signature.return_annotation != "None":
        assert {"Returns", "Yields"} & sections.keys()
    assert "Raises" in sections
    assert ">>>" in sections["Examples"] and "+SKIP" not in sections["Examples"]


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'convrt'"):
        vqspeech.convrt  # noqa: B018


def test_importing_the_package_imports_no_torch():
    code = "import sys, vqspeech; assert not {'torch', 'numba', 'librosa', 'scipy', 'matplotlib'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
