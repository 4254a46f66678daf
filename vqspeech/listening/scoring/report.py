"""A scored test on disk and on the terminal: score.json for programs, a table and score.png for people."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqspeech.errors import ListeningTestError
from vqspeech.files import write_whole
from vqspeech.listening.kinds import KINDS
from vqspeech.listening.scoring.comparisons import ALPHA, Comparison
from vqspeech.listening.scoring.intervals import CONFIDENCE, Interval
from vqspeech.listening.scoring.power import POWER
from vqspeech.listening.scoring.score import ListeningScore, Score, Scores

if TYPE_CHECKING:
    from rich.console import Console

FORMAT = "vqspeech-listening-test-score/1"


def write_score(folder: Path, scored: ListeningScore) -> tuple[Path, Path]:
    """Write score.json and score.png, each whole or not at all; return their paths."""
    from vqspeech.listening.scoring.picture import draw_score

    paths = folder / "score.json", folder / "score.png"
    with write_whole(paths[0], ListeningTestError) as temporary:
        temporary.write_text(json.dumps(to_json(scored), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with write_whole(paths[1], ListeningTestError) as temporary:
        draw_score(scored).savefig(temporary)
    return paths


def to_json(scored: ListeningScore) -> dict[str, Any]:
    """The score as plain values; what is not known is null."""
    key = scored.key
    return {
        "format": FORMAT,
        "test": key.test,
        "kind": key.kind,
        "unit": KINDS[key.kind].unit,
        "seed": scored.seed,
        "confidence": CONFIDENCE,
        "listeners": {
            "all": len(scored.verdicts),
            "kept": scored.kept,
            "excluded": [
                {"listener": one.listener, "reasons": list(one.reasons)} for one in scored.verdicts if one.reasons
            ],
            "answers": [
                {"listener": one.listener, "answered": one.answered, "asked": one.asked, "finished": one.finished}
                for one in scored.verdicts
            ],
        },
        "notes": list(scored.notes),
        "screened": _scores_to_json(scored.screened),
        "unscreened": _scores_to_json(scored.unscreened),
        "need": {
            "difference": scored.difference,
            "power": POWER,
            "tests": len(scored.screened.to_chance or scored.screened.between),
            **({} if scored.need is None else asdict(scored.need)),
        },
    }


def print_score(scored: ListeningScore, console: Console | None = None) -> None:
    """The tables in the terminal: scores, comparisons, who was left out and why, what a difference needs."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = console or Console()
    kind = KINDS[scored.key.kind]
    is_share = kind.is_share
    scores = scored.screened
    left_out = [one for one in scored.verdicts if one.reasons]
    console.print(
        f"{kind.name}: {kind.unit}; {scored.kept} of {len(scored.verdicts)} listeners counted",
        highlight=False,
    )
    everyone = {one.name: one for one in (*scored.unscreened.means, *scored.unscreened.pairs)}
    columns = ["", "mean [95 %]", "judgements"]
    columns += [f"{sexes} sex" for sexes in scores.by_sexes] + (["all listeners"] if left_out else [])
    grid = Table(*columns)
    for rows in filter(None, (scores.means, scores.pairs)):
        for one in rows:
            parts = [next((p for p in part if p.name == one.name), None) for part in scores.by_sexes.values()]
            cells = [one.name, show(one, is_share), str(one.judgements)]
            cells += [show(part, is_share) if part else "" for part in parts]
            cells += [show(everyone[one.name], is_share)] if left_out else []
            grid.add_row(*map(escape, cells), end_section=one is rows[-1])
    console.print(grid)
    for title, comparisons in (("against chance", scores.to_chance), ("between systems", scores.between)):
        if comparisons:
            grid = Table("", "difference [95 %]", "effect", "p", "p (Holm)", "", title=title, title_justify="left")
            for pair in comparisons:
                name = pair.first if pair.second == "chance" else f"{pair.first} - {pair.second}"
                shown = _interval(pair.difference, *pair.interval, is_share, signed=True)
                effect = f"{pair.effect_name} = {pair.effect:.2f}" if math.isfinite(pair.effect) else ""
                cells = [name, shown, effect, _p(pair.p), _p(pair.p_holm), verdict(pair)]
                grid.add_row(*map(escape, cells), style="bold" if pair.is_significant else "")
            console.print(grid)
    for listener in left_out:
        console.print(escape(f"left out: {listener.listener}: {'; '.join(listener.reasons)}"), highlight=False)
    for note in scored.notes:
        console.print(escape(f"note: {note}"), highlight=False)
    console.print(escape(need_sentence(scored)), highlight=False)


