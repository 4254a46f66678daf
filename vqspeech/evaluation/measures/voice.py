"""Whether the voice became the target's: how like it conversions sound, and whom a closed corpus's classifier hears."""

from __future__ import annotations

from vqspeech.evaluation.figures.types import Evaluation, Section
from vqspeech.evaluation.measures.similarity import measure_similarity
from vqspeech.evaluation.measures.speakers import measure_speakers

TITLE = "Conversion: voice"


def measure(evaluation: Evaluation) -> Section:
    """Judge the voice of conversions and reconstructions; never raises for what the trials hold."""
    figures, notes, retry = measure_similarity(evaluation)
    more, remarks = measure_speakers(evaluation)
    return Section(TITLE, (*figures, *more), (*notes, *remarks), retry=retry)
