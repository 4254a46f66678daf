"""What was asked for against what was heard: a table and a picture of a judge's answers on conversions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vqspeech.evaluation.figures.types import Picture, Table
from vqspeech.pictures import to_png

MOST = 20  # names of a side: a larger table cannot be read
NOTHING = "nothing"  # heard: silence, or what is not finite


def confusions(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Counts of (asked for, heard).

    Returns
    -------
    asked, heard : names of rows and columns, sorted; what was asked for comes first among what was heard
    counts : shape (asked, heard)
    """
    counts = Counter(pairs)
    asked = sorted({name for name, _ in pairs})
    heard = [*asked, *sorted({name for _, name in pairs} - set(asked))]
    return asked, heard, np.array([[counts[row, column] for column in heard] for row in asked])


def tabulate(title: str, what: str, pairs: Sequence[tuple[str, str]]) -> tuple[Table, Picture] | None:
    """Table of counts and its picture; "" heard is `NOTHING`.

    Parameters
    ----------
    what : what is asked for and heard, "word" or "voice"
    pairs : (asked for, heard) of each trial

    Returns
    -------
    table, picture : None where there are fewer than two names, or more than `MOST`
    """
    asked, heard, counts = confusions([(name, answer or NOTHING) for name, answer in pairs])
    if not 2 <= len(asked) or len(heard) > MOST:
        return None
    rows = []
    for name, row in zip(asked, counts, strict=True):
        total, right = int(row.sum()), int(row[heard.index(name)])
        rows.append((name, *(str(count) if count else "·" for count in row), str(total), f"{right / total:.1%}"))
    table = Table(title, (f"{what} asked for, heard as", *heard, "n", "right"), tuple(rows))
    return table, Picture(title, _draw(what, asked, heard, counts), "; ".join(_worst(asked, heard, counts)))


def _worst(asked: Sequence[str], heard: Sequence[str], counts: NDArray[np.int64]) -> list[str]:
    """Each name that is not always heard right, with what it is most often heard as instead."""
    said = []
    for name, row in zip(asked, counts, strict=True):
        wrong = row.copy()
        wrong[heard.index(name)] = 0
        if wrong.any():
            most = int(wrong.argmax())
            said.append(f"{name} heard as {heard[most]} in {wrong[most]} of {row.sum()}")
    return said or ["all heard right"]


def _draw(what: str, asked: Sequence[str], heard: Sequence[str], counts: NDArray[np.int64]) -> bytes:
    """PNG: the share of each row in grey, its count in figures."""
    from matplotlib.figure import Figure

    shares = counts / counts.sum(1, keepdims=True)
    drawing = Figure(figsize=(2 + 0.45 * len(heard), 1.5 + 0.35 * len(asked)), layout="constrained")
    axis = drawing.subplots()
    axis.imshow(shares, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=colour)
    axis.set_xticks(range(len(heard)), heard, rotation=45, ha="right", fontsize=8)
    axis.set_yticks(range(len(asked)), asked, fontsize=8)
    axis.set_xlabel(f"{what} heard", fontsize=8)
    axis.set_ylabel(f"{what} asked for", fontsize=8)
    return to_png(drawing)
