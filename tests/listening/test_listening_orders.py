"""Orders, loudness and anchors of listening tests, held against their definitions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import freqz

from vqspeech.errors import ListeningTestError
from vqspeech.listening.design.anchors import anchor_frequencies, low_pass, low_pass_taps, speech_shaped_noise
from vqspeech.listening.design.items import fit, join
from vqspeech.listening.design.loudness import level_db, loudness, match_loudness
from vqspeech.listening.design.orders import assign_conditions, item_orders, whole_squares, williams_square

SIZES = st.integers(1, 24)


@given(SIZES)
def test_in_a_williams_square_each_item_stands_at_each_place_and_follows_each_other_equally_often(num):
    square = williams_square(num)
    assert len(square) == (num if num % 2 == 0 else 2 * num)
    assert all(sorted(row) == list(range(num)) for row in square)
    for place in range(num):
        assert set(Counter(row[place] for row in square).values()) == {len(square) // num}
    followers = Counter((a, b) for row in square for a, b in zip(row, row[1:], strict=False))
    assert num < 2 or (len(followers) == num * (num - 1) and len(set(followers.values())) == 1)


def test_the_williams_square_of_four_is_the_published_one():
    assert williams_square(4) == [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]


@given(SIZES, SIZES, st.integers(1, 8))
def test_each_square_of_listeners_hears_every_item_under_every_condition_once(squares, num_items, num_conditions):
    squares = min(squares, 4)
    assigned = assign_conditions(squares * num_conditions, num_items, num_conditions)
    for start in range(0, len(assigned), num_conditions):
        for item in range(num_items):
            assert sorted(row[item] for row in assigned[start : start + num_conditions]) == list(range(num_conditions))
    for row in assigned:
        counts = Counter(row)
        assert max(counts.values()) - min(counts[c] for c in range(num_conditions)) <= 1


@given(SIZES, SIZES, st.integers(0, 2**32 - 1))
def test_every_listener_hears_every_item_once_and_a_seed_gives_the_same_orders(num_listeners, num_items, seed):
    orders = item_orders(num_listeners, num_items, seed)
    assert len(orders) == num_listeners and all(sorted(order) == list(range(num_items)) for order in orders)
    assert orders == item_orders(num_listeners, num_items, seed)


def test_as_many_listeners_as_items_hear_each_item_at_each_place_equally_often():
    orders = item_orders(20, 20, 0)
    assert all(sorted(order[place] for order in orders) == list(range(20)) for place in range(20))


def test_the_orders_of_different_seeds_differ():
    assert item_orders(4, 20, 0) != item_orders(4, 20, 1)


def test_listeners_are_rounded_up_to_whole_squares():
    assert [whole_squares(num, 3) for num in (1, 3, 20)] == [3, 3, 21]


def test_a_full_scale_sine_of_997_hz_has_the_loudness_that_bs1770_states():
    sine = np.sin(2 * np.pi * 997 * np.arange(48000 * 3) / 48000).astype(np.float32)
    assert loudness(sine, 48000) == pytest.approx(-3.01, abs=0.05)


def test_matched_sounds_have_one_loudness_even_where_a_peak_would_be_clipped():
    random = np.random.default_rng(0)
    spiky = random.normal(0, 0.001, 16000).astype(np.float32)
    spiky[8000] = 1.0
    smooth = random.normal(0, 0.3, 16000).astype(np.float32)
    matched = match_loudness([[spiky, smooth], [0.01 * smooth]], 8000)
    found = [loudness(wav, 8000) for group in matched for wav in group]
    assert np.ptp(found) < 0.01
    assert max(np.abs(wav).max() for group in matched for wav in group) <= 0.98001


def test_one_sound_too_short_for_gating_makes_its_group_be_matched_by_level():
    random = np.random.default_rng(0)
    short, long = (random.normal(0, s, n).astype(np.float32) for s, n in ((0.01, 2400), (0.1, 16000)))
    (group,) = match_loudness([[short, long]], 8000)
    assert level_db(group[0]) == pytest.approx(level_db(group[1]), abs=0.01)


@pytest.mark.parametrize("wrong", [np.zeros(8000), np.full(8000, np.nan), np.zeros(0)])
def test_what_cannot_be_heard_cannot_be_matched(wrong):
    with pytest.raises(ListeningTestError, match="silent"):
        match_loudness([[wrong.astype(np.float32)]], 8000)


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050, 48000])
def test_anchors_meet_the_mask_of_bs1534(sample_rate):
    low, mid = anchor_frequencies(sample_rate)
    assert (low, mid) == ((3500, 7000) if sample_rate >= 16000 else (1750, 3000))
    for cutoff in (low, mid):
        taps = low_pass_taps(cutoff, sample_rate)
        np.testing.assert_allclose(taps, taps[::-1], atol=1e-12)  # linear phase
        response = lambda hz: 20 * np.log10(np.abs(freqz(taps, worN=hz, fs=sample_rate)[1]))  # noqa: B023, E731
        assert np.abs(response(np.linspace(20, cutoff, 200))).max() <= 0.1
        for factor, down in ((8 / 7, -25), (9 / 7, -50)):
            above = np.linspace(cutoff * factor, sample_rate / 2, 100)
            if above[0] < above[-1]:
                assert response(above).max() <= down


def test_an_anchor_is_not_delayed_and_as_long_as_its_reference():
    t = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 500 * t).astype(np.float32)
    filtered = low_pass(tone, 1750, 8000)
    assert len(filtered) == len(tone)
    np.testing.assert_allclose(filtered[200:-200], tone[200:-200], atol=0.005)


def test_noise_of_a_check_has_the_rhythm_of_the_speech_and_none_of_its_tone():
    t = np.arange(8000) / 8000
    speech = (np.sin(2 * np.pi * 500 * t) * (t > 0.5)).astype(np.float32)
    noise = speech_shaped_noise(speech, 8000, seed=0)
    assert np.abs(noise[:3500]).max() == 0 and level_db(noise[4500:]) == pytest.approx(level_db(speech[4500:]), abs=1)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    assert spectrum[450:550].sum() < 0.1 * spectrum.sum()


def test_joined_utterances_keep_their_order_with_a_pause_between():
    a, b = np.full(100, 0.5, np.float32), np.full(60, -0.5, np.float32)
    joined = join([a, b], 1000)
    assert len(joined) == 100 + 250 + 60
    assert joined[50] == 0.5 and (joined[100:350] == 0).all() and joined[380] == -0.5
    assert joined[0] == joined[99] == 0 and (a == 0.5).all()  # faded, and what was given is left alone


def test_a_sound_is_cut_or_continued_to_a_length():
    assert fit(np.ones(3, np.float32), 5).tolist() == [1, 1, 1, 0, 0] and fit(np.ones(3, np.float32), 2).tolist() == [
        1,
        1,
    ]
