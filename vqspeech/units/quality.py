"""What units say of phones, and what they cost: mutual information, purities, entropy and bit rate.

All but the bit rate follow from counts of which unit meets which phone, frame by frame (HuBERT, arXiv 2106.07447,
section IV-A; DiscoPhon, arXiv 2603.18612). Counts of recordings add up, so that a bootstrap can draw them.
"""

# K units, P phones, N codes.
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def entropy(counts: ArrayLike) -> float:
    """Bits a symbol, of counts of any shape, taken as one distribution.

    Examples
    --------
    >>> entropy([1, 1, 2])
    1.5
    """
    counts = np.asarray(counts, np.float64).ravel()
    total = counts.sum()
    share = counts[counts > 0] / total if total else counts[:0]
    return float(-(share * np.log2(share)).sum()) + 0.0  # no minus zero


def phone_normalised_information(counts: ArrayLike) -> float:
    """PNMI: the share of the phones' entropy that the units tell, I(phone; unit) / H(phone), in [0, 1].

    It does not punish more units: of two sets of units only those of one size compare.

    Parameters
    ----------
    counts : array, shape (K, P), how often each unit meets each phone

    Returns
    -------
    information : nan without frames; 0 where there is one phone only, as in DiscoPhon

    Examples
    --------
    >>> round(phone_normalised_information([[2, 0], [1, 1]]), 9)
    0.383688547
    """
    counts = np.asarray(counts, np.float64)
    if not counts.sum():
        return math.nan
    of_phones = entropy(counts.sum(axis=0))
    if not of_phones:
        return 0.0
    return float(np.clip((of_phones + entropy(counts.sum(axis=1)) - entropy(counts)) / of_phones, 0, 1))


def phone_purity(counts: ArrayLike) -> float:
    """HuBERT's phone purity: share of frames whose phone is their unit's commonest, of counts (K, P); nan without any.

    It is the accuracy of reading each unit as its likeliest phone, on the frames that taught that reading.
    """
    counts = np.asarray(counts, np.float64)
    return float(counts.max(axis=1).sum() / counts.sum()) if counts.sum() else math.nan


def cluster_purity(counts: ArrayLike) -> float:
    """HuBERT's cluster purity: share of frames whose unit is their phone's commonest, of counts (K, P); else nan.

    More units lower it; one unit for everything has 1.
    """
    return phone_purity(np.asarray(counts).T)


def deduplicate(codes: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Runs of equal codes as one code each, and how many frames each run lasts.

    Examples
    --------
    >>> [values.tolist() for values in deduplicate(np.array([5, 5, 2, 2, 2, 5]))]
    [[5, 2, 5], [2, 3, 1]]
    """
    codes = np.asarray(codes)
    if not len(codes):
        return codes, np.zeros(0, np.int64)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1])
    return codes[starts], np.diff([*starts.tolist(), len(codes)]).astype(np.int64)


def bit_rate(sequences: Sequence[NDArray[np.integer]], duration_s: float) -> float:
    """ZeroSpeech's bit rate (Dunbar et al. 2019, 2020): symbols a second times the entropy of their distribution.

    The entropy is that of single symbols over all sequences. What a run's length tells is not counted where the
    sequences were deduplicated, so give both.

    Parameters
    ----------
    sequences : int arrays, shape (N_i,)
    duration_s : of all recordings together, seconds

    Returns
    -------
    rate : bits a second; nan for no duration

    Examples
    --------
    >>> bit_rate([np.array([0, 1]), np.array([2, 3])], duration_s=2.0)
    4.0
    """
    if duration_s <= 0:
        return math.nan
    symbols = np.concatenate([np.zeros(0, np.int64), *sequences])
    _, counts = np.unique(symbols, return_counts=True)
    return len(symbols) / duration_s * entropy(counts)
