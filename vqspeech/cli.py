"""The command line: each verb parses, calls one function, prints."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vqspeech.errors import VQSpeechError

PATH = click.Path(path_type=Path)
model_option = click.option(
    "--model", type=PATH, help="Run folder or model file [VQSPEECH_MODEL, else the newest run that knows the speaker]."
)
speaker_option = click.option("--speaker", required=True, help="Whose voice to speak in; `vqspeech info` lists them.")
force_option = click.option("--force", is_flag=True, help="Overwrite what exists.")


def voice_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every verb that samples."""
    for option in (
        click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True, help="Of the draws."),
        click.option("--temperature", type=click.FloatRange(0), default=1.0, show_default=True, help="Below 1: calmer"),
        click.option("--engine", type=click.Choice(["auto", "numba", "torch"]), default="auto", show_default=True),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16"]),
            default="auto",
            show_default=True,
            help="Of the products while sampling; auto: bfloat16 where the processor has it.",
        ),
    ):
        command = option(command)
    return command


class _Group(click.Group):
    """Prints our own errors as one sentence and exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VQSpeechError as error:
            raise click.ClickException(_shown(" ".join(str(error).splitlines()))) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output left: click ends quietly
                raise
            place = _shown(os.fsdecode(error.filename)) if error.filename else "a file"
            raise click.ClickException(
                f"{place}: {error.strerror or error}. Check the path, its permissions and the free space"
            ) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vqspeech")
def main() -> None:
    """Learn speech units from raw audio and swap voices without transcripts (VQ-VAE + WaveNet)."""
    logger = logging.getLogger("vqspeech")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(_Notices())


@main.command()
@click.argument("recipe", type=PATH)
@click.option("--data", type=PATH, help="Folder of the corpus [the recipe's data.root, else VQSPEECH_DATA].")
@click.option("--out", type=PATH, help="Where the prepared speech goes [prepared/<recipe>].")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe's value; repeatable.")
@click.option("--workers", type=click.IntRange(1), help="Processes [all cores].")
def prepare(recipe: Path, data: Path | None, out: Path | None, overrides: tuple[str, ...], workers: int | None) -> None:
    """Decode, resample and store a corpus for training (train does it when needed)."""
    from vqspeech.config import load_recipe
    from vqspeech.data.corpora import find_root
    from vqspeech.data.preparation import prepare as prepare_corpus
    from vqspeech.data.preparation import store_folder

    settled = load_recipe(recipe, overrides)
    report = prepare_corpus(
        settled.data,
        find_root(settled.data, data),
        out or store_folder(settled.name),
        num_workers=workers,
        progress=sys.stderr.isatty(),
    )
    _say(f"{report.folder}: {report}" + (" (already done)" if report.already_done else ""))
    _say(f"speakers: {_listed(report.speakers)}")
    for problem in report.problems:
        _say(f"left out: {problem}")
    for note in report.notes:
        _say(f"note: {note}")


@main.command()
@click.argument("recipe", type=PATH)
@click.option("--data", type=PATH, help="Folder of the corpus [the recipe's data.root, else VQSPEECH_DATA].")
@click.option("--out", type=PATH, help="Run folder [runs/<recipe>].")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe's value; repeatable.")
@click.option("--resume", is_flag=True, help="Go on exactly where the run stopped.")
def train(recipe: Path, data: Path | None, out: Path | None, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a recipe, for example: vqspeech train recipes/vctk --data ~/VCTK-Corpus-0.92"""
    from vqspeech.training.start import train as train_recipe

    result = train_recipe(recipe, data=data, out=out, overrides=overrides, resume=resume, progress=True, notify=_tell)
    if not result.finished:
        _say(
            f"stopped and saved at step {result.step} of {result.total_steps}. "
            f"Go on with: vqspeech train {recipe} --resume --out {result.folder}"
        )
        sys.exit(130)
    _say(f"trained {result.step} steps: {result.folder}. Convert with: vqspeech convert --model {result.folder} "
         "--speaker NAME in.wav")  # fmt: skip


@main.command()
@click.argument("sources", nargs=-1, required=True, type=PATH, metavar="RECORDINGS...")
@speaker_option
@model_option
@click.option("--out", type=PATH, help="Folder for the results [beside each recording].")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads, each with many streams [all cores].")
@click.option("--no-split", is_flag=True, help="One stream a recording: do not cut long ones at pauses.")
@voice_options
@force_option
def convert(
    sources: tuple[Path, ...],
    speaker: str,
    model: Path | None,
    out: Path | None,
    threads: int | None,
    seed: int,
    temperature: float,
    engine: str,
    precision: str,
    no_split: bool,
    force: bool,
) -> None:
    """Say recordings (files or folders) in another speaker's voice: in.wav becomes in.SPEAKER.wav."""
    from vqspeech.checkpoint import load_model
    from vqspeech.conversion import Voice, convert_files, plan_jobs
    from vqspeech.data.preparation import num_cores
    from vqspeech.shelf import find_model

    loaded = load_model(find_model(model, speaker))
    loaded.speaker_index(speaker)  # an unknown speaker is told before any work
    if not loaded.card.is_settled:
        _tell(f"the model's training is at step {loaded.card.step}, still in its warm start: expect noise")
    jobs, problems = plan_jobs(sources, speaker, out, force=force, speakers=loaded.speakers)
    cores = threads or num_cores()
    with _seconds_bar() as advance:
        voice = Voice(speaker, seed, temperature, engine, precision, split=not no_split)
        failed = convert_files(loaded, jobs, voice, num_threads=cores, advance=advance)
    for job in jobs:
        if job.source not in failed:
            _say(job.target)
    problems |= failed
    for problem in problems.values():
        _tell(f"Error: {problem}")
    if problems:
        if jobs and len(jobs) > len(failed):
            _tell(f"{len(jobs) - len(failed)} converted, {len(problems)} not.")
        sys.exit(1)


