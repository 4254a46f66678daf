"""N-gram models of codes: interpolated Kneser-Ney, held against hand arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.likelihood.ngrams import NGram, draw_codes, ngrams, tuned_models, uniform_bits

sequences_of_codes = st.lists(st.lists(st.integers(0, 2), max_size=6).map(np.array), min_size=1, max_size=4)


def kneser_ney(sequences, num_codes, order, discounts, context, symbol) -> Fraction:
    """The recursion as it is written in the paper, on dictionaries and fractions."""
    grams = [tuple(gram) for codes in sequences for gram in ngrams(np.array(codes, int), num_codes, order).tolist()]
    for _ in range(order - 1 - len(context)):
        grams = [gram[1:] for gram in sorted(set(grams))]  # a lower order counts what its n-grams follow
    counts = {gram: grams.count(gram) for gram in grams}
    lower = (
        kneser_ney(sequences, num_codes, order, discounts, context[1:], symbol)
        if context
        else Fraction(1, num_codes + 1)
    )
    followers = {gram: count for gram, count in counts.items() if gram[:-1] == tuple(context)}
    if not followers:
        return lower
    discount, total = Fraction(discounts[len(context)]), sum(followers.values())
    own = max(Fraction(followers.get((*context, symbol), 0)) - discount, Fraction(0))
    return own / total + discount * len(followers) / total * lower


def test_a_bigram_by_hand():
    # Codes 0 0 1, and the symbol 2 before and after. Bigrams 20 00 01 12, each once; with a discount of 1/2:
    # unigrams count distinct predecessors: 0 follows 2 and 0, 1 follows 0, 2 follows 1: counts 2 1 1 of 4, 3 kinds.
    model = NGram([np.array([0, 0, 1])], num_codes=2, order=2, discounts=[0.5, 0.5])
    zero = 1.5 / 4 + 0.5 * 3 / 4 / 3  # p(0) without context = 0.5
    two = 0.5 / 4 + 0.5 * 3 / 4 / 3  # p(2) = 0.25
    p = model.probabilities(np.array([[2, 0], [0, 0], [0, 2], [2, 2]]))
    assert p == pytest.approx([0.5 + 0.5 * zero, 0.25 + 0.5 * zero, 0.5 * two, 0.5 * two])
    # One code costs -log2 p(0 | 2), the end after it -log2 p(2 | 0).
    assert model.bits([np.array([0])]) == pytest.approx(-math.log2(p[0]) - math.log2(p[2]))


def test_an_unknown_context_leaves_it_to_the_lower_order():
    model = NGram([np.array([0, 1])], num_codes=3, order=2)
    unigram = model.probabilities(np.array([[2, 0]]))  # nothing ever followed the code 2
    # Predecessors: 0, 1 and 3 follow one symbol each.
    assert unigram == pytest.approx([0.5 / 3 + 0.5 * 3 / 3 / 4])


@given(sequences_of_codes, st.integers(1, 3), st.lists(st.sampled_from([0.0, 0.25, 0.75]), min_size=3, max_size=3))
def test_probabilities_equal_the_recursion_written_out(sequences, order, discounts):
    discounts = discounts[:order]
    model = NGram(sequences, 3, order, discounts)
    grams = np.stack(np.meshgrid(*[np.arange(4)] * order, indexing="ij"), -1).reshape(-1, order)
    expected = [kneser_ney(sequences, 3, order, discounts, tuple(gram[:-1]), gram[-1]) for gram in grams.tolist()]
    assert model.probabilities(grams) == pytest.approx([float(p) for p in expected])


@given(sequences_of_codes, st.integers(1, 3))
def test_what_may_follow_a_context_sums_to_one(sequences, order):
    model = NGram(sequences, 3, order)
    for context in np.ndindex(*[4] * (order - 1)):
        grams = np.array([[*context, symbol] for symbol in range(4)])
        assert model.probabilities(grams).sum() == pytest.approx(1)


def test_tuning_finds_the_discounts_of_the_grid_search():
    random = np.random.default_rng(0)
    step = np.array([0, 0, 0, 1, 2])
    train, valid = ([np.cumsum(random.choice(step, 30)) % 4 for _ in range(8)] for _ in range(2))
    tuned = NGram(train, 4, 2).tune(valid)
    grid = np.linspace(0.05, 0.95, 19)
    best = min(NGram(train, 4, 2, [a, b]).bits(valid) for a in grid for b in grid)
    assert tuned.bits(valid) == pytest.approx(best, abs=1e-4)
    assert tuned.bits(valid) < NGram(train, 4, 2).bits(valid)


def test_uniform_bits_count_the_stop_symbol():
    # 3 codes and 1 code, each with its end: 6 predictions among 4 symbols, 2 bits each, over 4 codes.
    assert uniform_bits([np.array([0, 1, 2]), np.array([2])], num_codes=3) == 12 / 4


def test_the_order_that_made_the_codes_is_the_one_that_wins():
    random = np.random.default_rng(1)

    def walk() -> np.ndarray:  # the next code is one more than the one before the last, or any
        codes = list(random.integers(0, 6, 2))
        for _ in range(60):
            codes.append((codes[-2] + 1) % 6 if random.random() < 0.9 else random.integers(0, 6))
        return np.array(codes)

    models = tuned_models([walk() for _ in range(60)], [walk() for _ in range(10)], 6)
    test = [walk() for _ in range(10)]
    bits = {name: model.bits(test) for name, model in models.items()}
    assert bits["trigram"] < 0.6 * min(bits["bigram"], bits["unigram"])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_drawn_codes_come_as_often_as_the_model_says_and_end_as_often(order):
    random = np.random.default_rng(0)
    model = NGram([random.integers(0, 3, 12) for _ in range(20)], num_codes=4, order=order)
    drawn = draw_codes(model, 4000, 1000, seed=1)
    assert all(len(codes) and codes.max() < 4 for codes in drawn)
    grams = np.concatenate([ngrams(codes, 4, order) for codes in drawn])
    begins = np.cumsum([0, *(len(codes) + 1 for codes in drawn[:-1])])
    inside = np.delete(grams, begins, axis=0)  # the first code is drawn until it is one
    context = np.array([1, 0])[: order - 1]
    seen = inside[(inside[:, :-1] == context).all(axis=1), -1]
    expected = model.probabilities(np.array([[*context, symbol] for symbol in range(5)]))
    assert len(seen) > 1000
    assert np.bincount(seen, minlength=5) / len(seen) == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(len(seen)))
    start = [4] * (order - 1)
    first = model.probabilities(np.array([[*start, symbol] for symbol in range(4)]))
    found = np.bincount([codes[0] for codes in drawn], minlength=4) / 4000
    assert found == pytest.approx(first / first.sum(), abs=4 * 0.5 / np.sqrt(4000))


def test_a_drawn_utterance_is_the_same_however_many_are_drawn_and_never_too_long():
    model = NGram([np.arange(30) % 5], num_codes=5, order=2)
    many, few, other = draw_codes(model, 20, 25, 3), draw_codes(model, 4, 25, 3), draw_codes(model, 4, 25, 4)
    assert [codes.tolist() for codes in many[:4]] == [codes.tolist() for codes in few]
    assert [codes.tolist() for codes in other] != [codes.tolist() for codes in few]
    assert max(map(len, many)) <= 25
