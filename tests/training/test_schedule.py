"""Learning rate and time budget by hand arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.config import TrainConfig
from vqspeech.training.schedule import Pace, Schedule, continued, divide, learning_rate


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.2 / 4),  # warm-up: (step + 1) / 4 of the peak
        (1, 0.2 * 2 / 4),
        (3, 0.2),
        (4, 0.2),  # the cosine begins: cos 0 = 1
        (8, 0.2 * (0.1 + 0.9 * 0.5 * (1 + 0.5))),  # a third of the way, cos 60 degrees = 1/2
        (10, 0.2 * (0.1 + 0.9 * 0.5)),  # half of the way, cos 90 degrees = 0
        (16, 0.2 * 0.1),  # the end
        (99, 0.2 * 0.1),
    ],
)
def test_learning_rate_warms_up_and_falls_along_half_a_cosine(step, expected):
    train = TrainConfig(learning_rate=0.2, warmup_steps=4, final_rate=0.1)
    assert learning_rate(step, 16, train) == pytest.approx(expected)


@given(step=st.integers(0, 2000), total=st.integers(1, 1000), warmup=st.integers(0, 1500), final=st.floats(0, 1))
def test_learning_rate_stays_between_zero_and_its_peak(step, total, warmup, final):
    train = TrainConfig(learning_rate=0.1, warmup_steps=warmup, final_rate=final)
    assert 0 <= learning_rate(step, total, train) <= 0.1 + 1e-12


def test_without_warm_up_the_first_step_has_the_peak():
    assert learning_rate(0, 100, TrainConfig(learning_rate=0.1, warmup_steps=0)) == pytest.approx(0.1)


BUDGET = TrainConfig(max_minutes=10, steps=10_000, warm_start_share=0.35)


def warming(**values: object) -> TrainConfig:
    return BUDGET.model_copy(update={"warm_start_steps": 200, "continuous_steps": 50} | values)


def test_a_budget_without_a_warm_start_is_all_the_decoders():
    assert divide(BUDGET, Pace(1.0, 1.0)) == Schedule(0, 0, 600)  # ten minutes of one second


def test_steps_of_the_warm_start_are_cheaper():
    # 200 steps of 0.5 s take 100 s; 500 s are left for steps of 1 s.
    assert divide(warming(), Pace(0.5, 1.0)) == Schedule(50, 200, 700)


def test_a_slow_machine_shortens_the_warm_start_to_its_share_and_the_rest_is_the_decoders():
    # 35 % of 600 s are 210 s: 105 steps of 2 s; 390 s are left, 130 steps of 3 s. 50 of 200 is a quarter: of 105, 26.
    assert divide(warming(), Pace(2.0, 3.0)) == Schedule(26, 105, 235)


def test_what_calibration_took_is_the_warm_starts_loss_and_comes_off_the_rest():
    # 210 - 10 s: 100 steps of 2 s; 600 - 10 - 200 s: 130 steps of 3 s.
    assert divide(warming(), Pace(2.0, 3.0), spent_s=10) == Schedule(25, 100, 230)


def test_a_correction_within_the_warm_start_moves_its_end_and_leaves_what_is_over():
    now = Schedule(26, 105, 235)
    # 120 s are gone for 60 steps: 90 s of the warm start's 210 are left. At 1 s a step that is 90 more, not 45.
    assert divide(warming(), Pace(1.0, 3.0), spent_s=120, step=60, now=now) == Schedule(26, 150, 150 + 390 // 3)


def test_a_correction_after_the_warm_start_moves_the_end_alone():
    now = Schedule(26, 105, 235)
    # 300 s are left after 120 steps: 60 of 5 s.
    assert divide(warming(), Pace(2.0, 5.0), spent_s=300, step=120, now=now) == Schedule(26, 105, 180)


def test_k_means_is_never_skipped_by_a_shorter_warm_start():
    now = Schedule(40, 160, 500)
    found = divide(warming(), Pace(60.0, 60.0), spent_s=200, step=20, now=now)
    assert found.continuous == 40 < found.warm_start == 41


def test_the_recipes_steps_are_the_most():
    assert divide(warming(steps=700, max_minutes=1e5), Pace(0.1, 0.1)) == Schedule(50, 200, 700)


def test_when_the_time_is_over_one_step_is_left():
    assert divide(warming(), Pace(1.0, 1.0), spent_s=700, step=500, now=Schedule(50, 200, 600)).total == 501


def test_other_steps_are_a_new_end_and_what_is_over_stays():
    assert continued(Schedule(26, 105, 235), warming(max_minutes=None, steps=300), 235, 1e9) == Schedule(26, 105, 300)


def test_more_minutes_are_more_steps_at_the_pace_so_far():
    # 200 steps took 600 s; 300 s more are 100 more steps.
    assert continued(Schedule(26, 105, 200), warming(max_minutes=15), 200, 600.0) == Schedule(26, 105, 300)
    # Of the recipe's steps no more are taken.
    assert continued(Schedule(26, 105, 200), warming(max_minutes=15, steps=250), 200, 600.0).total == 250


def test_a_training_that_has_not_begun_has_the_recipes_end():
    assert continued(Schedule(50, 200, 700), warming(steps=900), 0, 0.0) == Schedule(50, 200, 900)


@given(
    minutes=st.floats(1, 1e4), warm_s=st.floats(0.01, 2), full_s=st.floats(0.01, 5), warm=st.integers(1, 10**6),
    share=st.floats(0.05, 0.5),
)  # fmt: skip
def test_the_steps_fit_into_the_budget_and_the_decoder_has_the_larger_part(minutes, warm_s, full_s, warm, share):
    train = TrainConfig(
        max_minutes=minutes, steps=10**9, warm_start_steps=warm, continuous_steps=warm // 2, warm_start_share=share
    )
    found = divide(train, Pace(warm_s, full_s))
    warm_spent, full_spent = found.warm_start * warm_s, (found.total - found.warm_start) * full_s
    budget = 60 * minutes
    assert warm_spent <= share * budget + warm_s
    assert warm_spent + full_spent <= budget + warm_s + full_s
    # What is left is less than a step: nothing of the minutes is given away.
    assert found.total == 10**9 or budget - warm_spent - full_spent < full_s
    assert found.warm_start in (warm, max(1, int(share * budget / warm_s)))
    assert 0 <= found.continuous <= found.warm_start
