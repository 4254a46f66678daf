"""Sections on disk: plain JSON for programs, and the words for people that page and terminal show."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech.evaluation.figures.pairing import paired
from vqspeech.evaluation.figures.types import Figure, Picture, Section, Table
from vqspeech.evaluation.report.summarise import summarise
from vqspeech.files import write_whole
from vqspeech.pretrained.summary import Summary

FORMAT = 1  # of report.json


@dataclass(frozen=True)
class Report:
    """All sections of one model, or of two beside each other.

    Attributes
    ----------
    facts : what was evaluated, on what: words and numbers by name
    sections : of the model
    notes : on the whole
    other_facts, other_sections : of the model that it is put beside; empty without one
    folder : where report.json and report.html lie
    """

    facts: dict[str, Any]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    other_facts: dict[str, Any] = field(default_factory=dict)
    other_sections: tuple[Section, ...] = ()
    folder: Path = Path()

    def differences(self) -> list[tuple[str, Figure, Figure, Figure]]:
        """(section, figure, the other's, their paired difference) of each figure that both models have."""
        others = {(section.title, one.name): one for section in self.other_sections for one in section.figures}
        return [
            (
                section.title,
                one,
                others[section.title, one.name],
                paired(one, others[section.title, one.name], self.seed),
            )
            for section in self.sections
            for one in section.figures
            if (section.title, one.name) in others
        ]

    def summary(self) -> Summary:
        """What may be quoted of the model."""
        return summarise(self.sections, self.facts)

    @property
    def seed(self) -> int:
        """Of the evaluation's draws."""
        return int(self.facts.get("seed", 0))


def verdict(difference: Figure) -> str:
    """Whether a paired difference tells two models apart, in a word or two; what has to be said of the trials after."""
    if not difference.is_measured:
        return difference.note or "not measured"
    if not math.isfinite(difference.low):
        return difference.note or "no interval"
    if difference.low <= 0 <= difference.high:
        word = "not told apart"
    elif difference.higher_is_better is None:
        word = "higher" if difference.value > 0 else "lower"
    else:
        word = "better" if (difference.value > 0) == difference.higher_is_better else "worse"
    return "; ".join(filter(None, [word, difference.note]))


def show(figure: Figure, *, interval: bool = True) -> str:
    """A figure for people: "74.3 % [70.1, 78.0]", "not measured" where there is no value."""
    if not figure.is_measured:
        return "not measured"
    scale = 100.0 if figure.unit == "%" else 1.0
    bounds = [bound * scale for bound in (figure.low, figure.high)]
    decimals = _decimals(figure.value * scale, figure.unit)
    shown = f"{figure.value * scale:.{decimals}f}" + (f" {figure.unit}" if figure.unit else "")
    if interval and all(map(math.isfinite, bounds)):
        shown += f" [{bounds[0]:.{decimals}f}, {bounds[1]:.{decimals}f}]"
    return shown


def remark(figure: Figure) -> str:
    """What has to be said beside a figure: an unbeaten control first."""
    losses = [f"does not beat {control.name}" for control in figure.unbeaten]
    return "; ".join(filter(None, [*losses, figure.note]))


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain values; a figure that was not measured has null."""
    written: dict[str, Any] = {
        "format": FORMAT,
        **report.facts,
        "notes": list(report.notes),
        "summary": report.summary().to_json(),
        "sections": [section_to_json(section) for section in report.sections],
    }
    if report.other_sections:
        written["against"] = {
            **report.other_facts,
            "summary": summarise(report.other_sections, report.other_facts).to_json(),
            "sections": [section_to_json(section) for section in report.other_sections],
            "differences": [
                {"section": title, **figure_to_json(difference), "verdict": verdict(difference)}
                for title, _, _, difference in report.differences()
            ],
        }
    return written


def write_json(path: Path, values: Any) -> None:
    """Write strict JSON, whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")


def figure_to_json(figure: Figure, *, samples: bool = False) -> dict[str, Any]:
    """A figure as plain values, its trials' values only when asked for."""
    written: dict[str, Any] = {
        "name": figure.name,
        "value": _number(figure.value),
        "low": _number(figure.low),
        "high": _number(figure.high),
        "unit": figure.unit,
        "count": figure.count,
        "higher_is_better": figure.higher_is_better,
        "beats_controls": figure.beats_controls,
        "is_ceiling": figure.is_ceiling,
        "statistic": figure.statistic,
        "basis": figure.basis,
        "note": figure.note,
        "controls": [figure_to_json(control, samples=samples) for control in figure.controls],
    }
    if samples and figure.statistic:  # what has no named statistic cannot be paired
        written["samples"] = [[_plain(value), *trial] for value, *trial in figure.samples]
    if samples and figure.answers:
        written["answers"] = [list(answer) for answer in figure.answers]
    if samples and figure.draws:
        written |= {"draws": list(figure.draws), "drawn": figure.drawn}
    return written


def figure_from_json(written: dict[str, Any]) -> Figure:
    """The figure that `figure_to_json` wrote."""
    return Figure(
        name=written["name"],
        value=_value(written["value"]),
        low=_value(written["low"]),
        high=_value(written["high"]),
        unit=written["unit"],
        count=written["count"],
        higher_is_better=written["higher_is_better"],
        note=written["note"],
        is_ceiling=written["is_ceiling"],
        statistic=written["statistic"],
        controls=tuple(figure_from_json(control) for control in written["controls"]),
        samples=tuple(
            (tuple(value) if isinstance(value, list) else value, *trial) for value, *trial in written.get("samples", ())
        ),
        basis=written["basis"],
        draws=tuple(written.get("draws", ())),
        drawn=written.get("drawn", ""),
        answers=tuple(tuple(answer) for answer in written.get("answers", ())),
    )


def section_to_json(section: Section, *, whole: bool = False) -> dict[str, Any]:
    """A section as plain values; `whole` adds what report.json leaves out: trials' values and pictures."""
    return {
        "title": section.title,
        "figures": [figure_to_json(figure, samples=whole) for figure in section.figures],
        "notes": list(section.notes),
        "tables": [
            {"title": table.title, "header": list(table.header), "rows": [list(row) for row in table.rows]}
            for table in section.tables
        ],
        "pictures": [
            {"title": picture.title, "alt": picture.alt}
            | ({"png": base64.b64encode(picture.png).decode()} if whole else {})
            for picture in section.pictures
        ],
    }


def section_from_json(written: dict[str, Any]) -> Section:
    """The section that `section_to_json` wrote whole."""
    return Section(
        written["title"],
        tuple(figure_from_json(figure) for figure in written["figures"]),
        tuple(written["notes"]),
        tuple(
            Table(table["title"], tuple(table["header"]), tuple(tuple(row) for row in table["rows"]))
            for table in written["tables"]
        ),
        tuple(Picture(one["title"], base64.b64decode(one["png"]), one["alt"]) for one in written["pictures"]),
    )


def keep_section(path: Path, key: str, section: Section) -> None:
    """Keep a measured section, so that an interrupted evaluation goes on after it."""
    write_json(path, {"key": key, "section": section_to_json(section, whole=True)})


def kept_section(path: Path, key: str) -> Section | None:
    """The section kept under this key; None where there is none, or the file is damaged."""
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        return section_from_json(written["section"]) if written["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _value(written: float | None) -> float:
    return math.nan if written is None else float(written)


def _plain(value: Any) -> Any:
    """A trial's value: a number, or a list of numbers."""
    return np.asarray(value, float).tolist()


def _decimals(value: float, unit: str) -> int:
    if unit in ("%", "Hz", "bit/s", "ms") or unit.startswith("of "):
        return 0 if unit == "bit/s" else 2 if unit == "%" and 0 < abs(value) < 1 else 1
    return 3 if abs(value) < 10 else 1
