"""The errors of ABX cells from distances between items, compiled."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from vqspeech.numba_cache import guard

guard()
Lists = tuple[NDArray[np.int64], NDArray[np.int64]]  # places end to end, and where each cell's begin and end


@numba.njit(cache=True, nogil=True, error_model="numpy")
def score_cells(
    distances: np.ndarray, a: Lists, b: Lists, x: Lists, is_within: bool, errors: np.ndarray, triplets: np.ndarray
) -> None:
    """Share of triplets in which X is nearer to B, ties one half.

    Parameters
    ----------
    distances : float64 array, shape (I, I), rows are X's
    a, b, x : places of each cell's items among the I
    is_within : whether A and X are the same items: then X is not compared with itself
    errors, triplets : float64 and int64 arrays, shape (C,): receive shares and counts
    """
    for cell in range(len(errors)):
        wrong, count = 0.0, 0
        for own in x[0][x[1][cell] : x[1][cell + 1]]:
            for near in a[0][a[1][cell] : a[1][cell + 1]]:
                if is_within and near == own:
                    continue
                to_a = distances[own, near]
                for far in b[0][b[1][cell] : b[1][cell + 1]]:
                    to_b = distances[own, far]
                    wrong += 1.0 if to_b < to_a else 0.5 if to_b == to_a else 0.0
                    count += 1
        errors[cell] = wrong / count
        triplets[cell] = count
