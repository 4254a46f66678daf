"""Where the true transcript ranks among decoys, each scored by its best alignment with the recording."""

# F frames, Q senones, S states of a text, W words.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IMPOSSIBLE = np.int64(1) << 40  # more than any path costs


@dataclass(frozen=True)
class Chain:
    """The states of a text one after the other, with a pause before, between and after its words.

    Attributes
    ----------
    senones : int array, shape (S,)
    first : bool array, shape (S,): the first state of a word, which may follow the word before without its pause
    pause : number of states of a pause
    """

    senones: NDArray[np.int64]
    first: NDArray[np.bool_]
    pause: int


def make_chain(words: Sequence[Sequence[int]], pause: Sequence[int]) -> Chain:
    """Chain the senones of words (W lists), with optional pauses around each."""
    senones, first = list(pause), [False] * len(pause)
    for word in words:
        senones += [*word, *pause]
        first += [True, *[False] * (len(word) - 1 + len(pause))]
    return Chain(np.array(senones), np.array(first), len(pause))


def alignment_costs(costs: NDArray[np.integer], chains: Sequence[Chain]) -> NDArray[np.int64]:
    """Cost of the best path through each chain: one state a frame, which stays or goes one on; pauses may be skipped.

    All transitions cost nothing, so that the sound alone decides.

    Parameters
    ----------
    costs : int array, shape (F, Q), of each state in each frame
    chains : one a text

    Returns
    -------
    totals : int64 array, shape (len(chains),); `IMPOSSIBLE` where there are fewer frames than states
    """
    if not chains:
        return np.zeros(0, np.int64)
    sizes = np.array([len(chain.senones) for chain in chains])
    ends = np.cumsum(sizes)
    starts = ends - sizes
    pause = chains[0].pause
    senones = np.concatenate([chain.senones for chain in chains])
    local = costs[:, senones].astype(np.int64)  # all chains side by side: one pass over the frames serves them
    blocked = np.zeros(len(senones), np.int64)
    blocked[starts] = IMPOSSIBLE  # nothing comes before a chain's first state
    # The word before ends just ahead of the pause between; the first word of a chain has none before it.
    skipping = np.flatnonzero(np.concatenate([chain.first for chain in chains]))
    skipping = skipping[~np.isin(skipping, starts + pause)]
    best = np.full(len(senones), IMPOSSIBLE)
    if len(local):
        for entry in (starts, starts + pause):
            best[entry] = local[0, entry]
    for frame in local[1:]:
        before = np.empty_like(best)
        before[1:] = best[:-1]
        before[0] = IMPOSSIBLE
        before += blocked
        before[skipping] = np.minimum(before[skipping], best[skipping - pause - 1])
        best = np.minimum(best, before) + frame
    return np.minimum(np.minimum(best[ends - 1], best[ends - 1 - pause]), IMPOSSIBLE)


def rank(true: float, decoys: NDArray[np.number]) -> float:
    """Place of a cost among decoys', 1 for the lowest; each decoy that costs the same counts half.

    Examples
    --------
    >>> rank(5, np.array([7, 5, 3, 9]))
    2.5
    """
    return 1 + float((decoys < true).sum() + 0.5 * (decoys == true).sum())
