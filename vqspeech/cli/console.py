"""What the verbs of the command line share: options, how results and errors are printed, where results may go."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vqspeech.errors import VQSpeechError
from vqspeech.files import is_pipe
from vqspeech.processor import check_limit
from vqspeech.progress import ProgressCallback

if TYPE_CHECKING:
    from rich.console import Console

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
        click.option("--temperature", type=click.FloatRange(0), help="Below 1: calmer [the model's own, mostly 1]."),
        click.option("--engine", type=click.Choice(["auto", "numba", "torch"]), default="auto", show_default=True),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "float16", "bfloat16"]),
            default="auto",
            show_default=True,
            help="Of the products while sampling; auto: the fastest on this processor, which may round weights; "
            "float32 is exact.",
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


@contextlib.contextmanager
def seconds_bar() -> Iterator[Callable[[float], None]]:
    """A counter of seconds of speech written; gives a function of further seconds."""
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with _bar(SpinnerColumn(), TextColumn("{task.completed:.1f} s of speech"), TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=None)
        yield lambda seconds: bar.advance(task, seconds)


@contextlib.contextmanager
def fitting_bar(title: str, unit: str) -> Iterator[Callable[[int, int, float], None]]:
    """A bar of steps with one figure beside it; gives a function of steps done, steps in all, and the figure."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    shown = TextColumn("{task.fields[figure]}")
    with _bar(TextColumn(title), BarColumn(), MofNCompleteColumn(), shown, TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=None, figure="")
        yield lambda done, of, value: bar.update(task, completed=done, total=of, figure=f"{value:.3f} {unit}")


@contextlib.contextmanager
def progress_bar() -> Iterator[ProgressCallback]:
    """A bar of what is being done; gives `evaluate`'s `watch`."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    with _bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)


def _bar(*columns: Any) -> Any:
    """A bar on stderr, shown where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


class Row(NamedTuple):
    """A table's cells, their style, and whether a line is drawn below."""

    cells: tuple[str, ...]
    style: str = ""
    ends_section: bool = False


class Printer:
    """Prints tables and lines as plain text: rich's markup in them means nothing."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        self._console = console or Console()

    def line(self, text: str, *, soft_wrap: bool = False) -> None:
        """One line; with `soft_wrap` the terminal breaks it, so that paths can be copied."""
        from rich.markup import escape

        self._console.print(escape(text), highlight=False, soft_wrap=soft_wrap)

    def table(self, columns: Sequence[str], rows: Iterable[Row], **looks: Any) -> None:
        """A table; `looks` as rich's Table takes them."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(*columns, **looks)
        for row in rows:
            table.add_row(*map(escape, row.cells), style=row.style, end_section=row.ends_section)
        self._console.print(table)
