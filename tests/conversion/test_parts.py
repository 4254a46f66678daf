"""A recording in parts: equal to one with the same resets made by hand, in order, whole, and in little memory."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqspeech.conversion import (
    Job,
    Request,
    SamplingOptions,
    convert,
    convert_files,
    convert_many,
    convert_stream,
    pipeline,
)
from vqspeech.conversion.cuts import Cuts
from vqspeech.conversion.parts import find_parts
from vqspeech.conversion.pipeline import Pipeline, PipelineQueue, run_pipelines
from vqspeech.errors import AudioError
from vqspeech.mu_law import mu_law_decode
from vqspeech.sampling.engines import get_engine

OPTIONS = SamplingOptions(seed=3)
THEO = 2  # his place among the model's speakers
UTTERANCE = 5


@pytest.fixture(scope="module")
def speech(chirp) -> np.ndarray:
    """Thirteen seconds: chirps, and pauses longer than the model's receptive field of 15 samples."""
    pauses = [np.zeros(n, np.float32) for n in (100, 900, 20, 2500, 333)]
    return np.concatenate([np.concatenate([chirp, chirp, chirp[:1003], pause]) for pause in pauses] + [chirp[:6001]])


def first_frames(model, wav) -> list[int]:
    return [0, *Cuts(model.hop_length, model.sample_rate, model.wavenet.receptive_field).push(wav)]


