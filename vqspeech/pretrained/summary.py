"""What may be quoted of an evaluation: few figures, each by the stricter judge, with what it is to be seen beside.

`vqspeech evaluate` makes it, report.json and the cards of packed models hold it, and README, model pages and
`vqspeech models` show it: one table, the same numbers everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vqspeech.errors import CheckpointError

FORMAT = 1
KINDS = ("naturalness", "words", "voice", "units")


@dataclass(frozen=True)
class Line:
    """One figure that may be quoted.

    Attributes
    ----------
    kind : one of `KINDS`
    name : what was measured
    value, low, high : with its bootstrap 95 % interval; nan where there is none
    unit : "%" (the value is a share and is shown times 100), "bits/s", ... or ""
    count : trials
    better : "higher", "lower", or "" where neither end is
    beside : (name, value) of real speech and of controls, by the same judge on the same trials
    judge : by what it was measured, with the hash of its weights where it has some
    """

    kind: str
    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    unit: str = ""
    count: int = 0
    better: str = ""
    beside: tuple[tuple[str, float], ...] = ()
    judge: str = ""

    def shown(self) -> str:
        """The value with its interval, for people: "74.3 % [70.1, 78.0]"."""
        shown = " ".join(filter(None, (_number(self.value, self.unit), self.unit)))
        if math.isfinite(self.low) and math.isfinite(self.high):
            shown += f" [{_number(self.low, self.unit)}, {_number(self.high, self.unit)}]"
        return shown

    def shown_beside(self) -> str:
        """The controls, for people: "real speech 94.0, random codes 5.1"."""
        return ", ".join(f"{name} {_number(value, self.unit)}" for name, value in self.beside)


@dataclass(frozen=True)
class Summary:
    """The lines of one evaluation, and on what they were measured.

    Attributes
    ----------
    lines : in the order of `KINDS`; what could not be measured is not among them
    conversions, utterances, speakers : how many were judged
    split : of the corpus; "train" flatters
    seed : of every draw
    weights : hash of the model's
    version : of vqspeech that measured
    is_quick : whether it was measured with --quick: fewer trials, wider intervals
    """

    lines: tuple[Line, ...]
    conversions: int
    utterances: int
    speakers: int
    split: str
    seed: int
    weights: str
    version: str
    is_quick: bool = False

    def basis(self) -> str:
        """On what it was measured, in a sentence."""
        quick = ", measured with --quick" if self.is_quick else ""
        return (
            f"{self.conversions} conversions of {self.utterances} utterances by {self.speakers} speakers, {self.split} "
            f"split, seed {self.seed}{quick}; weights {self.weights[:12]}, vqspeech {self.version}"
        )

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Cells for a table: what (and where better lies), value with interval, beside it, judge and trials."""
        for line in self.lines:
            better = {"higher": " ↑", "lower": " ↓"}.get(line.better, "")
            judge = "; ".join(filter(None, (line.judge, f"n = {line.count}" if line.count else "")))
            yield f"{line.name}{better}", line.shown(), line.shown_beside(), judge

    def markdown(self) -> str:
        """A table for README and model pages, with its basis below."""
        header = ("| | measured [95 %] | beside | judge |", "|---|---|---|---|")
        body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows()]
        return "\n".join([*header, *body, "", f"{self.basis()}."])

    def sentences(self) -> Iterator[str]:
        """One sentence a line, for a terminal."""
        for what, value, beside, judge in self.rows():
            yield f"{what}: {value}" + (f"; {beside}" if beside else "") + (f" ({judge})" if judge else "")

    def to_json(self) -> dict[str, Any]:
        """Plain values; an interval that is not there is null."""
        written = asdict(self)
        for line in written["lines"]:
            line |= {name: line[name] if math.isfinite(line[name]) else None for name in ("low", "high")}
            line["beside"] = [{"name": name, "value": value} for name, value in line["beside"]]
        return {"format": FORMAT, **written, "lines": list(written["lines"])}


def summary_from_json(written: dict[str, Any]) -> Summary:
    """What `Summary.to_json` wrote.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it is of another format or damaged.
    """
    values = dict(written)
    if (found := values.pop("format")) != FORMAT:
        raise ValueError(f"a summary of format {found}, this vqspeech reads format {FORMAT}")
    return Summary(**{**values, "lines": tuple(map(_line, values["lines"]))})


def report_beside(model_file: Path) -> Path:
    """Where `vqspeech evaluate` writes the report of a run's model."""
    return model_file.parent / "evaluation" / "report.json"


def read_summary(report: Path) -> Summary:
    """The summary in a report.json.

    Raises
    ------
    CheckpointError
        If there is none, or it cannot be read.
    """
    try:
        return summary_from_json(json.loads(report.read_text(encoding="utf-8"))["summary"])
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise CheckpointError(
            f"{report} has no summary that can be read ({type(reason).__name__}: {reason}). Make it with: "
            "vqspeech evaluate MODEL"
        ) from None


def _line(written: dict[str, Any]) -> Line:
    bounds = {name: math.nan if written[name] is None else float(written[name]) for name in ("low", "high")}
    beside = tuple((str(one["name"]), float(one["value"])) for one in written["beside"])
    return Line(**{**written, **bounds, "beside": beside})


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.1f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
