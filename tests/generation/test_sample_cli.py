"""`vqspeech sample`, `compress` and `decompress`: what they write, what they print, what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from commands import call, contents, refuse
from priors import make_prior, write_run
from vqspeech.audio import load_audio, save_audio
from vqspeech.cli.main import main
from vqspeech.conversion.codes import load_codes
from vqspeech.pretrained.checkpoint import read_model


@pytest.fixture
def run(place, tiny_model) -> Path:
    """A run folder with a prior whose utterances last some thirty codes."""
    return write_run(place / "run", tiny_model, make_prior(tiny_model, stop_bias=-1.0))


@pytest.fixture
def bare(place, tiny_model) -> Path:
    """A run folder without a prior."""
    return write_run(place / "bare", tiny_model, None)


def sample(run: Path, *options: object) -> list[Path]:
    """The WAV files that a call names."""
    printed = call("sample", "--model", run, "--speaker", "bob", "--engine", "torch", *options)
    return [Path(line.partition(": ")[0]) for line in printed.splitlines()]


def test_sound_codes_and_picture_of_each_utterance_lie_where_it_says(run):
    wavs = sample(run, "--num", 3, "--duration", 0.1)
    assert wavs == [Path(f"samples/sample-bob-0-{number:03d}.wav") for number in range(3)]
    assert {path.name for path in Path("samples").iterdir()} == {
        wav.with_suffix(suffix).name for wav in wavs for suffix in (".wav", ".npz", ".png")
    }
    model = read_model(run)
    for wav in wavs:
        codes, num_samples = load_codes(wav.with_suffix(".npz"), model)
        assert len(load_audio(wav)) == num_samples == 16 * len(codes)
        assert 0 < len(codes) <= 50  # 0.1 s at 500 codes per second
        assert wav.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_what_is_cut_at_the_longest_duration_is_said_to_be(place, tiny_model):
    run = write_run(place / "endless", tiny_model, make_prior(tiny_model, stop_bias=-1000.0))
    printed = call("sample", "--model", run, "--speaker", "bob", "--duration", 0.05)
    assert printed == "samples/sample-bob-0-000.wav: 0.05 s, cut at --duration\n"


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(run):
    sample(run, "--num", 2, "--out", "a", "--seed", 7)
    sample(run, "--num", 1, "--out", "b", "--seed", 7)
    sample(run, "--num", 1, "--out", "c", "--seed", 8)
    name = "sample-bob-7-000"
    for suffix in (".wav", ".npz"):
        assert Path("a", name + suffix).read_bytes() == Path("b", name + suffix).read_bytes()
    assert Path("c/sample-bob-8-000.wav").read_bytes() != Path("a", name + ".wav").read_bytes()


@pytest.mark.parametrize("speaker", ["bob", "theo"])
def test_a_prompt_is_continued_in_any_voice(run, speaker):
    call("sample", "--model", run, "--speaker", speaker, "--prompt", "in.wav", "--num", 2, "--duration", 0.1)
    model = read_model(run)
    begun = model.encode(load_audio("in.wav")).numpy()
    for number in range(2):
        codes, _ = load_codes(f"samples/in-{speaker}-0-{number:03d}.npz", model)
        np.testing.assert_array_equal(codes[:125], begun)
        assert len(codes) <= 125 + 50


def test_options_reach_the_prior(run):
    (plain,) = sample(run, "--out", "plain")
    (narrow,) = sample(run, "--out", "narrow", "--top-p", 1e-6, "--duration", 0.1)
    (cold,) = sample(run, "--out", "cold", "--temperature", 0, "--duration", 0.1)
    model = read_model(run)
    codes = [load_codes(wav.with_suffix(".npz"), model)[0].tolist() for wav in (plain, narrow, cold)]
    assert codes[1] == codes[2] != codes[0]


@pytest.mark.parametrize(
    "command",
    [
        ("sample", "--speaker", "bob"),
        ("compress", "in.wav"),
        ("decompress", "in.vqs", "--speaker", "bob"),
    ],
)
def test_a_model_without_a_prior_says_how_to_train_one(bare, command):
    sentence = refuse(*command, "--model", bare)
    assert "holds no prior over codes" in sentence and "vqspeech train RECIPE --stage prior" in sentence


def test_a_prior_of_another_model_is_refused(bare, run, lively_model):
    other = write_run(Path("other"), lively_model, None)
    with_prior = read_model(other)
    with_prior.encoder.project.bias.add_(1)
    write_run(Path("spoilt"), with_prior, None)
    Path("spoilt/prior.safetensors").write_bytes((run / "prior.safetensors").read_bytes())
    sentence = refuse("sample", "--model", "spoilt", "--speaker", "bob")
    assert "codes of another model" in sentence and "--stage prior" in sentence


def test_bad_prompts_are_refused(run, chirp):
    save_audio("fast.wav", chirp, 16000)
    save_audio("short.wav", chirp[:10], 8000)
    options = ("sample", "--model", run, "--speaker", "bob", "--prompt")
    assert "16000 Hz, a prompt for this model needs 8000 Hz" in refuse(*options, "fast.wav")
    assert "10 samples, shorter than one frame of the model (16 samples, 2 ms)" in refuse(*options, "short.wav")
    assert "no recording at absent.wav" in refuse(*options, "absent.wav")


def test_nothing_is_overwritten_unless_asked_for(run):
    (wav,) = sample(run)
    wav.unlink()
    sentence = refuse("sample", "--model", run, "--speaker", "bob")
    assert "sample-bob-0-000.npz exists" in sentence and "--force" in sentence
    assert sample(run, "--force") == [wav]


def test_an_unknown_speaker_is_told_before_any_work(run):
    assert "Did you mean bob?" in refuse("sample", "--model", run, "--speaker", "bobb")
    assert "Did you mean bob?" in refuse("compress", "in.wav", "--model", run, "--speaker", "bobb")


@pytest.mark.parametrize("option", [("--top-p", 0), ("--top-p", 1.1), ("--num", 0), ("--duration", 0), ("--seed", -1)])
def test_options_out_of_range_are_a_usage_error(run, option):
    before = contents(Path())
    command = ["sample", "--model", run, "--speaker", "bob", *option]
    result = CliRunner().invoke(main, [str(argument) for argument in command])
    assert result.exit_code == 2 and option[0] in result.stderr
    assert contents(Path()) == before


def test_a_recording_goes_to_a_small_file_and_back(run):
    printed = call("compress", "in.wav", "--speaker", "bob", "--model", run)
    assert printed.startswith("in.vqs: ") and "for 125 codes" in printed and "bits/code" in printed
    assert Path("in.vqs").stat().st_size < Path("in.wav").stat().st_size / 20
    assert call("decompress", "in.vqs", "--model", run) == "in.bob.wav\n"  # the speaker that it names
    assert call("decompress", "in.vqs", "--speaker", "theo", "--model", run) == "in.theo.wav\n"
    assert len(load_audio("in.theo.wav")) == len(load_audio("in.wav"))
    call("encode", "in.wav", "--model", run)
    call("decompress", "in.vqs", "--model", run, "--out", "out.npz")
    model = read_model(run)
    np.testing.assert_array_equal(load_codes("out.npz", model)[0], load_codes("in.npz", model)[0])


def test_what_is_decompressed_sounds_as_the_codes_do(run):
    call("encode", "in.wav", "--model", run)
    call("decode", "in.npz", "--speaker", "theo", "--model", run, "--out", "decoded.wav", "--engine", "torch")
    call("compress", "in.wav", "--model", run)
    call("decompress", "in.vqs", "--speaker", "theo", "--model", run, "--out", "out.wav", "--engine", "torch")
    np.testing.assert_array_equal(load_audio("out.wav"), load_audio("decoded.wav"))


def test_a_file_that_names_no_speaker_asks_for_one(run):
    call("compress", "in.wav", "--model", run)
    assert "names no speaker. Give one of ann, bob, theo with --speaker" in refuse(
        "decompress", "in.vqs", "--model", run
    )


def test_damaged_and_foreign_files_leave_nothing_behind(run, other_run):
    call("compress", "in.wav", "--speaker", "bob", "--model", run)
    whole = Path("in.vqs").read_bytes()
    Path("cut.vqs").write_bytes(whole[:-3])
    Path("flipped.vqs").write_bytes(whole[:-1] + bytes([whole[-1] ^ 16]))
    for name, word in (("cut", "truncated"), ("flipped", "damaged"), ("in.wav", "not a .vqs file"), ("absent", "no")):
        source = name if "." in name else f"{name}.vqs"
        assert word in refuse("decompress", source, "--speaker", "bob", "--model", run)
    other = read_model(other_run)
    foreign = write_run(Path("foreign"), other, make_prior(other))
    assert "compressed with another model" in refuse("decompress", "in.vqs", "--model", foreign)
    assert "exists. Overwrite it with --force" in refuse("compress", "in.wav", "--model", run)
