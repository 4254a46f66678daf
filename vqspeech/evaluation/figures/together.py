"""The right text and the target's voice in the same trial: what a conversion is for, and harder than either alone."""

from __future__ import annotations

from collections.abc import Sequence

from vqspeech.evaluation.figures.statistics import Sample, figure
from vqspeech.evaluation.figures.types import Figure, Section

TITLE = "Conversion: content and voice"
HEARD_AS_TARGET = "conversions heard as the target"  # the figure of `speaker_judge`
IN_VOICE = ", in the target's voice"  # how the figures made here end
_SUFFIX = ": conversions"  # of the figures of `content` that are of conversions


def both_right(sections: Sequence[Section], seed: int) -> Section | None:
    """Shares of trials in which a judge of content and the judge of voices are both right.

    Nothing is heard again: the two sections' samples are joined trial by trial, those of a control with the same
    control's. A trial that one of the judges did not hear is left out.

    Returns
    -------
    section : one figure for every judge of content that tells right from wrong; None where there is no such pair
    """
    named = {found.name: found for section in sections for found in section.figures}
    voice = named.get(HEARD_AS_TARGET)
    if voice is None or not voice.samples:
        return None
    figures = []
    for name, content in named.items():
        if name.endswith(_SUFFIX) and content.samples and _tells_right_from_wrong(content):
            joined = _join(content, voice)
            if joined:
                figures.append(_figure(name.removesuffix(_SUFFIX), joined, content, voice, seed))
    return Section(TITLE, tuple(figures)) if figures else None


def _figure(name: str, joined: list[Sample], content: Figure, voice: Figure, seed: int) -> Figure:
    voices = {control.name: control for control in voice.controls}
    controls = [
        figure(control.name, pairs, seed=seed, unit="%")
        for control in content.controls
        if control.name in voices and (pairs := _join(control, voices[control.name]))
    ]
    return figure(
        f"{name}{IN_VOICE}", joined, seed=seed, unit="%", higher_is_better=True, controls=controls,
        basis="; ".join(filter(None, (content.basis, voice.basis))),
    )  # fmt: skip


def _tells_right_from_wrong(content: Figure) -> bool:
    return content.unit == "%" and all(sample[0] in (0.0, 1.0) for sample in content.samples)


def _join(content: Figure, voice: Figure) -> list[Sample]:
    """1 where both are right, of the trials that both have."""
    heard = {tuple(trial): value for value, *trial in voice.samples}
    return [
        (float(value == 1.0 and heard[tuple(trial)] == 1.0), *trial)
        for value, *trial in content.samples
        if tuple(trial) in heard
    ]
