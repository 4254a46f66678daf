"""Learning rate and time budget by hand arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.config import TrainConfig
from vqspeech.training.schedule import learning_rate, steps_within


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


def test_steps_within_a_budget_equal_hand_arithmetic():
    train = TrainConfig(steps=10_000, validate_every=100)
    # A step of 0.9 s and a hundredth of a validation of 10 s: 1 s each, 600 in ten minutes.
    assert steps_within(600.0, 0.9, 0.9, 10.0, train) == 600


def test_steps_of_the_warm_start_are_cheaper():
    train = TrainConfig(steps=10_000, validate_every=100, warm_start_steps=200)
    # 200 steps of 0.4 + 0.1 s take 100 s; 500 s are left for steps of 0.9 + 0.1 s.
    assert steps_within(600.0, 0.9, 0.4, 10.0, train) == 700


def test_a_budget_that_ends_within_the_warm_start_is_kept():
    train = TrainConfig(steps=10_000, validate_every=100, warm_start_steps=200)
    assert steps_within(50.0, 0.9, 0.4, 10.0, train) == 100


def test_the_recipes_steps_are_the_most():
    assert steps_within(1e6, 0.1, 0.1, 0.0, TrainConfig(steps=70)) == 70


@pytest.mark.parametrize("budget_s", [-100.0, 0.0, 0.5])
def test_at_least_one_step_is_done(budget_s):
    assert steps_within(budget_s, 1.0, 0.5, 10.0, TrainConfig(warm_start_steps=50)) == 1


@given(
    budget=st.floats(10, 1e5), step=st.floats(0.01, 2), share=st.floats(0.1, 1), validation=st.floats(0, 60),
    warm=st.integers(0, 500),
)  # fmt: skip
def test_the_steps_fit_into_the_budget_and_one_more_does_not(budget, step, share, validation, warm):
    train = TrainConfig(steps=10**9, validate_every=100, warm_start_steps=warm)
    num = steps_within(budget, step, step * share, validation, train)

    def spent(steps: int) -> float:
        return min(steps, warm) * step * share + max(0, steps - warm) * step + steps * validation / 100

    assert num == 1 or spent(num) <= budget * (1 + 1e-9)
    assert spent(num + 1) > budget * (1 - 1e-9)
