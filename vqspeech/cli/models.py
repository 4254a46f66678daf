"""The verbs about models and voices at hand: models, pack, enroll, bench."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from vqspeech.cli.console import PATH, fitting_bar, force_option, model_option, say, tell


@click.command()
def models() -> None:
    """List models and voices at hand: bundled models, your runs, and enrolled voices."""
    from vqspeech.pretrained.listing import list_models

    entries = list(list_models())
    for entry in entries:
        say(entry.describe())
    if not entries:
        tell("no models: this vqspeech came without weights, and runs/ holds none. Train one: vqspeech train "
             "recipes/fsdd --data FOLDER")  # fmt: skip


@click.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder for weights, prior, card.json and README.md.")
@click.option("--name", help="Of the model [the folder's].")
@click.option("--data", required=True, metavar="SENTENCE", help="The speech it was trained on, and where that is from.")
@click.option("--licence", required=True, help='Of the weights, for example "CC BY-SA 4.0".')
@click.option("--quality", multiple=True, metavar="SENTENCE", help="What was measured, and how; repeatable.")
@click.option("--limit", "limits", multiple=True, metavar="SENTENCE", help="What it cannot do [two that always hold].")
@force_option
def pack(run: Path, **options: Any) -> None:
    """Make a finished run small enough to hand on: as a bundled model, or for the Hugging Face Hub."""
    from vqspeech.pretrained.packing import LIMITS
    from vqspeech.pretrained.packing import pack as pack_run

    options["limits"] = options["limits"] or LIMITS
    packed = pack_run(run, **options)
    size = sum((options["out"] / file).stat().st_size for file in packed.sha256) / 1e6
    say(f"{options['out']}: {packed.name}, {len(packed.speakers)} speakers, {size:.2f} MB of weights")


@click.command()
@click.argument("recordings", nargs=-1, required=True, type=PATH)
@click.option("--name", required=True, help="Of the new speaker, for --speaker.")
@model_option
@click.option("--out", type=PATH, help="Folder for the voice file [runs/voices, where --speaker NAME finds it].")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of crops and draws.")
@click.option(
    "--max-minutes", type=click.FloatRange(0, 600, min_open=True), default=4.0, show_default=True, help="For the fit."
)
@force_option
def enroll(recordings: tuple[Path, ...], **options: Any) -> None:
    """Teach a model one more voice from 30 s to 5 minutes of recordings; the model's file stays as it is.

    Enroll a voice only with the consent of the person whose it is.
    """
    from vqspeech.enrolment import enroll as enroll_voice

    with fitting_bar("fitting the voice", "bits/sample") as advance:
        enrolment = enroll_voice(recordings=recordings, notify=tell, advance=advance, **options)
    if enrolment is None:
        tell("stopped; nothing was written")
        sys.exit(130)
    say(enrolment.describe())
    speaker = enrolment.file if options["out"] else enrolment.name
    tell(f"Speak in it with: vqspeech convert --speaker {speaker} in.wav")


@click.command()
@click.argument("recipe", type=PATH)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe's value; repeatable.")
@click.option("--steps", "rounds", type=click.IntRange(1, 1000), default=10, show_default=True, help="Timed a stage.")
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write the figures there too.")
def bench(recipe: Path, overrides: tuple[str, ...], rounds: int, json_file: Path | None) -> None:
    """Predict this machine's hours for a recipe, from a few real steps of every stage."""
    import json

    from vqspeech.files import write_whole
    from vqspeech.training.timing import predict

    prediction = predict(recipe, overrides=overrides, rounds=rounds, notify=lambda what: tell(f"timing {what}"))
    say(prediction.describe())
    if json_file:
        with write_whole(json_file) as temporary:
            temporary.write_text(json.dumps(prediction.to_json(), indent=2) + "\n", encoding="utf-8")
