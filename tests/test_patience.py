"""The tests' own law: none hangs on how fast the machine is, and none waits for a length of time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from patience import HUNG_S, wait_until

TESTS = sorted(path for path in Path(__file__).parent.rglob("*.py") if path.name != "patience.py")
LIMITS = {"timeout", "deadline", "etag_timeout", "timeout_s"}  # arguments that are lengths of time
WAITING = {"wait", "acquire", "settimeout", "set_default_timeout", "sleep"}  # functions whose first argument is one


def lengths_of_time(source: str) -> Iterator[str]:
    """Lines in which a length of time is written out, or the clock is asked."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(alias.name == "time" for alias in node.names):
            yield f"line {node.lineno}: import time"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield f"line {node.lineno}: from time import"
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [keyword.value for keyword in node.keywords if keyword.arg in LIMITS]
            given += node.args[:1] if name in WAITING else []
            if any(isinstance(part, ast.Constant) and isinstance(part.value, int | float) and part.value
                   for value in given for part in ast.walk(value)):  # fmt: skip
                if not any("HUNG_S" in ast.unparse(value) for value in given):
                    yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", TESTS, ids=[path.stem for path in TESTS])
def test_no_test_waits_for_a_length_of_time(path):
    assert list(lengths_of_time(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "process.communicate(timeout=60)", "process.wait(30)", "settings(deadline=200)", "time.sleep(1)", "import time",
        "from time import monotonic", "context.set_default_timeout(60_000)", "event.wait(timeout=2 * 60)",
    ],
)  # fmt: skip
def test_this_law_would_be_noticed_if_broken(source):
    assert len(list(lengths_of_time(source))) == 1


@pytest.mark.parametrize(
    "source", ["process.wait()", "process.wait(HUNG_S)", "settings(deadline=None)", "run(timeout=0)"]
)
def test_and_it_lets_through_what_waits_for_what_happens(source):
    assert list(lengths_of_time(source)) == []


def test_waiting_ends_when_it_happens_or_can_no_longer_happen():
    answers = iter([False, False, True])
    wait_until(lambda: next(answers))
    with pytest.raises(AssertionError, match="ended before it happened"):
        wait_until(lambda: False, is_alive=lambda: False)
    assert HUNG_S >= 600
