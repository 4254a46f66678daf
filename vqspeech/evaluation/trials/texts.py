"""What is said in a corpus, and in the utterances that are judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vqspeech.evaluation.figures.types import Material, Wav
from vqspeech.evaluation.tools.sphinx import Words, words_of

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

    def recordings(self, material: Material) -> Iterator[tuple[Words, Wav]]:
        """Each text with a real recording of it."""
        own: dict[Words, Wav] = {}
        for trial in material.trials:
            if trial.utterance in self.of:
                own.setdefault(self.of[trial.utterance], trial.source)
        for words in self.all:
            if words in own:
                yield words, own[words]
            elif words in self.where:
                yield words, material.store.wav(self.where[words])


def find_texts(material: Material) -> Texts:
    """Texts of the trials, and of the prepared corpus beside them."""
    store = material.store
    trials = {trial.utterance: trial for trial in material.trials}
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
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            notes.append(f"{len(names)} of {len(trials)} utterances {why} ({shown})")
    where: dict[Words, int] = {}
    every = max(1, -(-len(store) // MAX_SEARCHED))
    for index in np.arange(0, len(store), every) if of else ():
        if len(where) >= MAX_TEXTS:
            break
        words = words_of(store.text(int(index)) or "")
        if words and store.length(int(index)) <= LONGEST_S * store.sample_rate:
            where.setdefault(words, int(index))
    everything = tuple(dict.fromkeys([*of.values(), *sorted(where)]))
    return Texts(of, everything, where, tuple(notes))
