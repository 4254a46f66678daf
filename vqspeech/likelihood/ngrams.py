"""N-gram models of codes, baselines of the prior: interpolated Kneser-Ney.

Interpolated Kneser-Ney smoothing [Chen & Goodman 1999, "An empirical study of smoothing techniques for
language modeling", §2.7] with one discount for each order, tuned on held-out sequences. Of an utterance all codes
and the stop symbol K are predicted; the context before the first code is the start symbol K.
"""

# K codebook entries, V = K + 1 symbols (the last: start and stop).

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.integer]
DISCOUNTS = np.linspace(0.05, 0.95, 19)


class NGram:
    """Interpolated Kneser-Ney model of a given order.

    Parameters
    ----------
    sequences : codes (N,) of the training utterances, in [0, K)
    num_codes : K
    order : 1 for unigrams, 2 for bigrams, ...
    discounts : one for each order from 1 on, in [0, 1)

    Notes
    -----
    With c the counts of n-grams (lower orders: of the distinct symbols they follow), h a context and h' the same
    without its first symbol: p(w | h) = max(c(hw) - d, 0) / c(h) + d |{w: c(hw) > 0}| / c(h) p(w | h'); below
    unigrams all V symbols are equally likely.
    """

    def __init__(
        self, sequences: Iterable[Codes], num_codes: int, order: int, discounts: Sequence[float] | None = None
    ) -> None:
        self.num_symbols = num_codes + 1
        self.order = order
        self.discounts = list(discounts or [0.5] * order)
        assert len(self.discounts) == order, (self.discounts, order)
        assert self.num_symbols**order < 2**63, (num_codes, order)
        grams = np.concatenate([ngrams(codes, num_codes, order) for codes in sequences])
        # For each order the distinct n-grams as numbers, and their counts: the lower ones' of distinct continuations.
        self._levels: list[_Level] = []
        keys = self._keys(grams)
        for _ in range(order):
            distinct, counts = np.unique(keys, return_counts=True)
            self._levels.insert(0, _Level(distinct, counts, self.num_symbols))
            size = self.num_symbols ** (order - len(self._levels))
            keys = distinct % size  # without the first symbol, once for each symbol that came before

    def _keys(self, grams: NDArray[np.int64]) -> NDArray[np.int64]:
        """N-grams (M, n) as numbers in base V."""
        return grams @ (self.num_symbols ** np.arange(grams.shape[1], dtype=np.int64)[::-1])

    def probabilities(self, grams: NDArray[np.int64]) -> NDArray[np.float64]:
        """p of the last symbol given those before it, for each of the n-grams (M, order)."""
        p = np.full(len(grams), 1 / self.num_symbols)
        keys = self._keys(grams)
        for number, (level, discount) in enumerate(zip(self._levels, self.discounts, strict=True), start=1):
            p = level.refine(keys % self.num_symbols**number, p, discount)
        return p

    def bits(self, sequences: Iterable[Codes]) -> float:
        """Bits for each code of the sequences, those for the stop symbols included."""
        return bits_per_code(
            sequences, lambda codes: self.probabilities(ngrams(codes, self.num_symbols - 1, self.order))
        )

    def tune(self, held_out: Sequence[Codes]) -> NGram:
        """Choose the discounts that give held-out sequences the fewest bits, order by order until none improves."""
        grams = np.concatenate([ngrams(codes, self.num_symbols - 1, self.order) for codes in held_out])

        def loss() -> float:
            return float(-np.log2(self.probabilities(grams)).sum())

        best, before = loss(), math.inf
        while best < before:
            before = best
            for place in reversed(range(self.order)):
                kept = self.discounts[place]
                for discount in DISCOUNTS:
                    self.discounts[place] = float(discount)
                    if (found := loss()) < best:
                        best, kept = found, float(discount)
                self.discounts[place] = kept
        return self