def with_resets_by_hand(model, wav) -> np.ndarray:
    """Each part sampled for itself from the codes of the whole: from a silent past, the warm-up thrown away."""
    codes, hop, context = model.encode(wav), model.hop_length, model.conditioner.context
    sampler = get_engine(OPTIONS.engine, OPTIONS.precision).load(model.wavenet, hop)
    begins = first_frames(model, wav)
    warm_up = -(-model.wavenet.receptive_field // hop)
    pieces = []
    for begin, end in zip(begins, [*begins[1:], len(codes)]):
        first = begin - warm_up if begin else 0
        before = min(context, first)
        condition = model.condition(codes[first - before : end + context], THEO)[before : before + end - first]
        # The codes around a part stand for the whole recording.
        assert torch.allclose(condition, model.condition(codes, THEO)[first:end], atol=1e-6)
        streams = sampler.streams(1, seed=OPTIONS.seed)
        stream = [streams.open(UTTERANCE, first * hop)]
        pieces.append(streams.generate(stream, condition.numpy()[None])[0][(begin - first) * hop :])
    return mu_law_decode(np.concatenate(pieces)[: len(wav)]).astype(np.float32)


def in_parts(model, blocks, num_threads: int = 2, *, split: bool = True) -> np.ndarray:
    heard: list[np.ndarray] = []
    recording = Pipeline(model, blocks, THEO, UTTERANCE, heard.append, split=split)
    finished = []
    run_pipelines(
        model, iter([recording]), lambda *arguments: finished.append(arguments), OPTIONS, num_threads=num_threads
    )
    assert finished == [(recording, None)]
    return np.concatenate(heard)


def test_the_recording_of_these_tests_is_cut(lively_model, speech):
    assert lively_model.wavenet.receptive_field == 15
    assert len(first_frames(lively_model, speech)) == 5  # a pause of 20 samples holds no two whole frames


@settings(max_examples=15)
@given(
    samples=st.one_of(st.just(10**6), st.integers(1, 60000)),
    sizes=st.lists(st.integers(0, 30000), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) > 500),
    num_threads=st.integers(1, 4),
)
def test_parts_equal_the_same_resets_made_by_hand(lively_model, speech, samples, sizes, num_threads):
    wav = speech[:samples]
    edges = np.cumsum(sizes * (len(wav) // sum(sizes) + 1))
    converted = in_parts(lively_model, np.split(wav, edges[edges < len(wav)]), num_threads)
    assert len(converted) == len(wav)
    assert converted.tobytes() == with_resets_by_hand(lively_model, wav).tobytes()


def test_a_waveform_in_memory_is_converted_by_the_same_rule(lively_model, speech):
    expected = with_resets_by_hand(lively_model, speech).tobytes()
    assert convert(lively_model, speech, "theo", seed=3, utterance=UTTERANCE).tobytes() == expected
    many = [Request(speech, "theo", UTTERANCE), Request(speech[:3000], "ann"), Request(speech, "theo", 6)]
    first, short, other = convert_many(lively_model, many, OPTIONS, num_threads=2)
    assert first.tobytes() == expected != other.tobytes()
    assert short.tobytes() == convert(lively_model, speech[:3000], "ann", seed=3).tobytes()


def test_several_samples_a_pass_are_converted_by_the_same_rule(bunched_model, speech):
    assert len(first_frames(bunched_model, speech)) == 5
    expected = with_resets_by_hand(bunched_model, speech).tobytes()
    assert convert(bunched_model, speech, "theo", seed=3, utterance=UTTERANCE).tobytes() == expected


def test_without_splitting_a_recording_is_one_stream(lively_model, speech):
    stream = np.concatenate(list(convert_stream(lively_model, [speech], "theo", OPTIONS, UTTERANCE)))
    assert in_parts(lively_model, [speech], split=False).tobytes() == stream.tobytes()
    whole = convert(lively_model, speech, "theo", seed=3, utterance=UTTERANCE, split=False)
    assert whole.tobytes() == stream.tobytes()
    assert in_parts(lively_model, [speech]).tobytes() != stream.tobytes()


def test_before_the_first_cut_splitting_changes_nothing(lively_model, speech):
    begin = first_frames(lively_model, speech)[1] * lively_model.hop_length
    split, whole = in_parts(lively_model, [speech]), in_parts(lively_model, [speech], split=False)
    assert split[:begin].tobytes() == whole[:begin].tobytes()


@pytest.mark.parametrize("most", [0, 3000])
def test_a_small_store_of_waiting_sound_changes_nothing(lively_model, speech, monkeypatch, most):
    expected = in_parts(lively_model, [speech])
    monkeypatch.setattr(pipeline, "MOST_WAITING", most)
    assert in_parts(lively_model, [speech], 3).tobytes() == expected.tobytes()


def test_no_part_is_begun_while_too_much_sound_waits_for_an_earlier_one(lively_model, speech, monkeypatch):
    monkeypatch.setattr(pipeline, "MOST_WAITING", 10000)
    heard: list[np.ndarray] = []
    recording = Pipeline(lively_model, np.array_split(speech, 50), THEO, 0, heard.append)

    def take():
        return recording.next_stream(pytest.fail)

    def work_off(stream) -> None:
        """Every sample of a stream is drawn as silence."""
        for frames in stream.frames:
            stream.receive(np.full(len(frames) * lively_model.hop_length, 128, np.int32))

    first, second = take(), take()
    work_off(second)
    assert take() is None
    assert not recording.is_read
    assert heard == []
    work_off(first)
    assert sum(map(len, heard)) == first_frames(lively_model, speech)[2] * lively_model.hop_length
    while stream := take():
        work_off(stream)
    assert recording.is_written
    assert sum(map(len, heard)) == len(speech)


def test_while_a_long_recording_is_read_only_its_codes_are_kept(lively_model, chirp):
    def peak_bytes(seconds: int) -> int:
        blocks = (torch.from_numpy(chirp) for _ in range(seconds))  # without one pause
        tracemalloc.start()
        try:
            with torch.no_grad():
                (part,) = find_parts(lively_model, blocks, split=True)
            assert len(part.codes) == seconds * 500
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # A code is four bytes; a few copies are made on the way. As samples, 100 seconds are 3.2 MB.
    assert peak_bytes(120) - peak_bytes(20) < 4 * 4 * 100 * 500


@pytest.mark.parametrize("num_threads", [1, 3])
def test_a_source_that_fails_in_the_middle_leaves_no_target(lively_model, speech, chirp, tmp_path, num_threads):
    long = np.tile(speech, 4)
    long[-1000] = np.nan  # many parts are sampled and written before it is read
    soundfile.write(tmp_path / "bad.wav", long, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "good.wav", chirp, 8000)
    out: Path = tmp_path / "out"
    jobs = [Job(tmp_path / f"{name}.wav", out / f"{name}.wav") for name in ("bad", "good")]
    written: list[float] = []
    problems = convert_files(lively_model, jobs, "theo", OPTIONS, num_threads=num_threads, advance=written.append)
    assert list(problems) == [tmp_path / "bad.wav"]
    assert "not finite" in str(problems[tmp_path / "bad.wav"])
    assert [path.name for path in out.iterdir()] == ["good.wav"]


def test_a_result_that_cannot_be_written_ends_its_recording_alone(lively_model, speech):
    heard: list[np.ndarray] = []
    before = set(threading.enumerate())

    def full(piece: np.ndarray) -> None:
        raise AudioError("the disk is full")

    bad = Pipeline(lively_model, np.array_split(speech, 9), THEO, 0, full)
    good = Pipeline(lively_model, np.array_split(speech, 9), THEO, UTTERANCE, heard.append)
    finished = {}
    run_pipelines(lively_model, iter([bad, good]), finished.__setitem__, OPTIONS, num_threads=2)
    assert str(finished[bad]) == "the disk is full"
    assert finished[good] is None
    assert np.concatenate(heard).tobytes() == with_resets_by_hand(lively_model, speech).tobytes()
    assert set(threading.enumerate()) <= before


def test_a_recording_that_is_being_opened_when_all_is_stopped_is_not_read(lively_model, speech):
    opened, finished = [], []

    def blocks():
        yield speech
        raise AssertionError("read on")

    def opening():
        for number in range(2):
            opened.append(number)
            queue.stop()
            yield Pipeline(lively_model, blocks(), THEO, number, print, split=False)

    queue = PipelineQueue(opening(), lambda *arguments: finished.append(arguments))
    assert queue.take() is None
    assert opened == [0]
    assert finished == []  # so its file is not kept
