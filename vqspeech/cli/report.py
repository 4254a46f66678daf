"""The report on the terminal: every figure with its interval and controls, then what may be quoted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vqspeech.cli.console import Printer, Row
from vqspeech.evaluation.report.sections import Report, Section, remark, show, verdict
from vqspeech.pretrained.summary import Summary

if TYPE_CHECKING:
    from rich.console import Console


def print_report(report: Report, console: Console | None = None) -> None:
    """The table in the terminal: every figure, its interval, its controls and remarks."""
    printer = Printer(console)
    for note in report.notes:
        printer.line(note)
    for section in report.sections:
        if section.figures:
            columns = "figure", "value [95 %]", "remarks"
            printer.table(columns, _rows(section), title=section.title, title_justify="left")
        else:
            printer.line(f"{section.title}:")
        for note in section.notes:
            printer.line(f"  {note}")
    if report.other_sections:
        _print_differences(report, printer)
    print_summary(report.summary(), printer)


def print_summary(summary: Summary, printer: Printer) -> None:
    """What may be quoted, last: there it is seen."""
    if not summary.lines:
        return
    columns = "", "measured [95 %]", "beside", "judge"
    printer.table(columns, map(Row, summary.rows()), title="Summary", title_justify="left", show_lines=True)
    printer.line(summary.basis())


def _rows(section: Section) -> Iterator[Row]:
    for figure in section.figures:
        style = "yellow" if figure.beats_controls is False else "bold"
        yield Row((figure.name, show(figure), remark(figure)), style, not figure.controls)
        for control in figure.controls:
            yield Row((f"  {control.name}", show(control), control.note), "dim", control is figure.controls[-1])


def _print_differences(report: Report, printer: Printer) -> None:
    names = report.facts["model"], report.other_facts["model"]
    rows = (
        Row((
            f"{title}: {one.name}", show(one), show(other), show(difference) if difference.is_measured else "–",
            verdict(difference),
        ))
        for title, one, other, difference in report.differences()
    )  # fmt: skip
    columns = "figure", *names, "difference [95 %]", ""
    printer.table(columns, rows, title=" against ".join(names), title_justify="left")
    printer.line(f"{names[1]}'s own sections, with their controls and notes, are in the report")
