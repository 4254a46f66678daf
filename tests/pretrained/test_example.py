"""What works at once, with what comes in the package: convert --example, sample, a listening test."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

import vqspeech
from bundles import bundle
from commands import call, contents, refuse
from priors import make_prior, write_run
from vqspeech.audio import load_audio
from vqspeech.cli.main import main
from vqspeech.errors import AudioError
from vqspeech.listening.key import read_key
from vqspeech.pretrained import example

EXPORT = ("listening-test", "export", "--example", "--kind", "mos", "--out", "t")


@pytest.fixture
def at_hand(place, tiny_model, other_run, tmp_path, monkeypatch) -> Path:
    """A working folder; bundled are `english` (ann, bob, theo) with a prior, and `others` (eve, frank) without."""
    run = write_run(tmp_path / "packed", tiny_model, make_prior(tiny_model, stop_bias=-1.0))
    bundle(monkeypatch, tmp_path / "bundled", english=run, others=other_run)
    return place


@pytest.fixture
def damaged(tmp_path, monkeypatch) -> None:
    """An installation that lost its recordings."""
    monkeypatch.setattr(example, "FOLDER", tmp_path / "gone")


# The recordings


def test_there_are_six_recordings_of_two_to_three_seconds_in_less_than_300_kilobytes():
    files = example.list_recordings()
    assert len(files) == 6 and set(files) == set(example.FOLDER.iterdir())
    assert files[0] == vqspeech.example_recording() and files[0].name == "example.flac"
    for file in files:
        found = soundfile.info(file)
        assert (found.format, found.samplerate, found.channels) == ("FLAC", 16000, 1)
        assert 2 < found.duration < 3
        assert 0.2 < np.abs(load_audio(file)).max() < 0.5
    assert sum(file.stat().st_size for file in files) < 300_000


def test_a_wheel_has_them():
    import configparser

    setup = configparser.ConfigParser()
    setup.read(Path(vqspeech.__file__).parent.parent / "setup.cfg", encoding="utf-8")
    assert example.FOLDER == Path(vqspeech.__file__).parent / "recordings"
    assert "recordings/*" in setup["options.package_data"]["vqspeech"].split()


# convert --example


def test_the_example_is_converted_into_the_folder_one_is_in(at_hand):
    assert call("convert", "--speaker", "bob", "--example") == "example.bob.wav\n"
    assert len(load_audio("example.bob.wav")) == len(load_audio(example.example_recording(), 8000))
    assert call("convert", "--speaker", "bob", "--example", "--out", "there") == "there/example.bob.wav\n"
    assert Path("there/example.bob.wav").read_bytes() == Path("example.bob.wav").read_bytes()
    assert "--force" in refuse_and_tell("convert", "--speaker", "bob", "--example")


def test_the_user_is_told_what_the_example_says(at_hand):
    result = CliRunner().invoke(main, ["convert", "--speaker", "bob", "--example"])
    assert example.SENTENCES["example"] in result.stderr and "espeak-ng" in result.stderr


def test_the_example_beside_recordings_is_refused(at_hand):
    assert "Leave out one or the other" in refuse("convert", "--speaker", "bob", "--example", "in.wav")


def test_neither_recordings_nor_the_example_names_both(at_hand):
    result = CliRunner().invoke(main, ["convert", "--speaker", "bob"])
    assert result.exit_code == 2 and "Missing argument" in result.stderr and "--example" in result.stderr


def test_a_missing_example_is_a_sentence_with_the_remedy(at_hand, damaged):
    for command in (("convert", "--speaker", "bob", "--example"), (*EXPORT, "english")):
        sentence = refuse(*command)
        assert "example.flac is missing" in sentence and "Install vqspeech again" in sentence
    with pytest.raises(AudioError, match="missing"):
        vqspeech.example_recording()


def test_a_place_that_cannot_be_written_is_a_sentence(at_hand):
    Path("taken").write_text("")
    sentence = refuse_and_tell("convert", "--speaker", "bob", "--example", "--out", "taken")
    assert "taken" in sentence


def refuse_and_tell(*arguments: str) -> str:
    """As `refuse`, where a line about the example comes before the error."""
    before = contents(Path())
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    told, sentence = result.stderr.splitlines()
    assert told.startswith("the example") and sentence.startswith("Error: ")
    assert contents(Path()) == before
    return sentence


# For the demo


def test_the_demo_can_speak_the_example_before_it_trains(at_hand, monkeypatch):
    monkeypatch.setattr(example, "SPEAKER", "bob")
    monkeypatch.setenv("VQSPEECH_MODEL", "others")  # does not matter: the bundled model is asked for by name
    told: list[str] = []
    for _ in range(2):  # a second demo speaks it again
        assert example.speak_example(Path("listen"), told.append) == Path("listen/example.bob.wav")
    assert len(told) == 2 and "listen/example.bob.wav" in told[0] and "vqspeech convert --speaker bob in.wav" in told[0]
    call("convert", "--speaker", "bob", "--example", "--model", "english")
    assert Path("listen/example.bob.wav").read_bytes() == Path("example.bob.wav").read_bytes()


def test_the_bundled_english_model_has_the_voice_that_the_example_is_converted_to():
    assert example.SPEAKER in vqspeech.load_model(f"bundled:{example.MODEL}").speakers


# sample without --speaker


def sample(*options: object) -> tuple[str, str]:
    result = CliRunner().invoke(main, ["sample", "--duration", "0.05", *map(str, options)])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_a_model_with_a_prior_and_one_of_its_voices_are_taken_and_told(at_hand, tiny_model):
    write_run(Path("runs/bare"), tiny_model, None)  # newer than all, but without a prior
    printed, told = sample("--out", "a")
    speaker = printed.removeprefix("a/sample-").partition("-")[0]
    assert speaker in ("ann", "bob", "theo")
    assert f"{speaker} of the bundled english speaks" in told and "--speaker" in told
    sample("--out", "b", "--speaker", speaker, "--model", "english")
    name = f"sample-{speaker}-0-000.wav"
    assert Path("a", name).read_bytes() == Path("b", name).read_bytes()


def test_a_run_with_a_prior_goes_before_a_bundled_model_and_a_model_that_is_given_before_both(at_hand, tiny_model):
    for name in ("mine", "own"):
        write_run(Path("runs") / name, tiny_model, make_prior(tiny_model))
    assert "of runs/own speaks" in sample()[1]
    assert "of runs/mine speaks" in sample("--model", "runs/mine", "--seed", 1)[1]


def test_the_seed_draws_the_voice(at_hand):
    def drawn(seed: int) -> str:
        return sample("--seed", seed, "--out", f"{seed}", "--force")[0].partition("sample-")[2].partition("-")[0]

    voices = [drawn(seed) for seed in range(6)]
    assert voices[0] == drawn(0)
    assert len(set(voices)) > 1


def test_no_model_with_a_prior_is_a_sentence(place, tiny_model):
    write_run(Path("runs/bare"), tiny_model, None)
    assert "--stage prior" in refuse("sample")
    assert "holds no prior" in refuse_last("sample", "--model", "runs/bare")


def refuse_last(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    return result.stderr.splitlines()[-1]


# listening-test export --example


@pytest.mark.parametrize("kind", ["mos", "preference"])
def test_a_listening_test_is_made_of_the_sentences_as_they_came_and_converted(at_hand, kind):
    call("listening-test", "export", "english", "--example", "--kind", kind, "--out", "t")
    key = read_key(Path("t.key.json"))
    judged = [s for s in key.stimuli.values() if s.system != "attention"]
    assert {s.system for s in judged} == {"source", "english"}
    assert Counter(s.source.partition(", ")[2] for s in judged) == {"woman": 6, "man": 6}
    assert {s.item for s in judged} == {file.stem for file in example.list_recordings()}
    assert {s.target for s in judged} == {"ann", "bob", "theo"}  # two sentences each
    assert {s.target for s in judged if s.item == "example"} <= {"ann", "bob", "theo"}
    main_pages = [key.trials[name] for name in key.orders[0] if key.trials[name].role == "main"]
    assert len(main_pages) == len({trial.item for trial in main_pages}) == 6
    lengths = {len(load_audio(f"t/sounds/{name}.wav")) for name, s in key.stimuli.items() if s.item == "example"}
    assert lengths == {len(load_audio(example.example_recording(), 8000))}
    assert json.loads(Path("t/test.js").read_text().partition("window.LISTENING_TEST = ")[2].rstrip(";\n"))


def test_two_models_say_the_same_sentences_in_the_same_voice(at_hand, lively_model):
    write_run(Path("lively"), lively_model, None)
    call(*EXPORT, "english", "--against", "./lively", "--trials", 2)
    key = read_key(Path("t.key.json"))
    assert {s.system for s in key.stimuli.values()} == {"attention", "source", "english", "lively"}
    by_item = {item: {s.target for s in key.stimuli.values() if s.item == item} for item in ("example", "rain")}
    assert all(len(targets) == 1 for targets in by_item.values())


@pytest.mark.parametrize("kind", ["similarity", "abx", "mushra"])
def test_kinds_that_the_example_cannot_give_are_refused_in_words(at_hand, kind):
    sentence = refuse("listening-test", "export", "english", "--example", "--kind", kind, "--out", "t")
    assert f"a test of kind {kind} needs" in sentence and "--kind mos or preference" in sentence


def test_more_trials_than_sentences_and_models_without_a_common_voice_are_told(at_hand):
    assert "--trials 6" in refuse(*EXPORT, "english", "--trials", 7)
    assert "no voice in common" in refuse(*EXPORT, "english", "--against", "others")


def test_the_example_beside_a_corpus_or_a_folder_of_sounds_is_refused(at_hand):
    for options in (("english", "--data", "x"), ("english", "--trained"), ("--stimuli", "x")):
        assert "--example takes the sentences" in refuse(*EXPORT, *options)
    assert "either a MODEL" in refuse(*EXPORT)
