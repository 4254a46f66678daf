"""Minutes of a GPU, used to the full: pack speech small, train a wide decoder, bring small files home, go on from them.

    python benchmarks/gpu_train.py pack voices.jsonl packed --mib 48
    python benchmarks/gpu_train.py train packed --minutes 7 --out home
    python benchmarks/gpu_train.py train packed --minutes 7 --out home2 --from home
    vqspeech convert --model home/model.safetensors --speaker kathleen in.wav

`pack` writes Ogg files and a manifest into one folder. Recordings that are Ogg already, at the recipe's rate or below,
are copied; others become Opus. What does not fit is left out and counted: speakers take turns, so those who have most
lose first.

`train` runs a recipe on such a folder: recipes/voices with a decoder of 64 and 256 channels, unless `--recipe` and
`--set` say otherwise. The minutes are those of training; preparing the speech and compiling come before them. The
folder `--out` gets at most eight files, none over 15 MiB: the model, its figures, and the training's state in pieces.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import soundfile as sf

PIECE = 15 * 2**20  # bytes of a file at most
WIDE = (
    "decoder.residual_channels=64", "decoder.skip_channels=256", "decoder.condition_channels=128",
    "train.batch_size=32", "train.warm_start_batch_size=64", "train.crop_samples=5120", "train.steps=1000000",
    "train.checkpoint_every=2000", "train.validate_every=2000",
)  # fmt: skip
FIGURES = ("run.json", "metrics.jsonl", "model.safetensors")


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """The manifest's lines, with the recordings' whole paths."""
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [entry | {"audio": str((path.parent / entry["audio"]).resolve())} for entry in entries]


def taking_turns(entries: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every speaker's first recording, then every speaker's second, and so on, in the manifest's order."""
    by_speaker: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        by_speaker[entry["speaker"]].append(entry)
    for turn in range(max(map(len, by_speaker.values()), default=0)):
        yield from (own[turn] for own in by_speaker.values() if turn < len(own))


def write_ogg(source: Path, target: Path, sample_rate: int) -> None:
    """One recording as Ogg, copied where it is one."""
    import soxr

    target.parent.mkdir(parents=True, exist_ok=True)
    found = sf.info(source)
    if found.format == "OGG" and found.samplerate <= sample_rate:
        shutil.copyfile(source, target)
        return
    wav, rate = sf.read(source, dtype="float32", always_2d=True)
    sf.write(target, soxr.resample(wav.mean(1), rate, sample_rate), sample_rate, format="OGG", subtype="OPUS")


@click.group(help=__doc__)
def main() -> None:
    """See the module."""


@main.command()
@click.argument("manifest", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--mib", default=48.0, show_default=True, help="Size of the folder at most.")
@click.option("--sample-rate", default=16000, show_default=True)
def pack(manifest: Path, out: Path, mib: float, sample_rate: int) -> None:
    """Write the manifest's speech into OUT, as Ogg."""
    if out.exists():
        raise click.ClickException(f"{out} exists. Name a new folder, or remove it")
    size = seconds = left_out = 0.0
    lines = []
    for entry in taking_turns(read_manifest(manifest)):
        source = Path(entry["audio"])
        name = Path("speech") / entry["speaker"] / f"{source.stem}.ogg"
        if size > mib * 2**20:
            left_out += 1
            continue
        write_ogg(source, out / name, sample_rate)
        size += (out / name).stat().st_size
        seconds += sf.info(out / name).duration
        lines.append(json.dumps(entry | {"audio": str(name)}) + "\n")
    (out / "manifest.jsonl").write_text("".join(lines), encoding="utf-8")
    click.echo(
        f"{out}: {len(lines)} recordings, {seconds / 60:.0f} minutes, {size / 2**20:.1f} MiB; {left_out:.0f} left out"
    )


def bring_home(run: Path, home: Path) -> list[Path]:
    """Copy what the training needs to go on, in files of at most 15 MiB."""
    home.mkdir(parents=True, exist_ok=True)
    for old in home.glob("state.pt.*"):
        old.unlink()
    written = []
    for name in FIGURES:
        if (run / name).is_file():
            written.append(Path(shutil.copyfile(run / name, home / name)))
    state = (run / "state.pt").read_bytes()
    for place, start in enumerate(range(0, len(state), PIECE)):
        piece = home / f"state.pt.{place:02}"
        piece.write_bytes(state[start : start + PIECE])
        written.append(piece)
    return written


def take_along(home: Path, run: Path) -> None:
    """The run folder again, from what `bring_home` wrote."""
    pieces = sorted(home.glob("state.pt.*"))
    if not pieces or not (home / "run.json").is_file():
        raise click.ClickException(f"{home} holds no training: expected run.json and state.pt.00. Leave out --from")
    run.mkdir(parents=True)
    for name in FIGURES:
        if (home / name).is_file():
            shutil.copyfile(home / name, run / name)
    (run / "state.pt").write_bytes(b"".join(piece.read_bytes() for piece in pieces))


@main.command()
@click.argument("packed", type=click.Path(path_type=Path, exists=True))
@click.option("--minutes", type=float, required=True, help="Of training, in this sitting.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="What is brought home.")
@click.option("--from", "before", type=click.Path(path_type=Path, exists=True), help="What an earlier sitting left.")
@click.option("--recipe", default="recipes/voices", show_default=True)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe's value; repeatable.")
def train(
    packed: Path, minutes: float, out: Path, before: Path | None, recipe: str, overrides: tuple[str, ...]
) -> None:
    """Train for some minutes on what `pack` wrote."""
    import vqspeech

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        spent_s = 0.0
        if before:
            take_along(before, run)
            spent_s = seconds_spent(run)
        limit = f"train.max_minutes={minutes + spent_s / 60:.3f}"
        result = vqspeech.train(
            recipe, data=packed / "manifest.jsonl", out=run, stage="vqvae", resume=before is not None,
            overrides=(limit,) if before else (*WIDE, *overrides, limit), notify=click.echo,
        )  # fmt: skip
        written = bring_home(run, out)
    size = sum(path.stat().st_size for path in written) / 2**20
    click.echo(
        f"{out}: step {result.step} of {result.total_steps}, {len(written)} files of {size:.1f} MiB, "
        f"{(time.monotonic() - started) / 60:.1f} minutes in all; go on with --from {out}"
    )


def seconds_spent(run: Path) -> float:
    """Seconds of training in a run's earlier sittings."""
    import torch

    return float(torch.load(run / "state.pt", map_location="cpu", weights_only=True)["seconds"])


if __name__ == "__main__":
    main()
