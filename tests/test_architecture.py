"""The house: a module imports from its own room, without circles, or from rooms before it; files stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "vqspeech"
MOST_LINES = 320

# The rooms, lowest first: a module imports from its own room and from rooms before it. The longest name that fits
# decides; a module without a room fails the tests: give it one here.
ROOMS = (
    "errors", "files", "config", "mu_law", "distributed", "processor", "numba_cache", "vectors", "pictures", "progress",
    "audio", "nn", "models", "data", "losses", "sampling", "likelihood",
    "conversion", "units", "compression", "generation", "pretrained",
    "evaluation.figures", "evaluation.tools", "evaluation.trials", "evaluation.judges",
    "training", "enrolment",
    "evaluation.measures", "evaluation.report", "evaluation",
    "listening", "listening.design", "listening.serving", "listening.scoring",
    "cli", "__main__", "",
)  # fmt: skip
HEAVY = {"torch", "torchaudio", "numba", "librosa", "scipy", "sklearn", "matplotlib", "tensorboard"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> int | None:
    """Place of a module's room in the order; the package's own names are the last."""
    inside = module.removeprefix("vqspeech").removeprefix(".")
    known = [room for room in ROOMS if inside == room or room and inside.startswith(room + ".")]
    return ROOMS.index(max(known, key=len)) if known else None


def imports_of(module: str, nodes: Iterator[ast.AST]) -> set[str]:
    """Full names of what the statements import; `from a import b` counts as a.b where that is a module."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{source}.{alias.name}"
                found.add(full if full in MODULES else source)
    return found


def own_imports(module: str) -> set[str]:
    """Modules of the package that `module` imports, at its top or inside functions."""
    everything = imports_of(module, ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))))
    return {name for name in everything if name.split(".")[0] == "vqspeech"}


def top_level_imports(module: str) -> set[str]:
    """First names of what importing `module` itself imports, statements inside functions left out."""

    def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                    continue
                yield child
                yield from outside_functions(child)

    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return {name.split(".")[0] for name in imports_of(module, outside_functions(tree))}


def test_the_package_is_found():
    assert {"vqspeech.errors", "vqspeech.config", "vqspeech.audio"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_room(module):
    assert room_of(module) is not None, f"{module} has no room: add it to ROOMS in {Path(__file__).name}"


def test_every_room_has_a_module():
    assert {room_of(module) for module in MODULES} == set(range(len(ROOMS)))


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_from_their_own_room_or_from_earlier_ones(module):
    own = room_of(module)
    for imported in own_imports(module):
        room = room_of(imported)
        assert room is not None and own is not None and room <= own, (
            f"{module} (room {ROOMS[own or 0]}) imports {imported} (room {ROOMS[room or 0]}), which comes later"
        )


def test_no_module_imports_itself_by_a_detour():
    graph = {module: {name for name in own_imports(module) if name in MODULES and name != module} for module in MODULES}
    # The package's own top resolves its names lazily, on first use, so nothing can wait for it in a circle.
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, "circle: " + " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for imported in sorted(graph[module]):
                visit(imported, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_files_stay_short_enough_to_read_in_one_sitting(module):
    num_lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert num_lines <= MOST_LINES, f"{module} has {num_lines} lines: look for its second noun"


@pytest.mark.parametrize("module", [name for name in ("vqspeech", "vqspeech.cli.main") if name in MODULES])
def test_the_top_of_the_house_imports_nothing_heavy_by_itself(module):
    assert not top_level_imports(module) & HEAVY


@pytest.mark.parametrize(
    "module", [name for name in ("vqspeech", "vqspeech.cli.main", "vqspeech.config") if name in MODULES]
)
def test_importing_the_top_of_the_house_loads_nothing_heavy(module):
    script = f"import sys, {module}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert done.stdout.strip() == ""


def test_the_readers_of_imports_see_function_level_and_relative_ones(tmp_path, monkeypatch):
    file = PACKAGE / "nn" / "wavenet.py"  # only its place matters
    assert file.is_file()
    source = tmp_path / "wavenet.py"
    source.write_text(
        "from . import encoder\nimport torch\ndef f():\n    from vqspeech.models import vqvae\n    import numba\n"
    )
    monkeypatch.setitem(MODULES, "vqspeech.nn.wavenet", source)
    monkeypatch.setitem(MODULES, "vqspeech.models.vqvae", source)
    monkeypatch.setitem(MODULES, "vqspeech.nn.encoder", source)
    assert own_imports("vqspeech.nn.wavenet") == {"vqspeech.nn.encoder", "vqspeech.models.vqvae"}
    assert top_level_imports("vqspeech.nn.wavenet") == {"vqspeech", "torch"}
