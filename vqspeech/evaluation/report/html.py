"""The report as one HTML file that needs nothing else: tables, plots, sound and spectrograms are inside it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vqspeech.audio import resampled, to_int16
from vqspeech.data.selection import middles
from vqspeech.evaluation.figures.types import Evaluation, Figure, Picture, Section, Trial, Wav
from vqspeech.evaluation.report.sections import Report, remark, show, verdict
from vqspeech.evaluation.trials.real_speech import real_speech
from vqspeech.files import write_whole
from vqspeech.pictures import plot_spectrograms, to_png

EXAMPLES = 6  # trials that can be listened to
SHOWN_FIRST = 3  # of them on the first screen
LONG_TABLE = 12  # rows: a longer table is folded
LONGEST_S = 6.0  # of each
TARGET_S = 2.0  # of the target's real speech, at least, where there is as much
TEMPLATE = Path(__file__).with_name("report.html.jinja")


@dataclass(frozen=True)
class Example:
    """One trial to listen to: labelled WAV files, and a PNG of their spectrograms with the codes."""

    title: str
    text: str
    sounds: tuple[tuple[str, bytes], ...]
    picture: bytes


def write_html(path: Path, report: Report, evaluation: Evaluation, other: Evaluation | None = None) -> None:
    """Write report.html, whole or not at all.

    Parameters
    ----------
    evaluation, other : of the report's model and of the one beside it, for the examples
    """
    from jinja2 import Environment, StrictUndefined

    # Names and texts come from the corpus: everything is escaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        facts=report.facts,
        summary=report.summary(),
        shown_first=SHOWN_FIRST,
        long_table=LONG_TABLE,
        notes=report.notes,
        sections=report.sections,
        plots=[plot_section(section) for section in report.sections],
        other_facts=report.other_facts,
        other_sections=report.other_sections,
        other_plots=[plot_section(section) for section in report.other_sections],
        differences=report.differences() if report.other_sections else [],
        examples=make_examples(evaluation, other, report),
        show=show,
        remark=remark,
        verdict=verdict,
        data_uri=data_uri,
    )
    with write_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a URI that carries them: data:image/png;base64,..."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def make_examples(evaluation: Evaluation, other: Evaluation | None, report: Report) -> list[Example]:
    """Some trials, evenly spread; of two models, both conversions."""
    trials = evaluation.trials
    made = []
    for place in middles(len(trials), EXAMPLES):
        trial = trials[place]
        sounds = [*_sounds(trial, "", target_speech(evaluation, trial))]
        if other:
            name = report.other_facts["model"]
            sounds += _resampled(other, place, evaluation.sample_rate, name)
        longest = int(LONGEST_S * evaluation.sample_rate)
        sounds = [(label, np.nan_to_num(wav[:longest], posinf=1, neginf=-1).clip(-1, 1)) for label, wav in sounds]
        codes = trial.codes[: -(-longest // evaluation.hop_length)]
        drawing = plot_spectrograms(sounds, evaluation.sample_rate, codes, evaluation.hop_length)
        made.append(
            Example(
                title=f"{PurePosixPath(trial.utterance).name}: {trial.speaker} to {trial.target}",
                text=_said(trial, longest),
                sounds=tuple((label, wav_file(wav, evaluation.sample_rate)) for label, wav in sounds),
                picture=to_png(drawing, dpi=90),
            )
        )
    return made


def _said(trial: Trial, longest: int) -> str:
    """The text in quotation marks, and whether all of it can be heard here."""
    said = f"“{trial.text}”" if trial.text else ""
    if len(trial.source) > longest:
        said += f" (the first {LONGEST_S:g} s)"
    return said.strip()


def target_speech(evaluation: Evaluation, trial: Trial) -> Wav | None:
    """A real recording of the target's voice, another one than is converted; None where the corpus has none."""
    if trial.target == trial.speaker:
        return None
    found = real_speech(
        evaluation.store, trial.target, ("train", "valid", "test"), TARGET_S, leave_out={trial.utterance}
    )
    return np.concatenate([wav for _, wav in found]) if found else None


def _sounds(trial: Trial, whose: str, target: Wav | None = None) -> list[tuple[str, Wav]]:
    real = [] if target is None else [(f"the target's real voice ({trial.target})", target)]
    return [
        (f"source ({trial.speaker})", trial.source),
        *real,
        (f"conversion{whose} to {trial.target}", trial.conversion),
        (f"reconstruction{whose}", trial.reconstruction),
        ("control: source, pitch shifted", trial.shifted),
    ]


def _resampled(other: Evaluation, place: int, sample_rate: int, name: str) -> list[tuple[str, Wav]]:
    return [
        (label, resampled(wav, other.sample_rate, sample_rate))
        for label, wav in _sounds(other.trials[place], f" by {name}")[1:3]
    ]


def wav_file(wav: Wav, sample_rate: int) -> bytes:
    """A 16-bit WAV file."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, to_int16(wav), sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def plot_section(section: Section) -> tuple[Picture, ...]:
    """Figures with intervals, their controls below each, every figure on its own scale; none without controls."""
    from matplotlib.figure import Figure as Drawing

    shown = [one for one in section.figures if one.is_measured and any(c.is_measured for c in one.controls)]
    rows = [[one, *(control for control in one.controls if control.is_measured)] for one in shown]
    rows = [
        row for row in rows if len({_extent(one) for one in row}) > 1
    ]  # where all are equal there is nothing to see
    if not rows:
        return ()
    drawing = Drawing(figsize=(9, sum(0.24 * len(row) + 0.55 for row in rows) + 0.2), layout="constrained")
    axes: Any = drawing.subplots(len(rows), 1, squeeze=False, height_ratios=[len(row) + 1.5 for row in rows])[:, 0]
    for axis, row in zip(axes, rows, strict=True):
        for place, one in enumerate(row):
            _draw(axis, place, one, is_control=place > 0)
        axis.set_yticks(range(len(row)), ["measured", *(control.name for control in row[1:])], fontsize=7)
        axis.set_ylim(len(row) - 0.4, -0.6)
        axis.set_title(f"{row[0].name}{f', {row[0].unit}' if row[0].unit else ''}", fontsize=9, loc="left", pad=2)
        axis.tick_params(axis="x", labelsize=7)
        axis.grid(axis="x", linewidth=0.3)
    names = "; ".join(f"{row[0].name} {show(row[0])}" for row in rows)
    return (Picture("Measured and controls, 95 % intervals", to_png(drawing, dpi=90), names),)


def _extent(one: Figure) -> tuple[float, ...]:
    """Value and interval as drawn."""
    return tuple(bound if np.isfinite(bound) else one.value for bound in (one.low, one.value, one.high))


def _draw(axis: Any, place: int, one: Figure, *, is_control: bool) -> None:
    scale = 100.0 if one.unit == "%" else 1.0
    colour = "0.55" if one.is_ceiling else "tab:red" if is_control else "tab:blue"
    axis.plot([one.value * scale], [place], "o", color=colour, markersize=4)
    if np.isfinite([one.low, one.high]).all():
        axis.plot([one.low * scale, one.high * scale], [place, place], color=colour, linewidth=1.5)
