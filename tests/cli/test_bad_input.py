"""Bad input: one clear sentence with the remedy, exit code 1, nothing lost, no half-written file."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from commands import call, contents, refuse
from vqspeech.audio import load_audio, save_audio
from vqspeech.cli.main import main

RECIPE = """
name = "mine"
[data]
corpus = "folder"
sample_rate = 8000
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
[train]
steps = 2
crop_samples = 512
probe_utterances = 0
compile = "off"
"""


@pytest.fixture()
def recipe(place) -> Path:
    (place / "recipe.toml").write_text(RECIPE)
    return Path("recipe.toml")


@pytest.fixture()
def model(place, tiny_run) -> Path:
    """A model file of the test's own, to be spoilt."""
    Path("run").mkdir()
    Path("run/model.safetensors").write_bytes((tiny_run / "model.safetensors").read_bytes())
    return Path("run/model.safetensors")


def spoil_recording(kind: str, path: Path, chirp: np.ndarray) -> None:
    save_audio(path, chirp, 8000)
    whole = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "zero bytes":
        path.write_bytes(b"")
    elif kind == "zero samples":
        save_audio(path, chirp[:0], 8000)
    elif kind == "text":
        path.write_text("I am not a recording\n" * 20)
    elif kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "corrupt":
        path.write_bytes(whole[:4] + b"\xff" * 100 + whole[104:])
    elif kind == "nan":
        soundfile.write(path, np.array([0.1, np.nan, 0.2] * 100), 8000, subtype="FLOAT")
    elif kind == "folder":
        path.unlink()
        path.mkdir()


BAD_RECORDINGS = {
    "missing": "Check the path",
    "zero bytes": "empty file",
    "zero samples": "holds no samples",
    "text": "not a recording",
    "truncated": "truncated",
    "corrupt": "not a recording",
    "nan": "not finite",
}


@pytest.mark.parametrize("kind, said", BAD_RECORDINGS.items())
@pytest.mark.parametrize("verb", ["convert", "encode"])
def test_a_bad_recording_is_named_with_its_remedy(place, tiny_run, chirp, verb, kind, said):
    spoil_recording(kind, Path("bad.wav"), chirp)
    speaker = ["--speaker", "ann"] if verb == "convert" else []
    sentence = refuse(verb, "bad.wav", "--model", tiny_run, *speaker)
    assert "bad.wav" in sentence
    assert said in sentence


@pytest.mark.parametrize("arguments", [["encode", "."], ["encode", ".."], ["decode", ".", "--speaker", "ann"]])
def test_a_folder_in_place_of_a_file_is_told(place, tiny_run, arguments):
    assert any(word in refuse(*arguments, "--model", tiny_run) for word in ("folder", "directory"))


def test_a_folder_without_recordings_is_told(place, tiny_run):
    Path("empty").mkdir()
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("a")
    for folder in ("empty", "texts"):
        sentence = refuse("convert", folder, "--speaker", "ann", "--model", tiny_run)
        assert folder in sentence
        assert "wav, flac, ogg, opus, mp3, aiff" in sentence


@pytest.mark.parametrize(
    "name, rate, channels, samples",
    [
        ("silent", 8000, 1, 4000),
        ("eight channels", 16000, 8, 4000),
        ("4 kHz", 4000, 1, 1000),
        ("192 kHz", 192000, 2, 50000),
        ("shorter than a frame", 8000, 1, 5),
        ("one sample", 8000, 1, 1),
    ],
)
def test_an_unusual_recording_is_converted_at_full_length(place, tiny_run, name, rate, channels, samples):
    wav = np.random.default_rng(0).normal(0, 0.1, (samples, channels)) * (name != "silent")
    soundfile.write("odd.wav", wav, rate)
    call("convert", "odd.wav", "--speaker", "ann", "--model", tiny_run)
    assert len(load_audio("odd.ann.wav")) == round(samples * 8000 / rate)
    call("encode", "odd.wav", "--model", tiny_run)
    call("decode", "odd.npz", "--speaker", "ann", "--model", tiny_run, "--force")
    assert len(load_audio("odd.ann.wav")) == round(samples * 8000 / rate)


