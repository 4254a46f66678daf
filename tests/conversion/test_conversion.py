"""Conversion: the same bytes however a recording arrives, in constant memory; one bad file does not stop the rest."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patience import HUNG_S
from vqspeech.audio import load_audio, save_audio
from vqspeech.config import SamplingConfig
from vqspeech.conversion import (
    Job,
    convert,
    convert_file,
    convert_files,
    convert_stream,
    decode,
    decode_file,
    plan_jobs,
    target_name,
)
from vqspeech.conversion.codes import encode_file
from vqspeech.conversion.pipeline import PipelineQueue
from vqspeech.errors import AudioError, UnknownSpeakerError, VQSpeechError


def cut(wav: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    """Pieces of the given lengths, over and over, until the waveform ends."""
    pieces, start = [], 0
    while start < len(wav):
        for length in lengths:
            pieces.append(wav[start : start + length])
            start += length
    return pieces


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@settings(max_examples=15)
@given(
    samples=st.integers(1, 7000),
    lengths=st.lists(st.integers(0, 3000), min_size=1, max_size=5).filter(lambda lengths: sum(lengths) >= 50),
)
def test_converting_in_pieces_equals_converting_at_once(tiny_model, chirp, samples, lengths):
    wav = chirp[:samples]
    at_once = convert(tiny_model, wav, "theo")
    in_pieces = np.concatenate(list(convert_stream(tiny_model, cut(wav, lengths), "theo")))
    assert at_once.tobytes() == in_pieces.tobytes()


def test_converting_sample_by_sample_equals_converting_at_once(tiny_model, chirp):
    wav = chirp[:300]
    in_pieces = np.concatenate(list(convert_stream(tiny_model, cut(wav, [1]), "theo")))
    assert convert(tiny_model, wav, "theo").tobytes() == in_pieces.tobytes()


@settings(max_examples=15)
@given(samples=st.one_of(st.integers(1, 40), st.integers(2000, 2100)))
def test_the_result_is_exactly_as_long_as_the_recording(tiny_model, chirp, samples):
    converted = convert(tiny_model, chirp[:samples], "ann")
    assert converted.shape == (samples,)
    assert converted.dtype == np.float32
    assert np.abs(converted).max() <= 1


def test_what_follows_does_not_change_what_was_converted_long_before(tiny_model, chirp):
    longer = np.concatenate([chirp, chirp])
    # Codes near the end see zeros in place of what follows; the encoder and the code context reach a few frames ahead.
    reach = 8 * tiny_model.hop_length
    short, long = convert(tiny_model, chirp, "ann"), convert(tiny_model, longer, "ann")
    assert short[:-reach].tobytes() == long[: len(chirp) - reach].tobytes()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tiny_model, chirp):
    wav = chirp[:2000]
    first = convert(tiny_model, wav, "ann", seed=7)
    assert convert(tiny_model, wav, "ann", seed=7).tobytes() == first.tobytes()
    assert convert(tiny_model, wav, "ann", seed=8).tobytes() != first.tobytes()
    assert convert(tiny_model, wav, "ann", seed=7, utterance=1).tobytes() != first.tobytes()


def test_another_speaker_gives_another_sound(tiny_model, chirp):
    assert convert(tiny_model, chirp, "ann").tobytes() != convert(tiny_model, chirp, "bob").tobytes()


def test_the_likeliest_classes_need_no_random_numbers(tiny_model, chirp):
    results = {convert(tiny_model, chirp[:800], "ann", seed=seed, temperature=0).tobytes() for seed in range(3)}
    assert len(results) == 1


@pytest.mark.parametrize("name", ["lively_model", "bunched_model"])
def test_both_engines_speak_alike(name, request, chirp):
    lively_model = request.getfixturevalue(name)
    torch_wav, numba_wav = (
        convert(lively_model, chirp[:640], "ann", engine=engine, precision="float32") for engine in ("torch", "numba")
    )
    assert np.array_equal(torch_wav, numba_wav)


def test_decoding_the_codes_of_a_recording_converts_it(tiny_model, chirp):
    wav = chirp[:1000]  # 62.5 frames
    decoded = decode(tiny_model, tiny_model.encode(wav), "bob", seed=3)
    assert decoded.shape == (63 * tiny_model.hop_length,)
    assert decoded[:1000].tobytes() == convert(tiny_model, wav, "bob", seed=3).tobytes()


def test_results_come_while_the_recording_still_arrives(tiny_model):
    arrived = 0

    def endless():
        nonlocal arrived
        while True:
            arrived += 1
            yield np.zeros(800, np.float32)

    first = next(convert_stream(tiny_model, endless(), "ann"))
    assert len(first) > 0
    assert arrived * 800 < 3 * 128 * tiny_model.hop_length  # no more than a few blocks of codes were awaited


def test_memory_does_not_grow_with_the_recording(tiny_model, chirp):
    def peak_bytes(seconds: int) -> int:
        stream = convert_stream(tiny_model, (chirp for _ in range(seconds)), "ann")
        next(stream)
        tracemalloc.start()
        try:
            total = sum(len(piece) for piece in stream)
            assert total > (seconds - 1) * 8000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    short, long = peak_bytes(5), peak_bytes(300)
    # Five minutes in float32 are 9.6 MB; what is held is a block, whatever the length.
    assert long < short + 200_000


def test_gradients_are_the_callers_affair_between_pieces(tiny_model, chirp):
    stream = convert_stream(tiny_model, [chirp], "ann")
    next(stream)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("wav", [np.zeros(0, np.float32), np.zeros((100, 2), np.float32), np.array([0, np.nan])])
def test_what_is_no_waveform_is_refused(tiny_model, wav):
    with pytest.raises(AudioError, match="the waveform"):
        convert(tiny_model, wav, "ann")


def test_an_unknown_speaker_brings_the_nearest_names(tiny_model, chirp):
    with pytest.raises(UnknownSpeakerError, match="'teo' is not among this model's 3. Did you mean theo?"):
        convert(tiny_model, chirp, "teo")


def test_a_temperature_below_zero_is_refused(tiny_model, chirp):
    with pytest.raises(VQSpeechError, match="temperature -1"):
        convert(tiny_model, chirp, "ann", temperature=-1)


@pytest.fixture()
def recordings(tmp_path, chirp) -> Path:
    """A folder with recordings at two depths, of several rates, channels and formats."""
    folder = tmp_path / "recordings"
    for name in ("a.wav", "deep/er/b.wav", "deep/c.flac"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_audio(folder / name, chirp[:3000], 8000)
    save_audio(folder / "deep/fast.wav", chirp[:3000], 44100)
    (folder / "notes.txt").write_text("no recording")
    (folder / "._a.wav").write_bytes(b"what macOS leaves")
    return folder


def test_a_folder_keeps_its_structure(recordings, tmp_path):
    jobs, problems = plan_jobs([recordings], "theo", tmp_path / "out")
    assert not problems
    assert {job.target.relative_to(tmp_path / "out").as_posix() for job in jobs} == {
        "a.theo.wav",
        "deep/c.theo.wav",
        "deep/er/b.theo.wav",
        "deep/fast.theo.wav",
    }


def test_without_a_folder_results_lie_beside_their_sources(recordings):
    jobs, _ = plan_jobs([recordings / "a.wav", recordings / "deep"], "theo", None)
    assert [job.target for job in jobs] == [job.source.with_name(f"{job.source.stem}.theo.wav") for job in jobs]


def test_earlier_results_are_no_sources(recordings, tiny_model):
    names = tiny_model.speakers
    before = [job.source for job in plan_jobs([recordings], "ann", None, speakers=names)[0]]
    for job in plan_jobs([recordings], "theo", None)[0]:
        job.target.touch()
    (recordings / "out").mkdir()
    (recordings / "out" / "z.wav").touch()
    jobs, problems = plan_jobs([recordings], "ann", recordings / "out", speakers=names)
    assert [job.source for job in jobs] == before
    assert not problems


def test_recordings_in_a_linked_folder_are_converted_too(recordings, tmp_path_factory, chirp):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save_audio(elsewhere / "far.wav", chirp, 8000)
    (recordings / "link").symlink_to(elsewhere)
    (recordings / "deep" / "up").symlink_to(recordings)
    jobs, problems = plan_jobs([recordings], "theo", None)
    assert [job.target for job in jobs if "link" in job.source.parts] == [recordings / "link" / "far.theo.wav"]
    assert not any("up" in job.source.parts for job in jobs)
    assert not problems


def test_a_folder_may_be_converted_into_the_folder_around_it(recordings):
    jobs, problems = plan_jobs([recordings], "theo", recordings.parent)
    assert {job.target.relative_to(recordings.parent).as_posix() for job in jobs} >= {"a.theo.wav", "deep/c.theo.wav"}
    assert not problems


def test_a_recording_that_only_looks_like_a_result_is_converted(tmp_path, chirp):
    save_audio(tmp_path / "interview.theo.wav", chirp, 8000)  # there is no interview.wav
    jobs, problems = plan_jobs([tmp_path], "theo", None, speakers=("theo",))
    assert [job.target.name for job in jobs] == ["interview.theo.theo.wav"]
    assert not problems


def test_a_file_given_twice_is_converted_once(recordings):
    jobs, problems = plan_jobs([recordings, recordings / "a.wav"], "theo", None)
    assert [job.source.name for job in jobs].count("a.wav") == 1
    assert not problems


def test_two_recordings_that_would_share_a_name_are_told_apart(tmp_path, chirp):
    save_audio(tmp_path / "a.wav", chirp, 8000)
    save_audio(tmp_path / "a.flac", chirp, 8000)
    jobs, problems = plan_jobs([tmp_path], "theo", None)
    assert len(jobs) == 1
    assert "would both become" in str(problems[tmp_path / "a.wav"])


def test_nothing_is_overwritten_unless_asked(recordings):
    target = recordings / "a.theo.wav"
    target.write_text("precious")
    jobs, problems = plan_jobs([recordings / "a.wav"], "theo", None)
    assert not jobs
    assert "--force" in str(problems[recordings / "a.wav"])
    jobs, problems = plan_jobs([recordings / "a.wav"], "theo", None, force=True)
    assert [job.target for job in jobs] == [target]
    assert target.read_text() == "precious"


@pytest.mark.parametrize(
    "speaker, name",
    [
        ("theo", "in.theo.wav"),
        ("p225", "in.p225.wav"),
        ("a/b", "in.a_b.wav"),
        ("..", "in.__.wav"),
        ("Anna Maria", "in.Anna_Maria.wav"),
        ("Jörg", "in.Jörg.wav"),
        ("c:\\d\n", "in.c__d_.wav"),
    ],
)
def test_a_speakers_name_becomes_part_of_a_file_name(speaker, name):
    assert target_name(Path("somewhere/in.flac"), speaker) == name


def test_files_in_parallel_equal_files_one_by_one(recordings, tiny_model, tmp_path):
    for place, num_threads in (("one", 1), ("many", 4)):
        jobs, _ = plan_jobs([recordings], "ann", tmp_path / place)
        assert convert_files(tiny_model, jobs, "ann", num_threads=num_threads) == {}
    assert len(files_in(tmp_path / "one")) == 4
    for name in files_in(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_a_file_among_many_becomes_what_it_becomes_alone(recordings, tiny_model, tmp_path):
    jobs, _ = plan_jobs([recordings], "ann", tmp_path / "all")
    convert_files(tiny_model, jobs, "ann", num_threads=2)
    convert_file(tiny_model, Job(recordings / "deep/c.flac", tmp_path / "c.wav"), "ann")
    assert (tmp_path / "c.wav").read_bytes() == (tmp_path / "all/deep/c.ann.wav").read_bytes()


def test_one_bad_file_does_not_stop_the_rest(recordings, tiny_model, tmp_path):
    (recordings / "bad.wav").write_text("not a recording")
    jobs, _ = plan_jobs([recordings], "ann", tmp_path / "out")
    problems = convert_files(tiny_model, jobs, "ann", num_threads=2)
    assert list(problems) == [recordings / "bad.wav"]
    assert isinstance(problems[recordings / "bad.wav"], AudioError)
    assert len(files_in(tmp_path / "out")) == len(jobs) - 1  # the others, and no half of the bad one


def test_a_converted_file_lasts_as_long_as_its_source_at_the_models_rate(recordings, tiny_model, tmp_path):
    heard = []
    convert_file(tiny_model, Job(recordings / "deep/fast.wav", tmp_path / "out.wav"), "ann", advance=heard.append)
    expected = len(load_audio(recordings / "deep/fast.wav", 8000))
    assert len(load_audio(tmp_path / "out.wav")) == expected
    assert sum(heard) == pytest.approx(expected / 8000)


def test_codes_on_disk_decode_to_what_convert_writes(recordings, tiny_model, tmp_path):
    count = encode_file(tiny_model, recordings / "a.wav", tmp_path / "a.npz")
    assert count == -(-3000 // 16)
    decode_file(tiny_model, tmp_path / "a.npz", tmp_path / "decoded.wav", "theo")
    convert_file(tiny_model, Job(recordings / "a.wav", tmp_path / "converted.wav"), "theo")
    assert (tmp_path / "decoded.wav").read_bytes() == (tmp_path / "converted.wav").read_bytes()


def test_an_interrupt_leaves_long_files_unwritten(tiny_model, tmp_path, chirp):
    save_audio(tmp_path / "long.wav", np.tile(chirp, 60), 8000)
    started, stopped, stop = threading.Event(), threading.Event(), PipelineQueue.stop

    def advance(seconds: float) -> None:
        started.set()
        assert stopped.wait(HUNG_S)  # so that it is not done before the interrupt comes

    jobs = [Job(tmp_path / "long.wav", tmp_path / "out" / "long.wav")]

    def interrupt(*arguments, **options):
        assert started.wait(HUNG_S)
        raise KeyboardInterrupt

    def stop_and_tell(queue: PipelineQueue) -> None:
        stop(queue)
        stopped.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PipelineQueue, "stop", stop_and_tell)
        patch.setattr("vqspeech.sampling.scheduler.wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            convert_files(tiny_model, jobs, "ann", num_threads=1, advance=advance)
    assert files_in(tmp_path / "out") == []


def test_a_model_has_a_temperature_of_its_own(tiny_model, chirp):
    """A recipe's `sampling.temperature` is what is taken where none is asked for."""
    wav, recipe = chirp[:2000], tiny_model.recipe
    plain, calm = convert(tiny_model, wav, "ann"), convert(tiny_model, wav, "ann", temperature=0.5)
    assert not np.array_equal(plain, calm)
    try:
        tiny_model.recipe = recipe.model_copy(update={"sampling": SamplingConfig(temperature=0.5)})
        assert np.array_equal(convert(tiny_model, wav, "ann"), calm)
        assert np.array_equal(convert(tiny_model, wav, "ann", temperature=1.0), plain)
        assert np.array_equal(decode(tiny_model, tiny_model.encode(wav), "ann"), calm)
        assert np.array_equal(np.concatenate(list(convert_stream(tiny_model, [wav], "ann"))), calm)
    finally:
        tiny_model.recipe = recipe
