"""Word errors of recognisers that expect no text: the hard test of what can be understood.

A recogniser that knows which few texts there are tells the right one from very little. One with a general language
model is closer to a listener who hears a sentence for the first time.
"""

# T samples.
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from vqspeech.data.selection import spread
from vqspeech.errors import DependencyError
from vqspeech.evaluation.figures.statistics import Sample, ratio
from vqspeech.evaluation.figures.text import listed
from vqspeech.evaluation.figures.types import Evaluation, Figure, Section, Wav, missing
from vqspeech.evaluation.tools.sphinx import Sphinx, words_of
from vqspeech.evaluation.tools.transcribers import find_transcribers, word_errors
from vqspeech.evaluation.trials.scoring import Samples, WordedTrial, beside_controls, score_signals
from vqspeech.evaluation.trials.signals import SOURCE
from vqspeech.evaluation.trials.texts import find_texts

TITLE = "Words"
MAX_TRANSCRIBED = 20  # trials that are heard: PocketSphinx takes a quarter of a second for a second, six ways
FOREIGN = 0.3  # share of a speaker's words outside the dictionary above which it is another language
ENGLISH = "en"


def measure(evaluation: Evaluation) -> Section:
    """Word errors of conversions, reconstructions, sources and controls; what cannot be measured becomes a note."""
    texts = find_texts(evaluation)
    heard = texts.worded(evaluation.trials)
    figures: list[Figure] = []
    notes: list[str] = []
    retry = False
    if heard:
        try:
            figures, notes, retry = by_transcribers(evaluation, heard)
        except DependencyError as reason:
            notes, retry = [str(reason)], reason.is_installed
    if not figures:
        why = "no text to compare with" if not heard else "see the notes"
        figures = [missing("word error rate", why, unit="%", higher_is_better=False)]
    return Section(TITLE, tuple(figures), (*texts.notes, *notes), retry=retry)


def by_transcribers(evaluation: Evaluation, heard: Sequence[WordedTrial]) -> tuple[list[Figure], list[str], bool]:
    """Word error rates, and how far they lie above those of the same sources: "words lost".

    Left out are utterances with numbers in digits, and speakers whose texts are not English: all recognisers at hand
    know English alone. Words outside a recogniser's dictionary are errors of sources and conversions alike.

    Returns
    -------
    figures, notes
    retry : whether a recogniser that is installed did not load
    """
    heard, notes = _judgeable(heard, evaluation.language)
    if not heard:
        return [], notes, False
    transcribers, lacking = find_transcribers()
    notes += map(str, lacking)
    chosen = spread(heard, MAX_TRANSCRIBED)
    if len(chosen) < len(heard):
        notes.append(f"{len(chosen)} of {len(heard)} trials, evenly spread, were transcribed")
    figures: list[Figure] = []
    for transcriber in transcribers:

        def errors(own: WordedTrial, wav: Wav, hear: Callable[[Wav, int], str] = transcriber.hear) -> tuple[int, int]:
            return word_errors(own.words, words_of(hear(wav, evaluation.sample_rate))), len(own.words)

        samples = score_signals(chosen, errors, lambda own: (len(own.words), len(own.words)))  # every word is missing
        figures += _figures(transcriber.name, samples, evaluation.seed)
    return figures, notes, any(reason.is_installed for reason in lacking)


def _figures(name: str, samples: Samples, seed: int) -> list[Figure]:
    note = "open vocabulary; extra words count, so that it can pass 100 %"
    rates = beside_controls(
        f"word error rate, {name}", samples, Figure("nothing heard", 1.0), seed,
        unit="%", statistic="ratio", higher_is_better=False, note=note,
    )  # fmt: skip
    lost = {signal: _above_source(own, samples[SOURCE]) for signal, own in samples.items()}
    known = 1.0 - ratio(np.array([value for value, *_ in samples[SOURCE]]))
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


def _judgeable(heard: Sequence[WordedTrial], language: str) -> tuple[list[WordedTrial], list[str]]:
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


def _english(heard: list[WordedTrial], notes: list[str]) -> tuple[list[WordedTrial], list[str]]:
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
            f"{listed(foreign, 5)} are not English (up to {most:.0%} of the "
            "words are outside PocketSphinx's dictionary)"
        )
    strange = sorted({word for own in kept for word in own.words if word in unknown})
    if strange:
        count = sum(word in unknown for own in kept for word in own.words)
        notes.append(
            f"{count} words are outside PocketSphinx's dictionary and count as errors, in sources too "
            f"({listed(strange, 5)})"
        )
    return kept, notes
