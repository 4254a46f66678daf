"""Folders of recordings: whatever can be read is read, and what only looks like sound is named with its remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from commands import call, refuse
from media import sweep, write_media
from vqspeech.audio import MEDIA_SUFFIXES, find_recordings, load_audio, save_audio
from vqspeech.audio.kinds import AUDIO_SUFFIXES, UNREAD_SUFFIXES
from vqspeech.cli.main import main
from vqspeech.errors import ListeningTestError
from vqspeech.listening.design.folder_items import read_items

RECIPE = """
name = "mine"
[data]
corpus = "folder"
sample_rate = 8000
"""
EXTRA = "pip install 'vqspeech[media]'"


@pytest.fixture()
def without_media(monkeypatch) -> None:
    """As if PyAV were not installed."""
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.fixture()
def mixed(place, chirp) -> Path:
    """A folder of one speaker with an opus, an m4a, a dictaphone's file and a text."""
    Path("mixed/anna").mkdir(parents=True)
    soundfile.write("mixed/anna/a.opus", chirp, 8000, format="OGG", subtype="OPUS")
    write_media(Path("mixed/anna/memo.m4a"), "ipod", "aac", sweep(44100, 44100), 44100)
    Path("mixed/anna/letter.dss").write_bytes(b"\x02dss" * 100)
    Path("mixed/anna/notes.txt").write_text("a")
    return Path("mixed")


def run(*arguments: object) -> tuple[int, list[str], list[str]]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()


def test_no_suffix_is_of_two_kinds() -> None:
    every = [*AUDIO_SUFFIXES, *MEDIA_SUFFIXES, *UNREAD_SUFFIXES]
    assert len(every) == len(set(every))
    assert {".opus", ".aiff", ".aif", ".caf", ".w64", ".au"} <= set(AUDIO_SUFFIXES)
    assert {".m4a", ".webm", ".mp4", ".aac", ".amr", ".wma"} <= set(MEDIA_SUFFIXES)


def test_convert_reads_what_it_can_and_lists_the_rest_at_the_end(mixed, tiny_run):
    code, done, said = run("convert", mixed, "--out", "out", "--speaker", "ann", "--model", tiny_run)
    assert code == 1
    assert done == ["out/anna/a.ann.wav", "out/anna/memo.ann.wav"]
    assert len(load_audio("out/anna/memo.ann.wav")) == pytest.approx(8000, abs=20)
    assert said == [
        "Error: 1 recording in mixed cannot be read: anna/letter.dss. Convert such a file, if ffmpeg knows it: "
        "ffmpeg -i mixed/anna/letter.dss mixed/anna/letter.wav",
        "2 converted, 1 not.",
    ]


def test_without_the_extra_its_recordings_are_listed_with_the_remedy(mixed, tiny_run, without_media):
    code, done, said = run("convert", mixed, "--out", "out", "--speaker", "ann", "--model", tiny_run)
    assert (code, done) == (1, ["out/anna/a.ann.wav"])
    assert said[0].startswith("Error: 1 recording in mixed needs the extra media: anna/memo.m4a. ")
    assert EXTRA in said[0] and "ffmpeg -i mixed/anna/memo.m4a mixed/anna/memo.wav" in said[0]
    assert said[2] == "1 converted, 2 not."


def test_many_are_listed_shortened(place, without_media):
    Path("phone").mkdir()
    for number in range(30):
        Path("phone", f"{number:02}.m4a").write_bytes(b"x")
    (problem,) = find_recordings(Path("phone")).problems().values()
    assert "30 recordings in phone need the extra media: 00.m4a, 01.m4a" in str(problem)
    assert ", 07.m4a, ... (30). Install it" in str(problem)
    assert "08.m4a" not in str(problem)
    assert problem.num_files == 30


