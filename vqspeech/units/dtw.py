"""Dynamic time warping of many pairs of sequences at once, compiled: the mean frame distance along the best path.

The rule is ZeroSpeech's (Schatz 2016; libri-light's and fastabx's code). Steps (1, 0), (0, 1) and (1, 1) cost the
distance of the frame pair they reach, and the sum along the cheapest path is divided by its number of frame pairs.
Among equally cheap paths the one is taken that, seen from the end, goes diagonally where it can, else stays in the row,
else in the column. Where distances tie, as those of codes do, it therefore matters which of two sequences is the row.
"""

# F frames of all items together, I items, P pairs, D dimensions, K codes.
from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from vqspeech.numba_cache import guard

ANGULAR, KL, EUCLIDEAN, TABLE = range(4)  # kinds of frame distance
_SMALL = 1e-6  # added to probabilities before their logarithm is taken, as ABXpy does

guard()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def mean_distance(distances: np.ndarray, cost: np.ndarray, num_rows: int, num_columns: int) -> tuple[float, float]:
    """Mean frame distance along the best path, with the rows as rows, and with the two sequences exchanged.

    Parameters
    ----------
    distances : float64 array, at least (num_rows, num_columns), of frame pairs
    cost : float64 array of that size, overwritten
    """
    cost[0, 0] = distances[0, 0]
    for row in range(1, num_rows):
        cost[row, 0] = cost[row - 1, 0] + distances[row, 0]
    for column in range(1, num_columns):
        cost[0, column] = cost[0, column - 1] + distances[0, column]
    for row in range(1, num_rows):
        for column in range(1, num_columns):
            best = min(cost[row - 1, column], cost[row, column - 1], cost[row - 1, column - 1])
            cost[row, column] = best + distances[row, column]
    total = cost[num_rows - 1, num_columns - 1]
    return (
        total / path_length(cost, num_rows, num_columns, True),
        total / path_length(cost, num_rows, num_columns, False),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def path_length(cost: np.ndarray, num_rows: int, num_columns: int, row_first: bool) -> int:
    """Frame pairs on the best path; where two straight steps tie, it stays in the row (else in the column)."""
    row, column, length = num_rows - 1, num_columns - 1, 1
    while row > 0 and column > 0:
        up, left, diagonal = cost[row - 1, column], cost[row, column - 1], cost[row - 1, column - 1]
        if diagonal <= left and diagonal <= up:
            row -= 1
            column -= 1
        elif left < up or (left == up and row_first):
            column -= 1
        else:
            row -= 1
        length += 1
    return length + row + column


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fill(distances: np.ndarray, kind: int, a: np.ndarray, b: np.ndarray, log_a: np.ndarray, log_b: np.ndarray) -> None:
    """Frame distances of a (N, D) and b (M, D); `log_a` and `log_b` are their logarithms, for `KL` alone."""
    for row in range(len(a)):
        for column in range(len(b)):
            total = 0.0
            if kind == ANGULAR:
                for k in range(a.shape[1]):
                    total += a[row, k] * b[column, k]
                distances[row, column] = math.acos(min(1.0, max(-1.0, total))) / math.pi
            elif kind == KL:
                for k in range(a.shape[1]):
                    total += (a[row, k] - b[column, k]) * (log_a[row, k] - log_b[column, k])
                distances[row, column] = total / 2
            else:
                for k in range(a.shape[1]):
                    total += (a[row, k] - b[column, k]) ** 2
                distances[row, column] = math.sqrt(total)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def warp_features(
    features: np.ndarray, logs: np.ndarray, kind: int, starts: np.ndarray, stops: np.ndarray, pairs: np.ndarray,
    found: np.ndarray,
) -> None:  # fmt: skip
    """Distances of pairs of items whose frames are vectors.

    Parameters
    ----------
    features, logs : float64 arrays, shape (F, D); of unit length for `ANGULAR`; `logs` may be empty but for `KL`
    kind : ANGULAR, KL or EUCLIDEAN
    starts, stops : int64 arrays, shape (I,): each item's frames
    pairs : int64 array, shape (P, 2)
    found : float64 array, shape (P, 2): receives the distance with the first item as row, and with the second
    """
    longest = (stops - starts).max()
    distances, cost = np.empty((longest, longest)), np.empty((longest, longest))
    for pair in range(len(pairs)):
        a, b = pairs[pair]
        from_a, to_a, from_b, to_b = starts[a], stops[a], starts[b], stops[b]
        if kind == KL:
            log_a, log_b = logs[from_a:to_a], logs[from_b:to_b]
        else:
            log_a, log_b = logs[:0], logs[:0]
        _fill(distances, kind, features[from_a:to_a], features[from_b:to_b], log_a, log_b)
        found[pair, 0], found[pair, 1] = mean_distance(distances, cost, to_a - from_a, to_b - from_b)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def warp_codes(
    codes: np.ndarray, table: np.ndarray, starts: np.ndarray, stops: np.ndarray, pairs: np.ndarray, found: np.ndarray
) -> None:
    """As `warp_features`, of codes (F,) and a table (K, K) of their distances."""
    longest = (stops - starts).max()
    distances, cost = np.empty((longest, longest)), np.empty((longest, longest))
    for pair in range(len(pairs)):
        a, b = pairs[pair]
        num_rows, num_columns = stops[a] - starts[a], stops[b] - starts[b]
        for row in range(num_rows):
            code = codes[starts[a] + row]
            for column in range(num_columns):
                distances[row, column] = table[code, codes[starts[b] + column]]
        found[pair, 0], found[pair, 1] = mean_distance(distances, cost, num_rows, num_columns)


def unit_length(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Vectors (F, D) of unit length, as `ANGULAR` takes them.

    A vector of zeros has no direction: as in libri-light it lies at distance 1 from all others and at 0 from its like,
    by a further dimension whose products are clipped.
    """
    features = np.asarray(features, np.float64)
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    zero = norm[:, 0] == 0
    unit = features / np.where(norm > 0, norm, 1)
    if not zero.any():
        return unit
    return np.concatenate([unit, np.where(zero, -2e12, 1e-12)[:, None]], axis=1)


def log_probabilities(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logarithms of distributions (F, D), a millionth added."""
    return np.log(np.asarray(features, np.float64) + _SMALL)


def distance_table(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Angular distances (K, K) of K vectors (K, D), in [0, 1]; exactly 0 of each to itself.

    Examples
    --------
    >>> distance_table(np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])).tolist()
    [[0.0, 0.5, 1.0], [0.5, 0.0, 0.5], [1.0, 0.5, 0.0]]
    """
    unit = unit_length(vectors)
    table = np.arccos(np.clip(unit @ unit.T, -1, 1)) / np.pi
    np.fill_diagonal(table, 0.0)  # arccos makes 1e-8 of a rounding error in what should be 1
    return table
