"""Scores: means, intervals for listeners and items, tests that keep their error, screening by rules that are said."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from simulated_listeners import TIE, Effects, simulate, true_scores

from vqspeech.errors import ListeningTestError
from vqspeech.listening.answers import Answer, Results
from vqspeech.listening.key import Expected, Key, ListeningTrial, Stimulus
from vqspeech.listening.kinds.base import Observation
from vqspeech.listening.scoring.comparisons import cohens_d, cohens_h, compare_pairs, holm, p_value, sign_flip_p
from vqspeech.listening.scoring.intervals import (
    BootstrapWeights,
    VarianceComponents,
    mean_contributions,
    mean_interval,
    share_interval,
    variance_components,
)
from vqspeech.listening.scoring.observations import observe, tabulate
from vqspeech.listening.scoring.picture import draw_score
from vqspeech.listening.scoring.power import needed, power
from vqspeech.listening.scoring.report import need_sentence, to_json
from vqspeech.listening.scoring.score import compute, score
from vqspeech.listening.scoring.screening import screen


def crossed(values, condition="a") -> list[Observation]:
    return [
        Observation(condition, f"l{listener:02d}", f"i{item:02d}", float(value))
        for listener, row in enumerate(values)
        for item, value in enumerate(row)
    ]


# Screening


def key_of(kind: str, **trials: ListeningTrial) -> Key:
    names = {name for trial in trials.values() for name in (*trial.rated, trial.reference) if name}
    stimuli = {
        name: Stimulus(system=name.split("-")[0], item=name.split("-")[-1], sha256=name.split("-")[0]) for name in names
    }
    return Key(test="t", kind=kind, seed=0, stimuli=stimuli, trials=trials, orders=(tuple(trials),))


def reasons(key: Key, *answers: Answer, finished: bool = True) -> tuple[str, ...]:
    results = Results(test="t", kind=key.kind, listener="l", place=0, finished=finished, answers=answers)
    return screen(key, results).reasons


def rated(trial: str, **ratings: float) -> Answer:
    return Answer(trial=trial, ratings={name.replace("_", "-"): value for name, value in ratings.items()})


def test_a_missed_attention_check_leaves_the_listener_out():
    check = ListeningTrial(
        role="attention", rated=("check-1",), item="1", expected=Expected(ratings={"check-1": (2, 2)})
    )
    key = key_of("mos", t=ListeningTrial(rated=("a-1",), item="1"), c=check)
    assert reasons(key, rated("t", a_1=3), rated("c", check_1=2)) == ()
    assert reasons(key, rated("t", a_1=3), rated("c", check_1=3)) == ("attention checks missed: 1 of 1",)


def test_one_check_in_four_may_be_missed():
    checks = {
        f"c{n}": ListeningTrial(
            role="attention", rated=(f"x-{n}", f"y-{n}"), item="1", expected=Expected(choice=f"x-{n}")
        )
        for n in range(4)
    }
    key = key_of("preference", t=ListeningTrial(rated=("a-1", "b-1"), item="1"), **checks)
    for missed in range(4):
        answers = [Answer(trial=f"c{n}", choice=f"{'y' if n < missed else 'x'}-{n}") for n in range(4)]
        assert bool(reasons(key, Answer(trial="t", choice="a-1"), *answers)) == (missed > 1)


@pytest.mark.parametrize(("differences", "excluded"), [([3], True), ([2], False), ([2, 1], False), ([2, 2], True)])
def test_repeats_that_differ_by_much_of_the_scale_leave_the_listener_out(differences, excluded):
    # The limit is 4 points times (0.3 + 0.2 / n): 2 points for one repeat, 1.6 for two.
    trials = {f"t{n}": ListeningTrial(rated=(f"a-{n}",), item=str(n)) for n in range(2)}
    trials |= {
        f"r{n}": ListeningTrial(role="repeat", rated=(f"a-{n}",), item=str(n), repeats=f"t{n}") for n in range(2)
    }
    answers = [Answer(trial=f"t{n}", ratings={f"a-{n}": 1}) for n in range(2)]
    answers += [Answer(trial=f"r{n}", ratings={f"a-{n}": 1 + by}) for n, by in enumerate(differences)]
    found = reasons(key_of("mos", **trials), *answers)
    assert [reason.partition(":")[0] for reason in found] == (["inconsistent repeats"] if excluded else [])


@pytest.mark.parametrize(("low", "excluded"), [(0, False), (1, False), (2, True)])
def test_a_hidden_reference_below_90_for_more_than_15_percent_of_items_leaves_the_listener_out(low, excluded):
    # 1 of 10 items is 10 %, 2 of 10 are 20 % [BS.1534-3].
    trials = {
        f"t{n}": ListeningTrial(rated=(f"source-hidden-{n}", f"a-{n}"), reference=f"source-open-{n}", item=str(n))
        for n in range(10)
    }
    answers = [
        Answer(trial=f"t{n}", ratings={f"source-hidden-{n}": 89 if n < low else 90, f"a-{n}": 40}) for n in range(10)
    ]
    found = reasons(key_of("mushra", **trials), *answers)
    assert found == ((f"hidden reference rated below 90 for {low} of 10 items (BS.1534-3)",) if excluded else ())


def test_who_answered_less_than_half_is_left_out():
    trials = {f"t{n}": ListeningTrial(rated=(f"a-{n}",), item=str(n)) for n in range(4)}
    key = key_of("mos", **trials)
    answers = [Answer(trial=f"t{n}", ratings={f"a-{n}": 3}) for n in range(4)]
    assert reasons(key, *answers[:2], finished=False) == ()
    assert reasons(key, *answers[:1], finished=False) == ("too few answers: 1 of 4 trials, unfinished",)
    assert reasons(key) == ("too few answers: 0 of 4 trials",)


# From answers to judgements


def test_abx_is_right_where_the_target_is_chosen_and_counts_for_the_system_of_x():
    trial = ListeningTrial(
        rated=("target-1", "source-1"), reference="ours-1", item="1", expected=Expected(choice="target-1")
    )
    key = key_of("abx", t=trial)
    for choice, value in (("target-1", 1.0), ("source-1", 0.0)):
        results = Results(test="t", kind="abx", listener="l", place=0, answers=(Answer(trial="t", choice=choice),))
        assert observe(key, [results]) == [Observation("ours", "l", "1", value)]


def test_a_preference_counts_for_the_first_by_name_wherever_it_stood():
    key = key_of("preference", t=ListeningTrial(rated=("b-1", "a-1"), item="1"))
    for choice, value in (("a-1", 1.0), ("b-1", 0.0), (None, 0.5)):
        results = Results(
            test="t", kind="preference", listener="l", place=0, answers=(Answer(trial="t", choice=choice),)
        )
        assert observe(key, [results]) == [Observation("a over b", "l", "1", value)]


def test_training_attention_and_repeats_are_not_scored():
    trials = {
        role: ListeningTrial(role=role, rated=("a-1",), item="1")
        for role in ("main", "training", "attention", "repeat")
    }
    answers = tuple(Answer(trial=role, ratings={"a-1": 1 + n}) for n, role in enumerate(trials))
    results = Results(test="t", kind="mos", listener="l", place=0, answers=answers)
    assert observe(key_of("mos", **trials), [results]) == [Observation("a", "l", "1", 1.0)]


# Intervals


def test_the_variance_of_a_crossed_mean_is_that_of_listeners_and_items_without_counting_noise_twice():
    # By hand: rows deviate by -1, 1, columns by -2, 2 from the mean of 5, and there is no noise.
    grid = tabulate(crossed([[2, 6], [4, 8]]))
    found = variance_components(mean_contributions(grid, 0), grid.counts[0] > 0)
    # Sums of rows over 4: -0.5, 0.5; of columns: -1, 1. Two of each: times 2 * 2 / (1 * 1).
    assert (found.listener, found.item) == (pytest.approx(4 * 0.5), pytest.approx(4 * 2.0))
    assert found.cell == pytest.approx(4 * (9 + 1 + 1 + 9) / 16)
    assert found.variance == pytest.approx(2.0 + 8.0 - 5.0)  # 2 / 2 of listeners' means 4, 6; 8 / 2 of items' 3, 7


def test_the_variance_is_right_on_average():
    random = np.random.default_rng(0)
    estimates, means = [], []
    for _ in range(1500):
        values = random.normal(0, 0.5, (12, 1)) + random.normal(0, 0.7, (1, 9)) + random.normal(0, 1, (12, 9))
        grid = tabulate(crossed(values))
        found = variance_components(mean_contributions(grid, 0), grid.counts[0] > 0)
        estimates.append(found.listener + found.item - found.cell)
        means.append(values.mean())
    true = 0.5**2 / 12 + 0.7**2 / 9 + 1 / (12 * 9)
    assert np.mean(estimates) == pytest.approx(true, rel=0.05)
    assert np.var(means) == pytest.approx(true, rel=0.12)


def test_without_differences_between_items_the_interval_is_that_of_student_over_listeners():
    own = np.random.default_rng(1).normal(3, 0.5, 30)
    grid = tabulate(crossed(np.repeat(own[:, None], 10, 1)))
    low, high = mean_interval(grid, 0, BootstrapWeights(grid, 0, 20_000))
    expected = stats.t.interval(0.95, 29, own.mean(), stats.sem(own))
    assert (low, high) == pytest.approx(expected, abs=0.03)


def test_a_share_has_wilsons_interval_at_the_number_of_judgements_that_are_worth_as_much():
    # Each listener always or never right, so 40 listeners are worth 40 judgements, whatever the items.
    right = np.repeat((np.arange(40) < 30).astype(float)[:, None], 25, 1)
    low, high = share_interval(tabulate(crossed(right)), 0)
    expected = stats.binomtest(30, 40).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_a_share_of_one_keeps_its_doubt():
    low, high = share_interval(tabulate(crossed(np.ones((20, 10)))), 0)
    assert low == pytest.approx(stats.binomtest(20, 20).proportion_ci(method="wilson").low)
    assert high == pytest.approx(1.0)


@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 10**6))
def test_intervals_hold_their_means_and_turn_with_the_scale(num_listeners, num_items, seed):
    values = np.random.default_rng(seed).integers(1, 6, (num_listeners, num_items))
    grid, turned = tabulate(crossed(values)), tabulate(crossed(6.0 - values))
    low, high = mean_interval(grid, 0, BootstrapWeights(grid, 0, 300))
    back_low, back_high = mean_interval(turned, 0, BootstrapWeights(turned, 0, 300))
    if math.isnan(low):
        assert math.isnan(back_low)
    else:
        assert low <= values.mean() <= high
        assert (6 - back_high, 6 - back_low) == pytest.approx((low, high))


# Comparisons


def two_systems(difference, num_listeners=9, num_items=7, seed=0):
    random = np.random.default_rng(seed)
    level = random.normal(3, 1, (num_listeners, 1)) + random.normal(0, 1, (1, num_items))
    a, b = (level + random.normal(0, 0.5, level.shape) for _ in range(2))
    return a + difference, b


def test_the_difference_of_a_balanced_test_is_that_of_the_means_and_its_effect_cohens():
    a, b = two_systems(0.4)
    observations = crossed(a, "a") + crossed(b, "b")
    grid = tabulate(observations)
    (pair,) = compare_pairs(observations, grid, BootstrapWeights(grid, 0), seed=0, times=999)
    assert (pair.first, pair.second) == ("a", "b")
    assert pair.difference == pytest.approx(a.mean() - b.mean())
    assert pair.effect == pytest.approx((a.mean() - b.mean()) / math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    assert pair.interval.low < pair.difference < pair.interval.high


def test_the_difference_of_an_unbalanced_test_is_that_of_least_squares_with_listeners_and_items():
    a, b = two_systems(0.4)
    random = np.random.default_rng(1)
    observations = [one for one in crossed(a, "a") + crossed(b, "b") if random.random() < 0.6]
    grid = tabulate(observations)
    (pair,) = compare_pairs(observations, grid, BootstrapWeights(grid, 0), seed=0, times=99)
    columns = sorted({one.listener for one in observations}) + sorted({one.item for one in observations})
    design = [[one.condition == pair.first, *(name in one for name in columns)] for one in observations]
    solved = np.linalg.lstsq(np.array(design, float), np.array([one.value for one in observations]), rcond=None)[0]
    assert pair.difference == pytest.approx(solved[0])


@pytest.mark.parametrize("number", [4, 10])
def test_signs_are_flipped_as_scipy_does(number):
    values = np.random.default_rng(3).normal(0.4, 1, number)
    expected = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_p(values, seed=0) == pytest.approx(expected)
    assert sign_flip_p(np.arange(1.0, 5.0), seed=0) == 2 / 2**4


def test_many_listeners_are_permuted_at_random():
    values = np.random.default_rng(3).normal(0.3, 1, 30)
    expected = stats.permutation_test((values,), np.sum, permutation_type="samples", rng=0).pvalue
    assert sign_flip_p(values, seed=0) == pytest.approx(expected, abs=0.015)


def test_items_that_differ_count_against_a_difference_that_all_listeners_share():
    # 12 listeners agree, but three items of four speak for the system: t = 1 with 3 degrees of freedom, p = 0.391.
    cells = np.tile([1.0, 1.0, 1.0, -1.0], (12, 1)) / 48
    noise = (cells * 48 - 0.5) / 48
    known = variance_components(noise, np.ones(cells.shape, bool))
    assert sign_flip_p(cells.sum(1), seed=0) == 2 / 2**12
    assert p_value(cells, 0.5, known, seed=0) == pytest.approx(2 * stats.t.sf(1, 3), abs=0.02)


def test_nothing_is_no_difference():
    nothing = np.zeros((5, 5))
    assert p_value(nothing, 0.0, variance_components(nothing, np.ones((5, 5), bool)), seed=0) == 1.0
    assert math.isnan(p_value(np.ones((1, 5)), 1.0, None, seed=0))


def test_holm_multiplies_the_least_p_by_all_and_the_next_by_the_rest():
    a, b = two_systems(0.4)
    observations = crossed(a, "a") + crossed(b, "b") + crossed(b + 0.01, "c")
    grid = tabulate(observations)
    pairs = compare_pairs(observations, grid, BootstrapWeights(grid, 0), seed=0, times=999)
    ordered = sorted(pair.p for pair in pairs)
    expected = list(itertools.accumulate((min(1, p * (3 - n)) for n, p in enumerate(ordered)), max))
    assert sorted(pair.p_holm for pair in pairs) == pytest.approx(expected)
    assert holm([]) == []


def test_effects_of_shares_are_cohens_h():
    assert cohens_h(0.75, 0.5) == pytest.approx(2 * math.asin(math.sqrt(0.75)) - math.pi / 2)
    assert math.isnan(cohens_d([Observation("a", "l", "i", 1.0), Observation("b", "l", "i", 1.0)], "a", "b", 0.0))


# Power


def test_power_is_that_of_students_test_where_listeners_are_all_that_varies():
    from statsmodels.stats.power import TTestPower

    variance = 0.8**2  # of one listener's difference; items so alike and so many that they do not count
    seen = VarianceComponents(variance / 20, 0.0, 0.0, 20, 1000)
    expected = TTestPower().solve_power(0.5 / 0.8, nobs=20, alpha=0.05)
    assert power(seen, 0.5) == pytest.approx(expected, abs=0.002)
    asked = TTestPower().solve_power(0.5 / 0.8, alpha=0.05, power=0.8)
    assert needed(seen, 0.5).listeners == math.ceil(asked)


def test_where_items_differ_too_much_no_number_of_listeners_is_enough():
    seen = VarianceComponents(0.01, 0.1, 0.001, 20, 8)
    need = needed(seen, 0.3)
    assert need.listeners is None and need.items > 8
    assert power(seen, 0.3, num_items=need.items) >= 0.8 > power(seen, 0.3, num_items=need.items - 1)


@given(st.floats(0.01, 2), st.integers(5, 40), st.floats(0.001, 0.1), st.floats(0.001, 0.1))
def test_power_grows_with_the_difference_and_with_listeners(difference, num_listeners, of_listeners, of_items):
    seen = VarianceComponents(of_listeners + 0.01, of_items + 0.01, 0.01, num_listeners, 10)
    assert power(seen, difference) <= power(seen, difference * 1.5) + 1e-9
    assert power(seen, difference) <= power(seen, difference, num_listeners=2 * num_listeners) + 1e-9


# The whole


def test_the_truth_of_simulated_listeners_is_what_very_many_of_them_say():
    random = np.random.default_rng(0)
    effects = Effects()
    latent = random.normal(0, effects.total, 2_000_000)
    for kind, quality, top in (("mos", 4.2, 5), ("similarity", 3.1, 4), ("mushra", 2.0, 100)):
        low = 0 if kind == "mushra" else 1
        drawn = np.clip(np.floor(quality + latent + 0.5), low, top).mean()
        assert true_scores(kind, {"a": quality}, effects)["a"] == pytest.approx(drawn, abs=0.004)
    assert true_scores("abx", {"a": 0.4}, effects)["a"] == pytest.approx((latent + 0.4 > 0).mean(), abs=0.002)
    own = math.hypot(effects.listener_system, effects.item_system, effects.noise)
    ahead = random.normal(0.2, own, 2_000_000) - random.normal(0, own, 2_000_000)
    drawn = np.where(np.abs(ahead) < TIE, 0.5, ahead > 0).mean()
    assert true_scores("preference", {"a": 0.2, "b": 0.0}, effects)["a over b"] == pytest.approx(drawn, abs=0.002)


def test_careless_listeners_are_left_out_and_both_scores_are_told():
    key, results = simulate(
        "mos", {"a": 1.5, "b": 4.5}, num_listeners=12, num_items=12, effects=Effects(), seed=2, careless=4
    )
    scored = score(key, results)
    left_out = {verdict.listener for verdict in scored.verdicts if verdict.reasons}
    assert {"l000", "l001", "l002", "l003"} <= left_out
    screened, everyone = ({one.name: one.value for one in s.means} for s in (scored.screened, scored.unscreened))
    assert screened["b"] - screened["a"] > everyone["b"] - everyone["a"]  # noise pulls together
    written = to_json(scored)
    assert written["listeners"]["kept"] == scored.kept == 12 - len(left_out)
    assert {one["listener"] for one in written["listeners"]["excluded"]} == left_out
    assert written["screened"]["systems"] != written["unscreened"]["systems"]


def test_conversions_within_and_across_sexes_are_told_apart():
    key, results = simulate("mos", {"a": 3.0, "source": 4.5}, num_listeners=8, num_items=10, effects=Effects(), seed=0)
    parts = score(key, results).screened.by_sexes
    assert {sexes: [one.name for one in part] for sexes, part in parts.items()} == {"same": ["a"], "cross": ["a"]}
    total = sum(part[0].value * part[0].judgements for part in parts.values())
    judged = next(one for one in score(key, results).screened.means if one.name == "a")
    assert total / judged.judgements == pytest.approx(judged.value)


def test_if_all_are_screened_out_nothing_is_scored():
    key, results = simulate("mos", {"a": 3.0, "b": 3.0}, num_listeners=3, num_items=8, effects=Effects(), seed=0)
    with pytest.raises(ListeningTestError, match="all 3 listeners were screened out .*l000: too few answers"):
        score(key, [one.model_copy(update={"answers": ()}) for one in results])


@pytest.mark.parametrize(("listeners", "items", "said"), [(1, 12, "one listener"), (12, 1, "one item")])
@pytest.mark.parametrize("kind", ["mos", "mushra", "abx", "preference"])
def test_one_listener_or_one_item_gives_means_without_intervals_and_says_so(kind, listeners, items, said):
    key, results = simulate(
        kind, {"a": 3.0, "b": 3.2}, num_listeners=listeners, num_items=items, effects=Effects(), seed=0, num_repeats=0
    )
    scored = score(key, results)
    assert any(note.startswith(said) for note in scored.notes)
    for one in (*scored.screened.means, *scored.screened.pairs):
        assert math.isfinite(one.value) and math.isnan(one.interval.low)
    for pair in (*scored.screened.to_chance, *scored.screened.between):
        assert math.isnan(pair.p_holm) and not pair.is_significant
    assert scored.need is None and "cannot be said" in need_sentence(scored)
    assert len(draw_score(scored).axes) >= 1


def test_too_few_listeners_for_the_number_of_tests_are_told():
    key, results = simulate(
        "mushra",
        dict(zip("abcd", (20, 40, 60, 80))),
        num_listeners=6,
        num_items=10,
        effects=Effects(3, 3, 3, 3, 3),
        seed=0,
    )
    scored = score(key, results)
    # Six signs give p = 2 / 64 at least; times six tests it is above 5 %. Eight give 6 * 2 / 256 = 4.7 %.
    assert not any(pair.is_significant for pair in scored.screened.between)
    assert any("at least 8" in note for note in scored.notes)


LATENT = Effects(0.3, 0.2, 0.4, 0.3, 1.0)
STUDIES = {
    "mos": ({"a": 2.5, "b": 3.2, "real": 4.5}, 20, Effects()),
    "mushra": ({"a": 45.0, "b": 60.0, "real": 94.0}, 8, Effects(8, 5, 6, 5, 10)),
    "abx": ({"a": 0.0, "b": 0.8}, 20, LATENT),
    "preference": ({"a": 0.0, "b": 0.3, "c": 1.2}, 20, LATENT),
}


def study(kind, times):
    qualities, num_items, effects = STUDIES[kind]
    truth = true_scores(kind, qualities, effects)
    covered, errors = [], []
    for seed in range(times):
        key, results = simulate(kind, qualities, num_listeners=20, num_items=num_items, effects=effects, seed=seed)
        kept = [one for one in results if screen(key, one).counts]
        scores = compute(key, kept, seed=seed, draws=300, permutations=99, by_sexes=False)
        for one in scores.pairs or scores.means:
            covered.append(one.interval.low <= truth[one.name] <= one.interval.high)
            errors.append(one.value - truth[one.name])
    return np.mean(covered), np.mean(errors)


@pytest.mark.parametrize("kind", STUDIES)
def test_twenty_listeners_recover_the_truth(kind):
    coverage, error = study(kind, 5)
    assert coverage >= 0.7
    assert abs(error) < {"mos": 0.1, "mushra": 3.0}.get(kind, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("kind", STUDIES)
def test_intervals_cover_the_truth_of_listeners_and_items(kind):
    coverage, error = study(kind, 150)
    assert 0.9 <= coverage <= 0.98
    assert abs(error) < {"mos": 0.03, "mushra": 1.0}.get(kind, 0.015)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mos", "mushra", "abx", "preference"])
def test_systems_that_are_alike_are_told_apart_no_more_often_than_promised(kind):
    _, num_items, effects = STUDIES[kind]
    qualities = dict.fromkeys("abc", {"mos": 3.2, "mushra": 60.0}.get(kind, 0.0))
    single, family = [], []
    for seed in range(200):
        key, results = simulate(kind, qualities, num_listeners=20, num_items=num_items, effects=effects, seed=seed)
        scores = compute(key, results, seed=seed, draws=50, permutations=499, by_sexes=False)
        tests = scores.to_chance or scores.between
        single += [one.p <= 0.05 for one in tests]
        family.append(any(one.is_significant for one in tests))
    # 0.085 is what 200 families of 5 % exceed once in fifty times.
    assert np.mean(single) <= 0.075 and np.mean(family) <= 0.085
