"""Cuts of a recording: where the stated rule puts them, however the recording arrives, and never in speech."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqspeech.conversion.cuts import PAUSE_DEPTH, PAUSE_LEVEL, SHORTEST_PART_S, Cuts

RATE = 1000  # Hz


def signal(parts: list[tuple[float, float]], seed: int = 0) -> np.ndarray:
    """Noise of two values, so that the level of any stretch is exact: pieces of (seconds, level)."""
    random = np.random.default_rng(seed)
    return np.concatenate(
        [level * random.choice([-1, 1], round(seconds * RATE)) for seconds, level in parts] or [np.zeros(0)]
    ).astype(np.float32)


def naive_cuts(wav: np.ndarray, hop: int, rate: int, receptive_field: int) -> list[int]:
    """The rule on the whole signal, frame by frame.

    A frame is in a pause if its RMS is at most -40 dB of full scale and 30 dB below the loudest frame so far. A part
    begins at a frame that ends a pause of more than `receptive_field` samples, two seconds after the last at least.
    """
    warm_up = math.ceil(receptive_field / hop)
    levels = [math.sqrt(np.mean(wav[i : i + hop].astype(np.float64) ** 2)) for i in range(0, len(wav) - hop + 1, hop)]
    loudest = np.maximum.accumulate(levels)
    pauses = [level <= min(0.01, 10**-1.5 * so_far) for level, so_far in zip(levels, loudest)]
    cuts, last = [], 0
    for frame in range(warm_up, len(levels)):
        if all(pauses[frame - warm_up : frame + 1]) and frame - last >= max(1, round(2 * rate / hop), warm_up):
            cuts.append(frame)
            last = frame
    return cuts


def cuts_of(wav: np.ndarray, hop: int, receptive_field: int, sizes: list[int] | None = None) -> list[int]:
    cuts = Cuts(hop, RATE, receptive_field)
    found, start, turn = [], 0, 0
    while start < len(wav):
        size = sizes[turn % len(sizes)] if sizes else len(wav)
        found += cuts.push(wav[start : start + size])
        start, turn = start + size, turn + 1
    return found


levels = st.sampled_from([0.0, 0.0004, 0.003, 0.008, 0.02, 0.1, 0.4])
signals = st.lists(st.tuples(st.floats(0.003, 3), levels), max_size=8).map(signal)


@given(
    wav=signals,
    hop=st.sampled_from([5, 16, 64]),
    receptive_field=st.integers(1, 700),
    sizes=st.lists(st.integers(0, 2000), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) > 100),
)
def test_cuts_are_where_the_rule_puts_them_however_the_recording_arrives(wav, hop, receptive_field, sizes):
    expected = naive_cuts(wav, hop, RATE, receptive_field)
    assert cuts_of(wav, hop, receptive_field) == expected
    assert cuts_of(wav, hop, receptive_field, sizes) == expected


def test_the_rules_numbers():
    assert 20 * math.log10(PAUSE_LEVEL) == pytest.approx(-40)
    assert 20 * math.log10(PAUSE_DEPTH) == pytest.approx(-30)
    assert SHORTEST_PART_S == 2


@pytest.mark.parametrize("receptive_field, warm_up", [(1, 1), (15, 1), (16, 1), (17, 2), (2047, 128), (2048, 128)])
def test_warm_up_is_the_receptive_field_in_whole_frames(receptive_field, warm_up):
    assert Cuts(16, 16000, receptive_field).warm_up == warm_up


def test_a_cut_comes_as_soon_as_the_pause_is_longer_than_the_receptive_field():
    wav = signal([(3.2, 0.3), (1, 0), (1, 0.3)])
    assert cuts_of(wav, 16, 100) == [200 + 7]  # 7 frames are warm-up, the cut's own frame is in the pause too
    for frames, expected in ((7, []), (8, [207])):
        assert cuts_of(signal([(3.2, 0.3), (frames * 0.016, 0), (1, 0.3)]), 16, 100) == expected


@settings(max_examples=20)
@given(wav=signals, receptive_field=st.integers(1, 300))
def test_cuts_are_two_seconds_apart_and_every_sample_of_their_warm_up_is_a_pause(wav, receptive_field):
    cuts = cuts_of(wav, 16, receptive_field)
    assert all(later - earlier >= 2 * RATE / 16 for earlier, later in zip([0, *cuts], cuts))
    for cut in cuts:
        silence = wav[(cut - math.ceil(receptive_field / 16)) * 16 : (cut + 1) * 16]
        assert len(silence) >= receptive_field + 16
        assert np.sqrt(np.mean(silence.astype(np.float64) ** 2)) <= 0.01 + 1e-6
        assert np.abs(wav[: (cut + 1) * 16]).max() > 0.0004 or not silence.any()


def test_speech_without_pauses_is_not_cut():
    t = np.arange(30 * RATE) / RATE
    wav = (0.3 * np.sin(2 * np.pi * 150 * t) * (1.1 + np.cos(2 * np.pi * 4 * t))).astype(np.float32)
    assert cuts_of(wav, 16, 20) == []


def test_soft_speech_is_not_cut():
    """At -46 dB of full scale, 26 dB below the loudest so far, it is speech; at 34 dB below, a pause."""
    soft = [(3, 0.1), (3, 0.005), (3, 0.1), (3, 0.005)]
    assert cuts_of(signal(soft), 16, 20) == []
    assert cuts_of(signal([(3, 0.25), *soft[1:]]), 16, 20)


def test_a_loud_background_is_not_cut_however_loud_the_speech():
    assert cuts_of(signal([(3, 0.9), (3, 0.02), (3, 0.9)]), 16, 20) == []  # -34 dB of full scale: no pause


@settings(max_examples=20)
@given(wav=signals, share=st.floats(0, 1))
def test_what_follows_moves_no_cut(wav, share):
    shorter = wav[: round(share * len(wav))]
    begun = cuts_of(shorter, 16, 40)
    assert cuts_of(wav, 16, 40)[: len(begun)] == begun