@main.command()
@click.argument("source", type=PATH, metavar="RECORDING")
@model_option
@click.option("--out", type=PATH, help="File for the codes [beside the recording, .npz].")
@force_option
def encode(source: Path, model: Path | None, out: Path | None, force: bool) -> None:
    """Write a recording's codes to an .npz file."""
    from vqspeech.checkpoint import load_model
    from vqspeech.codes import encode_file
    from vqspeech.shelf import find_model

    target = _free(out or source.parent / f"{source.stem}.npz", source, force)
    count = encode_file(load_model(find_model(model)), source, target)
    _say(f"{target}: {count} codes")


@main.command()
@click.argument("source", type=PATH, metavar="CODES")
@speaker_option
@model_option
@click.option("--out", type=PATH, help="File for the sound [beside the codes: <name>.SPEAKER.wav].")
@voice_options
@force_option
def decode(
    source: Path,
    speaker: str,
    model: Path | None,
    out: Path | None,
    seed: int,
    temperature: float,
    engine: str,
    precision: str,
    force: bool,
) -> None:
    """Speak the codes of an .npz file in a speaker's voice."""
    from vqspeech.checkpoint import load_model
    from vqspeech.conversion import Voice, decode_file, target_name
    from vqspeech.shelf import find_model

    loaded = load_model(find_model(model, speaker))
    target = _free(out or source.parent / target_name(source, speaker), source, force)
    decode_file(loaded, source, target, Voice(speaker, seed, temperature, engine, precision))
    _say(target)


@main.command()
@click.argument("model", type=PATH, required=False)
def info(model: Path | None) -> None:
    """Speakers, code rate, bit rate, steps and measured quality of a model."""
    from vqspeech.checkpoint import read_card
    from vqspeech.shelf import find_model

    file = find_model(model)
    card = read_card(file)
    _say(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")
    _say(card.describe())


@main.command()
@click.argument("model", type=PATH)
@click.option("--data", type=PATH, help="Folder of the corpus [the recipe's data.root, else VQSPEECH_DATA].")
@click.option("--pairs", type=click.IntRange(1), default=200, show_default=True, help="Conversions to make and judge.")
@click.option("--out", type=PATH, help="Folder of the report [evaluation, beside the model].")
@click.option("--against", type=PATH, metavar="OTHER", help="Another model, beside this one on the same trials.")
@click.option("--trained", is_flag=True, help="Evaluate on utterances the model was trained on; the report says so.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of all draws.")
@click.option("--threads", "num_threads", type=click.IntRange(1, 256), help="Threads that sample [all cores].")
def evaluate(model: Path, **options: Any) -> None:
    """Does the content stay, does the voice change? Judges, controls, intervals: report.html and report.json."""
    from vqspeech.evaluation.evaluate import evaluate as evaluate_model
    from vqspeech.evaluation.report import print_report, steps_bar

    try:
        with steps_bar() as watch:
            report = evaluate_model(model, notify=_tell, watch=watch, **options)
    except KeyboardInterrupt:
        _tell("stopped; what is done is kept. Go on with the same command")
        sys.exit(130)
    print_report(report)
    _say(f"{report.folder / 'report.html'}: open it in a browser, to listen too")


@main.command()
@click.option("--recipe", type=PATH, default=Path("recipes/demo"), show_default=True, help="On the embedded corpus.")
@click.option("--out", type=PATH, default=Path("runs/demo"), show_default=True, help="Run folder.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the demo's recipe.")
def demo(recipe: Path, out: Path, overrides: tuple[str, ...]) -> None:
    """Train on the embedded corpus, convert, and print what to listen to (15 minutes)."""
    from vqspeech.demo import run_demo

    if run_demo(recipe, out, overrides, _tell) is None:
        sys.exit(130)


def _say(line: object) -> None:
    click.echo(_shown(line))


def _tell(line: str) -> None:
    click.echo(_shown(line), err=True)


def _shown(line: object) -> str:
    """A path, or a sentence with paths, that any terminal takes: names need not be UTF-8."""
    return click.format_filename(str(line))


def _listed(names: tuple[str, ...], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")


def _free(target: Path, source: Path, force: bool) -> Path:
    if target.is_dir():
        raise VQSpeechError(f"{target} is a folder. Give a file's name with --out")
    if target.exists() and source.exists() and target.samefile(source):
        raise VQSpeechError(f"{target} would replace what it is made from. Choose another --out")
    if target.exists() and not force:
        raise VQSpeechError(f"{target} exists. Overwrite it with --force, or choose another --out")
    return target


class _Notices(logging.Handler):
    """What takes long says so on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        _tell(record.getMessage())


class _seconds_bar:  # noqa: N801 - a context manager, named like what it shows
    """A counter of seconds of speech written, shown where stderr is a terminal."""

    def __enter__(self) -> Callable[[float], None]:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = SpinnerColumn(), TextColumn("{task.completed:.1f} s of speech"), TimeElapsedColumn()
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self.bar.start()
        task = self.bar.add_task("", total=None)
        return lambda seconds: self.bar.advance(task, seconds)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
