"""Units as units: phones of any name, item files, mutual information, purities, bit rate, errors, boundaries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from vqspeech.errors import CorpusError
from vqspeech.units.items import HEADER, Item, make_items, read_items, write_items
from vqspeech.units.phones import Phone, fill_gaps, frame_labels, inventory_of, merge_equal, plain_name
from vqspeech.units.quality import (
    bit_rate,
    cluster_purity,
    deduplicate,
    entropy,
    phone_normalised_information,
    phone_purity,
)
from vqspeech.units.segmentation import Boundaries, changes, compare_boundaries, edit_distance, phoneme_error_rate

# Phones


def test_silences_of_all_aligners_are_one_and_stress_is_left_out():
    assert {plain_name(name) for name in ("", "sp", "SIL", "spn", "pau", "<sil>", "h#", "+NSN+")} == {"SIL"}
    assert [plain_name(name) for name in ("AH0", "ER1", "ˈaː", "ˌb", "ii", "t1", "gg")] == [
        "AH", "ER", "aː", "b", "ii", "t1", "gg",
    ]  # fmt: skip


def test_gaps_are_silent_and_overlaps_end_where_the_next_begins():
    labels = [(0.1, 0.3, "A"), (0.25, 0.4, "B"), (0.6, 0.9, "C"), (0.7, 0.65, "D")]
    assert fill_gaps(labels, 0.8) == [
        (0.0, 0.1, "SIL"), (0.1, 0.3, "A"), (0.3, 0.4, "B"), (0.4, 0.6, "SIL"), (0.6, 0.8, "C"),
    ]  # fmt: skip
    assert fill_gaps([], 0.5) == [(0.0, 0.5, "SIL")]


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.sampled_from("ABC")), max_size=8), st.floats(0.01, 3))
def test_filled_phones_touch_each_other_from_start_to_end(labels, duration_s):
    phones = fill_gaps(labels, duration_s)
    assert phones[0].start_s == 0 and phones[-1].end_s == pytest.approx(duration_s, abs=2e-4)
    assert all(a.end_s == b.start_s for a, b in zip(phones, phones[1:]))
    assert all(phone.end_s > phone.start_s for phone in phones)


def test_frames_get_the_phone_at_their_centre():
    phones = [Phone(0.0, 0.03, "SIL"), Phone(0.03, 0.06, "A"), Phone(0.06, 0.07, "B")]
    inventory = inventory_of([phones])
    assert inventory == ("A", "B", "SIL")
    labels = frame_labels(phones, inventory, 6, 50)  # centres at 10, 30, 50, 70, 90, 110 ms
    assert [inventory[label] for label in labels] == ["SIL", "A", "A", "SIL", "SIL", "SIL"]


# Items


PHONES = [Phone(n / 10, (n + 1) / 10, name) for n, name in enumerate(["SIL", "K", "AE", "T", "S", "SIL", "AH", "SIL"])]


def test_triphones_last_as_long_as_three_phones_and_touch_no_silence():
    assert make_items(PHONES, "a", "ann") == [
        Item("a", 0.1, 0.4, "AE", "K", "T", "ann"),
        Item("a", 0.2, 0.5, "T", "AE", "S", "ann"),
    ]


def test_phones_last_as_long_as_themselves_beside_whatever():
    items = make_items(PHONES, "a", "ann", kind="phone")
    assert [(one.before, one.phone, one.after) for one in items] == [
        ("SIL", "K", "AE"), ("K", "AE", "T"), ("AE", "T", "S"), ("T", "S", "SIL"), ("SIL", "AH", "SIL"),
    ]  # fmt: skip
    assert items[0] == Item("a", 0.1, 0.2, "K", "SIL", "AE", "ann")


def test_item_files_are_zerospeechs(tmp_path):
    """A line of libri-light's dev-clean.item, as its README has it."""
    write_items(tmp_path / "x.item", [Item("6295-244435-0009", 0.2925, 0.4725, "IH", "L", "NG", "6295")])
    lines = (tmp_path / "x.item").read_text().splitlines()
    assert lines[0] == HEADER == "#file onset offset #phone prev-phone next-phone speaker"
    assert lines[1].split() == ["6295-244435-0009", "0.292500", "0.472500", "IH", "L", "NG", "6295"]


