"""The report on the terminal: every figure with its interval and controls, then what may be quoted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vqspeech.evaluation.report.sections import Report, remark, show, verdict
from vqspeech.pretrained.summary import Summary
from vqspeech.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def steps_bar() -> Iterator[Progress]:
    """A bar of what is being done, on stderr where that is a terminal; gives `evaluate`'s `watch`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)


def print_report(report: Report, console: Console | None = None) -> None:
    """The table in the terminal: every figure, its interval, its controls, what has to be said."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Grid

    console = console or Console()
    for note in report.notes:
        console.print(escape(note), highlight=False)
    for section in report.sections:
        grid = Grid("figure", "value [95 %]", "remarks", title=section.title, title_justify="left")
        for figure in section.figures:
            style = "yellow" if figure.beats_controls is False else "bold"
            last = not figure.controls
            grid.add_row(*map(escape, (figure.name, show(figure), remark(figure))), style=style, end_section=last)
            for control in figure.controls:
                last = control is figure.controls[-1]
                cells = f"  {control.name}", show(control), control.note
                grid.add_row(*map(escape, cells), style="dim", end_section=last)
        if section.figures:
            console.print(grid)
        else:
            console.print(f"{section.title}:", highlight=False)
        for note in section.notes:
            console.print(escape(f"  {note}"), highlight=False)
    if report.other_sections:
        names = report.facts["model"], report.other_facts["model"]
        grid = Grid("figure", *names, "difference [95 %]", "", title=" against ".join(names), title_justify="left")
        for title, one, other, difference in report.differences():
            shown = show(difference) if difference.is_measured else "–"
            row = f"{title}: {one.name}", show(one), show(other), shown, verdict(difference)
            grid.add_row(*map(escape, row))
        console.print(grid)
        console.print(
            escape(f"{names[1]}'s own sections, with their controls and notes, are in the report"), highlight=False
        )
    print_summary(report.summary(), console)


def print_summary(summary: Summary, console: Console) -> None:
    """What may be quoted, last: there it is seen."""
    from rich.markup import escape
    from rich.table import Table as Grid

    if not summary.lines:
        return
    grid = Grid("", "measured [95 %]", "beside", "judge", title="Summary", title_justify="left", show_lines=True)
    for what, value, beside, judge in summary.rows():
        grid.add_row(*map(escape, (what, value, beside, judge)))
    console.print(grid)
    console.print(escape(summary.basis()), highlight=False)
