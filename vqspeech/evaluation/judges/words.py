"""The classifier of a closed corpus's words: the recipe's frozen one, else one trained on real training recordings."""

# T samples.
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vqspeech.audio import resampled
from vqspeech.data.selection import spread
from vqspeech.evaluation.figures.types import Evaluation, Wav
from vqspeech.evaluation.judges.speakers import frozen_judges
from vqspeech.evaluation.tools.sphinx import Words, words_of
from vqspeech.evaluation.trials.signals import is_audible
from vqspeech.evaluation.trials.texts import Texts

if TYPE_CHECKING:
    from vqspeech.evaluation.judges.frozen import FrozenJudge

MOST_TEXTS = 20  # of a corpus that counts as closed
_LEAST_RECORDINGS = 8  # of every text, to train on
_MOST_RECORDINGS = 60  # of every text
_LONGEST_S = 2.0  # of a text's recordings on average: the classifier pools over time, and knows words, not sentences
_STEPS = 400
_NEVER = "it has never heard a conversion. Source unchanged and mu-law copy show its own accuracy on real recordings"


@dataclass(frozen=True)
class WordClassifier:
    """A judge of texts, the texts it knows, and what to say of it."""

    judge: FrozenJudge
    words: tuple[Words, ...]
    note: str

    def hear(self, wav: Wav, sample_rate: int) -> Words:
        """The text of a waveform (T,)."""
        return words_of(self.judge.predict([resampled(wav, sample_rate, self.judge.sample_rate)])[0])


def find_word_classifier(
    evaluation: Evaluation, texts: Texts, *, steps: int = _STEPS
) -> tuple[WordClassifier | None, list[str]]:
    """The recipe's frozen judge where it knows the corpus's texts, else one trained now; else None, and why."""
    frozen = None if evaluation.split == "train" else frozen_judges(evaluation)  # its own recordings are no test
    if frozen and {words_of(name) for name in frozen.content.classes} >= set(texts.all):
        return _described(frozen.content, frozen.content.origin), []
    if not 2 <= len(texts.all) <= MOST_TEXTS:
        return None, [f"no classifier of words: the corpus is not closed, it has {len(texts.all)} texts or more"]
    wavs, labels = _recordings(evaluation, texts)
    counts = [labels.count(" ".join(words)) for words in texts.all]
    if min(counts) < _LEAST_RECORDINGS:
        return None, [
            f"no classifier of words: one of the {len(counts)} texts has {min(counts)} training recordings that are "
            f"not evaluated, {_LEAST_RECORDINGS} of each are needed"
        ]
    if np.mean([len(wav) for wav in wavs]) > _LONGEST_S * evaluation.sample_rate:
        return None, [f"no classifier of words: the texts are sentences, longer than {_LONGEST_S:g} s"]
    from vqspeech.evaluation.judges.training import disturb_for_content, train_for_steps

    judge = train_for_steps(
        steps, "content", wavs, labels, evaluation.sample_rate, disturb_for_content, seed=evaluation.seed
    )
    how = f"with noise, filters, tempo and mu-law, {judge.report['epochs']} epochs"
    return _described(judge, f"trained on {len(wavs)} real training recordings {how}"), []


def _described(judge: FrozenJudge, origin: str) -> WordClassifier:
    words = tuple(words_of(name) for name in judge.classes)
    return WordClassifier(judge, words, f"classifier {judge.sha256[:12]}, {origin}; {_NEVER}")


def _recordings(evaluation: Evaluation, texts: Texts) -> tuple[list[Wav], list[str]]:
    """Training recordings of each text, evenly spread over the split, and none that is evaluated."""
    store = evaluation.store
    tried = evaluation.utterances
    own: dict[Words, list[int]] = {words: [] for words in texts.all}
    for index in store.utterances("train"):
        words = words_of(store.text(index) or "")
        if words in own and store.utterance_id(index) not in tried:
            own[words].append(index)
    wavs, labels = [], []
    for words, indices in own.items():
        for index in spread(indices, _MOST_RECORDINGS):
            wav = store.wav(index)
            if is_audible(wav):
                wavs.append(wav)
                labels.append(" ".join(words))
    return wavs, labels
