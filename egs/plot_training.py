"""How a training went: bits per sample, gains, perplexity and the free-running probe over minutes.

python egs/plot_training.py --run runs/fsdd curves.png

Reads metrics.jsonl, which every training writes. The warm start is shaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from vqspeech.pictures import save_picture


def plot_training(rows: Sequence[dict[str, Any]]) -> Figure:
    """Curves of a run over minutes: bits per sample, gains, perplexity, free-running probe.

    Parameters
    ----------
    rows : the lines of a run's metrics.jsonl; the warm start, in which the decoder takes no part, is shaded
    """
    steps = [row for row in rows if row["kind"] == "train"]
    checks = [row for row in rows if row["kind"] == "validation" and not row["warm_start"]]
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    panels: Any = figure.subplots(2, 2, sharex=True).ravel()
    warm_until = max((row["seconds"] / 60 for row in steps if not row["bits"]), default=0.0)

    def minutes(of: Sequence[dict[str, Any]]) -> list[float]:
        return [row["seconds"] / 60 for row in of]

    decoding = [row for row in steps if row["bits"]]
    panels[0].plot(minutes(decoding), [row["bits"] for row in decoding], linewidth=0.5, label="training")
    curves = [
        [("validation", "bits"), ("silence", "bits_silence")],
        [("code gain", "code_gain"), ("speaker gain", "speaker_gain")],
        [("perplexity", "perplexity")],
    ]
    for panel, lines in zip(panels, curves, strict=False):
        for label, key in lines:
            panel.plot(minutes(checks), [row[key] for row in checks], marker=".", label=label)
    probed = [row for row in checks if "probe" in row]
    for key in ("content", "content_control", "target", "still_source", "own"):
        heard = [row for row in probed if key in row["probe"]]  # a single speaker has no figures of voices
        panels[3].plot(minutes(heard), [row["probe"][key] for row in heard], marker=".", label=key.replace("_", " "))
    titles = ("bits per sample", "gains, bits per sample", "codes", "free-running probe")
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, fontsize=9, loc="left")
        panel.axvspan(0, warm_until, color="0.92", zorder=0)
        panel.legend(fontsize=7)
        panel.tick_params(labelsize=7)
    for panel in panels[2:]:
        panel.set_xlabel("minutes", fontsize=8)
    return figure


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
