"""What `vqspeech models` tells: every model and voice at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vqspeech.errors import VQSpeechError
from vqspeech.pretrained import bundled, registry, voices
from vqspeech.pretrained.checkpoint import PRIOR_FILE, read_card
from vqspeech.pretrained.summary import Summary, read_summary, report_beside


@dataclass(frozen=True)
class Entry:
    """One model or voice.

    Attributes
    ----------
    name : what --model takes; of a voice, what --speaker takes
    place : where it is, in words
    facts : (what, words) in the order in which they are printed
    """

    name: str
    place: str
    facts: tuple[tuple[str, str], ...]

    def describe(self) -> str:
        """Lines for people."""
        return "\n".join([f"{self.name}  ({self.place})", *(f"  {what:12}{words}" for what, words in self.facts)])


def list_models(runs: Path = registry.RUNS) -> Iterator[Entry]:
    """Bundled models, those of `runs`, then enrolled voices; what cannot be read is listed with the reason."""
    files = registry.candidates(runs)
    packed = [file for file in files if bundled.is_bundled(file)]
    for file in [*packed, *(file for file in files if file not in packed)]:
        yield _model(file, is_packed=file in packed)
    for file in voices.list_voices(runs / voices.FOLDER.name):
        yield _voice(file)


def _model(file: Path, is_packed: bool) -> Entry:
    name = file.parent.name if is_packed else str(file.parent)
    prior = file.with_name(PRIOR_FILE)
    size = sum(one.stat().st_size for one in (file, prior) if one.is_file()) / 1e6
    place = "bundled" if is_packed else "run"
    try:
        card = read_card(file)
        packed = bundled.read_packed_card(file.parent)
    except VQSpeechError as reason:
        return Entry(name, place, (("unreadable", str(reason)),))
    recipe = card.recipe
    shown = ", ".join(card.speakers[:16]) + (", ..." if len(card.speakers) > 16 else "")
    facts = [
        ("speakers", f"{len(card.speakers)}: {shown}"),
        ("rate", f"{recipe.data.sample_rate} Hz, {recipe.code_rate:g} codes per second"),
        ("size", f"{size:.1f} MB, " + ("with its prior" if prior.is_file() else "without a prior")),
        ("licence", packed.licence if packed else "not stated; that of the speech it was trained on"),
    ]
    if packed:
        facts += _quoted(packed.summary)
        facts += [("quality", sentence) for sentence in packed.quality]
        facts.append(("card", str(file.with_name("README.md"))))
    elif not card.is_settled:
        facts.append(("quality", f"still in its warm start, step {card.step}"))
    else:
        facts += _quoted(_evaluated(file, card.step))
    if not packed and card.is_settled and "bits" in card.metrics:
        gains = f"code gain {card.metrics['code_gain']:.2f}, speaker gain {card.metrics['speaker_gain']:.2f}"
        facts.append(("quality", f"{card.metrics['bits']:.3f} bits/sample, {gains} (validation, step {card.step})"))
    return Entry(name, place, tuple(facts))


def _evaluated(file: Path, step: int) -> Summary | None:
    """The evaluation beside a run's model, if it is of the same step; a report that cannot be read is none."""
    try:
        if json.loads(report_beside(file).read_text(encoding="utf-8"))["steps"] != step:
            return None
        return read_summary(report_beside(file))
    except (OSError, ValueError, KeyError, TypeError, VQSpeechError):
        return None


def _quoted(summary: Summary | None) -> list[tuple[str, str]]:
    """The summary of an evaluation, a line a figure."""
    if summary is None:
        return []
    return [*(("measured", sentence) for sentence in summary.sentences()), ("", summary.basis())]


def _voice(file: Path) -> Entry:
    try:
        card, _ = voices.read_voice(file)
    except VQSpeechError as reason:
        return Entry(file.stem, str(file), (("unreadable", str(reason)),))
    facts = [("voice for", f"{card.base}, SHA-256 {card.model[:12]}...")]
    if {"bits", "bits_nearest", "nearest"} <= card.figures.keys():
        facts.append((
            "quality", f"{card.figures['bits']:.3f} bits/sample; the nearest speaker, {card.figures['nearest']}, "
            f"{card.figures['bits_nearest']:.3f}",
        ))  # fmt: skip
    return Entry(card.name, str(file), tuple(facts))
