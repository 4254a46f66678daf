"""Content and voice joined trial by trial, against counting by hand."""

from __future__ import annotations

import pytest

from vqspeech.evaluation.figures.statistics import figure
from vqspeech.evaluation.figures.together import HEARD_AS_TARGET, both_right
from vqspeech.evaluation.figures.types import Figure, Section

TRIALS = [("ann", "a1", "bob"), ("ann", "a2", "bob"), ("bob", "b1", "ann"), ("bob", "b2", "ann")]


def share(name: str, values: list[float], controls: tuple[Figure, ...] = (), **more: object) -> Figure:
    samples = [(value, *trial) for value, trial in zip(values, TRIALS)]
    return figure(name, samples, seed=0, unit="%", controls=controls, **more)


def content(values: list[float], random: list[float]) -> Section:
    controls = (share("random codes", random), share("source unchanged", [1, 1, 1, 1], is_ceiling=True))
    named = share("right text, PocketSphinx: conversions", values, (*controls, Figure("chance", 0.25, unit="%")),
                  basis="four texts")  # fmt: skip
    return Section("content", (named, share("right text, PocketSphinx: reconstructions", [1, 1, 1, 1])))


def voice(values: list[float], random: list[float]) -> Section:
    controls = (share("random codes", random), share("source unchanged", [0, 0, 0, 0]), Figure("chance", 0.5))
    return Section("voice", (share(HEARD_AS_TARGET, values, controls, basis="judge 7"),))


def test_a_trial_counts_where_both_judges_are_right():
    found = both_right([content([1, 1, 0, 0], [1, 0, 0, 0]), voice([1, 0, 1, 0], [1, 1, 1, 1])], seed=0)
    (both,) = found.figures
    assert both.name == "right text, PocketSphinx, in the target's voice"
    assert both.value == pytest.approx(1 / 4)  # the first trial alone
    assert {control.name: control.value for control in both.controls} == {
        "random codes": pytest.approx(1 / 4), "source unchanged": 0.0,
    }  # fmt: skip
    assert both.count == 4 and both.basis == "four texts; judge 7"
    assert [each.name for each in both.unbeaten] == ["random codes", "source unchanged"]


def test_trials_that_one_judge_did_not_hear_are_left_out():
    heard = voice([1, 1, 1, 1], [0, 0, 0, 0])
    fewer = content([1, 0], [0, 0])  # the first two alone
    (both,) = both_right([fewer, heard], seed=0).figures
    assert (both.count, both.value) == (2, 0.5)


def test_without_either_judge_there_is_nothing_to_join():
    assert both_right([content([1, 1, 1, 1], [0, 0, 0, 0])], seed=0) is None
    assert both_right([voice([1, 1, 1, 1], [0, 0, 0, 0])], seed=0) is None


def test_error_rates_and_ranks_are_no_shares_of_right_trials():
    rates = [((1, 4), *trial) for trial in TRIALS]
    ranks = share("its mean rank: conversions", [1, 3, 2, 1])
    errors = figure("word error rate: conversions", rates, seed=0, unit="%", statistic="ratio")
    sections = [Section("content", (ranks, errors)), voice([1, 1, 1, 1], [0, 0, 0, 0])]
    assert both_right(sections, seed=0) is None