NAMES = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=5).filter(lambda x: x.split() == [x])


@given(st.lists(st.tuples(NAMES, st.integers(0, 10**8), st.integers(1, 10**6), NAMES, NAMES, NAMES, NAMES), max_size=5))
def test_item_files_give_back_what_was_written(tmp_path_factory, rows):
    items = [Item(name, on / 1e6, (on + length) / 1e6, *names) for name, on, length, *names in rows]
    path = tmp_path_factory.mktemp("items") / "x.item"
    write_items(path, items)
    assert read_items(path) == items


@pytest.mark.parametrize(
    ("line", "words"),
    [("a 0.1 0.2 A K T", "seven fields"), ("a x 0.2 A K T ann", "line 2"), ("a 0.3 0.2 A K T ann", "onset < offset")],
)
def test_a_line_that_is_no_item_is_named(tmp_path, line, words):
    (tmp_path / "x.item").write_text(f"{HEADER}\n{line}\n")
    with pytest.raises(CorpusError, match=words):
        read_items(tmp_path / "x.item")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_items(tmp_path / "none.item")
    with pytest.raises(CorpusError, match="no spaces"):
        write_items(tmp_path / "y.item", [Item("my file", 0, 1, "A", "K", "T", "ann")])
    assert not (tmp_path / "y.item").exists()


# Quality


COUNTS = st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=6).map(np.array)


@given(COUNTS)
def test_information_is_scikit_learns_over_the_phones_entropy(counts):
    found = phone_normalised_information(counts)
    units, phones = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
    if not counts.sum():
        assert math.isnan(found)
    elif len(set(phones)) == 1:
        assert found == 0
    else:
        share = np.bincount(phones) / len(phones)
        of_phones = -sum(p * math.log(p) for p in share if p)
        assert found == pytest.approx(mutual_info_score(units, phones) / of_phones, abs=1e-9)


def test_purities_by_hand():
    """Unit 0: 3 of A, 1 of B; unit 1: 2 of B. By unit 3 + 2 of 6 frames are the commonest phone; by phone likewise."""
    counts = [[3, 1], [0, 2]]
    assert phone_purity(counts) == pytest.approx(5 / 6)
    assert cluster_purity(counts) == pytest.approx(5 / 6)
    assert cluster_purity([[2, 1], [1, 2]]) == pytest.approx(4 / 6)
    one_unit = [[3, 3]]  # knows nothing, yet is the commonest of every phone
    assert (phone_purity(one_unit), cluster_purity(one_unit), phone_normalised_information(one_unit)) == (0.5, 1.0, 0.0)
    assert math.isnan(phone_purity(np.zeros((2, 2)))) and math.isnan(cluster_purity(np.zeros((2, 2))))


@given(COUNTS)
def test_purities_equal_their_definition_frame_by_frame(counts):
    units, phones = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
    if len(units):
        likeliest = [max(range(3), key=lambda p: sum((units == u) & (phones == p))) for u in range(len(counts))]
        assert phone_purity(counts) == pytest.approx(np.mean([likeliest[u] == p for u, p in zip(units, phones)]))
        commonest = [max(range(len(counts)), key=lambda u: sum((units == u) & (phones == p))) for p in range(3)]
        assert cluster_purity(counts) == pytest.approx(np.mean([commonest[p] == u for u, p in zip(units, phones)]))


def test_bit_rate_is_symbols_a_second_times_their_entropy():
    """Eight symbols in two seconds, half of them 0, a quarter 1, a quarter 2: 4 * 1.5 bits."""
    assert bit_rate([np.array([0, 0, 0, 0]), np.array([1, 1, 2, 2])], 2.0) == pytest.approx(6.0)
    # Each run once: 0, 1, 2, three symbols in two seconds.
    runs = [deduplicate(codes)[0] for codes in (np.array([0, 0, 0, 0]), np.array([1, 1, 2, 2]))]
    assert bit_rate(runs, 2.0) == pytest.approx(1.5 * math.log2(3))
    assert bit_rate([np.array([5, 5])], 1.0) == 0
    assert math.isnan(bit_rate([], 0.0)) and bit_rate([], 1.0) == 0
    assert entropy([0, 0]) == 0


