"""Intervals: speakers are drawn, then their utterances; a figure says how sure it is, and what it beats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.evaluation.figures.statistics import (
    bit_rate,
    bootstrap,
    error_rate,
    figure,
    perplexity,
    ratio,
    resamples,
    usage,
)
from vqspeech.evaluation.figures.types import Figure


def trials(values, speakers=3, per_utterance=1):
    return [
        (value, f"s{(number // per_utterance) % speakers}", f"u{number // per_utterance}")
        for number, value in enumerate(values)
    ]


def test_the_value_is_the_statistic_of_all_trials():
    assert figure("x", trials([1.0, 2.0, 6.0]), seed=0).value == 3.0
    assert figure("x", trials([1.0, 2.0, 6.0]), seed=0, statistic="median").value == 2.0


def test_right_frames_over_frames_weighs_utterances_by_their_length():
    assert ratio(np.array([[1, 2], [9, 10]])) == pytest.approx(10 / 12)


def test_the_interval_of_independent_trials_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    one_speaker = ["s"] * 400
    low, high = bootstrap(values, one_speaker, range(400), seed=0, times=4000)
    half = 1.96 * values.std() / math.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_trials_of_one_utterance_count_as_one():
    random = np.random.default_rng(1)
    of_utterance = random.normal(size=40)
    repeated = np.repeat(of_utterance, 25)
    alone = bootstrap(of_utterance, ["s"] * 40, range(40), seed=0)
    together = bootstrap(repeated, ["s"] * 1000, np.repeat(np.arange(40), 25), seed=0)
    mistaken = bootstrap(repeated, ["s"] * 1000, range(1000), seed=0)
    assert together == pytest.approx(alone, abs=1e-12)
    assert np.diff(mistaken) < 0.4 * np.diff(together)


def test_speakers_that_differ_widen_the_interval():
    values = np.repeat([0.0, 1.0, 0.0, 1.0], 50)
    speakers = np.repeat(["a", "b", "c", "d"], 50)
    low, high = bootstrap(values, speakers, range(200), seed=0)
    assert (low, high) == (0.0, 1.0)  # four speakers are all that is known
    narrow = bootstrap(values, ["s"] * 200, range(200), seed=0)
    assert np.diff(narrow) < 0.2


def test_a_draw_takes_whole_speakers_and_whole_utterances():
    speakers = ["a", "a", "a", "b", "b"]
    utterances = ["1", "1", "2", "3", "3"]
    for chosen in resamples(speakers, utterances, seed=0, times=50):
        counts = np.bincount(chosen, minlength=5)
        assert counts[0] == counts[1] and counts[3] == counts[4]
        # Speaker a gives two utterances whenever drawn, speaker b one: two speakers in all.
        assert (counts[0] + counts[2]) / 2 + counts[3] == 2


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.integers(1, 4), st.integers(0, 99))
def test_the_interval_lies_within_the_values_and_depends_on_the_seed_alone(values, speakers, seed):
    rows = trials(values, speakers)
    first, again = (figure("x", rows, seed=seed, times=50) for _ in range(2))
    assert (first.low, first.high) == (again.low, again.high)
    assert min(values) - 1e-9 <= first.low <= first.high <= max(values) + 1e-9


def test_one_utterance_has_no_interval():
    one = figure("x", [(1.0, "s", "u"), (2.0, "s", "u")], seed=0)
    assert one.value == 1.5 and math.isnan(one.low) and math.isnan(one.high)


def test_trials_that_are_not_finite_are_left_out_and_counted():
    one = figure("x", trials([1.0, math.nan, 3.0]), seed=0)
    assert (one.value, one.count) == (2.0, 2)
    assert "1 of 3 trials could not be measured" in one.note
    nothing = figure("x", trials([math.nan]), seed=0)
    assert not nothing.is_measured and "1 of 1" in nothing.note
    assert figure("x", [], seed=0).note == "no trials"


def test_perplexity_of_equal_counts_is_their_number():
    counts = np.array([[1, 2, 0, 0], [2, 1, 0, 0]])
    assert perplexity(counts) == pytest.approx(2.0)
    assert usage(counts) == 0.5


def test_a_bit_rate_is_codes_a_second_times_their_entropy():
    rows = np.array([[50, 1, 1, 0], [50, 1, 0, 1]])  # counts 2, 1, 1 of four codes: 1.5 bits a code
    assert bit_rate(rows) == pytest.approx(50 * 1.5)


def test_rows_of_scores_have_the_error_rate_of_genuine_against_impostors():
    rows = np.array([[0.9, 1], [0.8, 1], [0.4, 1], [0.5, 0], [0.3, 0], [0.2, 0]])
    assert error_rate(rows) == pytest.approx(1 / 3)  # at 0.45 one of three is refused, one of three accepted


def test_an_interval_of_what_resampling_lowers_can_be_moved_back_around_the_value():
    random = np.random.default_rng(0)
    rows = [(np.bincount([random.integers(50)], minlength=50), "s", f"u{number}") for number in range(60)]
    plain = figure("in use", rows, seed=0, statistic="usage")
    centred = figure("in use", rows, seed=0, statistic="usage", centred=True)
    assert plain.high < plain.value and centred.low < centred.value < centred.high


@pytest.mark.parametrize(
    ("better", "control", "beats"),
    [(True, 0.39, True), (True, 0.41, False), (False, 0.61, True), (False, 0.59, False), (None, 0.0, None)],
)
def test_a_control_is_beaten_when_it_lies_outside_the_interval_on_the_worse_side(better, control, beats):
    one = Figure("x", 0.5, 0.4, 0.6, higher_is_better=better, controls=(Figure("control", control),))
    assert one.beats_controls is beats


def test_a_ceiling_need_not_be_beaten_and_an_unmeasured_control_cannot_be():
    ceiling = Figure("real recordings", 0.9, is_ceiling=True)
    unknown = Figure("chance", math.nan)
    assert Figure("x", 0.5, higher_is_better=True, controls=(ceiling, unknown)).beats_controls is None
    chance = Figure("chance", 0.1)
    assert Figure("x", 0.5, higher_is_better=True, controls=(ceiling, chance)).beats_controls is True
