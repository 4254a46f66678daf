"""The house: a module imports from its own floor, without circles, or from lower ones; files stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "vqspeech"
MOST_LINES = 320

# The map of the house; the longest name that fits decides. A module without a floor fails the tests: give it one here.
FLOORS = {
    "vqspeech.errors": 0,
    "vqspeech.files": 0,
    "vqspeech.audio": 0,
    "vqspeech.mu_law": 0,
    "vqspeech.config": 0,
    "vqspeech.processor": 0,
    "vqspeech.distributed": 0,
    "vqspeech.torchaudio_remedy": 0,
    "vqspeech.numba_cache": 0,
    "vqspeech.nn": 1,
    "vqspeech.models": 2,
    "vqspeech.losses": 3,
    "vqspeech.checkpoint": 3,
    "vqspeech.codes": 3,
    "vqspeech.likelihood": 3,
    "vqspeech.units": 3,
    "vqspeech.data": 3,
    "vqspeech.sampling": 3,
    "vqspeech.training": 4,
    "vqspeech.conversion": 4,
    "vqspeech.generation": 4,
    "vqspeech.compression": 4,
    "vqspeech.shelf": 4,
    "vqspeech.box": 4,
    "vqspeech.hub": 4,
    "vqspeech.voices": 4,
    "vqspeech.summary": 4,
    "vqspeech.packing": 4,
    "vqspeech.inventory": 4,
    "vqspeech.example": 4,
    "vqspeech.enrolment": 4,
    "vqspeech.evaluation": 4,
    "vqspeech.listening": 4,
    "vqspeech.terminal": 5,
    "vqspeech.prior_verbs": 5,
    "vqspeech.listening_verbs": 5,
    "vqspeech.model_verbs": 5,
    "vqspeech.unit_verbs": 5,
    "vqspeech.cli": 5,
    "vqspeech.demo": 5,
    "vqspeech.__main__": 5,
    "vqspeech": 5,
}
HEAVY = {"torch", "torchaudio", "numba", "librosa", "scipy", "sklearn", "matplotlib", "tensorboard"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def floor_of(module: str) -> int | None:
    if module == "vqspeech":
        return FLOORS[module]
    known = [name for name in FLOORS if name != "vqspeech" and (module == name or module.startswith(name + "."))]
    return FLOORS[max(known, key=len)] if known else None


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
def test_every_module_has_a_floor(module):
    assert floor_of(module) is not None, f"{module} has no floor: add it to FLOORS in {Path(__file__).name}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_from_their_own_floor_or_lower_ones(module):
    own = floor_of(module)
    for imported in own_imports(module):
        floor = floor_of(imported)
        assert floor is not None and own is not None and floor <= own, (
            f"{module} (floor {own}) imports {imported} (floor {floor})"
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


@pytest.mark.parametrize("module", [name for name in ("vqspeech", "vqspeech.cli") if name in MODULES])
def test_the_top_of_the_house_imports_nothing_heavy_by_itself(module):
    assert not top_level_imports(module) & HEAVY


@pytest.mark.parametrize(
    "module", [name for name in ("vqspeech", "vqspeech.cli", "vqspeech.config") if name in MODULES]
)
def test_importing_the_top_of_the_house_loads_nothing_heavy(module):
    script = f"import sys, {module}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert done.stdout.strip() == ""


def test_the_readers_of_imports_see_function_level_and_relative_ones(tmp_path, monkeypatch):
    file = PACKAGE / "nn" / "wavenet.py"  # only its place matters: floor 1
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
