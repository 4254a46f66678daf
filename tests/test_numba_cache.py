"""What numba keeps of compiled code survives processes that write at once, damage, and disks that take nothing."""

from __future__ import annotations

import ast
import errno
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import caching, config

from vqspeech import numba_cache
from vqspeech.audio import load_audio

PACKAGE = Path(numba_cache.__file__).parent
SENTENCE = "compiled code is not kept ({}), so that every start takes longer."


def add_one(x):
    return x + 1


def of_module(name: str):
    """A fresh function, as if it stood in a module of that name."""
    function = type(add_one)(add_one.__code__, globals(), "add_one")
    function.__module__ = name
    return function


def shift(x, y):
    for n in range(len(x)):
        y[n] = x[n] + 1


DECORATORS = {
    "njit": lambda function: numba.njit(function, cache=True),
    "vectorize": lambda function: numba.vectorize(["float64(float64)"], cache=True)(function),
    "guvectorize": lambda function: numba.guvectorize(["(float64[:], float64[:])"], "(n)->(n)", cache=True)(function),
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The one folder in which numba may keep code."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    numba_cache._say_once.cache_clear()
    numba_cache.guard()
    return tmp_path / "kept"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def save_two_at_once(kind: type, folder: Path) -> dict[str, object]:
    """Two processes keep code of two types, the second while the first is at it: what a third then finds for each."""
    first, second, later = (kind(str(folder), "function", "stamp") for _ in range(3))
    seen = second._load_index()  # before the first wrote anything
    second._load_index = lambda: dict(seen)
    write, interrupted = first._open_for_write, []

    @contextmanager
    def slowly(path):
        with write(path) as file:
            yield file
        if not interrupted:
            interrupted.append(path)
            second.save("float64", "code of float64")

    first._open_for_write = slowly
    first.save("float32", "code of float32")
    assert interrupted
    return {key: later.load(key) for key in ("float32", "float64")}


def test_two_processes_that_keep_two_types_at_once_each_find_their_own(tmp_path):
    kept = save_two_at_once(numba_cache._files_class(), tmp_path)
    assert kept == {"float32": "code of float32", "float64": "code of float64"}


def test_with_numbas_own_files_one_type_would_be_given_the_code_of_the_other(tmp_path):
    assert save_two_at_once(caching.IndexDataCacheFile, tmp_path)["float64"] == "code of float32"


def mix(folder: Path, module: str) -> str:
    """What a generalised function says whose loop one process kept and whose wrapper another."""
    script = f"""
import sys
import numba, numpy as np
from vqspeech.numba_cache import guard
guard()
if sys.argv[1] == "second":
    numba.njit(lambda x: x)(1)  # it compiled something else before
def shift(x, y):
    for n in range(len(x)):
        y[n] = x[n] + 1
shift.__module__ = {module!r}
print(numba.guvectorize(["(float64[:], float64[:])"], "(n)->(n)", cache=True)(shift)(np.arange(3.0)))
"""
    folder.mkdir()
    (folder / "script.py").write_text(script)

    def run(name: str, kept: str) -> str:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / kept), "PYTHONPATH": str(PACKAGE.parent)}
        command = [sys.executable, "script.py", name]
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True).stdout

    for name in ("first", "second"):
        assert run(name, name) == "[1. 2. 3.]\n"
    for file in (folder / "second").rglob("*guf-*"):
        (folder / "mixed" / file.relative_to(folder / "second")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / "mixed" / file.relative_to(folder / "second"))
    for file in (folder / "first").rglob("*.nb?"):
        if "guf-" not in file.name:
            shutil.copy(file, folder / "mixed" / file.relative_to(folder / "first"))
    assert len(files(folder / "mixed")) == len(files(folder / "first"))
    return run("first", "mixed")


def test_the_loop_of_one_process_and_the_wrapper_of_another_are_not_put_together(tmp_path):
    assert mix(tmp_path / "ours", "librosa.core") == "[1. 2. 3.]\n"


def test_with_numbas_own_files_they_would_crash(tmp_path):
    assert mix(tmp_path / "numbas", "theirs") == ""


