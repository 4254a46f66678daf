"""Pipes: a recording comes in by standard input, a whole WAV goes out by standard output, and nothing else does."""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from media import sweep, write_media
from vqspeech.audio import load_audio, save_audio
from vqspeech.cli.main import main

# Loads nothing heavy, where the command line would load torch.
COPY = """
import sys
from vqspeech.audio import load_audio, save_audio
from vqspeech.errors import VQSpeechError
try:
    save_audio("-", load_audio("-"), 8000)
except VQSpeechError as error:
    sys.exit(str(error))
"""


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path_factory, monkeypatch):
    """A folder for temporary files of the test's own; none is left in it."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def pipe(data: bytes, *arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=data)


def refused(result: Result) -> str:
    """The one sentence on stderr of a call that failed, with nothing on stdout."""
    assert result.exit_code == 1, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout_bytes == b""
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("Error: ")
    return sentence


def placeholders(wav: bytes) -> bytes:
    """A WAV as ffmpeg writes it into a pipe: the lengths are not known yet."""
    return wav[:4] + b"\xff" * 4 + wav[8:40] + b"\xff" * 4 + wav[44:]


@pytest.mark.parametrize("change", [bytes, placeholders, lambda wav: placeholders(wav) + b"\0"])
def test_what_is_piped_through_is_a_whole_wav_of_the_recordings_length(place, tiny_run, change):
    result = pipe(change(Path("in.wav").read_bytes()), "convert", "-", "--out", "-", "--speaker", "ann",
                  "--model", tiny_run)  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    sound = result.stdout_bytes
    assert int.from_bytes(sound[4:8], "little") == len(sound) - 8  # the true length, not a placeholder
    wav, rate = soundfile.read(io.BytesIO(sound))
    assert (len(wav), rate) == (2000, 8000)
    assert sorted(path.name for path in Path().iterdir()) == ["in.wav"]


def test_the_same_recording_gives_the_same_bytes(place, tiny_run):
    arguments = ("convert", "-", "--out", "-", "--speaker", "ann", "--model", tiny_run)
    first, second = (pipe(Path("in.wav").read_bytes(), *arguments).stdout_bytes for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "kind, subtype", [("FLAC", None), ("MP3", None), ("OGG", "OPUS"), ("AIFF", None), ("AU", None)]
)
def test_the_kind_of_what_is_piped_in_is_told_by_its_content(place, tiny_run, chirp, kind, subtype):
    file = io.BytesIO()
    soundfile.write(file, chirp, 8000, format=kind, subtype=subtype)
    result = pipe(file.getvalue(), "convert", "-", "--out", "-", "--speaker", "ann", "--model", tiny_run)
    assert result.exit_code == 0, result.stderr
    assert len(soundfile.read(io.BytesIO(result.stdout_bytes))[0]) == pytest.approx(8000, abs=1200)


def test_a_phones_recording_can_be_piped_in_though_its_index_comes_last(place, tiny_run):
    write_media(Path("memo.m4a"), "ipod", "aac", sweep(44100, 22050), 44100)
    result = pipe(Path("memo.m4a").read_bytes(), "convert", "-", "--out", "-", "--speaker", "ann", "--model", tiny_run)
    assert result.exit_code == 0, result.stderr
    assert len(soundfile.read(io.BytesIO(result.stdout_bytes))[0]) == pytest.approx(4000, abs=20)


def test_either_end_may_be_a_pipe_alone(place, tiny_run):
    whole = Path("in.wav").read_bytes()
    into = ("--speaker", "ann", "--model", tiny_run, "--out")
    result = pipe(whole, "convert", "-", *into, "out")
    assert (result.exit_code, result.stdout) == (0, "out/stdin.ann.wav\n")
    result = pipe(b"", "convert", "in.wav", *into, "-")
    assert len(soundfile.read(io.BytesIO(result.stdout_bytes))[0]) == 2000


def test_codes_come_from_a_pipe_and_are_spoken_into_one(place, tiny_run):
    result = pipe(Path("in.wav").read_bytes(), "encode", "-", "--model", tiny_run, "--out", "in.npz")
    assert (result.exit_code, result.stdout) == (0, "in.npz: 125 codes\n")
    result = pipe(b"", "decode", "in.npz", "--speaker", "ann", "--model", tiny_run, "--out", "-")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(soundfile.read(io.BytesIO(result.stdout_bytes))[0]) == 2000


def half(wav: bytes) -> bytes:
    return wav[: len(wav) // 2]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda wav: b"", "standard input is empty"),
        (half, "standard input is truncated: its header announces 4044 bytes, it has 2022"),
        (lambda wav: b"no sound\n" * 9, "standard input is not a recording that can be read"),
    ],
)
@pytest.mark.parametrize("verb", ["convert", "encode"])
def test_what_is_no_recording_is_one_sentence(place, tiny_run, verb, change, message):
    arguments = ["--speaker", "ann", "--out", "-"] if verb == "convert" else ["--out", "in.npz"]
    sentence = refused(pipe(change(Path("in.wav").read_bytes()), verb, "-", "--model", tiny_run, *arguments))
    assert message in sentence
    assert sorted(path.name for path in Path().iterdir()) == ["in.wav"]


def test_a_phones_recording_cut_on_its_way_is_one_sentence(place, tiny_run):
    write_media(Path("memo.m4a"), "ipod", "aac", sweep(44100, 22050), 44100)
    data = half(Path("memo.m4a").read_bytes())
    sentence = refused(pipe(data, "convert", "-", "--out", "-", "--speaker", "ann", "--model", tiny_run))
    assert "standard input is truncated" in sentence


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["convert", "-", "in.wav", "--out", "-", "--speaker", "ann"], "Give it alone"),
        (["convert", "-", "-", "--out", "-", "--speaker", "ann"], "Give it alone"),
        (["convert", "-", "--speaker", "ann"], "no place of its own.*--out"),
        (["convert", "in.wav", "in.wav", "other.wav", "--out", "-", "--speaker", "ann"], "one recording, not 3"),
        (["convert", ".", "--out", "-", "--speaker", "ann"], "one recording, not 2"),
        (["encode", "-"], "no place of its own.*--out"),
        (["encode", "in.wav", "--out", "-"], "takes sound alone"),
    ],
)
def test_what_cannot_be_piped_is_one_sentence(place, tiny_run, chirp, arguments, message):
    save_audio("other.wav", chirp, 8000)
    result = pipe(Path("in.wav").read_bytes(), *arguments, "--model", tiny_run)
    assert re.search(message, refused(result))
    assert sorted(path.name for path in Path().iterdir()) == ["in.wav", "other.wav"]


def test_no_room_for_what_is_piped_in_is_one_sentence(place, tiny_run, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    sentence = refused(pipe(b"x", "convert", "-", "--out", "-", "--speaker", "ann", "--model", tiny_run))
    assert "TMPDIR" in sentence


def through(**streams: Any) -> list[str]:
    """What a process that copies standard input to standard output says on stderr when that fails."""
    done = subprocess.run([sys.executable, "-c", COPY], stderr=subprocess.PIPE, **streams)
    assert done.returncode == 1, done
    return done.stderr.decode().splitlines()


def test_a_reader_that_leaves_early_is_one_sentence(place):
    reader, writer = os.pipe()
    os.close(reader)
    (sentence,) = through(input=Path("in.wav").read_bytes(), stdout=writer)
    os.close(writer)
    assert sentence.startswith("standard output was closed before all sound was written")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_standard_output_is_one_sentence(place):
    with open("/dev/full", "wb") as full:
        (sentence,) = through(input=Path("in.wav").read_bytes(), stdout=full)
    assert sentence.startswith("cannot write standard output: No space left on device")


@pytest.mark.parametrize("which, message", [("stdin", "Pipe one in"), ("stdout", "Redirect it: --out - > out.wav")])
def test_a_terminal_is_no_pipe(place, which, message):
    keyboard, terminal = pty.openpty()
    with open("in.wav", "rb") as recording:
        (sentence,) = through(**{"stdin": recording, "stdout": subprocess.PIPE} | {which: terminal})
    os.close(keyboard)
    os.close(terminal)
    assert f"standard {which.removeprefix('std')}put is a terminal" in sentence and message in sentence


def test_a_standard_input_that_was_closed_is_told(place):
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(COPY)} <&- >out.wav"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("standard input is closed")


@pytest.mark.slow
def test_the_command_line_ends_with_the_sentence_and_nothing_else(place, tiny_run):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", "from vqspeech.cli.main import main; main()"]
    command += ["convert", "-", "--out", "-", "--speaker", "ann", "--engine", "torch", "--model", str(tiny_run)]
    done = subprocess.run(command, input=Path("in.wav").read_bytes(), stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.returncode == 1
    (sentence,) = done.stderr.decode().splitlines()
    assert sentence.startswith("Error: standard output was closed before all sound was written")


def test_standard_input_is_read_in_python_too(place, monkeypatch):
    with open("in.wav", "rb") as recording:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(recording))
        assert np.array_equal(load_audio("-"), load_audio("in.wav"))
