"""The verb that hands recordings on as speech units: units."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vqspeech.cli.console import PATH, force_option, free_target, loading, say, seconds_bar, tell
from vqspeech.errors import VQSpeechError


@click.command()
@click.argument("model")
@click.argument("sources", nargs=-1, required=True, type=PATH, metavar="RECORDINGS...")
@click.option("--out", type=PATH, default=Path("units"), show_default=True, help="Folder for the units.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "jsonl", "npz", "npy", "zerospeech"]),
    default="text",
    show_default=True,
    help="text: name|12 5 5 7, a line a recording; jsonl: DiscoPhon's; npz: codes with times; npy, zerospeech: the "
    "codes' vectors as (N, D) features.",
)
@click.option("--dedup", is_flag=True, help="Runs of equal codes as one; npz and jsonl keep how long each lasts.")
@click.option("--vectors", is_flag=True, help="Codebook vectors in npz too.")
@click.option(
    "--labels",
    type=PATH,
    help="Folder of phone times (TextGrids, festival's lab files, align.jsonl): write units.item too, triphones as "
    "ZeroSpeech's item file. The speaker is the recording's folder.",
)
@force_option
def units(
    model: str,
    sources: tuple[Path, ...],
    out: Path,
    form: str,
    dedup: bool,
    vectors: bool,
    labels: Path | None,
    force: bool,
) -> None:
    """Write recordings (files, folders) as unit sequences, for benchmarks of units and for language models."""
    from vqspeech.pretrained.registry import load_model

    with loading():
        from vqspeech.units.encoding import encode_recordings, find_sources
        from vqspeech.units.files import UnitsWriter
        from vqspeech.units.summary import UnitsSummary

        found, problems = find_sources(sources)
        loaded = load_model(model)
    writer = UnitsWriter(out, form, dedup=dedup, vectors=vectors, model=loaded, force=force)
    writer.check(found)
    items = free_target(out / "units.item", out, force) if labels else None
    summary, lasts = UnitsSummary(), []
    if found:
        with writer, seconds_bar() as advance:
            encoded = encode_recordings(
                loaded, found, vectors=writer.needs_vectors, failed=lambda path, error: problems.update({path: error})
            )
            for recording in encoded:
                writer.write(recording)
                summary.add(recording)
                lasts.append((recording.name, found[recording.name].absolute().parent.name, recording.duration_s))
                advance(recording.duration_s)
            if not summary.num_files:  # the error leaves no empty file behind
                raise VQSpeechError(f"none of {len(found)} recordings can be read. {next(iter(problems.values()))}")
    if summary.num_files:
        say(f"{writer.target('*')}: {summary.describe()}")
    if labels and items and lasts:
        from vqspeech.evaluation.tools.unit_items import write_item_file

        count, unused = write_item_file(items, lasts, labels)
        say(f"{items}: {count} triphones")
        for problem in unused:
            tell(problem)
    spaced = [name for name in found if name.split() != [name]]
    if spaced:
        tell(f"{len(spaced)} names hold spaces, such as {spaced[0]!r}: item files cannot name these recordings")
    for error in problems.values():
        tell(f"Error: {error}")
    if problems:
        sys.exit(1)
