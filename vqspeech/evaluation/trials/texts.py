"""What is said in a corpus, and in the utterances that are judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vqspeech.data.selection import thin
from vqspeech.evaluation.figures.text import listed
from vqspeech.evaluation.figures.types import Evaluation, Trial, Wav
from vqspeech.evaluation.tools.sphinx import Words, words_of
from vqspeech.evaluation.trials.scoring import WordedTrial

MAX_SEARCHED = 3000  # utterances whose text is read to know what the corpus says
MAX_TEXTS = 200  # different ones: more decoys make no harder test
LONGEST_S = 20.0  # of a recording whose states stand for its text


@dataclass(frozen=True)
class Texts:
    """Texts of a corpus.

    Attributes
    ----------
    of : utterance to its words, for the trials that have a text and were not cut
    all : the different texts, those of the trials first, at most `MAX_TEXTS` beside them
    where : text to the position of a recording of it in the store
    notes : what could not be used, and why
    """

    of: dict[str, Words]
    all: tuple[Words, ...]
    where: dict[Words, int] = field(repr=False)
    notes: tuple[str, ...] = ()

    def worded(self, trials: Sequence[Trial]) -> list[WordedTrial]:
        """The trials that have a text, with its words."""
        return [WordedTrial(trial, self.of[trial.utterance]) for trial in trials if trial.utterance in self.of]

    def recordings(self, evaluation: Evaluation) -> Iterator[tuple[Words, Wav]]:
        """Each text with a real recording of it."""
        own: dict[Words, Wav] = {}
        for trial in evaluation.trials:
            if trial.utterance in self.of:
                own.setdefault(self.of[trial.utterance], trial.source)
        for words in self.all:
            if words in own:
                yield words, own[words]
            elif words in self.where:
                yield words, evaluation.store.wav(self.where[words])


def find_texts(evaluation: Evaluation) -> Texts:
    """Texts of the trials, and of the prepared corpus beside them."""
    store = evaluation.store
    trials = {trial.utterance: trial for trial in evaluation.trials}
    of, silent, cut = {}, [], []
    for name, trial in trials.items():
        words = words_of(trial.text or "")
        if not words:
            silent.append(name)
        elif trial.is_cut:
            cut.append(name)  # a long recording of which only a part is judged: its text says more
        else:
            of[name] = words
    notes = []
    for names, why in (
        (silent, "have no text: what was said in them cannot be judged"),
        (cut, "were cut to their first seconds: their text says more than they do, and is not judged"),
    ):
        if names:
            notes.append(f"{len(names)} of {len(trials)} utterances {why} ({listed(names)})")
    where: dict[Words, int] = {}
    for index in thin(range(len(store)), len(store), MAX_SEARCHED) if of else ():
        if len(where) >= MAX_TEXTS:
            break
        words = words_of(store.text(index) or "")
        if words and store.length(index) <= LONGEST_S * store.sample_rate:
            where.setdefault(words, index)
    everything = tuple(dict.fromkeys([*of.values(), *sorted(where)]))
    return Texts(of, everything, where, tuple(notes))
