"""From the sections of an evaluation to the few figures that may be quoted, by the stricter judge of two."""

from __future__ import annotations

import contextlib
import fnmatch
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vqspeech.evaluation.figures.types import Figure, Section
from vqspeech.pretrained.summary import Line, Summary

# Controls that are shown beside a figure, by the words that people know them by.
_BESIDE = {
    "source unchanged": "real speech",
    "mu-law copy": "mu-law copy",
    "real recordings of the target": "real target",
    "random codes": "random codes",
    "k-means on MFCCs": "k-means on MFCCs",
    "nothing heard": "",
    "chance": "chance",
}
# What the sources are by these is no ceiling: they are in another voice.
_VOICES = _BESIDE | {"source unchanged": "source unchanged", "mu-law copy": ""}


@dataclass(frozen=True)
class Quoted:
    """A line of the summary.

    Attributes
    ----------
    kind : see `Line`
    name : of the line, "" for the figure's own
    figures : patterns of figures' names; of those that were measured the one that says the worst is taken
    beside : controls that are shown
    needs : a pattern of a figure without which the line is no fair one
    """

    kind: str
    name: str
    figures: tuple[str, ...]
    beside: dict[str, str]
    needs: str = "*"


# Of few sentences the right one is easily told: only where the corpus is one of single words is that a measure.
_CLOSED = "right word, *: conversions"

# Judges that come with a package and its weights, by a word of the figures' names.
_PACKAGES = {
    "PocketSphinx": "pocketsphinx", "similarity to": "Resemblyzer", "nearer to the target": "Resemblyzer",
}  # fmt: skip

QUOTED = (
    Quoted("naturalness", "", ("DistillMOS: conversions",), _BESIDE),
    Quoted("naturalness", "", ("DistillMOS: reconstructions",), _BESIDE),
    Quoted("naturalness", "", ("DNSMOS OVRL: conversions",), _BESIDE),
    Quoted("words", "", ("word error rate, *: conversions",), _BESIDE),
    Quoted("words", "", ("word error rate, *: reconstructions",), _BESIDE),
    Quoted("words", "", ("words lost, *: conversions",), {"random codes": "random codes"}),
    Quoted("words", "", (_CLOSED, "right text, *: conversions"), _BESIDE, _CLOSED),
    Quoted("words", "", ("right *, in the target's voice",), _BESIDE, _CLOSED),
    Quoted("voice", "", ("similarity to the target",), _VOICES),
    Quoted("voice", "", ("similarity to the source",), _VOICES),
    Quoted("voice", "", ("nearer to the target than to the source", "conversions heard as the target"), _VOICES),
    Quoted("units", "", ("ABX error within speakers, codes",), _BESIDE),
    Quoted("units", "", ("ABX error across speakers, codes",), _BESIDE),
    Quoted("units", "", ("frames whose phoneme the codes tell",), _BESIDE),
    Quoted("units", "", ("bit rate",), {}),
)  # fmt: skip


def summarise(sections: Sequence[Section], facts: dict[str, Any]) -> Summary:
    """The lines of `QUOTED` that were measured.

    Parameters
    ----------
    facts : of `Report`
    """
    figures = [one for section in sections for one in section.figures if one.is_measured]
    lines = []
    for quoted in QUOTED:
        rivals = [one for one in figures if any(map(_matches(one), quoted.figures))]
        if rivals and any(_matches(one)(quoted.needs) for one in figures):
            strictest = min(rivals, key=lambda one: one.goodness)
            others = len(rivals) > 1
            lines.append(_line(quoted, strictest, "the stricter of " + str(len(rivals)) if others else ""))
    return Summary(
        lines=tuple(lines),
        conversions=int(facts["conversions"]),
        utterances=int(facts["utterances"]),
        speakers=len(facts["speakers"]),
        split=str(facts["split"]),
        seed=int(facts["seed"]),
        weights=str(facts["weights"]),
        version=version("vqspeech"),
        is_quick=bool(facts.get("quick", False)),
    )


def _matches(figure: Figure) -> Callable[[str], bool]:
    return lambda pattern: fnmatch.fnmatchcase(figure.name, pattern)


def _line(quoted: Quoted, figure: Figure, remark: str) -> Line:
    better = {True: "higher", False: "lower", None: ""}[figure.higher_is_better]
    beside = [
        (quoted.beside[control.name], control.value)
        for control in figure.controls
        if control.is_measured and quoted.beside.get(control.name)
    ]
    return Line(
        kind=quoted.kind,
        name=quoted.name or figure.name,
        value=float(figure.value),
        low=float(figure.low),
        high=float(figure.high),
        unit=figure.unit,
        count=figure.count,
        better=better,
        beside=tuple((name, float(value)) for name, value in beside if math.isfinite(value)),
        judge="; ".join(filter(None, (_judge_of(quoted, figure), remark))),
    )


def _judge_of(quoted: Quoted, figure: Figure) -> str:
    """The figure's own name where the line has another, and by what it was measured: the package and its version."""
    package = next((package for word, package in _PACKAGES.items() if word in figure.name), "")
    with contextlib.suppress(PackageNotFoundError):
        package = f"{package} {version(package)}" if package else ""
    return "; ".join(filter(None, (figure.name if quoted.name else "", figure.basis or package)))
