"""Whether the voice became the target's: how like it conversions sound, and whom a closed corpus's classifier hears."""

from __future__ import annotations

from vqspeech.evaluation.figures.types import Material, Section
from vqspeech.evaluation.judges.speakers import judge_speakers
from vqspeech.evaluation.measures.similarity import judge_similarity

TITLE = "Conversion: voice"


def measure(material: Material) -> Section:
    """Judge the voice of conversions and reconstructions; never raises for what the material holds."""
    figures, notes = judge_similarity(material)
    more, remarks = judge_speakers(material)
    return Section(TITLE, (*figures, *more), (*notes, *remarks))
