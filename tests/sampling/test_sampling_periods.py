"""Long-term prediction in the engines: they see the samples around one pitch period ago as the network does."""

import numpy as np
import pytest

from vqspeech.sampling.engines import get_engine
from wavenets import BUNCHES, HOP, make_condition, make_wavenet, parallel_logits, with_periods

ENGINES = ("torch", "numba")


@pytest.mark.parametrize("bunch", BUNCHES)
@pytest.mark.parametrize("name", ENGINES)
def test_one_step_at_a_time_equals_parallel_forward(name, bunch):
    wavenet, condition = make_wavenet(bunch=bunch, taps=2 * bunch + 2), with_periods(make_condition(24))
    classes = np.random.default_rng(1).integers(0, 256, 24 * HOP)
    logits = get_engine(name, "float32").open(wavenet, HOP, seed=0, utterance=0).force(classes, condition)
    without = condition.copy()
    without[:, -1] = 0
    assert np.abs(logits - parallel_logits(wavenet, classes, condition, 128)).max() <= 1e-4
    assert np.abs(logits - parallel_logits(wavenet, classes, without, 128)).max() > 0.1


@pytest.mark.parametrize("bunch", BUNCHES)
@pytest.mark.parametrize("name", ENGINES)
def test_pieces_of_an_utterance_equal_the_whole(name, bunch):
    wavenet, condition = make_wavenet(bunch=bunch, taps=8), with_periods(make_condition(24))
    whole = get_engine(name, "float32").open(wavenet, HOP, seed=5, utterance=2).generate(condition)
    session = get_engine(name, "float32").open(wavenet, HOP, seed=5, utterance=2)
    assert np.array_equal(np.concatenate([session.generate(part) for part in np.split(condition, [1, 4, 9])]), whole)


@pytest.mark.parametrize("name", ENGINES)
def test_streams_side_by_side_equal_each_alone(name):
    wavenet = make_wavenet(bunch=4, taps=8)
    conditions = [with_periods(make_condition(12, seed), seed) for seed in range(3)]
    streams = get_engine(name, "float32").load(wavenet, HOP).streams(3, seed=7)
    numbers = [streams.open(utterance) for utterance in range(3)]
    together = streams.generate(numbers, np.stack(conditions))
    for utterance, condition in enumerate(conditions):
        alone = get_engine(name, "float32").open(wavenet, HOP, seed=7, utterance=utterance).generate(condition)
        assert np.array_equal(together[utterance], alone)


def test_a_stream_that_is_opened_again_has_forgotten():
    wavenet, condition = make_wavenet(bunch=2, taps=6), with_periods(make_condition(12))
    streams = get_engine("numba", "float32").load(wavenet, HOP).streams(1, seed=7)
    drawn = []
    for _ in range(2):
        number = streams.open(3)
        drawn.append(streams.generate([number], condition[None])[0])
        streams.close(number)
    assert np.array_equal(*drawn)
