"""The picture of a scored test: means with intervals over the listeners' own means, and the comparisons beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vqspeech.listening.kinds import KINDS
from vqspeech.listening.scoring.comparisons import Comparison
from vqspeech.listening.scoring.score import ListeningScore, Score

INK, FAINT, ACCENT = "#1f2933", "#9aa5b1", "#0b6e99"  # told apart in grey, too
LONGEST_NAME = 26  # characters


def draw_score(scored: ListeningScore) -> Figure:
    """Draw a score."""
    scores = scored.screened
    shown = [*scores.means, *scores.pairs]
    comparisons = [*scores.between] or ([] if scores.pairs else [*scores.to_chance])
    rows = max(len(shown), len(comparisons), 3)
    figure = Figure(figsize=(12 if comparisons else 8, 1.6 + 0.42 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if comparisons else 1, squeeze=False, width_ratios=[1.1, 1] if comparisons else None)[0]
    _draw_means(axes[0], scored, shown)
    if comparisons:
        _draw_comparisons(axes[1], scored, comparisons)
    figure.suptitle(
        f"{KINDS[scored.key.kind].short_title}: {scored.kept} listeners"
        + (f" ({len(scored.verdicts) - scored.kept} left out)" if scored.kept < len(scored.verdicts) else ""),
        color=INK,
        fontsize=13,
    )
    return figure


def _draw_means(axes: Axes, scored: ListeningScore, shown: Sequence[Score]) -> None:
    kind = KINDS[scored.key.kind]
    scale = 100 if kind.is_share else 1
    random = np.random.default_rng(0)
    for row, one in enumerate(shown):
        own = np.array(list(one.by_listener.values())) * scale
        axes.scatter(own, row + random.uniform(-0.2, 0.2, len(own)), s=12, color=FAINT, alpha=0.6, linewidths=0)
        _draw_interval(axes, row, one.value * scale, one.interval.low * scale, one.interval.high * scale, True)
        axes.annotate(
            f"{one.value * scale:.{kind.decimals}f}",
            (one.value * scale, row),
            (0, 9),
            textcoords="offset points",
            ha="center",
            color=INK,
            fontsize=9,
        )
    if kind.is_share:
        axes.axvline(50, color=INK, linewidth=0.8, linestyle=":")
    low, high = kind.scale or (0, 100)
    margin = 0.04 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_xlabel(kind.axis + "; dots: single listeners")
    if high <= 5:
        axes.set_xticks(range(low, high + 1))
    _finish(axes, [_short(one.name, 2 * LONGEST_NAME) for one in shown])


def _draw_comparisons(axes: Axes, scored: ListeningScore, comparisons: Sequence[Comparison]) -> None:
    scale = 100 if KINDS[scored.key.kind].is_share else 1
    for row, pair in enumerate(comparisons):
        low, high = (bound * scale for bound in pair.interval)
        _draw_interval(axes, row, pair.difference * scale, low, high, pair.is_significant)
    axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel("difference" + ("" if scale == 1 else " (%)") + "; filled: p < 0.05 (Holm)")
    # A minus sign, which is no hyphen: names have those.
    _finish(axes, [f"{_short(pair.first)} \N{MINUS SIGN} {_short(pair.second)}" for pair in comparisons])


def _draw_interval(axes: Axes, row: int, value: float, low: float, high: float, filled: bool) -> None:
    style: dict[str, Any] = {"color": ACCENT, "zorder": 3}
    if math.isfinite(low):
        axes.plot([low, high], [row, row], linewidth=2.2, solid_capstyle="butt", **style)
    face = ACCENT if filled else "white"
    axes.plot([value], [row], "o", markersize=7, markerfacecolor=face, markeredgewidth=1.6, **style)


def _finish(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _short(name: str, most: int = LONGEST_NAME) -> str:
    cut = name if len(name) <= most else f"{name[: most - 12]}…{name[-11:]}"
    return cut.replace("$", r"\$")  # matplotlib would read mathematics between two