@pytest.mark.parametrize("decorator", DECORATORS)
def test_code_is_kept_and_found_again(folder, decorator):
    function = shift if decorator == "guvectorize" else add_one
    for _ in range(2):
        fresh = type(function)(function.__code__, globals(), function.__name__)
        fresh.__module__ = "librosa.core"
        assert np.array_equal(DECORATORS[decorator](fresh)(np.arange(3.0)), [1, 2, 3])
    kept = files(folder)
    assert kept and all(name.startswith("vqspeech-") and name.endswith(".nbc") for name in kept)
    fresh = numba.njit(of_module("librosa.core"), cache=True)
    fresh(1.0)
    again = numba.njit(of_module("librosa.core"), cache=True)
    again(1.0)
    assert sum(again.stats.cache_hits.values()) == 1 and not again.stats.cache_misses


def test_each_variant_has_a_file_that_a_change_of_any_source_renames(folder, tmp_path):
    source = tmp_path / "source.py"
    for text in ("old", "new"):
        source.write_text(text)
        kept = numba_cache.Kept(of_module("vqspeech.invented"), [source])
        assert kept("whole", 1) == 2 and kept("half", 0.5) == 1.5
        assert kept("whole", 2) == 3
    assert len(files(folder)) == 4
    numba_cache.Kept(of_module("vqspeech.invented"), [source])("half", 0.5)  # found again
    assert len(files(folder)) == 4


def test_without_a_folder_the_function_is_compiled_in_memory(monkeypatch):
    monkeypatch.setattr("numba.core.caching.FunctionCache._impl_class._locator_classes", [])
    kept = numba_cache.Kept(of_module("vqspeech.invented"), [])
    assert kept("whole", 1) == 2
    assert kept.kept("whole").stats.cache_path == os.devnull


def test_a_function_whose_kept_code_fails_is_compiled_in_memory(monkeypatch):
    def full_disk(*arguments):
        raise OSError("No space left on device")

    kept = numba_cache.Kept(of_module("vqspeech.invented"), [])
    monkeypatch.setattr(kept, "_keep", lambda variant: full_disk)
    assert [kept("whole", x) for x in (1, 2)] == [2, 3]


def test_functions_of_others_are_left_to_numba(folder):
    numba.njit(of_module("theirs"), cache=True)(1.0)
    assert [name.rpartition(".")[2] for name in files(folder)] == ["nbc", "nbi"]
    assert not any(name.startswith("vqspeech-") for name in files(folder))


def test_to_guard_twice_is_to_guard_once(folder):
    before = caching.Cache.__init__
    numba_cache.guard()
    assert caching.Cache.__init__ is before


