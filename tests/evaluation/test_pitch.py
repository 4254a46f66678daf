"""Pitch judged: tones of known F0, distances and shares by hand, and what has no pitch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voices import PITCHES, RATE, hum, make_evaluation, make_store, voice_of
from vqspeech.evaluation.measures import pitch
from vqspeech.evaluation.measures.pitch import few_enough, measure_pitch, semitones


def glide(low: float, high: float, seconds: float) -> np.ndarray:
    """A tone that rises evenly in semitones, with three harmonics."""
    t = np.arange(int(seconds * RATE)) / RATE
    rate = math.log(high / low) / seconds
    phase = 2 * np.pi * low * (np.exp(rate * t) - 1) / rate
    return (0.2 * sum(np.sin(k * phase) / k for k in (1, 2, 3))).astype(np.float32)


def by_name(section) -> dict:
    return {figure.name: figure for figure in section.figures}


def control(figure, name: str):
    return {found.name: found for found in figure.controls}[name]


DISTANCE, NEARER, RANGE = (
    "median F0, distance to the target's",
    "median F0 nearer to the target's than to the source's",
    "F0 range",
)


@pytest.mark.parametrize("f0", [80.0, 110.0, 165.0, 230.0, 300.0])
def test_the_median_of_a_steady_tone_is_its_pitch(f0):
    heard = measure_pitch(hum(f0, 0.5), sample_rate=RATE)
    assert abs(12 * np.log2(heard.median / f0)) < 0.3
    assert heard.range < 0.3


def test_a_glide_of_an_octave_has_its_middle_as_median_and_eight_tenths_of_it_as_range():
    """Even in semitones, so the 10th and 90th percentiles are 0.8 octaves apart."""
    heard = measure_pitch(glide(100, 200, 2.0), sample_rate=RATE)
    assert abs(12 * np.log2(heard.median / 141.4)) < 0.4
    assert heard.range == pytest.approx(9.6, abs=0.8)


def test_the_level_and_some_noise_do_not_change_the_pitch():
    clean = measure_pitch(hum(165, 0.5), sample_rate=RATE)
    noise = np.random.default_rng(0).normal(0, 0.02, RATE // 2).astype(np.float32)
    rough = measure_pitch(hum(165, 0.5) + noise, sample_rate=RATE)
    quiet = measure_pitch(hum(165, 0.5) * 0.05, sample_rate=RATE)
    assert rough.median == pytest.approx(clean.median, rel=0.02)
    assert quiet.median == pytest.approx(clean.median, rel=0.005)


def test_recordings_are_taken_together():
    heard = measure_pitch(hum(110, 0.4), hum(220, 0.4), sample_rate=RATE)
    assert heard.range == pytest.approx(12, abs=0.5)


@pytest.mark.parametrize(
    "wav", [np.zeros(0), np.zeros(4000), np.full(4000, np.nan), np.random.default_rng(0).normal(0, 0.1, 4000)]
)
def test_silence_nan_and_noise_have_no_pitch(wav):
    heard = measure_pitch(wav.astype(np.float32), sample_rate=RATE)
    assert math.isnan(heard.median) and math.isnan(heard.range)


def test_semitones_by_hand():
    assert semitones(220, 110) == 12
    assert semitones(100, 150) == pytest.approx(7.01955, abs=1e-4)  # a pure fifth
    assert math.isnan(semitones(math.nan, 100)) and math.isnan(semitones(100, 0))


@given(a=st.floats(60, 500), b=st.floats(60, 500), c=st.floats(60, 500))
def test_semitones_are_a_distance(a, b, c):
    assert semitones(a, b) == pytest.approx(semitones(b, a))
    assert semitones(a, c) <= semitones(a, b) + semitones(b, c) + 1e-9


@given(count=st.integers(1, 40), seconds=st.floats(0.1, 3.0), most_s=st.floats(1.0, 30.0))
def test_no_more_is_looked_at_than_asked_for_and_all_where_it_is_little(count, seconds, most_s):
    one = make_evaluation(make_store(train=1, test=1)).trials[0]
    trials = [replace(one, utterance=str(n), conversion=hum(110, seconds)) for n in range(count)]
    kept = few_enough(trials, most_s * RATE)
    assert kept[0] is trials[0]
    assert len(kept) == count if count * seconds <= most_s else (len(kept) - 1) * seconds <= most_s


def test_perfect_conversions_have_the_targets_pitch():
    figures = by_name(pitch.measure(make_evaluation(make_store(train=4, test=6, seconds=0.5))))
    assert figures[DISTANCE].value < 0.3
    assert figures[NEARER].value == 1.0
    assert figures[RANGE].value < 0.3
    # Of the six pairs two each are 110:165, 165:275 and 110:275 Hz: 7.0, 8.8 and 15.9 semitones.
    assert control(figures[DISTANCE], "source unchanged").value == pytest.approx(12 * np.log2(275 / 165), abs=0.3)
    assert control(figures[NEARER], "source unchanged").value == 0.0
    assert control(figures[DISTANCE], "real recordings, to their own speaker's").value < 0.3
    assert figures[DISTANCE].beats_controls and figures[NEARER].beats_controls


def test_a_model_that_keeps_the_pitch_beats_no_control():
    kept = make_evaluation(
        make_store(train=4, test=6, seconds=0.5), lambda speaker, target, seconds: voice_of(speaker, seconds)
    )
    figures = by_name(pitch.measure(kept))
    assert figures[NEARER].value == 0.0
    assert figures[NEARER].beats_controls is False and figures[DISTANCE].beats_controls is False


def test_the_table_has_the_pitch_of_each_target_and_of_what_became_of_it():
    (table,) = pitch.measure(make_evaluation(make_store(train=4, test=4, seconds=0.5))).tables
    assert [row[0] for row in table.rows] == ["ann", "bob", "cat"]
    for name, real, converted, _, _, voiced in table.rows:
        assert float(real) == pytest.approx(PITCHES[name], rel=0.02)
        assert float(converted) == pytest.approx(PITCHES[name], rel=0.02)
        assert voiced == "4 of 4"


def test_conversions_without_pitch_are_counted_and_the_others_measured():
    evaluation = make_evaluation(make_store(train=4, test=4, seconds=0.5))
    first, second, *others = evaluation.trials
    broken = (
        replace(first, conversion=np.zeros(4000, np.float32)),
        replace(second, conversion=np.full(4000, np.nan, np.float32)),
        *others,
    )
    figures = by_name(pitch.measure(replace(evaluation, trials=broken)))
    assert "2 of 12 trials could not be measured" in figures[DISTANCE].note
    assert figures[DISTANCE].count == 10 and figures[NEARER].value == 1.0


def test_speakers_of_one_pitch_have_no_nearer(monkeypatch):
    monkeypatch.setitem(PITCHES, "bob", 112.0)
    store = make_store(train=4, test=4, seconds=0.5, speakers=("ann", "bob"))
    figure = by_name(pitch.measure(make_evaluation(store)))[NEARER]
    assert math.isnan(figure.value) and "at least 1 semitone apart" in figure.note


def test_one_voice_says_that_there_is_no_conversion():
    section = pitch.measure(make_evaluation(make_store(speakers=("ann",), seconds=0.5)))
    assert all("no conversions to another speaker" in figure.note for figure in section.figures)