def verdict(pair: Comparison) -> str:
    """What a comparison says, in a word or two."""
    if not math.isfinite(pair.p_holm):
        return "not tested"
    if not pair.is_significant:
        return "may be chance"
    if pair.second == "chance":
        return "above chance" if pair.difference > 0 else "below chance"
    return "higher" if pair.difference > 0 else "lower"


def need_sentence(scored: ListeningScore) -> str:
    """How many listeners are still needed, in a sentence."""
    tests = len(scored.screened.to_chance or scored.screened.between)
    shown = f"{100 * scored.difference:.3g} %" if KINDS[scored.key.kind].is_share else f"{scored.difference:.3g}"
    of = " from chance" if scored.screened.to_chance else ""
    need = scored.need
    if need is None:
        return f"how many listeners a difference of {shown}{of} needs cannot be said: the variance is not known"
    found = f"a difference of {shown}{of} is found with a chance of {need.power:.0%} (at p = {ALPHA:g} / {tests})"
    if need.listeners is not None and need.listeners <= scored.kept:
        return f"{found}: these {scored.kept} listeners are enough"
    items = f"about {need.items} items with these listeners" if need.items else "both more listeners and more items"
    if need.listeners is None:
        return f"{found}; more listeners alone do not bring {POWER:.0%}, the items differ too much: it needs {items}"
    more = need.listeners - scored.kept
    return f"{found}; {POWER:.0%} needs about {need.listeners} listeners, {more} more, or {items}"


def show(one: Score, is_share: bool) -> str:
    """A mean with its interval, for people."""
    return _interval(one.value, *one.interval, is_share)


def _interval(value: float, low: float, high: float, is_share: bool, *, signed: bool = False) -> str:
    scale, unit, decimals = (100, " %", 1) if is_share else (1, "", 2)
    form = f"{'+' if signed else ''}.{decimals}f"
    shown = f"{scale * value:{form}}{unit}"
    return shown + (f" [{scale * low:{form}}, {scale * high:{form}}]" if math.isfinite(low) else "")


def _p(p: float) -> str:
    if not math.isfinite(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _scores_to_json(scores: Scores) -> dict[str, Any]:
    return {
        "systems": [_score_to_json(one) for one in scores.means],
        "pairs": [_score_to_json(one) for one in scores.pairs],
        "by_sexes": {sexes: [_score_to_json(one) for one in part] for sexes, part in scores.by_sexes.items()},
        "against_chance": [_comparison_to_json(pair) for pair in scores.to_chance],
        "between_systems": [_comparison_to_json(pair) for pair in scores.between],
    }


def _score_to_json(one: Score) -> dict[str, Any]:
    return {
        "name": one.name,
        "mean": one.value,
        **_bounds(one.interval),
        "judgements": one.judgements,
        "listeners": one.listeners,
        "items": one.items,
        "by_listener": one.by_listener,
    }


def _comparison_to_json(pair: Comparison) -> dict[str, Any]:
    return {
        "first": pair.first,
        "second": pair.second,
        "difference": pair.difference,
        **_bounds(pair.interval),
        "effect": _number(pair.effect),
        "effect_name": {"d": "Cohen's d", "h": "Cohen's h"}[pair.effect_name],
        "p": _number(pair.p),
        "p_holm": _number(pair.p_holm),
        "significant": pair.is_significant,
        "variance": None if pair.variances is None else asdict(pair.variances),
    }


def _bounds(interval: Interval) -> dict[str, float | None]:
    return {"low": _number(interval.low), "high": _number(interval.high)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