def test_a_name_with_a_space_is_quoted_in_the_command(place, without_media):
    Path("phone").mkdir()
    Path("phone/my memo.M4A").write_bytes(b"x")
    (problem,) = find_recordings(Path("phone")).problems().values()
    assert str(problem).endswith("ffmpeg -i 'phone/my memo.M4A' 'phone/my memo.wav'")


def unreadable_folder() -> Path:
    Path("phone/anna").mkdir(parents=True)
    Path("phone/anna/memo.m4a").write_bytes(b"x")
    return Path("phone")


def test_a_folder_of_nothing_else_is_one_sentence(place, tiny_run, without_media):
    Path("recipe.toml").write_text(RECIPE)
    folder = unreadable_folder()
    for arguments in (
        ("convert", folder, "--speaker", "ann", "--model", tiny_run),
        ("enroll", folder, "--name", "new", "--model", tiny_run),
        ("prepare", "recipe.toml", "--data", folder),
        ("train", "recipe.toml", "--data", folder),
    ):
        sentence = refuse(*arguments)
        assert "1 recording in phone needs the extra media: anna/memo.m4a" in sentence
        assert EXTRA in sentence


def test_one_that_cannot_be_read_by_itself_names_the_extra_too(mixed, tiny_run, without_media):
    for arguments in (["convert", "--speaker", "ann"], ["encode"]):
        sentence = refuse(*arguments, "mixed/anna/memo.m4a", "--model", tiny_run)
        assert EXTRA in sentence and "ffmpeg -i mixed/anna/memo.m4a" in sentence


def test_enroll_reads_what_it_can_and_names_the_rest(mixed, tiny_run):
    sentence = refuse("enroll", mixed, "--name", "new", "--model", tiny_run)
    assert "2 usable recordings with 2.0 s of speech" in sentence  # an opus and an m4a of a second each
    assert "anna/letter.dss" in sentence


def test_a_corpus_lists_what_it_passes_over_and_takes_it_once_it_can(mixed, chirp, monkeypatch):
    Path("recipe.toml").write_text(RECIPE)
    for take in range(3):
        save_audio(Path("mixed/bert", f"{take}.wav"), chirp, 8000)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "av", None)
        said = call("prepare", "recipe.toml", "--data", "mixed", "--workers", 1)
        assert "2 speakers, 4 utterances" in said
        assert "left out: 1 recording in mixed needs the extra media: anna/memo.m4a. " in said
        assert "left out: 1 recording in mixed cannot be read: anna/letter.dss. " in said
        again = call("prepare", "recipe.toml", "--data", "mixed", "--workers", 1)
        assert "already done" in again and "left out: 1 recording in mixed needs" in again
    said = call("prepare", "recipe.toml", "--data", "mixed", "--workers", 1)
    assert "2 speakers, 5 utterances" in said
    assert "memo.m4a" not in said


def test_a_manifest_is_prepared_anew_once_its_recordings_can_be_read(mixed, chirp, monkeypatch):
    Path("recipe.toml").write_text(RECIPE.replace('"folder"', '"manifest"'))
    save_audio("mixed/plain.wav", chirp, 8000)
    lines = '{"audio": "plain.wav", "speaker": "bert"}\n{"audio": "anna/memo.m4a", "speaker": "anna"}\n'
    Path("mixed/all.jsonl").write_text(lines)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "av", None)
        assert EXTRA in call("prepare", "recipe.toml", "--data", "mixed", "--workers", 1)
    assert "2 speakers, 2 utterances" in call("prepare", "recipe.toml", "--data", "mixed", "--workers", 1)


def test_a_listening_test_is_not_made_of_half_a_folder(place, without_media):
    for system in ("ours", "theirs"):
        Path("stimuli", system).mkdir(parents=True)
        save_audio(Path("stimuli", system, "a.wav"), np.zeros(8000), 8000)
    Path("stimuli/ours/b.m4a").write_bytes(b"x")
    with pytest.raises(ListeningTestError, match=r"in stimuli/ours needs the extra media: b\.m4a"):
        read_items(Path("stimuli"), "mos", 1, 0, seed=0)