@given(st.lists(st.integers(0, 2), max_size=20))
def test_runs_repeated_give_the_codes(codes):
    values, lengths = deduplicate(np.array(codes, int))
    assert np.repeat(values, lengths).tolist() == codes
    assert (np.diff(values) != 0).all()


# Phoneme errors and boundaries


@given(st.lists(st.integers(0, 3), max_size=7), st.lists(st.integers(0, 3), max_size=7))
def test_edits_equal_the_recursion(a, b):
    def naive(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(naive(i - 1, j - 1) + (a[i - 1] != b[j - 1]), naive(i - 1, j) + 1, naive(i, j - 1) + 1)

    if len(a) + len(b) < 9:
        assert edit_distance(a, b) == naive(len(a), len(b))
    assert edit_distance(a, b) == edit_distance(b, a) <= max(len(a), len(b))


def test_error_rate_is_of_all_edits():
    assert phoneme_error_rate([(1, 4), (3, 4)]) == 0.5
    assert math.isnan(phoneme_error_rate([]))


def test_merged_phones_are_what_frames_could_tell():
    phones = [Phone(0, 1, "A"), Phone(1, 2, "A"), Phone(2, 3, "B")]
    assert merge_equal(phones) == [(0, 2, "A"), (2, 3, "B")]
    assert changes(np.array([4, 4, 7, 7, 7, 4]), 50).tolist() == [0.04, 0.1]


def test_r_value_by_the_papers_formula():
    """Räsänen et al. 2009, eq. 5 to 7: R = 3/4, OS = 6/4 - 1 = 1/2."""
    counts = Boundaries(hits=3, found=6, true=4)
    assert (counts.precision, counts.recall, counts.f1) == (0.5, 0.75, 0.6)
    r1 = math.sqrt(0.25**2 + 0.5**2)
    r2 = (-0.5 + 0.75 - 1) / math.sqrt(2)
    assert counts.r_value == pytest.approx(1 - (abs(r1) + abs(r2)) / 2)
    assert Boundaries(4, 4, 4).r_value == 1
    # DiscoPhon's published example: 18 hits, 6 false ones, 3 missed: F1 = 0.800, R = 0.798.
    example = Boundaries(18, 24, 21)
    assert (round(example.f1, 3), round(example.r_value, 3)) == (0.8, 0.798)


def test_boundaries_everywhere_cost_more_than_none_at_all():
    true = np.arange(1, 20) / 10
    everywhere, none = compare_boundaries(true, np.arange(1, 2000) / 1000), compare_boundaries(true, [])
    assert (everywhere.recall, none.recall) == (1.0, 0.0)
    assert everywhere.r_value < -10 < none.r_value
    assert math.isnan(none.precision) and math.isnan(compare_boundaries([], [0.1]).r_value)


def test_a_boundary_counts_within_the_tolerance_and_windows_end_halfway():
    assert compare_boundaries([1.0], [1.02]) == (1, 1, 1)
    assert compare_boundaries([1.0], [1.0201]) == (0, 1, 1)
    # Two true ones 30 ms apart: their windows meet at 1.015; 1.014 belongs to the first alone.
    assert compare_boundaries([1.0, 1.03], [1.014]) == (1, 1, 2)
    assert compare_boundaries([1.0, 1.03], [1.014, 1.016]) == (2, 2, 2)
    assert compare_boundaries([1.0], [0.99, 1.0, 1.01]) == (1, 3, 1)  # one hit, two too many


@given(st.lists(st.floats(0, 5), max_size=10, unique=True), st.lists(st.floats(0, 5), max_size=10))
def test_hits_equal_the_naive_loop(true, found):
    counts = compare_boundaries(true, found)
    true = sorted(true)
    hits = 0
    for place, time in enumerate(true):
        low, high = time - 0.02, time + 0.02
        if place:
            low = max(low, (true[place - 1] + time) / 2)
        if place + 1 < len(true):
            high = min(high, (true[place + 1] + time) / 2)
        hits += any(low - 1e-9 <= other <= high + 1e-9 for other in found)
    assert counts == (hits, len(found), len(true))
