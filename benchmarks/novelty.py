"""How far what was generated is from the nearest that was learned from: whether a prior speaks or recites.

A distance says little by itself. Beside it belongs that of held-out speech, which nobody can have learned by heart, and
that of training speech coded once more from another first sample, which is what reciting would look like.
"""

# N codes.
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vqspeech.errors import DependencyError

Codes = NDArray[np.integer]


def nearest_codes(
    sequences: Sequence[Codes], learned: Sequence[Codes], leave_out: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """Edit distance of each sequence of codes to the nearest of others, as a share of the longer one's length.

    Parameters
    ----------
    sequences, learned : codes (N,) of each
    leave_out : for each sequence, the position in `learned` of one that is not compared, such as itself

    Returns
    -------
    distances : shape (len(sequences),), in [0, 1]; 0 is a copy

    Raises
    ------
    DependencyError
        If rapidfuzz is not installed.
    """
    try:
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import cdist
    except ImportError:
        raise DependencyError(
            "edit distances need the package rapidfuzz. Run: pip install 'vqspeech[evaluate]'"
        ) from None
    # A code as a character: the library compares text fastest.
    texts, others = (["".join(map(chr, codes.tolist())) for codes in each] for each in (sequences, learned))
    distances = cdist(texts, others, scorer=Levenshtein.normalized_distance, dtype=np.float64)
    if leave_out is not None:
        distances[np.arange(len(texts)), np.asarray(leave_out)] = np.inf
    found: NDArray[np.float64] = distances.min(axis=1)
    return found
