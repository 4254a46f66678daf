"""Word errors of recognisers that expect no text: the hard test of what can be understood.

A recogniser that knows which few texts there are tells the right one from very little. One with a general language
model is closer to a listener who hears a sentence for the first time.
"""

# T samples.
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from vqspeech.errors import DependencyError
from vqspeech.evaluation.figures.statistics import Sample, ratio
from vqspeech.evaluation.figures.types import Figure, Material, Section, Wav, missing
from vqspeech.evaluation.tools.sphinx import Sphinx, words_of
from vqspeech.evaluation.tools.transcribers import find_transcribers, word_errors
from vqspeech.evaluation.trials.signals import spread
from vqspeech.evaluation.trials.texts import find_texts
from vqspeech.evaluation.trials.ways import WAYS, Heard, beside_controls, each_way

TITLE = "Words"
MAX_TRANSCRIBED = 20  # trials that are heard: PocketSphinx takes a quarter of a second for a second, six ways
FOREIGN = 0.3  # share of a speaker's words outside the dictionary above which it is another language
ENGLISH = "en"


def measure(material: Material) -> Section:
    """Word errors of conversions, reconstructions, sources and controls; what cannot be measured becomes a note."""
    texts = find_texts(material)
    heard = [Heard(trial, texts.of[trial.utterance]) for trial in material.trials if trial.utterance in texts.of]
    figures: list[Figure] = []
    notes: list[str] = []
    if heard:
        try:
            figures, notes = by_transcribers(material, heard)
        except DependencyError as reason:
            notes = [str(reason)]
    if not figures:
        why = "no text to compare with" if not heard else "see the notes"
        figures = [missing("word error rate", why, unit="%", higher_is_better=False)]
    return Section(TITLE, tuple(figures), (*texts.notes, *notes))


def by_transcribers(material: Material, heard: Sequence[Heard]) -> tuple[list[Figure], list[str]]:
    """Word error rates, and how far they lie above those of the same sources: "words lost".

    Left out are utterances with numbers in digits, and speakers whose texts are not English: all recognisers at hand
    know English alone. Words outside a recogniser's dictionary are errors of sources and conversions alike.
    """
    heard, notes = _judgeable(heard, material.language)
    if not heard:
        return [], notes
    transcribers, lacking = find_transcribers()
    notes += lacking
    chosen = spread(heard, MAX_TRANSCRIBED)
    if len(chosen) < len(heard):
        notes.append(f"{len(chosen)} of {len(heard)} trials, evenly spread, were transcribed")
    figures: list[Figure] = []
    for transcriber in transcribers:

        def errors(own: Heard, wav: Wav, hear: Callable[[Wav, int], str] = transcriber.hear) -> tuple[int, int]:
            return word_errors(own.words, words_of(hear(wav, material.sample_rate))), len(own.words)

        samples = each_way(chosen, errors, lambda own: (len(own.words), len(own.words)))  # every word is missing
        figures += _figures(transcriber.name, samples, material.seed)
    return figures, notes


def _figures(name: str, samples: dict[str, list[Sample]], seed: int) -> list[Figure]:
    note = "open vocabulary; extra words count, so that it can pass 100 %"
    rates = beside_controls(
        f"word error rate, {name}", samples, Figure("nothing heard", 1.0), seed,
        unit="%", statistic="ratio", higher_is_better=False, note=note,
    )  # fmt: skip
    lost = {way: _above_source(samples[way], samples["source"]) for way in WAYS}
    known = 1.0 - ratio(np.array([value for value, *_ in samples["source"]]))
    above = beside_controls(
        f"words lost, {name}", lost, Figure("nothing heard", known), seed,
        unit="%", statistic="ratio", higher_is_better=False, note="word errors above those of the same source, paired",
    )  # fmt: skip
    return [*rates, *above]


def _above_source(samples: Sequence[Sample], sources: Sequence[Sample]) -> list[Sample]:
    """(errors above those of the source, words) of each trial."""
    return [
        ((errors - least, words), *trial)  # type: ignore[misc]
        for ((errors, words), *trial), ((least, _), *_) in zip(samples, sources, strict=True)
    ]


def _judgeable(heard: Sequence[Heard], language: str) -> tuple[list[Heard], list[str]]:
    """Trials whose words an English recogniser can be held against, and notes on the others."""
    if language and not language.lower().startswith(ENGLISH):
        return [], [
            f"word errors are not measured: the corpus's language is {language!r}, and the recognisers at hand know "
            "English alone. The rest is measured"
        ]
    numbers = [own for own in heard if any(any(map(str.isdigit, word)) for word in own.words)]
    kept = [own for own in heard if own not in numbers]
    notes = []
    if numbers:
        example = next(word for word in numbers[0].words if any(map(str.isdigit, word)))
        notes.append(
            f"{len(numbers)} of {len(heard)} trials have numbers in digits ({example}): left out of word errors. Write "
            "numbers out as words in the corpus's texts"
        )
    return _english(kept, notes) if not language else (kept, notes)


def _english(heard: list[Heard], notes: list[str]) -> tuple[list[Heard], list[str]]:
    try:
        unknown = set(Sphinx().unknown([word for own in heard for word in own.words]))
    except DependencyError:
        return heard, notes  # the recognisers say themselves what is missing
    words: dict[str, list[bool]] = defaultdict(list)
    for own in heard:
        words[own.trial.speaker] += [word in unknown for word in own.words]
    shares = {speaker: float(np.mean(own)) for speaker, own in words.items() if own}
    foreign = sorted(speaker for speaker, share in shares.items() if share > FOREIGN)
    kept = [own for own in heard if own.trial.speaker not in foreign]
    if foreign:
        most = max(shares[speaker] for speaker in foreign)
        notes.append(
            f"{len(heard) - len(kept)} of {len(heard)} trials are left out of word errors: the texts of "
            f"{', '.join(foreign[:5])}{', ...' if len(foreign) > 5 else ''} are not English (up to {most:.0%} of the "
            "words are outside PocketSphinx's dictionary)"
        )
    strange = sorted({word for own in kept for word in own.words if word in unknown})
    if strange:
        count = sum(word in unknown for own in kept for word in own.words)
        notes.append(
            f"{count} words are outside PocketSphinx's dictionary and count as errors, in sources too "
            f"({', '.join(strange[:5])}{', ...' if len(strange) > 5 else ''})"
        )
    return kept, notes