def test_a_recording_too_short_to_resample_is_named(place, tiny_run):
    soundfile.write("click.wav", np.zeros(2), 192000)  # a twelfth of a sample at 8 kHz
    for arguments in (["convert", "--speaker", "ann"], ["encode"]):
        sentence = refuse(*arguments, "click.wav", "--model", tiny_run)
        assert "click.wav" in sentence
        assert "longer" in sentence


def test_bad_files_among_many_are_all_listed_and_the_rest_is_done(place, tiny_run, chirp):
    Path("many").mkdir()
    for kind in BAD_RECORDINGS:
        spoil_recording(kind, Path("many", f"{kind}.wav"), chirp)
    save_audio("many/good.wav", chirp, 8000)
    before = contents(Path("many"))
    arguments = ["convert", "many", "many/missing.wav", "--out", "out", "--speaker", "ann", "--model", str(tiny_run)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.stdout.split() == ["out/good.ann.wav"]
    *errors, last = result.stderr.splitlines()
    assert len(errors) == len(BAD_RECORDINGS)
    assert all(line.startswith("Error: ") and "many/" in line for line in errors)
    assert last == f"1 converted, {len(BAD_RECORDINGS)} not."
    assert contents(Path("many")) == before
    assert list(contents(Path("out"))) == [Path("out/good.ann.wav")]


@pytest.mark.parametrize("speaker, near", [("theoo", "theo"), ("anne", "ann"), ("zzz", "ann, bob, theo")])
@pytest.mark.parametrize("verb", ["convert", "decode"])
def test_an_unknown_speaker_brings_the_nearest_names(place, tiny_run, verb, speaker, near):
    call("encode", "in.wav", "--model", tiny_run)
    source = "in.wav" if verb == "convert" else "in.npz"
    sentence = refuse(verb, source, "--speaker", speaker, "--model", tiny_run)
    assert repr(speaker) in sentence
    assert near in sentence
    assert "vqspeech info" in sentence


@pytest.mark.parametrize("speaker", ["Anna Maria", "a/b", "../up", "tab\tnew\nline", "Jörg 你好", "-dash"])
def test_a_speakers_name_never_leads_out_of_the_folder(place, tiny_model, chirp, speaker):
    from vqspeech.pretrained.cards import ModelCard
    from vqspeech.pretrained.checkpoint import save_model

    save_model("odd.safetensors", tiny_model.state_dict(), ModelCard(tiny_model.recipe, ("x", speaker, "y")))
    assert "3" in call("info", "odd.safetensors")
    before = set(contents(place.parent))
    call("convert", "in.wav", f"--speaker={speaker}", "--model", "odd.safetensors", "--out", "out")
    (new,) = set(contents(place.parent)) - before - {place / "out"}
    assert new.parent == place / "out"
    assert new.name.startswith("in.")


# Models


def test_a_missing_model_is_told(place):
    for arguments in (["convert", "in.wav", "--speaker", "ann", "--model"], ["encode", "in.wav", "--model"], ["info"]):
        assert "no model at nowhere" in refuse(*arguments, "nowhere")
    Path("empty").mkdir()
    assert "holds no model.safetensors" in refuse("info", "empty")


def rewrite_header(model: Path, change) -> None:
    """Change the JSON in a model's file."""
    from safetensors import safe_open

    with safe_open(model, framework="np") as file:
        header = json.loads(file.metadata()["vqspeech"])
    save_file(load_file(model), model, metadata={"vqspeech": json.dumps(change(header))})


@pytest.mark.parametrize(
    "kind, said",
    {
        "truncated": "truncated",
        "zero bytes": "truncated",
        "text": "truncated",
        "another's": "not a vqspeech model",
        "pickle": "not a safetensors file",
        "newer": "pip install -U vqspeech",
        "damaged header": "damaged header",
        "incomplete header": "incomplete header",
        "unknown recipe key": "unknown key 'encoder.stride': did you mean 'strides'?",
        "other weights": "weights",
    }.items(),
)
def test_a_bad_model_is_named_with_its_remedy(model, kind, said):
    whole = model.read_bytes()
    if kind == "truncated":
        model.write_bytes(whole[: len(whole) // 2])
    elif kind == "zero bytes":
        model.write_bytes(b"")
    elif kind == "text":
        model.write_text("weights?")
    elif kind == "another's":
        save_file({"weight": np.zeros(3, np.float32)}, model)
    elif kind == "pickle":
        model.write_bytes(pickle.dumps({"state_dict": [0] * 1000}))
    elif kind == "newer":
        rewrite_header(model, lambda header: header | {"format": 99, "version": "9.0", "invention": 1})
    elif kind == "damaged header":
        rewrite_header(model, lambda header: "a string")
    elif kind == "incomplete header":
        rewrite_header(model, lambda header: {key: header[key] for key in header if key != "speakers"})
    elif kind == "unknown recipe key":
        rewrite_header(
            model, lambda header: header | {"recipe": header["recipe"] | {"encoder": {"stride": [4], "strides": [16]}}}
        )
    elif kind == "other weights":
        rewrite_header(model, lambda header: header | {"speakers": ["only", "two"]})
    sentence = refuse("convert", "in.wav", "--speaker", "ann", "--model", "run")
    assert said in sentence
    assert "run/model.safetensors" in sentence


def test_a_model_with_values_that_are_not_finite_is_told(model):
    weights = load_file(model)
    from safetensors import safe_open

    with safe_open(model, framework="np") as file:
        metadata = file.metadata()
    weights["wavenet.head.weight"][0, 0] = np.nan
    save_file(weights, model, metadata=metadata)
    assert "not finite" in refuse("convert", "in.wav", "--speaker", "ann", "--model", model)


# Codes


class RunsCode:
    """What unpickling would execute."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


def spoil_codes(kind: str, path: Path) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    whole = path.read_bytes()
    if kind == "beyond the codebook":
        arrays["codes"][3] = 8
    elif kind == "below zero":
        arrays["codes"][3] = -1
    elif kind == "another model":
        arrays["model"] = np.array("0" * 64)
    elif kind == "pickled array":
        arrays["codes"] = np.array([RunsCode()], dtype=object)
    elif kind == "no codes":
        del arrays["codes"]
    elif kind == "fractions":
        arrays["codes"] = arrays["codes"] + 0.5
    elif kind == "none":
        arrays["codes"] = arrays["codes"][:0]
    elif kind == "two rows":
        arrays["codes"] = arrays["codes"][:100].reshape(2, 50)
    elif kind == "too long":
        arrays["num_samples"] = np.array(10**9)
    elif kind == "endless":
        arrays["num_samples"] = np.array(np.inf)
    np.savez(path, **arrays)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(RunsCode()))
    elif kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "zero bytes":
        path.write_bytes(b"")
    elif kind == "bits flipped":
        at = whole.index(b"codes.npy") + 40
        path.write_bytes(whole[:at] + bytes(255 - byte for byte in whole[at : at + 20]) + whole[at + 20 :])
    elif kind == "an array":
        with open(path, "wb") as file:
            np.save(file, np.arange(5))
    elif kind == "another zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize(
    "kind, said",
    {
        "beyond the codebook": "8 entries (0 to 7)",
        "below zero": "from -1",
        "another model": "another model",
        "pickled array": "never loaded",
        "pickle": "never loaded",
        "no codes": "not a file of codes",
        "fractions": "no sequence of codes",
        "none": "no sequence of codes",
        "two rows": "no sequence of codes",
        "too long": "does not fit",
        "endless": "damaged",
        "truncated": "damaged",
        "zero bytes": "damaged",
        "bits flipped": "damaged",
        "an array": "not a file of codes",
        "another zip": "not a file of codes",
        "missing": "no codes at in.npz",
    }.items(),
)
def test_a_bad_file_of_codes_is_named_and_never_unpickled(place, tiny_run, kind, said):
    call("encode", "in.wav", "--model", tiny_run)
    spoil_codes(kind, Path("in.npz"))
    sentence = refuse("decode", "in.npz", "--speaker", "ann", "--model", tiny_run)
    assert said in sentence
    assert "in.npz" in sentence
    assert "ncode" in sentence  # the remedy: encode again, or vqspeech encode
    assert not Path("pwned").exists()


def test_codes_of_one_model_are_not_spoken_by_another(place, tiny_run, other_run):
    call("encode", "in.wav", "--model", tiny_run)
    assert "another model" in refuse("decode", "in.npz", "--speaker", "eve", "--model", other_run)


# Places that cannot be written


def test_a_result_that_cannot_be_written_is_told(place, tiny_run):
    Path("file").write_text("in the way")  # root may write anywhere, but not below a file
    call("encode", "in.wav", "--model", tiny_run)
    for arguments in (
        ["convert", "in.wav", "--speaker", "ann", "--out", "file/deeper"],
        ["encode", "in.wav", "--out", "file/in.npz"],
        ["decode", "in.npz", "--speaker", "ann", "--out", "file/in.wav"],
    ):
        assert "cannot write file/" in refuse(*arguments, "--model", tiny_run)


def test_a_folder_where_a_file_should_go_is_told(place, tiny_run):
    Path("folder").mkdir()
    assert "folder is a folder" in refuse("encode", "in.wav", "--model", tiny_run, "--out", "folder", "--force")


def test_sound_is_written_as_wav_or_flac_only(place, tiny_run):
    call("encode", "in.wav", "--model", tiny_run)
    sentence = refuse("decode", "in.npz", "--speaker", "ann", "--model", tiny_run, "--out", "in.mp3")
    assert "must end in .wav or .flac" in sentence


@pytest.mark.parametrize("verb", ["convert", "encode", "decode"])
def test_a_full_disk_leaves_no_half_written_file(place, tiny_run, verb):
    """A limit on file sizes stands in for the full disk: the system refuses a write in the middle of the file."""
    call("encode", "in.wav", "--model", tiny_run)
    Path("in.npz").rename("codes.npz")
    before = contents(place)
    source = "codes.npz" if verb == "decode" else "in.wav"
    speaker = [] if verb == "encode" else ["--speaker", "ann", "--engine", "torch"]  # numba would write its cache
    command = [verb, source, "--model", str(tiny_run), *speaker]
    script = f"from vqspeech.cli.main import main; main({command!r})"
    limit = 200 if verb == "encode" else 1500
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("Error: cannot write")
    assert contents(place) == before


def test_no_space_left_is_told_in_those_words(place, tiny_run, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("numpy.savez_compressed", full)
    sentence = refuse("encode", "in.wav", "--model", tiny_run)
    assert "No space left on device" in sentence
    assert "Free some space" in sentence


def test_any_other_trouble_with_a_file_is_a_sentence_too(place, tiny_run):
    long = "x" * 300 + ".wav"  # longer than a file's name may be
    assert "name too long" in refuse("encode", long, "--model", tiny_run).lower()
    assert refuse("convert", long, "--speaker", "ann", "--model", tiny_run)


# Recipes


@pytest.mark.parametrize(
    "changes, said",
    [
        (["train.batchsize=8"], "did you mean 'batch_size'?"),
        (["trian.steps=8"], "did you mean 'train'?"),
        (["train.steps=0"], "train.steps = 0"),
        (["train.steps=many"], "train.steps = 'many'"),
        (["train.learning_rate=nan"], "train.learning_rate"),
        (["encoder.strides=[3]"], "encoder.strides.0 = 3"),
        (["train.crop_samples=500"], "use 496"),
        (["data.sample_rate=100"], "data.sample_rate = 100"),
        (["data.corpus=vkct"], "data.corpus = 'vkct'"),
        (["steps"], "--set 'steps' is not of the form"),
        (["name.first=x"], "is a value, not a section"),
    ],
)
@pytest.mark.parametrize("verb", ["train", "prepare"])
def test_a_recipes_mistake_is_named_with_what_is_allowed(recipe, verb, changes, said):
    overrides = [word for change in changes for word in ("--set", change)]
    assert said in refuse(verb, recipe, "--data", ".", *overrides)
    assert not Path("runs").exists() and not Path("prepared").exists()


@pytest.mark.parametrize("verb", ["train", "prepare"])
def test_a_recipe_that_is_none_is_told(recipe, verb):
    Path("broken.toml").write_text("name = ")
    Path("binary.toml").write_bytes(b"\xff\xfe\0")
    Path("empty").mkdir()
    assert "no recipe at nowhere" in refuse(verb, "nowhere")
    assert "no recipe at empty/recipe.toml" in refuse(verb, "empty")
    assert "neither --data, nor data.root" in refuse(verb, ".")  # a folder with a recipe is one: it is read
    assert "not valid TOML" in refuse(verb, "broken.toml")
    assert "not valid TOML" in refuse(verb, "binary.toml")


# Data


@pytest.mark.parametrize("verb", ["train", "prepare"])
def test_missing_or_empty_data_is_told_with_what_was_expected(recipe, verb):
    Path("empty").mkdir()
    Path("texts/ann").mkdir(parents=True)
    Path("texts/ann/a.txt").write_text("a")
    assert "neither --data, nor data.root" in refuse(verb, recipe)
    assert "nowhere does not exist" in refuse(verb, recipe, "--data", "nowhere")
    for folder in ("empty", "texts"):
        sentence = refuse(verb, recipe, "--data", folder)
        assert f"no recordings in {folder}" in sentence
        assert "one subfolder per speaker" in sentence
    for corpus, expected in (("vctk", "wav48"), ("librispeech", "LibriSpeech"), ("fsdd", "DIGIT_SPEAKER_TAKE")):
        assert expected in refuse(verb, recipe, "--data", "empty", "--set", f"data.corpus={corpus}")


@pytest.mark.parametrize("verb", ["train", "prepare"])
def test_data_without_one_usable_recording_is_told(recipe, verb, chirp):
    Path("voices/ann").mkdir(parents=True)
    for kind in BAD_RECORDINGS:
        spoil_recording(kind, Path("voices/ann", f"{kind}.wav"), chirp)
    before = contents(Path("voices"))
    result = CliRunner().invoke(main, [verb, str(recipe), "--data", "voices"])
    assert result.exit_code == 1
    assert f"Error: none of the {len(BAD_RECORDINGS) - 1} recordings can be used" in result.stderr.splitlines()[-1]
    assert contents(Path("voices")) == before
    assert not list(Path().rglob("*.part*"))


def test_bad_recordings_in_a_corpus_are_left_out_and_listed(recipe, chirp):
    for speaker in ("Anna Maria", "a.b", "-dash"):
        Path("voices", speaker).mkdir(parents=True)
        for take in range(3):
            save_audio(Path("voices", speaker, f"{take}.wav"), chirp, 8000)
    for kind in BAD_RECORDINGS:
        spoil_recording(kind, Path("voices/a.b", f"{kind}.wav"), chirp)
    soundfile.write("voices/a.b/8 channels.wav", np.tile(chirp[:, None], 8), 8000)
    soundfile.write("voices/a.b/192 kHz.wav", np.tile(chirp, 24), 192000)
    soundfile.write("voices/a.b/4 kHz.wav", chirp, 4000)
    save_audio("voices/a.b/short.wav", chirp[:5], 8000)
    said = call("prepare", recipe, "--data", "voices", "--workers", 1)
    assert "3 speakers, 12 utterances" in said
    assert "-dash, Anna Maria, a.b" in said
    for kind in BAD_RECORDINGS.keys() - {"missing"} | {"short"}:
        assert f"left out: voices/a.b/{kind}.wav" in said


@pytest.mark.parametrize("verb", ["train", "prepare"])
def test_a_place_for_results_that_cannot_be_written_is_told(recipe, verb, chirp):
    Path("voices/ann").mkdir(parents=True)
    save_audio("voices/ann/a.wav", chirp, 8000)
    Path("file").write_text("in the way")
    sentence = refuse(verb, recipe, "--data", "voices", "--out", "file/deeper")
    assert "cannot write" in sentence
    assert "--out" in sentence


def test_resuming_what_was_never_started_is_told(recipe):
    assert "nothing to resume" in refuse("train", recipe, "--resume", "--out", "new")


def test_a_truncated_header_is_no_reason_for_a_traceback(place, tiny_run):
    Path("bad.wav").write_bytes(b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt ")
    refuse("encode", "bad.wav", "--model", tiny_run)


def test_wrong_usage_keeps_the_exit_code_of_wrong_usage(place):
    for arguments in (["convert"], ["convert", "in.wav"], ["nonsense"], ["convert", "--sped", "x"]):
        assert CliRunner().invoke(main, arguments).exit_code == 2
