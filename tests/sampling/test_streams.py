"""Streams in step: each comes out as alone, in every precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqspeech.sampling.engines import get_engine
from wavenets import BUNCHES, CONDITION, HOP, PRECISIONS, WAYS, make_condition, make_wavenet


@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=25)
@given(
    num_streams=st.integers(1, 13),
    residual=st.integers(1, 40),
    skip=st.integers(1, 140),
    layers=st.integers(1, 4),
    outputs=st.integers(1, 300),
    hop=st.integers(1, 4),
    bunch=st.sampled_from(BUNCHES),
    seed=st.integers(0, 1000),
)
def test_streams_in_step_equal_each_alone(precision, num_streams, residual, skip, layers, outputs, hop, bunch, seed):
    wavenet, hop = make_wavenet(residual, skip, 1, layers, 300, outputs, seed, bunch), hop * bunch
    sampler = get_engine("numba", precision).load(wavenet, hop)
    random = np.random.default_rng(seed)
    condition = random.normal(size=(num_streams, 4, CONDITION)).astype(np.float32)
    forced = random.integers(0, 300, (num_streams, 4 * hop))
    together = sampler.streams(num_streams, seed=seed)
    streams = [together.open(utterance) for utterance in range(num_streams)]
    drawn, logits = together.generate(streams, condition), together.force(streams, forced, condition)
    for utterance in range(num_streams):
        alone = sampler.streams(1, seed=seed)
        stream = [alone.open(utterance)]
        assert np.array_equal(alone.generate(stream, condition[utterance, None])[0], drawn[utterance])
        assert alone.force(stream, forced[utterance, None], condition[utterance, None]).tobytes() == (
            logits[utterance].tobytes()
        )


@pytest.mark.parametrize("engine, precision", WAYS)
@settings(max_examples=10)
@given(
    times=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), min_size=1, max_size=13),
    steps=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    bunch=st.sampled_from((1, 2)),
    seed=st.integers(0, 1000),
)
def test_streams_that_come_and_go_equal_each_alone(engine, precision, times, steps, bunch, seed):
    """Each utterance begins after some frames and lasts some; places are given again, the order in a step changes."""
    sampler = get_engine(engine, precision).load(make_wavenet(6, 8, 1, 2, seed=seed, bunch=bunch), 2)
    conditions = [make_condition(length, seed + number) for number, (_, length) in enumerate(times)]
    random = np.random.default_rng(seed)
    streams = sampler.streams(len(times), seed=seed)
    waiting, live, heard = set(range(len(times))), {}, {number: [] for number in range(len(times))}
    frame = turn = 0
    while waiting or live:
        for number in sorted(waiting):
            if times[number][0] <= frame:
                waiting.remove(number)
                live[number] = streams.open(number)
        done = {number: sum(map(len, heard[number])) // 2 for number in live}
        count = min([steps[turn % len(steps)], *(times[number][1] - done[number] for number in live)])
        order = random.permutation(list(live)).tolist()
        if order:
            frames = np.stack([conditions[number][done[number] : done[number] + count] for number in order])
            for number, classes in zip(order, streams.generate([live[number] for number in order], frames)):
                heard[number].append(classes)
                if done[number] + count == times[number][1]:
                    streams.close(live.pop(number))
        frame, turn = frame + count, turn + 1
    for number, condition in enumerate(conditions):
        alone = sampler.streams(1, seed=seed)
        assert np.array_equal(np.concatenate(heard[number]), alone.generate([alone.open(number)], condition[None])[0])


@pytest.mark.parametrize("bunch", BUNCHES)
@pytest.mark.parametrize("engine, precision", WAYS)
def test_a_place_that_was_used_before_has_a_silent_past(engine, precision, bunch):
    sampler = get_engine(engine, precision).load(make_wavenet(bunch=bunch), HOP)
    condition = make_condition(8)[None]
    streams = sampler.streams(1, seed=3)
    used = streams.open(1)
    first = streams.generate([used], condition)
    streams.close(used)
    again = streams.open(1)
    assert np.array_equal(streams.generate([again], condition), first)


@pytest.mark.parametrize("engine, precision", WAYS)
@pytest.mark.parametrize("bunch", BUNCHES)
@pytest.mark.parametrize("first_pass", [1, 2, 3 * HOP, 1000 * HOP + 3])
def test_a_stream_may_begin_at_any_pass_of_its_utterance(engine, precision, first_pass, bunch):
    """After a receptive field of the same past it draws what a stream that began earlier draws there."""
    wavenet = make_wavenet(bunch=bunch)
    sampler = get_engine(engine, precision).load(wavenet, bunch)  # a conditioning frame for each pass
    seen, drawn = -(-wavenet.receptive_field // bunch), 40
    classes = np.random.default_rng(1).integers(0, 256, (1, (first_pass + seen) * bunch))
    condition = make_condition(first_pass + seen + drawn)[None]
    heard = []
    for first in (max(0, first_pass - 37), first_pass):  # both have seen the receptive field, and draw as one
        streams = sampler.streams(1, seed=5)
        stream = [streams.open(9, first * bunch)]
        streams.force(stream, classes[:, first * bunch :], condition[:, first : first_pass + seen])
        heard.append(streams.generate(stream, condition[:, first_pass + seen :]))
    assert np.array_equal(*heard)
    assert len(np.unique(heard[0])) > 5
