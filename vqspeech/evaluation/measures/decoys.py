"""Texts that were not said: others of the corpus, and where it has too few, made-up sentences of about their length."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np

from vqspeech.data.sentences import make_sentence
from vqspeech.evaluation.figures.types import Wav
from vqspeech.evaluation.tools.ranking import Chain, make_chain
from vqspeech.evaluation.tools.sphinx import Sphinx, Words, to_pcm, words_of

NUM_DECOYS = 20  # beside the true transcript
SENTENCE_WORDS = 4  # texts of fewer are no sentences: a made-up sentence is no decoy for them
_MADE_UP = 40  # of them, each as long as one of the texts; to align one takes a fraction of a second
_SENTENCE = (30, 62)  # characters of each


def are_sentences(texts: Sequence[Words]) -> bool:
    """Whether made-up sentences could stand beside them."""
    return bool(texts) and median(map(len, texts)) >= SENTENCE_WORDS


def make_up(sphinx: Sphinx, texts: Sequence[Words], wav: Wav, sample_rate: int, seed: int) -> dict[Words, Chain]:
    """States of made-up sentences, one to three in a row, as long as the texts are.

    Parameters
    ----------
    texts : whose lengths the sentences are to have
    wav : array, shape (T,), any speech as long as they take: where a word has several pronunciations it chooses
    """
    pause, pcm = sphinx.silence_states(), to_pcm(wav, sample_rate)
    letters = [sum(map(len, text)) + len(text) for text in texts]
    middle = sum(_SENTENCE) / 2
    chains: dict[Words, Chain] = {}
    for number in range(_MADE_UP):
        count = max(1, round(letters[number % len(letters)] / middle))
        said = " ".join(make_sentence(seed, f"decoy {number} {part}", *_SENTENCE) for part in range(count))
        words = words_of(said)
        if words in texts or sphinx.unknown(words):
            continue
        states = sphinx.word_states(words, pcm)
        if states is not None:
            chains[words] = make_chain(states, pause)
    return chains


def choose_decoys(words: Words, chains: dict[Words, Chain], seed: int) -> list[Words]:
    """Twenty other texts, so that duration alone does not tell the true one: drawn from the sixty nearest in length, or
    from the nearer half where there are fewer than twice as many, but never from fewer than twenty."""
    size = len(chains[words].senones)
    others = sorted(
        (own for own in chains if own != words), key=lambda own: (abs(len(chains[own].senones) - size), own)
    )
    near = others[: max(NUM_DECOYS, min(3 * NUM_DECOYS, len(others) // 2))]
    drawn = np.random.default_rng([seed, size, len(words)]).permutation(len(near))[:NUM_DECOYS]
    return [near[place] for place in drawn]
