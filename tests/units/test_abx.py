"""ABX: the best path by hand, cells and averages against naive loops, ties, sampling, and fastabx where it is."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.errors import CodesError, CorpusError
from vqspeech.units import dtw
from vqspeech.units.abx import Averages, Limits, abx_error, plan_task, score_task, with_frames
from vqspeech.units.items import Item, frames_of, write_items

RATE = 10  # frames a second in these tests: an item of 0.3 s has three
ALL = Limits(max_items=10**6, max_x=10**6)


def item(number: int, length: int, phone: str, context: str = "K T", speaker: str = "ann", file: str = "a") -> Item:
    before, after = context.split()
    return Item(file, number / RATE, (number + length) / RATE, phone, before, after, speaker)


# The path


def naive_warp(distances: np.ndarray) -> float:
    """Cheapest path by recursion over all, its length found from the end as libri-light finds it."""
    cost = np.full(distances.shape, math.inf)
    for i, j in np.ndindex(*distances.shape):
        before = [cost[a, b] for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if a >= 0 and b >= 0]
        cost[i, j] = distances[i, j] + (min(before) if before else 0)
    i, j = np.subtract(distances.shape, 1)
    length = 1
    while (i, j) != (0, 0):
        if i and j and cost[i - 1, j - 1] <= min(cost[i, j - 1], cost[i - 1, j]):
            i, j = i - 1, j - 1
        elif j and (not i or cost[i, j - 1] <= cost[i - 1, j]):
            j -= 1
        else:
            i -= 1
        length += 1
    return cost[-1, -1] / length


def warp(distances: np.ndarray) -> tuple[float, float]:
    return dtw.mean_distance(np.asarray(distances, float), np.empty(np.shape(distances)), *np.shape(distances))


def test_the_path_is_the_cheapest_and_its_mean_is_taken():
    # Diagonal 0 + 0 + 0 over three pairs; then a detour: 1 + 0 + 1 over three.
    assert warp(np.ones((3, 3)) - np.eye(3)) == (0.0, 0.0)
    assert warp([[1, 0, 5], [5, 5, 1]]) == (2 / 3, 2 / 3)
    assert warp([[0.5, 0.25, 1.0]]) == (1.75 / 3, 1.75 / 3)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1), st.booleans())
def test_many_paths_equal_the_naive_loop_in_both_directions(rows, columns, seed, ties):
    random = np.random.default_rng(seed)
    distances = random.integers(0, 3, (rows, columns)) / 2 if ties else random.random((rows, columns))
    assert warp(distances) == pytest.approx((naive_warp(distances), naive_warp(distances.T)))


def test_where_steps_tie_the_row_decides_the_length():
    """Two paths cost the same, one is longer: which is taken hangs on who is the row."""
    distances = np.array([[1, 1, 2], [1, 3, 0], [0, 1, 1]], float)
    first, second = warp(distances)
    assert (first, second) == (naive_warp(distances), naive_warp(distances.T))


def test_frame_distances_are_those_of_their_formulas():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(5, 4))
    unit = dtw.unit_length(vectors)
    by_hand = [[math.acos(min(1, a @ b)) / math.pi if a is not b else 0 for b in unit] for a in unit]
    np.testing.assert_allclose(dtw.distance_table(vectors), by_hand, atol=1e-7)
    p = random.dirichlet(np.ones(4), 5)
    spans = np.arange(5), np.arange(1, 6)
    pairs = np.array(list(itertools.combinations(range(5), 2)))
    for kind, values, formula in (
        (dtw.ANGULAR, unit, lambda a, b: math.acos(a @ b) / math.pi),
        (dtw.EUCLIDEAN, vectors, lambda a, b: np.linalg.norm(a - b)),
        (dtw.KL, p, lambda a, b: ((a - b) * (np.log(a + 1e-6) - np.log(b + 1e-6))).sum() / 2),
    ):
        found = np.empty((len(pairs), 2))
        dtw.warp_features(values, dtw.log_probabilities(np.abs(values)), kind, *spans, pairs, found)
        expected = [formula(values[a], values[b]) for a, b in pairs]
        np.testing.assert_allclose(found, np.stack([expected, expected], 1), rtol=1e-9)


def test_a_vector_of_zeros_is_far_from_all_but_its_like():
    table = dtw.distance_table(np.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0], [3.0, -1.0]]))
    assert table[0].tolist() == [0, 1, 0, 1]
    assert 0 < table[1, 3] < 1


# Items and frames


@pytest.mark.parametrize(
    ("onset", "offset", "frames"),
    [(0.0, 0.3, (0, 3)), (0.05, 0.25, (0, 3)), (0.06, 0.24, (1, 2)), (0.3, 0.31, (3, 3)), (0.9, 1.3, (9, 10))],
)
def test_frames_are_those_whose_centres_lie_in_the_item(onset, offset, frames):
    """Both ends count, as in ABXpy: a frame n is heard at (n + 1/2) / 10 s; the recording has ten."""
    start, stop = frames_of(Item("a", onset, offset, "A", "K", "T", "ann"), RATE, 10)
    assert (start, max(start, stop)) == frames
    inside = [n for n in range(10) if onset - 1e-9 <= (n + 0.5) / RATE <= offset + 1e-9]
    assert list(range(start, stop)) == inside


def test_items_without_a_frame_are_left_out():
    items = [item(0, 2, "A"), Item("a", 0.26, 0.28, "A", "K", "T", "ann")]
    assert with_frames(items, {"a": np.zeros(9, int)}, RATE) == items[:1]


# Cells


def test_equal_codes_of_one_phone_have_no_error_and_of_none_half():
    items = [item(n, 1, phone) for n, phone in enumerate("AABB")]
    assert abx_error(items, {"a": np.array([3, 3, 5, 5])}, RATE, distance="identical").error == 0
    assert abx_error(items, {"a": np.array([3, 3, 3, 3])}, RATE, distance="identical").error == 0.5
    # X has A's phone and B's code: always wrong. Codes 3, 5 of A and 5, 3 of B.
    assert abx_error(items, {"a": np.array([3, 5, 5, 3])}, RATE, distance="identical").error == pytest.approx(0.75)


def test_a_tie_counts_one_half_by_hand():
    """A: codes 1, 2; B: code 1. X = 1: d(a) = 1, d(b) = 0, wrong. X = 2: d(a) = 1, d(b) = 1, half."""
    items = [item(n, 1, phone) for n, phone in enumerate("AAB")]
    scores = abx_error(items, {"a": np.array([1, 2, 1])}, RATE, distance="identical")
    assert (scores.error, scores.triplets.tolist()) == (0.75, [2])  # B is said once: no cell has it as A


def test_the_mean_is_over_contexts_then_speakers_then_pairs_of_phones():
    """Ann's two contexts are one value before bob's is added; a pair of phones that one speaker has counts as any."""
    items, codes = [], []

    def add(speaker, context, phones, own):
        for phone, code in zip(phones, own):
            items.append(item(len(items), 1, phone, context, speaker))
            codes.append(code)

    add("ann", "K T", "AAB", [1, 1, 2])  # 0
    add("ann", "P T", "AAB", [1, 2, 1])  # 0.75, as above
    add("bob", "K T", "AAB", [1, 1, 1])  # 0.5
    add("bob", "K T", "CC", [7, 7])  # C against A and B: 0; A against C: X = 1 is nearer to 1 than to 7: 0
    error = abx_error(items, {"a": np.array(codes)}, RATE, distance="identical").error
    pairs = {"AB": ((0 + 0.75) / 2 + 0.5) / 2, "AC": 0, "CA": 0, "CB": 0}
    assert error == pytest.approx(np.mean(list(pairs.values())))


def naive_abx(items, codes, mode, any_context) -> float:
    """All triplets, one by one; averages by dictionaries."""

    def context(one):
        return () if any_context else (one.before, one.after)

    def sequence(one):
        start, stop = frames_of(one, RATE, len(codes[one.file]))
        return codes[one.file][start:stop]

    def distance(row, column):
        return naive_warp((sequence(row)[:, None] != sequence(column)[None]).astype(float))

    cells: dict = {}
    order = {id(one): place for place, one in enumerate(items)}
    for x, a, b in itertools.product(items, repeat=3):
        if len({context(one) for one in (a, b, x)}) > 1 or a.phone != x.phone or b.phone == x.phone:
            continue
        if a.speaker != b.speaker or a is x or (mode == "within") != (a.speaker == x.speaker):
            continue
        rows = sorted((x, a), key=lambda one: order[id(one)]) if mode == "within" else (x, a)
        to_a, to_b = distance(*rows), distance(x, b)
        value = 1.0 if to_b < to_a else 0.5 if to_b == to_a else 0.0
        cells.setdefault((a.phone, b.phone, a.speaker), {}).setdefault((context(a), x.speaker), []).append(value)
    by_pair: dict = {}
    for (a, b, _), inner in cells.items():
        by_pair.setdefault((a, b), []).append(np.mean([np.mean(values) for values in inner.values()]))
    return float(np.mean([np.mean(values) for values in by_pair.values()])) if by_pair else math.nan


@given(st.integers(0, 2**32 - 1), st.sampled_from(["within", "across"]), st.booleans())
def test_errors_equal_the_naive_loop(seed, mode, any_context):
    random = np.random.default_rng(seed)
    items, start = [], 0
    for _ in range(random.integers(4, 14)):
        length = int(random.integers(1, 4))
        names = random.choice(["A", "B", "C"]), random.choice(["K T", "P T"]), random.choice(["ann", "bob", "cyd"])
        items.append(item(start, length, *map(str, names)))
        start += length
    codes = {"a": random.integers(0, 3, start)}
    options = {"mode": mode, "any_context": any_context, "limits": ALL}
    found = abx_error(items, codes, RATE, distance="identical", **options).error
    assert found == pytest.approx(naive_abx(items, codes, mode, any_context), nan_ok=True)
    table = dtw.distance_table(np.eye(3))  # one-hot vectors: angles are 0 or a half, the order is the same
    assert abx_error(items, codes, RATE, distance=table, **options).error == pytest.approx(found, nan_ok=True)
    threaded = abx_error(items, codes, RATE, distance="identical", num_threads=2, **options)
    np.testing.assert_equal(threaded.error, found)


def make_corpus(speakers=4, num=200, seed=0):
    random = np.random.default_rng(seed)
    items = []
    for n in range(num):
        phone, context = str(random.choice(list("ABCD"))), str(random.choice(["K T", "P T"]))
        items.append(item(3 * n, 3, phone, context, f"s{n % speakers}", f"f{n % speakers}"))
    return items, {f"f{n}": random.integers(0, 12, 3 * num) for n in range(speakers)}


def test_random_codes_are_at_chance():
    items, codes = make_corpus(num=600)
    for mode in ("within", "across"):
        assert abx_error(items, codes, RATE, mode=mode, distance="identical").error == pytest.approx(0.5, abs=0.03)


def test_drawing_bounds_each_cell_and_a_seed_repeats_it():
    items, codes = make_corpus()
    limits = Limits(max_items=3, max_x=2)
    task = plan_task(items, "across", limits=limits, seed=4)
    assert max(len(part) for cell in task.cells for part in (cell.a, cell.b, cell.x)) == 3
    by_a: dict = {}
    for cell in task.cells:
        by_a.setdefault((cell.speaker, cell.context, cell.phone), set()).add(task.items[cell.x[0]].speaker)
    assert max(map(len, by_a.values())) == 2
    assert all(task.items[cell.x[0]].speaker != cell.speaker for cell in task.cells)
    once, again, other = (
        abx_error(items, codes, RATE, distance="identical", limits=limits, seed=seed).error for seed in (1, 1, 2)
    )
    assert once == again != other


def test_one_speaker_has_no_task_across_speakers():
    items, codes = make_corpus(speakers=1)
    scores = abx_error(items, codes, RATE, mode="across", distance="identical")
    assert math.isnan(scores.error) and not scores.task.cells
    assert math.isnan(abx_error([], {}, RATE).error)


def test_resampled_contexts_and_phones_give_errors_around_the_whole_ones():
    items, codes = make_corpus()
    for any_context in (False, True):
        task = plan_task(items, "within", any_context=any_context)
        averages = Averages(score_task(task, codes, RATE, "identical"))
        draws = averages.draws(seed=0, times=200)
        found = draws[np.isfinite(draws)]  # one phone alone may be drawn, which makes no pair
        assert len(found) > 190 and found.std() > 0
        assert found.mean() == pytest.approx(averages.mean(), abs=0.02)


@pytest.mark.parametrize(
    ("features", "options", "words"),
    [
        ({}, {}, "no features"),
        ({"a": np.array([1.5, 2.5, 3, 3])}, {}, "are codes"),
        ({"a": np.array([1, 2, 3, 3])}, {"distance": "angular"}, "use identical"),
        ({"a": np.array([1, 2, 3, 3])}, {"distance": np.zeros((2, 2))}, "codes run from 1 to 3"),
        ({"a": np.zeros((4, 2))}, {"distance": "cosinus"}, "angular, kl, euclidean"),
        ({"a": np.full((4, 2), np.nan)}, {}, "not finite"),
        ({"a": -np.ones((4, 2))}, {"distance": "kl"}, "negative"),
        ({"a": np.zeros((4, 2))}, {"mode": "between"}, "expected within or across"),
    ],
)
def test_what_does_not_fit_is_told(features, options, words):
    items = [item(n, 1, phone) for n, phone in enumerate("AABB")]
    with pytest.raises((CodesError, CorpusError), match=words):
        abx_error(items, features, RATE, **options)


@pytest.mark.parametrize("mode", ["within", "across"])
def test_fastabx_finds_the_same(tmp_path, mode):
    fastabx = pytest.importorskip("fastabx")  # needs Python 3.12
    items, codes = make_corpus()
    write_items(tmp_path / "x.item", items)
    lines = [json.dumps({"audio": name, "units": own.tolist()}) for name, own in codes.items()]
    (tmp_path / "units.jsonl").write_text("\n".join(lines) + "\n")
    dataset = fastabx.Dataset.from_item_and_units(tmp_path / "x.item", tmp_path / "units.jsonl", RATE)
    by = ["prev-phone", "next-phone"] + (["speaker"] if mode == "within" else [])
    task = fastabx.AbxTask(dataset, on="#phone", by=by, across=["speaker"] if mode == "across" else None)
    theirs = fastabx.Score(task, "identical").collapse(levels=[("next-phone", "prev-phone"), "speaker"])
    ours = abx_error(items, codes, RATE, mode=mode, distance="identical", limits=ALL).error
    assert ours == pytest.approx(theirs, abs=1e-4)
