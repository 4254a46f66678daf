"""The command line: each verb parses, calls one function, prints."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from vqspeech.cli.console import (
    PATH,
    Group,
    Notices,
    force_option,
    free_target,
    listed,
    loading,
    model_option,
    progress_bar,
    say,
    say_written,
    seconds_bar,
    speaker_option,
    tell,
    voice_options,
)
from vqspeech.cli.listening import listening_test
from vqspeech.cli.models import bench, enroll, models, pack
from vqspeech.cli.prior import compress, decompress, sample
from vqspeech.cli.units import units
from vqspeech.files import beside, stem_of


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vqspeech")
def main() -> None:
    """Learn speech units from raw audio and swap voices without transcripts (VQ-VAE + WaveNet)."""
    logger = logging.getLogger("vqspeech")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(Notices())


@main.command()
@click.argument("recipe", type=PATH)
@click.option("--data", type=PATH, help="Folder of the corpus [the recipe's data.root, else VQSPEECH_DATA].")
@click.option("--out", type=PATH, help="Where the prepared speech goes [prepared/<recipe>].")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe's value; repeatable.")
@click.option("--workers", "num_workers", type=click.IntRange(1), help="Processes [all cores].")
def prepare(recipe: Path, **options: Any) -> None:
    """Decode, resample and store a corpus for training (train does it when needed)."""
    from vqspeech.data.prepare import prepare as prepare_recipe

    report = prepare_recipe(recipe, progress=sys.stderr.isatty(), **options)
    say(f"{report.folder}: {report}" + (" (already done)" if report.already_done else ""))
    say(f"speakers: {listed(report.speakers)}")
    for problem in report.problems:
        say(f"left out: {problem}")
    for note in report.notes:
        say(f"note: {note}")


@main.command()
@click.argument("recipe", type=PATH)
@click.option("--data", type=PATH, help="Folder of the corpus [the recipe's data.root, else VQSPEECH_DATA].")
@click.option("--out", type=PATH, help="Run folder [runs/<recipe>].")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a recipe's value; repeatable. train.keep=3 keeps the last three checkpoints, and the best.",
)
@click.option(
    "--init",
    metavar="MODEL",
    help="Start from this model's weights; shapes must be the recipe's, speakers it knows keep their vectors. With "
    "--set train.warm_start_steps=0 and train.continuous_steps=0 its codebook is kept and the decoder learns at once.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on exactly where the run stopped; to another end with --set train.steps=N or train.max_minutes=N.",
)
@click.option("--stage", type=click.Choice(["vqvae", "prior"]), help="One stage alone [both, one after the other].")
def train(recipe: Path, **options: Any) -> None:
    """Train a recipe, and its prior over codes: vqspeech train recipes/vctk --data ~/VCTK-Corpus-0.92"""
    from vqspeech.training.start import train as train_recipe

    result = train_recipe(recipe, progress=True, notify=tell, **options)
    if not result.finished:
        last = result.prior or result
        say(
            f"stopped and saved at step {last.step} of {last.total_steps}{' of the prior' if result.prior else ''}. "
            f"Go on with: vqspeech train {recipe} --resume --out {result.folder}"
            + (f" --stage {options['stage']}" if options["stage"] else "")
        )
        sys.exit(130)
    if prior := result.prior:
        say(f"trained the prior {prior.step} steps to {prior.metrics['bits']:.3f} bits per code: {result.folder}. "
            f"Let it speak with: vqspeech sample --model {result.folder} --speaker NAME")  # fmt: skip
    if options["stage"] == "prior":
        return
    say(f"trained {result.step} steps: {result.folder}. Convert with: vqspeech convert --model {result.folder} "
         "--speaker NAME in.wav")  # fmt: skip


@main.command()
@click.argument("sources", nargs=-1, type=PATH, metavar="[RECORDINGS...]")
@speaker_option
@model_option
@click.option("--example", is_flag=True, help="A recording that came with vqspeech; its result goes here, or to --out.")
@click.option("--out", type=PATH, help="Folder for the results [beside each recording]; - is standard output.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads, each with many streams [all cores].")
@click.option("--no-split", is_flag=True, help="One stream a recording: do not cut long ones at pauses.")
@voice_options
@force_option
def convert(
    sources: tuple[Path, ...],
    speaker: str,
    model: str | None,
    example: bool,
    out: Path | None,
    threads: int | None,
    no_split: bool,
    force: bool,
    **drawing: Any,
) -> None:
    """Say recordings (files, folders, or - for standard input) in another speaker's voice: in.wav becomes
    in.SPEAKER.wav."""
    if not sources and not example:
        raise click.UsageError("Missing argument 'RECORDINGS...'. Give files or folders; for a first sound --example.")
    with loading():
        from vqspeech.conversion import SamplingOptions, convert_files, plan_jobs
        from vqspeech.data.processes import num_cores
        from vqspeech.pretrained.registry import open_model

        if example:
            from vqspeech.pretrained.example import take_example

            sources, out = (take_example(sources, tell),), out or Path()
        loaded, speaker = open_model(model, speaker)
    if not loaded.card.is_settled:
        tell(f"the model's training is at step {loaded.card.step}, still in its warm start: expect noise")
    jobs, problems = plan_jobs(sources, speaker, out, force=force, speakers=loaded.speakers)
    cores = threads or num_cores()
    with seconds_bar() as advance:
        options = SamplingOptions(split=not no_split, **drawing)
        failed = convert_files(loaded, jobs, speaker, options, num_threads=cores, advance=advance)
    for job in jobs:
        if job.source not in failed:
            say_written(job.target)
    problems |= failed
    for problem in problems.values():
        tell(f"Error: {problem}")
    if problems:
        if jobs and len(jobs) > len(failed):
            left = sum(problem.num_files for problem in problems.values())
            tell(f"{len(jobs) - len(failed)} converted, {left} not.")
        sys.exit(1)


@main.command()
@click.argument("source", type=PATH, metavar="RECORDING")
@model_option
@click.option("--out", type=PATH, help="File for the codes [beside the recording, .npz].")
@force_option
def encode(source: Path, model: str | None, out: Path | None, force: bool) -> None:
    """Write a recording's codes to an .npz file."""
    from vqspeech.conversion.codes import encode_file
    from vqspeech.pretrained.registry import load_model

    target = free_target(out or beside(source, f"{stem_of(source)}.npz"), source, force)
    count = encode_file(load_model(model), source, target)
    say(f"{target}: {count} codes")


