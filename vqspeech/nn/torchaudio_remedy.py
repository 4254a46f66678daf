"""torchaudio beside a CPU-only torch: its compiled part does not load there, and the rest works without it.

torchaudio's wheel carries three compiled files in `torchaudio/lib`, all linked against CUDA's torch. `_torchaudio` is
loaded by `import torchaudio`, which therefore fails beside a CPU-only torch; the other two are loaded after it or on
demand and would fail likewise. torchaudio looks for the files by suffix and does without them when they are absent:
resampling, mu-law, mel and MFCC features, datasets and pipelines are plain PyTorch.

vqspeech imports torchaudio with `import_torchaudio()`, which shows it an empty folder where need be and touches no
file. For `import torchaudio` in the environment's other programs there is a remedy on disk; `make setup` applies it:

    python -m vqspeech.nn.torchaudio_remedy          # does nothing where `import torchaudio` works
    python -m vqspeech.nn.torchaudio_remedy --undo   # puts the files back, for example after installing CUDA's torch
"""

from __future__ import annotations

import argparse
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from vqspeech.errors import DependencyError

COMMAND = "python -m vqspeech.nn.torchaudio_remedy"
COMPILED_SUFFIXES = (".so", ".pyd", ".dylib")
DISABLED_SUFFIX = ".disabled"

# What vqspeech uses of torchaudio, tried in a fresh interpreter: a failed import leaves a half-made module behind.
PARTS_IN_USE = """
import torch, torchaudio
wav = torch.sin(torch.arange(3200) / 10).reshape(1, -1)
torchaudio.functional.resample(wav, 16000, 8000)
torchaudio.functional.mu_law_encoding(wav, 256)
torchaudio.transforms.MelSpectrogram(16000, n_fft=400, n_mels=40)(wav)
torchaudio.transforms.MFCC(16000, melkwargs={"n_fft": 400, "n_mels": 40})(wav)
print(torchaudio.__version__)
"""
_IMPORTING = threading.Lock()


def import_torchaudio() -> ModuleType:
    """Import torchaudio: as it is where it loads, else without its compiled part; no file is touched.

    Raises
    ------
    DependencyError
        If it is not installed, or does not load without its compiled part either.
    """
    with _IMPORTING:
        try:
            return importlib.import_module("torchaudio")
        except ModuleNotFoundError as reason:
            raise DependencyError("torchaudio is not installed. Install it with: pip install torchaudio") from reason
        except (ImportError, OSError, RuntimeError):  # of the compiled part: another torch, another CUDA
            pass
        for name in [name for name in list(sys.modules) if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]  # a failed import leaves some of its modules behind
        sys.meta_path.insert(0, _WithoutCompiledPart)
        try:
            return importlib.import_module("torchaudio")
        except (ImportError, OSError, RuntimeError) as reason:
            raise DependencyError(
                f"torchaudio does not load, with or without its compiled part ({reason}). Reinstall it with: "
                "pip install --force-reinstall --no-deps torchaudio, in the release that belongs to your torch"
            ) from reason
        finally:
            sys.meta_path.remove(_WithoutCompiledPart)


class _WithoutCompiledPart(importlib.abc.MetaPathFinder):
    """Finds the module of torchaudio that looks for compiled files, and gives it a folder where there are none."""

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torchaudio._extension.utils":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None:
            return None
        return importlib.util.spec_from_file_location(name, spec.origin, loader=_EmptyFolder(name, spec.origin))


class _EmptyFolder(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        module.__dict__["_LIB_DIR"] = Path(self.path).parent / "no compiled files"


def main(arguments: Sequence[str] | None = None) -> int:
    """Apply the remedy where it is needed; return the exit status, 0 when `import torchaudio` works."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Make `import torchaudio` work beside a CPU-only torch.")
    parser.add_argument("--undo", action="store_true", help="put the compiled files back")
    undo = parser.parse_args(arguments).undo
    try:
        folder = find_compiled_folder()
        for line in restore(folder) if undo else remedy(folder):
            print(line)
    except DependencyError as reason:
        print(f"Error: {reason}", file=sys.stderr)
        return 1
    return 0


def find_compiled_folder() -> Path:
    """Folder of torchaudio's compiled files, found without importing torchaudio."""
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or spec.origin is None:
        raise DependencyError("torchaudio is not installed. Install it with: pip install torchaudio")
    return Path(spec.origin).parent / "lib"


def remedy(folder: Path) -> list[str]:
    """Set the compiled files in `folder` aside if torchaudio does not work with them; return what was done."""
    works, answer = check()
    if works:
        return [f"torchaudio {answer} works; nothing to do"]
    moved = set_aside(folder)
    if not moved:
        raise DependencyError(f"torchaudio does not work, and {folder} holds no compiled file to set aside: {answer}")
    works, second = check()
    if not works:
        restore(folder)  # the compiled part was not the culprit: leave the installation as it was found
        raise DependencyError(f"torchaudio does not work, with or without its compiled part: {second}")
    return [
        f"torchaudio's compiled part does not load here: {answer}",
        *(f"set aside {path.name} as {path.name}{DISABLED_SUFFIX} in {folder}" for path in moved),
        f"torchaudio {second} works without it. Undo with: {COMMAND} --undo",
    ]


def set_aside(folder: Path) -> list[Path]:
    """Rename the compiled files so that torchaudio no longer finds them; return their former paths."""
    compiled = sorted(path for path in folder.glob("*") if path.suffix in COMPILED_SUFFIXES)
    for path in compiled:
        path.rename(path.with_name(path.name + DISABLED_SUFFIX))
    return compiled


def restore(folder: Path) -> list[str]:
    """Give files that were set aside their names back; return what was done."""
    disabled = sorted(folder.glob(f"*{DISABLED_SUFFIX}"))
    for path in disabled:
        path.rename(path.with_name(path.name.removesuffix(DISABLED_SUFFIX)))
    return [f"restored {path.name.removesuffix(DISABLED_SUFFIX)}" for path in disabled] or ["nothing was set aside"]


def check() -> tuple[bool, str]:
    """Try the parts in use in a fresh interpreter; return (works, version or the error's last line)."""
    done = subprocess.run([sys.executable, "-c", PARTS_IN_USE], capture_output=True, text=True, check=False)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"exit status {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
