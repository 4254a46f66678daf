"""What the verbs of the command line share: options, how results and errors are said, where results may go."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from vqspeech.errors import VQSpeechError
from vqspeech.files import is_pipe
from vqspeech.processor import check_limit

PATH = click.Path(path_type=Path)
model_option = click.option(
    "--model",
    help="Run folder or model file, a name of `vqspeech models`, or owner/name[@revision] of the Hugging Face Hub "
    "[VQSPEECH_MODEL, else the newest run that knows the speaker, else a bundled one].",
)
speaker_option = click.option("--speaker", required=True, help="Whose voice to speak in; `vqspeech models` lists them.")
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


class Group(click.Group):
    """Prints our own errors as one sentence and exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            check_limit()
            return super().invoke(ctx)
        except VQSpeechError as error:
            raise click.ClickException(shown(" ".join(str(error).splitlines()))) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output left: click ends quietly
                raise
            place = shown(os.fsdecode(error.filename)) if error.filename else "a file"
            raise click.ClickException(
                f"{place}: {error.strerror or error}. Check the path, its permissions and the free space"
            ) from None


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """While modules and models are loaded, let Python look for no garbage.

    It would walk again and again over the half million objects of torch, which stay: a sixth of a command's start.
    Afterwards it looks at what is new.
    """
    if gc.get_freeze_count():  # once a process: what is garbage by then is never freed
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def say(line: object) -> None:
    """Print a result."""
    click.echo(shown(line))


def say_written(target: Path) -> None:
    """Print where a result is, unless it went to standard output itself."""
    if not is_pipe(target):
        say(target)


def tell(line: str) -> None:
    """Print what is not a result, on stderr."""
    click.echo(shown(line), err=True)


def shown(line: object) -> str:
    """A path, or a sentence with paths, that any terminal takes: names need not be UTF-8."""
    return click.format_filename(str(line))


def listed(names: tuple[str, ...], most: int = 12) -> str:
    """Names in a row, the first `most` of them."""
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")


def free_target(target: Path, source: Path, force: bool, *, is_sound: bool = False) -> Path:
    """The target, if it may be written: no folder, not the source, and no file that is to be kept.

    Sound may go to standard output, "-".
    """
    if is_pipe(target) and is_sound:
        return target
    if is_pipe(target):
        raise VQSpeechError("standard output (--out -) takes sound alone. Give a file's name with --out")
    if target.is_dir():
        raise VQSpeechError(f"{target} is a folder. Give a file's name with --out")
    if target.exists() and source.exists() and target.samefile(source):
        raise VQSpeechError(f"{target} would replace what it is made from. Choose another --out")
    if target.exists() and not force:
        raise VQSpeechError(f"{target} exists. Overwrite it with --force, or choose another --out")
    return target


class Notices(logging.Handler):
    """What takes long says so on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.getMessage())


class seconds_bar:  # noqa: N801 - a context manager, named like what it shows
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


class steps_bar:  # noqa: N801 - likewise
    """A bar of steps with one figure beside it, shown where stderr is a terminal."""

    def __init__(self, title: str, unit: str) -> None:
        self.title, self.unit = title, unit

    def __enter__(self) -> Callable[[int, int, float], None]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn(self.title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figure]}"),
            TimeRemainingColumn(),
        )  # fmt: skip
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self.bar.start()
        task = self.bar.add_task("", total=None, figure="")

        def advance(done: int, total: int, figure: float) -> None:
            self.bar.update(task, completed=done, total=total, figure=f"{figure:.3f} {self.unit}")

        return advance

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
