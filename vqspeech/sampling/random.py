"""Random numbers by address: the uniform of a sample depends on nothing but seed, utterance and sample index.

So the same seed gives the same audio whatever the block sizes, the order of the utterances or the number of threads.
"""

from __future__ import annotations

import numpy as np

from vqspeech.errors import VQSpeechError

WORDS = 4  # 64-bit words of one Philox4x64 block


def check_seed(seed: int, name: str = "seed") -> None:
    """Refuse what does not fit into the 64 bits of a Philox key word.

    Raises
    ------
    VQSpeechError
        If `seed` is not a whole number in [0, 2**64).
    """
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise VQSpeechError(f"{name} {seed!r} is not a whole number from 0 to 2**64 - 1. Give for example --seed 7")


def uniforms(seed: int, utterance: int, first_sample: int, count: int) -> np.ndarray:
    """Uniform numbers of `count` samples from `first_sample` on.

    Philox4x64-10 [Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"] with the key (seed, utterance).
    Sample i takes word i mod 4 of the block with the counter 1 + i // 4 (numpy counts before it draws), and the
    word's upper 53 bits as a fraction.

    Parameters
    ----------
    seed, utterance : int, in [0, 2**64)
    first_sample, count : int, >= 0

    Returns
    -------
    uniforms : float64 array, shape (count,), in [0, 1)

    Raises
    ------
    VQSpeechError
        If seed or utterance does not fit into 64 bits.

    Examples
    --------
    >>> bool((uniforms(7, 0, 100, 5) == uniforms(7, 0, 0, 105)[100:]).all())
    True
    """
    check_seed(seed)
    check_seed(utterance, "utterance")
    assert first_sample >= 0 and count >= 0
    bits = np.random.Philox(key=np.array([seed, utterance], np.uint64))
    bits.advance(first_sample // WORDS)  # in blocks
    skipped = first_sample % WORDS
    return np.random.Generator(bits).random(skipped + count)[skipped:]
