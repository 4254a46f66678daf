"""Does a change of the code leave the numbers as they were?

The same commands, by two checkouts, one after the other: the losses of the first steps of recipes and of their priors,
the codes and bytes of conversions and of what a prior makes up, a compressed file, and the report of an evaluation. In
float32 with one thread they are the same on the same machine, bit for bit, or the change was none in looks alone.

    python benchmarks/unchanged.py --checkout ../before --data ../shared/data --json before.json
    python benchmarks/unchanged.py --checkout . --data ../shared/data --json after.json --against before.json

Only commands are called, so the two may be laid out as they like. Times, and what names a machine, are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

STEPS = 50
SHORT = (
    "train.batch_size=2", "train.validate_every=25", "train.checkpoint_every=50", "train.precision=float32",
    "train.compile=off", "train.validation_utterances=4", "train.probe_utterances=2", "train.probe_seconds=0.5",
    f"train.steps={STEPS}", "prior.steps=10", "prior.validate_every=5", "prior.batch_size=4",
)  # fmt: skip
PHASES = ("train.continuous_steps=13", "train.warm_start_steps=26", "train.warmup_steps=10")
OF_A_MACHINE = (
    "second",
    "time",
    "minutes",
    "_s",
    "version",
    "pace",
)  # keys that hold these tell of it, not of the model


def recipes(data: Path, work: Path) -> dict[str, tuple[str, Path | None, tuple[str, ...]]]:
    """Name to (recipe, data, overrides) of those whose speech is at hand."""
    found: dict[str, tuple[str, Path | None, tuple[str, ...]]] = {
        "demo": ("recipes/demo", None, PHASES + ("train.max_minutes=1000",)),
        "fsdd": ("recipes/fsdd", data / "fsdd", PHASES),
        "vctk": ("recipes/vctk", data / "vctk" / "VCTK-Corpus-0.92", PHASES),
        "paper": ("recipes/vctk/paper.toml", data / "vctk" / "VCTK-Corpus-0.92", ()),
        "librispeech": ("recipes/librispeech", data / "librispeech" / "LibriSpeech", PHASES),
        "english": ("recipes/english", work / "english.jsonl", PHASES),
    }
    return {name: entry for name, entry in found.items() if entry[1] is None or entry[1].exists()}


def run(checkout: Path, work: Path, *arguments: str) -> str:
    """One command of the checkout, on one thread of an ordinary machine; its output."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout), "VQSPEECH_CPU": "avx2", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, *arguments], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def digest(path: Path) -> str:
    """First digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def bare(value: Any) -> Any:
    """JSON without what differs from machine to machine and from hour to hour."""
    if isinstance(value, dict):
        return {key: bare(inner) for key, inner in value.items() if not any(word in key for word in OF_A_MACHINE)}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def trainings(checkout: Path, work: Path, data: Path) -> dict[str, Any]:
    """Losses, validations and final weights of some steps of each recipe."""
    found: dict[str, Any] = {}
    for name, (recipe, root, more) in recipes(data, work).items():
        out = work / "runs" / name
        command = ["-m", "vqspeech", "train", str(checkout / recipe), "--out", str(out)]
        command += ["--data", str(root)] if root else []
        for override in (*SHORT, *more):
            command += ["--set", override]
        run(checkout, work, *command)
        lines = [json.loads(line) for path in sorted(out.glob("**/metrics.jsonl")) for line in path.open()]
        found[name] = {"metrics": bare(lines), "weights": weights_of(out)}
        print(f"{name}: {len(lines)} lines of figures", flush=True)
    return found


def weights_of(folder: Path) -> dict[str, str]:
    """Digests of all tensors of a run's models, whatever else their files say."""
    from safetensors.numpy import load_file

    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        both = hashlib.sha256()
        for name, tensor in sorted(load_file(path).items()):
            both.update(name.encode() + tensor.tobytes())
        found[path.name] = both.hexdigest()[:16]
    return found


def speech(checkout: Path, work: Path) -> dict[str, str]:
    """Digests of what the bundled models write."""
    found = {}
    for model, speaker in (("english", "p225"), ("fsdd", "theo")):
        fixed = ("--model", model, "--precision", "float32")
        run(checkout, work, "-m", "vqspeech", "convert", "--example", "--speaker", speaker, "--out", model, *fixed)
        wav = f"{model}/example.{speaker}.wav"
        run(checkout, work, "-m", "vqspeech", "encode", "--model", model, wav, "--out", f"{model}/codes.npz")
        run(
            checkout,
            work,
            "-m",
            "vqspeech",
            "decode",
            f"{model}/codes.npz",
            "--speaker",
            speaker,
            "--out",
            f"{model}/decoded.wav",
            *fixed,
        )
        run(checkout, work, "-m", "vqspeech", "compress", "--model", model, wav, "--out", f"{model}/small.vqs")
        run(checkout, work, "-m", "vqspeech", "sample", "--num", "2", "--out", f"{model}/made", *fixed)
        for path in sorted((work / model).rglob("*")):
            if path.suffix in (".wav", ".vqs"):
                found[str(path.relative_to(work))] = digest(path)
        print(f"{model}: {len(found)} files", flush=True)
    return found


def evaluation(checkout: Path, work: Path, data: Path) -> Any:
    """report.json of the digits, a few conversions."""
    command = ["-m", "vqspeech", "evaluate", "fsdd", "--data", str(data / "fsdd"), "--pairs", "12", "--quick"]
    run(checkout, work, *command, "--out", "report")
    return bare(json.loads((work / "report" / "report.json").read_text(encoding="utf-8")))


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Places at which two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted({*before, *after})
        return [line for key in keys for line in differences(before.get(key), after.get(key), f"{where}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for place, (a, b) in pairs for line in differences(a, b, f"{where}/{place}")]
    return [] if before == after or (before != before and after != after) else [f"{where}: {before!r} -> {after!r}"]


def main() -> None:
    """Run the commands, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", type=Path, default=Path("."), help="whose code runs")
    parser.add_argument("--data", type=Path, required=True, help="folder of fsdd, vctk and librispeech")
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--against", type=Path, help="figures of another checkout")
    parser.add_argument("--quick", action="store_true", help="without the evaluation")
    options = parser.parse_args()
    checkout, data = options.checkout.resolve(), options.data.resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        places = (
            "--librispeech",
            str(data / "librispeech" / "LibriSpeech"),
            "--vctk",
            str(data / "vctk" / "VCTK-Corpus-0.92"),
        )
        if (data / "vctk").is_dir():
            run(checkout, work, str(checkout / "egs" / "join_corpora.py"), *places, "english.jsonl")
        found = {"trainings": trainings(checkout, work, data), "speech": speech(checkout, work)}
        if not options.quick:
            found["report"] = evaluation(checkout, work, data)
    options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if options.against:
        before = json.loads(options.against.read_text(encoding="utf-8"))
        lines = differences(before, json.loads(options.json.read_text(encoding="utf-8")))
        print(*lines[:40], sep="\n")
        print(f"{len(lines)} differences" if lines else "the same, bit for bit")
        sys.exit(bool(lines))


if __name__ == "__main__":
    main()