@main.command()
@click.argument("source", type=PATH, metavar="CODES")
@speaker_option
@model_option
@click.option("--out", type=PATH, help="File for the sound [beside the codes: <name>.SPEAKER.wav].")
@voice_options
@force_option
def decode(source: Path, speaker: str, model: str | None, out: Path | None, force: bool, **drawing: Any) -> None:
    """Speak the codes of an .npz file in a speaker's voice."""
    from vqspeech.conversion import SamplingOptions, decode_file, target_name
    from vqspeech.pretrained.registry import open_model

    loaded, speaker = open_model(model, speaker)
    target = free_target(out or beside(source, target_name(source, speaker)), source, force, is_sound=True)
    decode_file(loaded, source, target, speaker, SamplingOptions(**drawing))
    say_written(target)


@main.command()
@click.argument("model", required=False)
def info(model: str | None) -> None:
    """Speakers, code rate, bit rate, steps and measured quality of a model."""
    from vqspeech.pretrained.checkpoint import PRIOR_FILE, read_card, read_prior_card
    from vqspeech.pretrained.registry import find

    file = find(model).file
    card = read_card(file)
    say(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")
    say(card.describe())
    if file.with_name(PRIOR_FILE).is_file():
        say(read_prior_card(file.with_name(PRIOR_FILE)).describe())
    else:
        say(f"prior         none. Train one: vqspeech train recipes/{card.recipe.name} --stage prior "
            f"--out {file.parent}")  # fmt: skip


@main.command()
@click.argument("model")
@click.option("--data", type=PATH, help="Folder of the corpus [the recipe's data.root, else VQSPEECH_DATA].")
@click.option(
    "--pairs",
    metavar="N|all",
    help="Conversions to make and judge; all: every utterance to every other voice [200; 20 with --quick].",
)
@click.option("--language", default="", help="Of the corpus's texts, for the judges of words, as in en [they tell].")
@click.option("--quick", is_flag=True, help="A rough look in minutes: fewer conversions and measures.")
@click.option(
    "--out", type=PATH, help="Folder of the report [beside a run's model: evaluation; else evaluations/NAME]."
)
@click.option("--against", metavar="OTHER", help="Another model, beside this one on the same trials.")
@click.option("--trained", is_flag=True, help="Evaluate on utterances the model was trained on; the report says so.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of all draws.")
@click.option("--threads", "num_threads", type=click.IntRange(1, 256), help="Threads that sample [all cores].")
def evaluate(model: str, **options: Any) -> None:
    """Does the content stay, does the voice change? Judges, controls, intervals: report.html and report.json."""
    from vqspeech.cli.report import print_report
    from vqspeech.evaluation.evaluate import evaluate as evaluate_model

    try:
        with progress_bar() as watch:
            report = evaluate_model(model, notify=tell, watch=watch, **options)
    except KeyboardInterrupt:
        tell("stopped; what is done is kept. Go on with the same command")
        sys.exit(130)
    print_report(report)
    say(f"{report.folder / 'report.html'}: open it in a browser, to listen too")


@main.command()
@click.option("--recipe", type=PATH, default=Path("recipes/demo"), show_default=True, help="On the embedded corpus.")
@click.option("--out", type=PATH, default=Path("runs/demo"), show_default=True, help="Run folder.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the demo's recipe.")
def demo(recipe: Path, out: Path, overrides: tuple[str, ...]) -> None:
    """Train on the embedded corpus, convert, and print what to listen to (15 minutes)."""
    from vqspeech.cli.demo import run_demo

    if run_demo(recipe, out, overrides, tell) is None:
        sys.exit(130)


for _verb in (models, enroll, pack, bench, sample, compress, decompress, units, listening_test):
    main.add_command(_verb)
