"""The command line: each verb does one thing, says what it did, and picks the model that is meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from commands import call, refuse
from patience import HUNG_S, wait_until
from vqspeech.audio import load_audio, save_audio
from vqspeech.cli.main import main
from vqspeech.pretrained.cards import ModelCard
from vqspeech.pretrained.checkpoint import save_model

VERBS = [
    "prepare",
    "train",
    "bench",
    "convert",
    "encode",
    "decode",
    "enroll",
    "evaluate",
    "info",
    "models",
    "pack",
    "sample",
    "compress",
    "decompress",
    "units",
    "listening-test",
    "demo",
    "listening-test",
]
HEAVY = {"torch", "torchaudio", "numba", "librosa", "scipy", "sklearn", "matplotlib", "tensorboard", "rich", "pydantic"}


def link_run(run: Path, name: str, age_s: float = 0) -> None:
    """Make `run` known as runs/`name`, written `age_s` seconds ago."""
    folder = Path("runs") / name
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    written = (folder / "model.safetensors").stat().st_mtime - age_s
    os.utime(folder / "model.safetensors", (written, written))


def test_every_verb_explains_itself():
    overview = call("--help")
    for verb in VERBS:
        assert verb in overview
        assert "Usage" in call(verb, "--help")
    assert set(main.commands) == set(VERBS)


def test_the_version_is_told():
    assert "0.1.0" in call("--version")


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"], ["train", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    script = (
        "import sys\nfrom vqspeech.cli.main import main\n"
        f"main({arguments!r}, standalone_mode=False)\nprint('LOADED', *sorted(set(sys.modules) & {HEAVY!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "LOADED"


def test_convert_writes_beside_the_recording(place, tiny_run):
    assert call("convert", "--speaker", "theo", "--model", tiny_run, "in.wav").split() == ["in.theo.wav"]
    assert load_audio("in.theo.wav").shape == (2000,)


def test_convert_says_the_same_with_the_same_seed(place, tiny_run):
    for out, seed in (("a", 7), ("b", 7), ("c", 8)):
        call("convert", "--speaker", "theo", "--model", tiny_run, "--out", out, "--seed", seed, "in.wav")
    first, same, other = (Path(out, "in.theo.wav").read_bytes() for out in "abc")
    assert first == same != other


def test_convert_takes_a_folder_and_keeps_its_structure(place, tiny_run, chirp):
    Path("recordings/deep").mkdir(parents=True)
    for name in ("recordings/a.wav", "recordings/deep/b.flac"):
        save_audio(name, chirp[:500], 8000)
    call("convert", "--speaker", "ann", "--model", tiny_run, "--threads", 2, "recordings", "--out", "converted")
    assert Path("converted/a.ann.wav").is_file()
    assert Path("converted/deep/b.ann.wav").is_file()
    assert not list(Path("recordings").rglob("*.ann.wav"))


def test_convert_lists_what_failed_after_doing_the_rest(place, tiny_run, chirp):
    Path("many").mkdir()
    for name in ("a", "c"):
        save_audio(f"many/{name}.wav", chirp[:500], 8000)
    Path("many/b.wav").write_text("text")
    result = CliRunner().invoke(main, ["convert", "--speaker", "ann", "--model", str(tiny_run), "many"])
    assert result.exit_code == 1
    assert result.stdout.split() == ["many/a.ann.wav", "many/c.ann.wav"]
    assert "many/b.wav" in result.stderr
    assert "2 converted, 1 not" in result.stderr
    assert sorted(os.listdir("many")) == ["a.ann.wav", "a.wav", "b.wav", "c.ann.wav", "c.wav"]


def test_convert_overwrites_only_when_forced(place, tiny_run):
    Path("in.theo.wav").write_text("precious")
    arguments = ["convert", "--speaker", "theo", "--model", tiny_run, "in.wav"]
    assert "--force" in refuse(*arguments)
    assert Path("in.theo.wav").read_text() == "precious"
    call(*arguments, "--force")
    assert load_audio("in.theo.wav").shape == (2000,)


def test_encode_then_decode_equals_convert(place, tiny_run):
    assert call("encode", "in.wav", "--model", tiny_run, "--out", "in.npz") == "in.npz: 125 codes\n"
    call("decode", "in.npz", "--speaker", "ann", "--model", tiny_run, "--seed", 3)
    decoded = Path("in.ann.wav").read_bytes()
    call("convert", "in.wav", "--speaker", "ann", "--model", tiny_run, "--seed", 3, "--force")
    assert Path("in.ann.wav").read_bytes() == decoded


def test_encode_writes_beside_the_recording_and_only_once(place, tiny_run):
    call("encode", "in.wav", "--model", tiny_run)
    with np.load("in.npz", allow_pickle=False) as arrays:
        assert arrays["codes"].shape == (125,)
    assert "--force" in refuse("encode", "in.wav", "--model", tiny_run)
    call("encode", "in.wav", "--model", tiny_run, "--force")


def test_encode_never_replaces_the_recording_itself(place, tiny_run):
    before = Path("in.wav").read_bytes()
    message = refuse("encode", "in.wav", "--model", tiny_run, "--out", "in.wav", "--force")
    assert "Choose another --out" in message
    assert Path("in.wav").read_bytes() == before


def test_info_describes_a_model(tiny_run):
    said = call("info", tiny_run)
    for fact in ("tiny", "3: ann, bob, theo", "8000 Hz", "500 per second (16x), K = 8", "1500 bit/s", "100"):
        assert fact in said


def test_the_model_given_is_the_one_used(place, tiny_run, other_run, monkeypatch):
    monkeypatch.setenv("VQSPEECH_MODEL", str(other_run))
    link_run(other_run, "newest")
    call("convert", "--speaker", "ann", "--model", tiny_run, "in.wav")
    call("convert", "--speaker", "bob", "--model", tiny_run / "model.safetensors", "in.wav")


def test_the_environment_names_a_model_where_none_is_given(place, tiny_run, other_run, monkeypatch):
    link_run(other_run, "newest")
    monkeypatch.setenv("VQSPEECH_MODEL", str(tiny_run))
    call("convert", "--speaker", "ann", "in.wav")
    assert str(tiny_run) in call("info")


def test_else_the_newest_run_that_knows_the_speaker_is_used(place, tiny_run, other_run):
    link_run(tiny_run, "oldest", age_s=300)
    link_run(tiny_run, "older", age_s=200)
    link_run(other_run, "newest")
    call("convert", "--speaker", "ann", "in.wav")
    call("convert", "--speaker", "eve", "in.wav")
    assert str(Path("runs/newest")) in call("info")
    from vqspeech.pretrained.registry import find

    assert find(speaker="ann").file == Path("runs/older/model.safetensors")


def test_where_no_run_knows_the_speaker_models_and_speakers_are_named(place, tiny_run, other_run):
    link_run(tiny_run, "first")
    link_run(other_run, "second")
    message = refuse("convert", "--speaker", "the", "in.wav")
    for fact in ("'the'", "Did you mean theo?", "runs/first (ann, bob, theo)", "runs/second (eve, frank)", "--model"):
        assert fact in message


def test_a_damaged_run_is_passed_over(place, tiny_run):
    link_run(tiny_run, "good", age_s=100)
    Path("runs/damaged").mkdir()
    Path("runs/damaged/model.safetensors").write_bytes(b"\0" * 50)
    call("convert", "--speaker", "ann", "in.wav")
    assert "runs/good" in call("info")


def test_where_there_is_no_model_at_all_the_way_to_one_is_told(place):
    for arguments in (["convert", "--speaker", "theo", "in.wav"], ["encode", "in.wav"], ["info"]):
        message = refuse(*arguments)
        assert "--model" in message
        assert "vqspeech train" in message


def test_a_name_that_is_not_utf8_is_converted_too(place, tiny_run):
    odd = os.fsencode(place) + b"/\xff\xfe.wav"
    os.rename(place / "in.wav", odd)
    script = "from vqspeech.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "convert", "--speaker", "ann", "--model", str(tiny_run), odd],
        capture_output=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert os.path.exists(os.fsencode(place) + b"/\xff\xfe.ann.wav")


def test_a_name_that_is_not_utf8_is_shown_with_a_replacement_character(place, tiny_run, chirp):
    """On a terminal that takes UTF-8 alone, which would refuse the name as it is."""
    odd = os.fsdecode(b"\xff")
    os.rename("in.wav", f"{odd}.wav")
    assert call("convert", f"{odd}.wav", "--speaker", "ann", "--model", tiny_run) == "\ufffd.ann.wav\n"
    assert call("encode", f"{odd}.wav", "--model", tiny_run) == "\ufffd.npz: 125 codes\n"
    assert call("decode", f"{odd}.npz", "--speaker", "bob", "--model", tiny_run) == "\ufffd.bob.wav\n"
    Path(odd).mkdir()
    assert "\ufffd holds no model.safetensors" in refuse("info", odd)
    assert "no recording at \ufffd.mp3" in refuse("convert", f"{odd}.mp3", "--speaker", "theo", "--model", tiny_run)
    save_audio(f"voices/{odd}/good.wav", chirp, 8000)
    Path(f"voices/{odd}/{odd}.wav").write_text("text")
    Path("recipe.toml").write_text('name = "odd"\n[data]\ncorpus = "folder"\nsample_rate = 8000\n')
    said = call("prepare", "recipe.toml", "--data", "voices", "--workers", 1)
    assert "speakers: \ufffd" in said
    assert "left out: voices/\ufffd/\ufffd.wav" in said


def test_train_leaves_a_model_that_converts(place, chirp):
    for speaker, pitch in (("low", 1), ("high", 2)):
        for take in range(4):
            wav = np.tile(chirp[take * 100 :: pitch], 2)
            Path("voices", speaker).mkdir(parents=True, exist_ok=True)
            save_audio(f"voices/{speaker}/{take}.wav", wav, 8000)
    Path("recipe.toml").write_text(
        """
        name = "mine"
        [data]
        corpus = "folder"
        sample_rate = 8000
        test_share = 0.0
        valid_share = 0.3
        [encoder]
        strides = [4, 4]
        channels = 8
        [bottleneck]
        num_codes = 8
        code_dim = 4
        [decoder]
        residual_channels = 8
        skip_channels = 8
        cycles = 1
        layers_per_cycle = 3
        condition_channels = 8
        speaker_dim = 4
        [train]
        steps = 4
        batch_size = 2
        crop_samples = 512
        validation_utterances = 2
        probe_utterances = 0
        compile = "off"
        [prior]
        steps = 4
        shifts = 1
        """
    )
    said = call("prepare", "recipe.toml", "--data", "voices", "--workers", 1)
    assert "2 speakers, 8 utterances" in said
    assert "speakers: high, low" in said
    assert "already done" in call("prepare", "recipe.toml", "--data", "voices", "--workers", 1)
    assert "trained 4 steps: runs/mine" in call("train", "recipe.toml", "--data", "voices")
    assert "high, low" in call("info", "runs/mine")
    assert call("convert", "--speaker", "low", "in.wav").split() == ["in.low.wav"]
    assert "--resume" in refuse("train", "recipe.toml", "--data", "voices")
    call("train", "recipe.toml", "--resume")  # nothing is left to do, and nothing is lost
    call("train", "recipe.toml", "--data", "voices", "--set", "name=other", "--set", "train.steps=2")
    assert Path("runs/other/model.safetensors").is_file()


def test_options_are_documented():
    for verb in main.commands.values():
        assert verb.help
        for parameter in verb.params:
            if isinstance(parameter, click.Option) and parameter.name not in ("help", "engine"):
                assert parameter.help, (verb.name, parameter.name)


CONVERT = [sys.executable, "-c", "from vqspeech.cli.main import main; main()", "convert", "--speaker", "ann", "--model"]


@pytest.mark.parametrize("threads", [0, 1000])
def test_a_senseless_number_of_threads_is_refused_in_one_sentence(place, tiny_run, threads):
    before = sorted(os.listdir())
    arguments = ["convert", "--speaker", "ann", "--model", str(tiny_run), "--threads", str(threads), "in.wav"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    (error,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
    assert error == f"Error: Invalid value for '--threads': {threads} is not in the range 1<=x<=256."
    assert sorted(os.listdir()) == before


def test_threads_precision_and_splitting_can_be_chosen(place, lively_model, chirp):
    card = ModelCard(lively_model.recipe, lively_model.speakers)
    save_model("run/model.safetensors", lively_model.state_dict(), card)
    save_audio("in.wav", np.concatenate([np.tile(chirp, 3), np.zeros(400), chirp]), 8000)  # one pause to cut in
    arguments = ["convert", "--speaker", "theo", "--model", "run", "in.wav", "--precision", "float32", "--out"]
    for out, options in (("a", ["--threads", 1]), ("b", ["--threads", 2]), ("c", ["--threads", 2, "--no-split"])):
        call(*arguments, out, *options)
    one, two, whole = (load_audio(f"{out}/in.theo.wav") for out in "abc")
    assert np.array_equal(one, two)
    assert not np.array_equal(one, whole)
    assert len(one) == len(whole) == 4 * 8000 + 400


# `convert` that waits at its first piece until it is told to stop, so that it cannot be done before.
WAITING = f"""
import threading
from vqspeech.audio import AudioWriter
from vqspeech.cli.main import main
from vqspeech.conversion.pipeline import PipelineQueue
stopped, stop, write = threading.Event(), PipelineQueue.stop, AudioWriter.write
def stop_and_tell(self):
    stop(self)
    stopped.set()
def write_and_wait(self, piece):
    write(self, piece)
    open("writing", "w").close()
    assert stopped.wait({HUNG_S})
PipelineQueue.stop, AudioWriter.write = stop_and_tell, write_and_wait
main()
"""


@pytest.mark.parametrize("pause_s", [0, 0.1])
def test_an_interrupt_leaves_no_file_and_no_traceback(place, tiny_run, chirp, pause_s):
    speech = np.concatenate([np.tile(chirp, 3), np.zeros(round(8000 * pause_s), np.float32)])
    save_audio("in.wav", np.tile(speech, 20), 8000)  # a minute
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, *CONVERT[3:], tiny_run, "in.wav", "--out", "out"],
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    wait_until(Path("writing").exists, lambda: process.poll() is None)
    assert list(Path().glob("out/.in.ann.*.part.wav"))
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=HUNG_S)[1]
    assert process.returncode in (1, 130)
    assert "Traceback" not in said
    assert os.listdir("out") == []


def test_a_closed_output_is_no_reason_for_a_traceback(place, tiny_run):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*CONVERT, tiny_run, "in.wav"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert "Traceback" not in done.stderr and "Error" not in done.stderr
    assert load_audio("in.ann.wav").shape == (2000,)
