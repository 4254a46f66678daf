"""Drawing from the likeliest classes alone: the nucleus, in all engines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.errors import VQSpeechError
from vqspeech.sampling.arithmetic import draw as compiled_draw
from vqspeech.sampling.arithmetic import draw_likely
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.random import uniforms
from vqspeech.sampling.rules import cumulative_masses, draw, nucleus
from wavenets import HOP, WAYS, make_condition, make_wavenet

logits_of = st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=12).map(lambda x: np.array(x, np.float32))


def logs(*p: float) -> np.ndarray:
    return np.log(np.array(p)).astype(np.float32)


def naive_nucleus(logits: np.ndarray, p: np.ndarray, top_p: float) -> list[int]:
    kept: list[int] = []
    while sum(p[q] for q in kept) < top_p:  # logits decide: their exponentials may round to one number
        kept.append(max((q for q in range(len(p)) if q not in kept), key=lambda q: (logits[q], -q)))
    return sorted(kept)


def generate(engine, precision, top_p, frames=20, seed=3, **more):
    session = get_engine(engine, precision).open(make_wavenet(), HOP, seed=seed, utterance=1, top_p=top_p, **more)
    return session.generate(make_condition(frames))


def test_the_nucleus_by_hand():
    logits = logs(0.1, 0.4, 0.2, 0.3)
    assert [nucleus(logits, 1.0, p).tolist() for p in (0.39, 0.41, 0.69, 0.71, 0.91, 1.0)] == [
        [1], [1, 3], [1, 3], [1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3],
    ]  # fmt: skip
    # At temperature 1/2 the squares count: 16 of 30 hundredths are the first's.
    assert nucleus(logits, 0.5, 0.5).tolist() == [1]


def test_of_equally_likely_classes_the_lower_are_kept():
    assert nucleus(np.zeros(4, np.float32), 1.0, 0.6).tolist() == [0, 1, 2]
    masses = np.zeros(4, np.float32)
    drawn = {draw_likely(np.zeros(4, np.float32), masses, u, 1.0, 0.6) for u in np.arange(0, 1, 0.01)}
    assert drawn == {0, 1, 2}


@given(logits_of, st.floats(0.01, 0.99), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_nucleus_is_the_shortest_list_of_the_likeliest(logits, top_p, temperature):
    p = np.diff(cumulative_masses(logits, temperature), prepend=0)
    p = np.array([p[np.flatnonzero(logits == value)[0]] for value in logits])  # equal logits, equal to the last bit
    sums = np.cumsum(np.sort(p)[::-1])
    if np.abs(sums - top_p).min() > 1e-9:  # else rounding decides
        assert nucleus(logits, temperature, top_p).tolist() == naive_nucleus(logits, p, top_p)


@given(logits_of, st.floats(0, 1, exclude_max=True), st.floats(0.01, 0.99), st.sampled_from([0.5, 1.0, 2.0]))
def test_compiled_draws_equal_the_reference(logits, u, top_p, temperature):
    kept = nucleus(logits, temperature, top_p)
    ordered = cumulative_masses(logits, temperature, np.argsort(-logits, kind="stable"))
    boundaries = cumulative_masses(logits, temperature, kept)
    if np.abs(ordered - top_p).min() > 1e-5 and np.abs(boundaries - u).min() > 1e-5:
        drawn = draw_likely(logits, np.zeros(len(logits), np.float32), u, temperature, top_p)
        assert drawn == draw(logits, u, temperature, top_p)
        assert drawn in kept


def test_draws_are_distributed_as_the_nucleus_renormalised():
    logits = logs(0.1, 0.4, 0.2, 0.3)
    u = (np.arange(9000) + 0.5) / 9000
    masses = np.zeros(4, np.float32)
    for drawn in ([draw(logits, x, 1.0, 0.8) for x in u], [draw_likely(logits, masses, x, 1.0, 0.8) for x in u]):
        assert np.bincount(drawn, minlength=4).tolist() == pytest.approx([0, 4000, 2000, 3000], abs=1)


@pytest.mark.parametrize(("engine", "precision"), WAYS)
def test_every_sample_lies_in_the_nucleus_of_its_logits(engine, precision):
    wavenet, condition = make_wavenet(), make_condition(20)
    chosen = get_engine(engine, precision)
    classes = chosen.open(wavenet, HOP, seed=3, utterance=1, top_p=0.5).generate(condition)
    logits = chosen.open(wavenet, HOP, seed=3, utterance=1).force(classes, condition)
    numbers = uniforms(3, 1, 0, len(classes))
    sizes = []
    for t, row in enumerate(logits):
        order = np.argsort(-row, kind="stable")
        kept = nucleus(row, 1.0, 0.5)
        sizes.append(len(kept))
        near = np.abs(cumulative_masses(row, 1.0, order) - 0.5).min() < 1e-5
        near |= np.abs(cumulative_masses(row, 1.0, kept) - numbers[t]).min() < 1e-5
        assert near or classes[t] == draw(row, numbers[t], 1.0, 0.5)
    assert min(sizes) < max(sizes) < 256  # a share of the classes, another at every sample


def test_numba_and_torch_agree_draw_for_draw():
    np.testing.assert_array_equal(*(generate(engine, "float32", 0.7) for engine in ("torch", "numba")))


@pytest.mark.parametrize(("engine", "precision"), WAYS)
def test_a_tiny_top_p_is_temperature_zero(engine, precision):
    coldest = generate(engine, precision, 1.0, temperature=0.0)
    np.testing.assert_array_equal(generate(engine, precision, 1e-6), coldest)
    np.testing.assert_array_equal(generate(engine, precision, 0.5, temperature=0.0), coldest)


@given(logits_of, st.floats(0, 1, exclude_max=True))
def test_top_p_of_one_draws_from_all_classes(logits, u):
    assert draw(logits, u, 1.0, 1.0) == draw(logits, u, 1.0)
    boundaries = cumulative_masses(logits, 1.0)
    if np.abs(boundaries - u).min() > 1e-5:
        assert compiled_draw(logits, np.zeros(len(logits), np.float32), u, 1.0) == draw(logits, u, 1.0)


def test_streams_in_step_draw_what_each_draws_alone():
    sampler = get_engine("numba", "float32").load(make_wavenet(), HOP)
    streams = sampler.streams(3, seed=9, top_p=0.6)
    condition = np.stack([make_condition(6, seed) for seed in range(3)])
    together = streams.generate([streams.open(utterance) for utterance in range(3)], condition)
    for utterance in range(3):
        alone = sampler.streams(1, seed=9, top_p=0.6)
        stream = alone.open(utterance)
        np.testing.assert_array_equal(
            alone.generate([stream], condition[utterance : utterance + 1])[0], together[utterance]
        )


@pytest.mark.parametrize("engine", ["torch", "numba"])
@pytest.mark.parametrize("top_p", [0.0, -0.1, 1.1, float("nan")])
def test_a_top_p_that_is_no_share_is_refused(engine, top_p):
    sampler = get_engine(engine, "float32").load(make_wavenet(), HOP)
    with pytest.raises(VQSpeechError, match=r"top-p .* above 0 and at most 1"):
        sampler.streams(1, seed=0, top_p=top_p)
