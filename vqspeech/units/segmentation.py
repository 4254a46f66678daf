"""Units read as phones: phoneme error rate and where boundaries fall, as DiscoPhon scores them (arXiv 2603.18612).

Each unit is read as its likeliest phone, neighbours that are read alike are one, and the sequence is compared with the
labels' without regard to times (error rate), or its boundaries are, without regard to names (R-value).
"""

# N codes, P phones, G true boundaries, B found ones.
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.numba_cache import guard

TOLERANCE_S = 0.02  # between a true boundary and one that counts as it
_ROUNDING_S = 1e-9

guard()


class Boundaries(NamedTuple):
    """Counts of boundaries; those of recordings add up.

    Attributes
    ----------
    hits : true boundaries with a found one near
    found : boundaries that were found
    true : boundaries that there are
    """

    hits: int
    found: int
    true: int

    @property
    def precision(self) -> float:
        """Hits of what was found; nan where nothing was."""
        return self.hits / self.found if self.found else math.nan

    @property
    def recall(self) -> float:
        """Hits of what there is; nan where nothing is."""
        return self.hits / self.true if self.true else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.hits / (self.found + self.true) if self.found + self.true else math.nan

    @property
    def r_value(self) -> float:
        """Räsänen, Laine & Altosaar 2009, eq. 5 to 7: 1 at best; too many boundaries cost more than in F1.

        With the hit rate R and the over-segmentation OS = found / true - 1 it is 1 - (r1 + r2) / 2, where r1 is the
        distance of (OS, R) from (0, 1) and r2 = (R - 1 - OS) / sqrt(2), both without sign.
        """
        if not self.true:
            return math.nan
        over = self.found / self.true - 1
        r1 = math.hypot(1 - self.recall, over)
        r2 = abs(self.recall - 1 - over) / math.sqrt(2)
        return 1 - (r1 + r2) / 2


def compare_boundaries(true_s: ArrayLike, found_s: ArrayLike, tolerance_s: float = TOLERANCE_S) -> Boundaries:
    """Count true boundaries that have a found one within the tolerance.

    Where the windows of two true boundaries overlap, both end halfway (Räsänen et al. 2009), so that one found boundary
    is a hit for two only where it lies exactly there.

    Parameters
    ----------
    true_s : shape (G,), seconds
    found_s : shape (B,), seconds

    Examples
    --------
    >>> compare_boundaries([0.1, 0.2], [0.11, 0.15, 0.3])
    Boundaries(hits=1, found=3, true=2)
    """
    true, found = (np.sort(np.asarray(times, np.float64)) for times in (true_s, found_s))
    low, high = true - tolerance_s, true + tolerance_s
    if len(true) > 1:
        middle = (true[1:] + true[:-1]) / 2
        low[1:], high[:-1] = np.maximum(low[1:], middle), np.minimum(high[:-1], middle)
    first = np.searchsorted(found, low - _ROUNDING_S, side="left")
    end = np.searchsorted(found, high + _ROUNDING_S, side="right")
    return Boundaries(int((end > first).sum()), len(found), len(true))


def changes(labels: NDArray[np.integer], frame_rate: float) -> NDArray[np.float64]:
    """Times in seconds at which a sequence of labels (N,), one a frame, goes from one to another."""
    return (np.flatnonzero(np.diff(labels)) + 1) / frame_rate


def edit_distance(found: ArrayLike, true: ArrayLike) -> int:
    """Fewest insertions, deletions and substitutions (Levenshtein) between two sequences of integers.

    Examples
    --------
    >>> edit_distance([1, 2, 3], [1, 3, 4])
    2
    """
    return int(_edits(np.asarray(found, np.int64), np.asarray(true, np.int64)))


@numba.njit(cache=True, nogil=True)
def _edits(found: np.ndarray, true: np.ndarray) -> int:
    row = np.arange(len(true) + 1)
    for place in range(len(found)):
        diagonal, row[0] = row[0], place + 1
        for column in range(len(true)):
            above = row[column + 1]
            row[column + 1] = min(diagonal + (found[place] != true[column]), above + 1, row[column] + 1)
            diagonal = above
    return row[len(true)]


def phoneme_error_rate(errors: Sequence[tuple[int, int]]) -> float:
    """Edits over the true sequences' lengths, of (edits, length) of each recording; nan without a length."""
    edits, lengths = np.asarray(errors, np.float64).reshape(-1, 2).sum(axis=0)
    return float(edits / lengths) if lengths else math.nan
