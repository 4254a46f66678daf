"""Put the summary of an evaluation onto a packed model's cards, and into the pages that quote it.

    vqspeech evaluate english --data FOLDER --out evaluations/english
    python benchmarks/summaries.py english evaluations/english/report.json

docs/results/NAME.md shows the whole summary between the lines `<!-- summary of NAME -->` and `<!-- end of summary -->`.
README.md and recipes/NAME/README.md show the headlines of one or more models that come with vqspeech, between
`<!-- headlines of NAME ... -->` and `<!-- end of headlines -->`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from vqspeech.files import write_whole
from vqspeech.pretrained import bundled
from vqspeech.pretrained.bundled import read_packed_card
from vqspeech.pretrained.packing import quote
from vqspeech.pretrained.summary import Line, Summary, read_summary

END = "<!-- end of summary -->"
HEADLINES = re.compile(r"(<!-- headlines of ([\w ]+) -->\n).*?(<!-- end of headlines -->)", re.DOTALL)

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


def shown_in(page: str, name: str) -> str | None:
    """The summary of a model that a page shows; None where it has no such marks."""
    _, begun, rest = page.partition(mark(name) + "\n")
    return rest.partition(END)[0].strip() if begun else None


def put_into(page: str, name: str, summary: Summary) -> str:
    """The page with this summary between the marks of the model."""
    before, begun, rest = page.partition(mark(name) + "\n")
    if not begun:
        return page
    return f"{before}{begun}{summary.markdown()}\n{END}{rest.partition(END)[2]}"


def put_headlines(page: str) -> str:
    """The page with the headlines that the cards have now, wherever it has marks for them."""
    return HEADLINES.sub(lambda marks: f"{marks[1]}{headlines(marks[2].split())}\n{marks[3]}", page)


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
    for path in (Path("README.md"), Path("recipes") / name / "README.md", Path("docs/results") / f"{name}.md"):
        page = path.read_text(encoding="utf-8") if path.is_file() else ""
        if (changed := put_headlines(put_into(page, name, summary))) != page:
            with write_whole(path) as temporary:
                temporary.write_text(changed, encoding="utf-8")
            print(f"{path}: written")


if __name__ == "__main__":
    main()
