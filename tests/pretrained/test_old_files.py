"""Files that an earlier version wrote still load, and mean the same: tests/fixtures/README.md says what they are."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from commands import call, refuse
from vqspeech.audio import load_audio
from vqspeech.data.store import Store
from vqspeech.pretrained.checkpoint import read_card, read_model, read_prior, read_prior_card
from vqspeech.pretrained.voices import read_voice

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "before"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
EXACT = ("--engine", "torch", "--precision", "float32", "--seed", 3)


@pytest.fixture(autouse=True)
def before(tmp_path, monkeypatch) -> Path:
    """A working folder with the old files in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VQSPEECH_MODEL", raising=False)
    with tarfile.open(FIXTURES / "files.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def pcm(file: str | Path) -> list[int]:
    return np.rint(load_audio(file, 4000) * 32768).astype(int).tolist()


def codes(file: str | Path) -> list[int]:
    return np.load(file)["codes"].tolist()


def test_a_model_gives_the_same_codes_and_the_same_speech():
    assert read_card("whole").speakers == ("ada", "ben", "cyd")
    assert read_model("whole").encode(load_audio("in.wav", 4000)).tolist() == EXPECTED["codes"]
    call("convert", "in.wav", "--model", "whole", "--speaker", "ben", *EXACT)
    assert pcm("in.ben.wav") == EXPECTED["converted to ben"]


def test_a_prior_draws_the_same_codes_and_they_sound_the_same():
    assert read_prior_card("whole").step == read_prior("whole", read_model("whole")).card.step <= 4
    call("sample", "--model", "whole", "--speaker", "ben", "--num", 1, "--duration", 0.1, *EXACT, "--out", "sampled")
    (drawn,), (wav,) = Path("sampled").glob("*.npz"), Path("sampled").glob("*.wav")
    assert codes(drawn) == EXPECTED["sampled codes"]
    assert pcm(wav) == EXPECTED["sampled"]


def test_an_enrolled_voice_finds_its_model_and_sounds_the_same():
    card, vector = read_voice(Path("runs/voices/zoe.safetensors"))
    assert (card.name, vector.shape) == ("zoe", (4,))
    call("convert", "in.wav", "--model", "whole", "--speaker", "zoe", *EXACT)
    call("convert", "in.wav", "--speaker", "runs/voices/zoe.safetensors", *EXACT, "--out", "without")
    assert pcm("in.zoe.wav") == pcm("without/in.zoe.wav") == EXPECTED["converted to zoe"]


def test_a_file_of_codes_is_spoken_and_written_again_alike():
    call("decode", "in.npz", "--model", "whole", "--speaker", "cyd", *EXACT)
    assert pcm("in.cyd.wav") == EXPECTED["decoded as cyd"]
    call("encode", "in.wav", "--model", "whole", "--out", "again.npz")
    old, new = np.load("in.npz"), np.load("again.npz")
    assert sorted(old.files) == sorted(new.files)
    for name in old.files:
        assert old[name].dtype == new[name].dtype and np.array_equal(old[name], new[name]), name


def test_a_compressed_file_is_unpacked_spoken_and_written_again_byte_for_byte():
    call("decompress", "in.vqs", "--model", "whole", "--out", "unpacked.npz")
    assert codes("unpacked.npz") == EXPECTED["decompressed codes"] == EXPECTED["codes"]
    call("decompress", "in.vqs", "--model", "whole", *EXACT)  # in the voice that it names
    assert pcm("in.ada.wav") == EXPECTED["decompressed"]
    call("compress", "in.wav", "--model", "whole", "--speaker", "ada", "--out", "again.vqs")
    assert Path("again.vqs").read_bytes() == Path("in.vqs").read_bytes()


def test_a_prepared_corpus_is_known_again_and_holds_the_recordings():
    assert "(already done)" in call("prepare", "recipe.toml", "--data", "corpus")
    store = Store.open("prepared/tiny")
    assert store.speakers == ("ada", "ben", "cyd") and len(store) == 12
    assert sum(store.split_sizes.values()) == 12


def test_a_stopped_run_goes_on_to_where_the_old_version_came():
    assert torch.load("half/state.pt", weights_only=True)["step"] == 4
    call("train", "recipe.toml", "--data", "corpus", "--out", "half", "--resume")
    assert "(already done)" in call("prepare", "recipe.toml", "--data", "corpus")  # nothing was prepared anew
    for file in ("model.safetensors", "prior.safetensors"):
        found, expected = load_file(f"half/{file}"), load_file(f"whole/{file}")
        assert found.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6, msg=name)
    rows = [[json.loads(line) for line in Path(run, "metrics.jsonl").open()] for run in ("half", "whole")]
    for found, expected in zip(*rows, strict=True):
        assert found.keys() == expected.keys()
        assert found["step"] == expected["step"] and found["kind"] == expected["kind"]


def test_answers_are_scored_by_the_old_key_as_they_were():
    call("listening-test", "score", "answers", "--out", "score")
    assert json.loads(Path("score/score.json").read_text())["screened"] == EXPECTED["score"]


def test_what_a_later_version_wrote_is_refused_in_words():
    from safetensors import safe_open

    for file, key in (("whole/model.safetensors", "vqspeech"), ("whole/prior.safetensors", "vqspeech prior"),
                      ("runs/voices/zoe.safetensors", "vqspeech voice")):  # fmt: skip
        with safe_open(file, framework="pt") as opened:
            header = json.loads(opened.metadata()[key])
        save_file(load_file(file), file, metadata={key: json.dumps(header | {"format": 99})})
    for arguments in (["info", "whole"], ["convert", "in.wav", "--speaker", "zoe"]):
        sentence = refuse(*arguments)
        assert "newer vqspeech" in sentence and "pip install -U vqspeech" in sentence