def draw_codes(model: NGram, num: int, max_codes: int, seed: int) -> list[NDArray[np.int64]]:
    """Utterances (N,), 0 < N <= `max_codes`, as the model draws them, from its start to its stop symbol.

    One that ends before it begins is drawn again. Utterance i of a seed is the same however many are drawn.
    """
    stop = model.num_symbols - 1
    symbols = np.arange(model.num_symbols)
    # The context before the first code is the start symbol, which is the stop symbol.
    sequences = np.full((num, model.order - 1 + max_codes), stop)
    lengths = np.full(num, max_codes)
    randoms = [np.random.default_rng([seed, number]) for number in range(num)]
    for n in range(max_codes):
        live = np.flatnonzero(lengths > n)
        if not len(live):
            break
        contexts = np.repeat(sequences[live, n : n + model.order - 1], len(symbols), axis=0)
        grams = np.concatenate([contexts, np.tile(symbols, len(live))[:, None]], axis=1)
        p = model.probabilities(grams).reshape(len(live), -1)
        if n == 0:
            p[:, stop] = 0  # as if drawn again until there is a code
        ends = np.cumsum(p, axis=1)
        u = np.array([randoms[number].random() for number in live])
        drawn = (ends <= (u * ends[:, -1])[:, None]).sum(axis=1)
        sequences[live, n + model.order - 1] = drawn
        lengths[live[drawn == stop]] = n
    return [row[model.order - 1 :][:length] for row, length in zip(sequences, lengths, strict=True)]


class _Level:
    """The n-grams of one order: how often each, and for each context how many in all and how many different."""

    def __init__(self, grams: NDArray[np.int64], counts: NDArray[np.int64], num_symbols: int) -> None:
        self.num_symbols = num_symbols
        self.grams, self.counts = grams, counts
        self.contexts, which = np.unique(grams // num_symbols, return_inverse=True)
        self.totals = np.bincount(which, counts)
        self.kinds = np.bincount(which)

    def refine(self, keys: NDArray[np.int64], lower: NDArray[np.float64], discount: float) -> NDArray[np.float64]:
        """This order's probabilities of n-grams, from those of the order below."""
        context, known = _find(keys // self.num_symbols, self.contexts)
        gram, seen = _find(keys, self.grams)
        total = np.where(known, self.totals[context], 1.0)
        own = np.where(seen, np.maximum(self.counts[gram] - discount, 0), 0)
        mixed = own / total + discount * self.kinds[context] / total * lower
        return np.where(known, mixed, lower)


def _find(keys: NDArray[np.int64], among: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Places of keys in a rising array, and whether they are there."""
    place = np.minimum(np.searchsorted(among, keys), len(among) - 1)
    return place, among[place] == keys


def ngrams(codes: Codes, num_codes: int, order: int) -> NDArray[np.int64]:
    """All n-grams (N + 1, order) of an utterance's codes (N,): each symbol, the stop included, after its context.

    Examples
    --------
    >>> ngrams(np.array([0, 1]), 2, 2).tolist()  # 2 is start and stop
    [[2, 0], [0, 1], [1, 2]]
    """
    symbols = np.concatenate([np.full(order - 1, num_codes), np.asarray(codes, np.int64), [num_codes]])
    return np.lib.stride_tricks.sliding_window_view(symbols.astype(np.int64), order)


def bits_per_code(sequences: Iterable[Codes], probabilities: Callable[[Codes], NDArray[np.float64]]) -> float:
    """-log2 of what `probabilities` gives for each sequence, summed, over the number of codes."""
    bits, count = 0.0, 0
    for codes in sequences:
        bits -= float(np.log2(probabilities(codes)).sum())
        count += len(codes)
    return bits / count


def tuned_models(train: Sequence[Codes], valid: Sequence[Codes], num_codes: int) -> dict[str, NGram]:
    """Unigram, bigram and trigram by name, from training sequences, with discounts tuned on validation sequences."""
    names = ("unigram", "bigram", "trigram")
    return {name: NGram(train, num_codes, order).tune(valid) for order, name in enumerate(names, start=1)}


def uniform_bits(sequences: Iterable[Codes], num_codes: int) -> float:
    """Bits for each code if all K codes and the stop symbol are equally likely everywhere."""
    return bits_per_code(sequences, lambda codes: np.full(len(codes) + 1, 1 / (num_codes + 1)))