@pytest.mark.parametrize("content", [b"", b"cut short"])
def test_what_is_damaged_is_compiled_and_kept_anew(folder, content):
    numba.njit(of_module("librosa.core"), cache=True)(1.0)
    (file,) = folder.rglob("*.nbc")
    whole = len(file.read_bytes())
    file.write_bytes(content or file.read_bytes()[: whole // 2])
    fresh = numba.njit(of_module("librosa.core"), cache=True)
    assert fresh(1.0) == 2.0
    assert not fresh.stats.cache_hits and len(file.read_bytes()) == whole


def test_what_another_source_or_another_key_left_is_not_taken(tmp_path):
    kind = numba_cache._files_class()
    kept = kind(str(tmp_path), "function", "stamp")
    kept.save("float32", "code")
    assert kept.load("float32") == "code"
    assert kind(str(tmp_path), "function", "another stamp").load("float32") is None
    os.replace(kept.path("float32"), kept.path("float64"))
    assert kept.load("float64") is None and kept.load("float32") is None


@pytest.mark.parametrize("decorator", DECORATORS)
def test_where_no_folder_can_be_written_functions_work_and_one_sentence_says_so(folder, decorator, caplog):
    folder.write_text("in the way")
    with pytest.raises(RuntimeError, match="no locator available"):  # what it is without us
        numba.njit(of_module("theirs"), cache=True)
    caplog.set_level("INFO", "vqspeech")
    for _ in range(2):
        function = shift if decorator == "guvectorize" else add_one
        function = type(function)(function.__code__, globals(), function.__name__)
        function.__module__ = "librosa.core"
        assert np.array_equal(DECORATORS[decorator](function)(np.arange(3.0)), [1, 2, 3])
    assert [record.message for record in caplog.records] == [
        SENTENCE.format("no folder can be written")
        + " Free some space, or name a folder that can be written: NUMBA_CACHE_DIR=FOLDER"
    ]
    assert folder.read_text() == "in the way"


FULL_DISK = """
import logging, resource, sys
import numba, numpy as np
from vqspeech.numba_cache import guard
logging.basicConfig(level=logging.INFO, format="%(message)s")
guard()
def add_one(x): return x + 1
add_one.__module__ = "librosa.core"
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # folders and empty files can be made, nothing can be written to them
print(numba.vectorize(["float64(float64)", "float32(float32)"], cache=True)(add_one)(np.arange(3.0)).tolist())
"""


def test_on_a_full_disk_functions_work_one_sentence_says_so_and_nothing_half_written_stays(tmp_path):
    (tmp_path / "script.py").write_text(FULL_DISK)
    done = subprocess.run(
        [sys.executable, "script.py"],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": str(PACKAGE.parent)},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[1.0, 2.0, 3.0]\n"), done.stderr
    assert done.stderr.count("\n") == 1 and SENTENCE.format(os.strerror(errno.EFBIG)) in done.stderr
    assert (tmp_path / "kept").is_dir() and not files(tmp_path / "kept")


def test_vqspeech_imports_librosa_by_this_door_only():
    doors = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.partition(".")[0] == "librosa" for name in names), path
            doors += [path.name] if isinstance(node, ast.Name) and node.id == "import_librosa" else []
    assert {"pitch.py", "mfcc.py", "sound.py"} <= set(doors)


AT_ONCE = """
import sys, time
from pathlib import Path
import numpy as np
from vqspeech.numba_cache import import_librosa
Path(f"ready.{sys.argv[1]}").touch()
while not Path("go").exists():
    time.sleep(0.001)
librosa = import_librosa()
wav = np.sin(2 * np.pi * 200 / 8000 * np.arange(4000))
types = [np.float32, np.float64]
for dtype in types if sys.argv[1] in "02" else types[::-1]:  # each process in another order
    f0, _, _ = librosa.pyin(wav.astype(dtype), fmin=60, fmax=400, sr=8000, frame_length=512)
    peaks = librosa.util.localmax(np.array([0, 2, 1, 3, 0], dtype)).tolist()
    print(abs(np.nanmedian(f0) - 200) < 2, peaks)
"""


@pytest.mark.slow
def test_processes_that_compile_librosa_at_once_in_a_fresh_folder_leave_code_that_later_ones_can_use(tmp_path):
    (tmp_path / "script.py").write_text(AT_ONCE)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": str(PACKAGE.parent)}

    def start(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "script.py", name],
            env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait(process: subprocess.Popen[str]) -> None:
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert out == "True [False, True, False, True, False]\n" * 2

    processes = [start(name) for name in "012"]
    while len(list(tmp_path.glob("ready.*"))) < len(processes):
        assert all(process.poll() is None for process in processes)
    (tmp_path / "go").touch()
    for process in processes:
        wait(process)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.nbc")}
    assert len(kept) > 20 and not list((tmp_path / "kept").rglob("*.tmp*"))
    wait(start("3"))  # finds everything: it writes nothing
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.nbc")} == kept


@pytest.mark.slow
def test_convert_says_once_that_nothing_can_be_kept_and_converts(place, tiny_run):
    Path("file").write_text("in the way")
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": str(place / "file")}
    done = subprocess.run(
        [sys.executable, "-m", "vqspeech", "convert", "in.wav", "--speaker", "ann", "--model", str(tiny_run)],
        env=os.environ | nowhere | {"PYTHONPATH": str(PACKAGE.parent)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "in.ann.wav\n"), done.stderr
    assert done.stderr.count(SENTENCE.format("no folder can be written")) == 1 and "Traceback" not in done.stderr
    assert len(load_audio("in.ann.wav")) == 2000
