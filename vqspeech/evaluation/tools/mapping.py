"""Reading one sequence of symbols as another: each code as the label it occurs with most often."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def count_pairs(codes: ArrayLike, labels: ArrayLike, num_codes: int, num_labels: int) -> NDArray[np.int64]:
    """How often each code meets each label: (num_codes, num_labels), of two int arrays of shape (N,)."""
    codes, labels = np.asarray(codes, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    counts = np.bincount(codes * num_labels + labels, minlength=num_codes * num_labels)
    return counts.reshape(num_codes, num_labels)


def learn_mapping(
    codes: ArrayLike, labels: ArrayLike, *, num_codes: int, num_labels: int
) -> tuple[NDArray[np.int64], int]:
    """The label each code occurs with most often, shape (num_codes,), and the label commonest of all.

    A tie goes to the lower label; a code that does not occur is read as the commonest label.
    """
    counts = count_pairs(codes, labels, num_codes, num_labels)
    commonest = int(counts.sum(axis=0).argmax())
    return np.where(counts.any(axis=1), counts.argmax(axis=1), commonest), commonest


def normalised_information(counts: ArrayLike) -> float:
    """Mutual information of codes and labels over the mean of their entropies, from their counts (codes, labels).

    In [0, 1]; the same as scikit-learn's `normalized_mutual_info_score`, but from counts, which a bootstrap can add up.

    Examples
    --------
    >>> round(normalised_information([[5, 0], [0, 5]]), 9), normalised_information([[2, 2], [2, 2]])
    (1.0, 0.0)
    """
    joint = np.asarray(counts, dtype=np.float64)
    joint = joint / max(joint.sum(), 1)

    def entropy(shares: NDArray[np.float64]) -> float:
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum())

    of_codes, of_labels = entropy(joint.sum(axis=1)), entropy(joint.sum(axis=0))
    if of_codes + of_labels == 0:
        return 1.0  # one code, one label: each tells the other
    return max(0.0, (of_codes + of_labels - entropy(joint.ravel())) / ((of_codes + of_labels) / 2))


def teaching_half(utterances: Sequence[str]) -> NDArray[np.bool_]:
    """Choose the half of the utterances that teaches a mapping: every second one in the order of their ids' SHA-256.

    The choice depends on nothing but the ids: neither on their order nor on a seed.

    Parameters
    ----------
    utterances : sequence of unique ids, length U

    Returns
    -------
    teaching : bool array, shape (U,)
    """
    order = sorted(
        range(len(utterances)),
        key=lambda index: hashlib.sha256(utterances[index].encode("utf-8", "surrogateescape")).digest(),
    )
    teaching = np.zeros(len(utterances), dtype=bool)
    teaching[order[::2]] = True
    return teaching
