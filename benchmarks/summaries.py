"""Put the summary of an evaluation onto a packed model's cards, and into pages between marks.

    vqspeech evaluate english --data FOLDER --out evaluations/english
    python benchmarks/summaries.py english evaluations/english/report.json
    python benchmarks/summaries.py demo runs/demo/evaluation/report.json recipes/demo/README.md

A page shows the summary of NAME between the lines `<!-- summary of NAME -->` and `<!-- end of summary -->`; README.md
is always looked at.
"""

from __future__ import annotations

from pathlib import Path

import click

from vqspeech.files import write_whole
from vqspeech.pretrained import bundled
from vqspeech.pretrained.packing import quote
from vqspeech.pretrained.summary import Summary, read_summary

END = "<!-- end of summary -->"


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


@click.command(help=__doc__)
@click.argument("name")
@click.argument("report", type=click.Path(path_type=Path, exists=True))
@click.argument("pages", nargs=-1, type=click.Path(path_type=Path, exists=True))
def main(name: str, report: Path, pages: tuple[Path, ...]) -> None:
    """Write the cards and the pages."""
    summary = read_summary(report)
    if name in bundled.bundled_names():
        quote(bundled.FOLDER / name, report)
        print(f"{bundled.FOLDER / name}: cards written")
    for path in dict.fromkeys([Path("README.md"), *pages]):
        page = path.read_text(encoding="utf-8")
        if shown_in(page, name) is not None:
            with write_whole(path) as temporary:
                temporary.write_text(put_into(page, name, summary), encoding="utf-8")
            print(f"{path}: summary of {name} written")


if __name__ == "__main__":
    main()
