"""Two models beside each other: the same trials, known by their names; what was measured otherwise is not compared."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.evaluation.figures.pairing import paired
from vqspeech.evaluation.figures.statistics import figure
from vqspeech.evaluation.figures.types import Figure


def trials(values):
    return [(value, f"s{number % 3}", f"u{number}") for number, value in enumerate(values)]


def test_pairing_finds_a_difference_that_two_intervals_hide():
    random = np.random.default_rng(0)
    difficulty = random.normal(0, 5, 60)
    better = figure("x", trials(difficulty + 0.5 + random.normal(0, 0.1, 60)), seed=0)
    worse = figure("x", trials(difficulty), seed=0)
    assert better.low < worse.high  # side by side they overlap
    difference = paired(better, worse, seed=0)
    assert difference.value == pytest.approx(0.5, abs=0.05) and difference.low > 0.4


def test_only_trials_that_both_have_are_paired():
    a = figure("x", [(1.0, "s", "1"), (2.0, "s", "2"), (9.0, "s", "3")], seed=0)
    b = figure("x", [(0.0, "s", "2"), (0.0, "s", "1"), (5.0, "t", "3")], seed=0)
    difference = paired(a, b, seed=0)
    assert (difference.value, difference.count) == (1.5, 2)


def test_what_cannot_be_paired_is_a_difference_without_interval():
    a = figure("x", trials([1.0, 2.0]), seed=0, statistic=lambda values: float(values.max()))
    difference = paired(a, figure("x", trials([0.0, 1.0]), seed=0, statistic=lambda values: float(values.max())), 0)
    assert difference.value == 1.0 and math.isnan(difference.low) and difference.note == "no paired interval"


def test_a_trial_that_one_model_lacks_shifts_no_other():
    nan = math.nan
    a = figure("x", [(nan, "s", "1", "to bob"), (2.0, "s", "1", "to cat"), (3.0, "s", "2", "to bob")], seed=0)
    b = figure("x", [(9.0, "s", "1", "to bob"), (1.0, "s", "1", "to cat"), (1.0, "s", "2", "to bob")], seed=0)
    difference = paired(a, b, seed=0)
    assert difference.value == pytest.approx((2.0 + 3.0) / 2 - (1.0 + 1.0) / 2)
    assert difference.count == 2 and difference.note == "2 of 3 trials are in both"


def test_trials_with_several_values_keep_them_all_however_many_the_other_has():
    short = figure("run", [(1.0, "s", "1")] * 6 + [(2.0, "s", "2")] * 2, seed=0)
    long = figure("run", [(3.0, "s", "1")] * 2 + [(4.0, "s", "2")], seed=0)
    difference = paired(short, long, seed=0)
    assert difference.value == pytest.approx(10 / 8 - 10 / 3)
    # Two utterances: a draw has the first twice, both, or the second twice.
    assert (difference.low, difference.high) == pytest.approx((10 / 8 - 10 / 3, -2.0))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20), st.floats(-5, 5), st.permutations(range(20)))
def test_what_is_more_by_a_constant_in_every_trial_differs_by_it_in_any_order(values, constant, order):
    a = [(value + constant, *name) for value, *name in trials(values)]
    b = trials(values)
    mixed = [b[place] for place in order if place < len(b)]
    difference = paired(figure("x", a, seed=0, times=20), figure("x", mixed, seed=0, times=20), 0, times=20)
    assert (difference.value, difference.low, difference.high) == pytest.approx([constant] * 3, abs=1e-9)


def test_figures_by_different_judges_have_no_difference_but_a_reason():
    a = figure("x", trials([1.0, 1.0]), seed=0, basis="judge a")
    difference = paired(a, figure("x", trials([0.0, 0.0]), seed=0, basis="judge b"), 0)
    assert not difference.is_measured and difference.note == "not comparable: judge a here, judge b there"
    assert paired(a, figure("x", trials([0.0, 0.0]), seed=0, basis="judge a"), 0).value == 1.0


def test_what_one_model_has_no_value_for_has_no_difference():
    difference = paired(figure("x", trials([1.0, 2.0]), seed=0), figure("x", trials([math.nan]), seed=0), 0)
    assert not difference.is_measured and difference.note == "not measured for both"


def test_perplexities_of_codebooks_of_different_size_differ_in_codes():
    random = np.random.default_rng(0)

    def use(num_codes, used):
        rows = [(np.bincount(random.integers(used, size=200), minlength=num_codes), "s", f"u{n}") for n in range(30)]
        return figure("p", rows, seed=0, statistic="perplexity", unit=f"of {num_codes}", centred=True)

    difference = paired(use(64, 40), use(16, 16), 0)
    assert difference.unit == "codes" and difference.low < difference.value < difference.high
    assert difference.value == pytest.approx(40 - 16, abs=0.5)


def test_draws_of_the_same_utterances_are_subtracted_one_by_one():
    draws = np.random.default_rng(0).normal(0, 1, 500)
    a = Figure("i", 0.5, statistic="", draws=tuple(0.5 + draws), drawn="these", count=9)
    b = Figure("i", 0.4, statistic="", draws=tuple(0.4 + draws), drawn="these", count=9)
    difference = paired(a, b, 0)
    assert (difference.low, difference.value, difference.high) == pytest.approx((0.1, 0.1, 0.1))
    assert difference.count == 9 and difference.note == ""
    assert paired(a, replace(b, drawn="others"), 0).note == "no paired interval"
