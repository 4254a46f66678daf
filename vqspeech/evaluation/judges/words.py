"""The classifier of a closed corpus's words: the recipe's frozen one, else one trained on real training recordings."""

# T samples.
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vqspeech.evaluation.figures.types import Material, Wav
from vqspeech.evaluation.judges.speakers import frozen_judges
from vqspeech.evaluation.tools.sphinx import Words, words_of
from vqspeech.evaluation.trials.signals import is_heard, resampled
from vqspeech.evaluation.trials.texts import Texts

if TYPE_CHECKING:
    from vqspeech.evaluation.judges.frozen import Judge

MOST_TEXTS = 20  # of a corpus that counts as closed
_LEAST_RECORDINGS = 8  # of every text, to train on
_MOST_RECORDINGS = 60  # of every text
_LONGEST_S = 2.0  # of a text's recordings on average: the classifier pools over time, and knows words, not sentences
_STEPS = 400
_BATCH = 32
_NEVER = "it has never heard a conversion. Source unchanged and mu-law copy show its own accuracy on real recordings"


@dataclass(frozen=True)
class WordJudge:
    """A judge of texts, the texts it knows, and what to say of it."""

    judge: Judge
    words: tuple[Words, ...]
    note: str

    def hear(self, wav: Wav, sample_rate: int) -> Words:
        """The text of a waveform (T,)."""
        return words_of(self.judge.predict([resampled(wav, sample_rate, self.judge.sample_rate)])[0])


def find_word_judge(material: Material, texts: Texts, *, steps: int = _STEPS) -> tuple[WordJudge | None, list[str]]:
    """The recipe's frozen judge where it knows the corpus's texts, else one trained now; else None, and why."""
    frozen = None if material.split == "train" else frozen_judges(material)  # its own recordings are no test
    if frozen and {words_of(name) for name in frozen.content.classes} >= set(texts.all):
        origin = f"frozen with the recipe, trained on {frozen.content.report.get('trained_on', 'real recordings')}"
        return _described(frozen.content, origin), []
    if not 2 <= len(texts.all) <= MOST_TEXTS:
        return None, [f"no classifier of words: the corpus is not closed, it has {len(texts.all)} texts or more"]
    wavs, labels = _recordings(material, texts)
    counts = [labels.count(" ".join(words)) for words in texts.all]
    if min(counts) < _LEAST_RECORDINGS:
        return None, [
            f"no classifier of words: one of the {len(counts)} texts has {min(counts)} training recordings that are "
            f"not evaluated, {_LEAST_RECORDINGS} of each are needed"
        ]
    if np.mean([len(wav) for wav in wavs]) > _LONGEST_S * material.sample_rate:
        return None, [f"no classifier of words: the texts are sentences, longer than {_LONGEST_S:g} s"]
    from vqspeech.evaluation.judges.training import disturb_for_content, train_judge

    batch = min(_BATCH, len(wavs))
    epochs = max(1, round(steps / (len(wavs) // batch)))
    judge = train_judge(
        "content", wavs, labels, material.sample_rate, disturb_for_content,
        epochs=epochs, batch_size=batch, seed=material.seed,
    )  # fmt: skip
    return _described(
        judge,
        f"trained on {len(wavs)} real training recordings with noise, filters, tempo and mu-law, {epochs} epochs",
    ), []


def _described(judge: Judge, origin: str) -> WordJudge:
    words = tuple(words_of(name) for name in judge.classes)
    return WordJudge(judge, words, f"classifier {judge.sha256[:12]}, {origin}; {_NEVER}")


def _recordings(material: Material, texts: Texts) -> tuple[list[Wav], list[str]]:
    """Training recordings of each text, evenly spread over the split, and none that is evaluated."""
    store = material.store
    tried = {trial.utterance for trial in material.trials}
    own: dict[Words, list[int]] = {words: [] for words in texts.all}
    for index in store.utterances("train"):
        words = words_of(store.text(index) or "")
        if words in own and store.utterance_id(index) not in tried:
            own[words].append(index)
    wavs, labels = [], []
    for words, indices in own.items():
        places = np.linspace(0, len(indices) - 1, min(len(indices), _MOST_RECORDINGS)).round().astype(int)
        for place in places:
            wav = store.wav(indices[place])
            if is_heard(wav):
                wavs.append(wav)
                labels.append(" ".join(words))
    return wavs, labels
