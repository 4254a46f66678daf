"""One door: every verb and option that takes a model takes it by the same names, and answers a wrong one alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundles import bundle
from commands import call, refuse
from priors import make_prior, write_run
from vqspeech.cli.main import main

MODEL = "MODEL"  # stands for the model in the commands below
# What is enough to know that the model was found: a result, or a sentence about what is looked at after it.
RESULTS = {
    "convert": ("convert", "--model", MODEL, "--speaker", "bob", "in.wav"),
    "encode": ("encode", "--model", MODEL, "in.wav"),
    "decode": ("decode", "--model", MODEL, "--speaker", "bob", "codes.npz"),
    "info": ("info", MODEL),
    "units": ("units", MODEL, "in.wav"),
    "sample": ("sample", "--model", MODEL, "--duration", "0.05"),
    "sample --speaker": ("sample", "--model", MODEL, "--speaker", "bob", "--duration", "0.05"),
    "compress": ("compress", "--model", MODEL, "in.wav"),
    "decompress": ("decompress", "--model", MODEL, "--speaker", "bob", "codes.vqs"),
}
EXPORT = ("listening-test", "export", "--kind", "mos", "--out", "t")
SENTENCES = {
    "evaluate": (("evaluate", MODEL, "--data", "nowhere"), "nowhere"),
    "evaluate --against": (("evaluate", "run", "--against", MODEL, "--data", "nowhere"), "nowhere"),
    "enroll": (("enroll", "--model", MODEL, "--name", "eve", "in.wav"), "30 s"),
    "listening-test export": ((*EXPORT, MODEL, "--data", "nowhere"), "nowhere"),
    "listening-test export --against": ((*EXPORT, "run", "--against", MODEL, "--data", "nowhere"), "nowhere"),
    "listening-test export --example": ((*EXPORT, "run", "--against", MODEL, "--example", "--trials", "99"), "99"),
}
COMMANDS = RESULTS | {name: command for name, (command, _) in SENTENCES.items()}
GIVEN = ("small", "bundled:small", "run", "./run", "run/model.safetensors")


@pytest.fixture
def models(place, tiny_model, tmp_path, monkeypatch) -> Path:
    """A bundled model, `small`, the same in the folder `run` and in runs/mine, a recording, and its codes."""
    pytest.importorskip("constriction", reason="constriction is not installed: pip install 'vqspeech[compress]'")
    run = write_run(place / "run", tiny_model, make_prior(tiny_model, stop_bias=-1.0))
    write_run(place / "runs" / "mine", tiny_model, None)
    bundle(monkeypatch, tmp_path / "bundled", small=run)
    return place


def with_model(command: tuple[str, ...], model: str) -> list[str]:
    return [model if word == MODEL else word for word in command]


def test_no_verb_or_option_that_takes_a_model_is_forgotten():
    groups = {"": main, "listening-test ": main.commands["listening-test"]}
    verbs = {f"{prefix}{name}": verb for prefix, group in groups.items() for name, verb in group.commands.items()}
    taking = {
        name
        for name, verb in verbs.items()
        for parameter in getattr(verb, "params", ())
        if parameter.name in ("model", "against")
    }
    assert taking == {name.partition(" --")[0] for name in COMMANDS}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("verb", RESULTS)
def test_a_bundled_name_a_folder_and_a_file_are_all_models(models, verb, given):
    if verb == "decode":
        call("encode", "--model", given, "in.wav", "--out", "codes.npz")
    if verb == "decompress":
        call("compress", "--model", given, "in.wav", "--out", "codes.vqs")
    assert call(*with_model(RESULTS[verb], given))


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("verb", SENTENCES)
def test_verbs_that_take_long_know_them_too_and_ask_for_the_next_thing(models, verb, given):
    command, following = SENTENCES[verb]
    sentence = refuse(*with_model(command, given))
    assert "no model" not in sentence and following in sentence


@pytest.mark.parametrize(
    ("given", "told", "near"),
    [
        ("smal", "there is no model at smal.", "Did you mean small? Bundled: small"),
        ("bundled:smal", "no bundled model 'smal'.", "Did you mean small?"),
        ("mien", "there is no model at mien.", "Did you mean runs/mine?"),
        ("runs/mein", "there is no model at runs/mein.", "Did you mean runs/mine?"),
    ],
)
def test_a_wrong_name_gets_the_same_sentence_everywhere_with_what_is_near(models, given, told, near):
    call("encode", "--model", "small", "in.wav", "--out", "codes.npz")
    call("compress", "--model", "small", "in.wav", "--out", "codes.vqs")
    (sentence,) = {refuse(*with_model(command, given)) for command in COMMANDS.values()}
    assert sentence.startswith(f"Error: {told}") and near in sentence
