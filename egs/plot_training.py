"""How a training went: bits per sample, gains, perplexity and the free-running probe over minutes.

python egs/plot_training.py --run runs/fsdd curves.png

Reads metrics.jsonl, which every training writes. The warm start is shaded.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from vqspeech.pictures import plot_training, save_picture


@click.command()
@click.option("--run", type=click.Path(path_type=Path, exists=True), default=Path("runs/fsdd"), show_default=True)
@click.argument("picture", type=click.Path(path_type=Path))
def main(run: Path, picture: Path) -> None:
    """Draw the curves of RUN into PICTURE (.png)."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    save_picture(plot_training([json.loads(line) for line in lines]), picture)
    click.echo(picture)


if __name__ == "__main__":
    main()
