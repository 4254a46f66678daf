"""Put the summary of an evaluation onto a packed model's cards, and into the pages that quote it.

    vqspeech evaluate english --data FOLDER --out evaluations/english
    python benchmarks/summaries.py english evaluations/english/report.json

docs/results/NAME.md shows the whole summary between the lines `<!-- summary of NAME -->` and `<!-- end of summary -->`.
README.md shows the headlines of the models that come with vqspeech between `<!-- headlines -->` and
`<!-- end of headlines -->`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from vqspeech.files import write_whole
from vqspeech.pretrained import bundled
from vqspeech.pretrained.bundled import read_packed_card
from vqspeech.pretrained.packing import quote
from vqspeech.pretrained.summary import Line, Summary, read_summary

README, RESULTS = Path("README.md"), Path("docs/results")
END = "<!-- end of summary -->"
HEADLINES, END_OF_HEADLINES = "<!-- headlines -->", "<!-- end of headlines -->"

# Lines of a summary that README quotes, what it calls them, and which of its controls show how far there is to go.
QUOTED = (
    ("DistillMOS: conversions", "naturalness, 1 to 5: DistillMOS ↑", "real speech"),
    ("word error rate, PocketSphinx: conversions", "word errors: PocketSphinx ↓", "real speech"),
    ("similarity to the target", "similarity to the target: Resemblyzer ↑", "real target"),
    ("conversions heard as the target", "heard as the target: the stricter of two judges ↑", "chance"),
    ("ABX error across speakers, codes", "ABX error of the codes across speakers ↓", "k-means on MFCCs"),
)


def mark(name: str) -> str:
    """The line above the summary of a model."""
    return f"<!-- summary of {name} -->"


def shown_between(page: str, begin: str, end: str) -> str | None:
    """What a page shows between two marks; None where it has no such marks."""
    _, begun, rest = page.partition(begin + "\n")
    return rest.partition(end)[0].strip() if begun else None


def put_between(page: str, begin: str, end: str, text: str) -> str:
    """The page with this text between two marks; as it is where it has no such marks."""
    before, begun, rest = page.partition(begin + "\n")
    return f"{before}{begun}{text}\n{end}{rest.partition(end)[2]}" if begun else page


def shown_in(page: str, name: str) -> str | None:
    """The summary of a model that a page shows; None where it has no such marks."""
    return shown_between(page, mark(name), END)


def put_into(page: str, name: str, summary: Summary) -> str:
    """The page with this summary between the marks of the model."""
    return put_between(page, mark(name), END, summary.markdown())


def headlines(names: Sequence[str]) -> str:
    """A table of the bundled models' quoted figures: measured [95 %], number of trials, and one control beside each."""
    measured = {}
    for name in names:
        summary = read_packed_card(bundled.FOLDER / name).summary
        measured[name] = {line.name: line for line in summary.lines} if summary else {}
    rows = ["| conversions | " + " | ".join(f"`{name}`" for name in names) + " |", "|---|" + "---|" * len(names)]
    for line_name, title, control in QUOTED:
        cells = [_cell(measured[name].get(line_name), control) for name in names]
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(line: Line | None, control: str) -> str:
    """ "1.36 [1.30, 1.42], n = 30; real speech 4.09"."""
    if line is None:
        return "not measured"
    beside = [shown for shown in line.shown_beside().split(", ") if shown.startswith(control)]
    return "; ".join([f"{line.shown()}, n = {line.count:,}", *beside])


@click.command(help=__doc__)
@click.argument("name")
@click.argument("report", type=click.Path(path_type=Path, exists=True))
def main(name: str, report: Path) -> None:
    """Write the cards and the pages."""
    summary = read_summary(report)
    if name in bundled.bundled_names():
        quote(bundled.FOLDER / name, report)
        print(f"{bundled.FOLDER / name}: cards written")
    pages = {RESULTS / f"{name}.md": lambda page: put_into(page, name, summary)}
    pages[README] = lambda page: put_between(page, HEADLINES, END_OF_HEADLINES, headlines(bundled.bundled_names()))
    for path, change in pages.items():
        page = path.read_text(encoding="utf-8") if path.is_file() else ""
        if (changed := change(page)) != page:
            with write_whole(path) as temporary:
                temporary.write_text(changed, encoding="utf-8")
            print(f"{path}: written")


if __name__ == "__main__":
    main()
