"""Bundled weights: packed small with a card, found by name, listed, and never taken when damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bundles import DATA, LICENCE, bundle
from commands import call, refuse
from priors import make_prior, write_run
from vqspeech.audio import load_audio
from vqspeech.errors import CheckpointError
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained import bundled
from vqspeech.pretrained.cards import ModelCard
from vqspeech.pretrained.checkpoint import MODEL_FILE, read_card, read_model, read_prior, read_prior_card, save_model
from vqspeech.pretrained.packing import halved, pack
from vqspeech.pretrained.registry import find, resolve

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def nothing_bundled(tmp_path, monkeypatch) -> Path:
    """No bundled weights, whatever this copy of vqspeech ships."""
    return bundle(monkeypatch, tmp_path / "bundled")


@pytest.fixture
def with_models(tiny_run, other_run, place, tmp_path, monkeypatch) -> Path:
    """A working folder, and the bundled models `small` (ann, bob, theo) and `others` (eve, frank)."""
    bundle(monkeypatch, tmp_path / "site" / "weights", small=tiny_run, others=other_run)
    return place


# Packing


def test_packing_keeps_what_inference_needs_and_halves_its_matrices(model, tmp_path):
    save_model(tmp_path / "run" / MODEL_FILE, model.state_dict(), ModelCard(model.recipe, model.speakers, step=9))
    pack(tmp_path / "run", tmp_path / "out", data=DATA, licence=LICENCE)
    before, after = load_file(tmp_path / "run" / MODEL_FILE), load_file(tmp_path / "out" / MODEL_FILE)
    assert {
        name for name in before if name.startswith(("spectral_head.", "adversary."))
    } == before.keys() - after.keys()
    assert before.keys() - after.keys()
    for name, value in after.items():
        exact = value.dim() < 2 or name.startswith(("bottleneck.", "speaker_vectors."))
        assert value.dtype == (before[name].dtype if exact else torch.float16)
        # A float16 has 11 bits of mantissa: the nearest one is at most half of 2^-10 away, relative to the number.
        assert torch.allclose(value.float(), before[name].float(), rtol=0 if exact else 2**-11, atol=1e-7)


def test_a_packed_model_speaks_almost_as_the_run_does(lively_model, tmp_path):
    run = write_run(tmp_path / "run", lively_model, None)
    pack(run, tmp_path / "out", data=DATA, licence=LICENCE)
    whole, packed = read_model(run), read_model(tmp_path / "out")
    wav = torch.randn(4000) * 0.2
    assert (packed.encode(wav) == whole.encode(wav)).float().mean() > 0.98
    previous = torch.randint(256, (1, 800))
    condition = whole.condition(whole.encode(wav[:800]), 1)[None]
    a, b = (m.wavenet(previous, condition).log_softmax(-1) for m in (whole, packed))
    assert (a - b).abs().max() < 0.05  # nats, where logits of this model spread over several
    assert a.std() > 1


def test_weights_that_float16_cannot_hold_stay_as_they_are():
    weights = {"wide": torch.full((2, 2), 1e5), "small": torch.ones(2, 2), "count": torch.ones(2, 2, dtype=torch.long)}
    assert {name: value.dtype for name, value in halved(weights).items()} == {
        "wide": torch.float32, "small": torch.float16, "count": torch.int64,
    }  # fmt: skip


def test_a_packed_prior_belongs_to_the_packed_model(tiny_model, tmp_path):
    run = write_run(tmp_path / "run", tiny_model, make_prior(tiny_model))
    pack(run, tmp_path / "out", data=DATA, licence=LICENCE)
    packed = read_model(tmp_path / "out")
    prior = read_prior(tmp_path / "out", packed)
    assert read_prior_card(tmp_path / "out").model == packed.codes_id()
    codes = torch.randint(8, (1, 20))
    before = read_prior(run, read_model(run))(codes, torch.tensor([1])).log_softmax(-1)
    assert (prior(codes, torch.tensor([1])).log_softmax(-1) - before).abs().max() < 0.05


def test_packing_again_without_a_prior_takes_the_old_one_away(tiny_model, tmp_path):
    pack(write_run(tmp_path / "a", tiny_model, make_prior(tiny_model)), tmp_path / "out", data=DATA, licence=LICENCE)
    pack(write_run(tmp_path / "b", tiny_model, None), tmp_path / "out", data=DATA, licence=LICENCE, force=True)
    assert not (tmp_path / "out" / "prior.safetensors").exists()
    assert set(bundled.read_packed_card(tmp_path / "out").sha256) == {MODEL_FILE}


def test_the_cards_tell_data_licence_command_seed_hash_quality_limits_and_consent(place, tiny_model, tiny_run):
    # Begun before Muon was the default, so that the optimiser is not named.
    told = {"recipe": {"name": "vowels", "train": {}}, "overrides": ["train.seed=3", "data.root=/home/me/secret"],
            "data": {"root": "/home/me/secret", "fingerprint": "f"}}  # fmt: skip
    recipe = tiny_model.recipe.model_copy(
        update={"data": tiny_model.recipe.data.model_copy(update={"root": "/home/me/secret"})}
    )
    metrics = {"bits": 3.25, "perplexity": 6.0, "code_gain": 1.5, "speaker_gain": 0.75}
    save_model("run/model.safetensors", tiny_model.state_dict(), ModelCard(recipe, ("ann", "bob", "theo"), 9, metrics))
    Path("run/run.json").write_text(json.dumps(told))
    said = call("pack", "run", "--out", "packed", "--name", "vowels", "--data", DATA, "--licence", LICENCE,
                "--quality", "Right vowel: 90 %.")  # fmt: skip
    assert "vowels, 3 speakers" in said
    digest = bundled.sha256_of(Path("packed/model.safetensors"))
    card = bundled.read_packed_card(Path("packed"))
    assert card.command == "vqspeech train recipes/vowels --data FOLDER --set train.seed=3 --set train.optimizer=adam"
    assert card.sha256 == {"model.safetensors": digest}
    page = Path("packed/README.md").read_text()
    for fact in (DATA, LICENCE, card.command, f"seed {recipe.train.seed}", digest, "Right vowel: 90 %.", "3.250 bits",
                 "## Limits", "consent", "ann, bob, theo", "8000 Hz", "license: cc-by-4.0"):  # fmt: skip
        assert fact in page, fact
    everything = b"".join(path.read_bytes() for path in Path("packed").iterdir())
    assert b"secret" not in everything


def test_packing_overwrites_only_when_forced(place, tiny_run):
    arguments = ["pack", tiny_run, "--out", "packed", "--data", DATA, "--licence", LICENCE]
    call(*arguments)
    assert "--force" in refuse(*arguments)
    call(*arguments, "--force")


def test_a_model_in_its_warm_start_is_not_packed(place, tiny_model):
    recipe = tiny_model.recipe
    train = recipe.train.model_copy(update={"continuous_steps": 100})
    card = ModelCard(recipe.model_copy(update={"train": train}), tiny_model.speakers, step=50)
    save_model("run/model.safetensors", tiny_model.state_dict(), card)
    assert "warm start" in refuse("pack", "run", "--out", "packed", "--data", DATA, "--licence", LICENCE)


def test_the_sizes_of_the_models_that_ship_stay_within_their_limits():
    """float16 is what makes them fit: FSDD's with its prior in 3 MB, an English one in 8 MB."""
    from vqspeech.config import load_recipe
    from vqspeech.models.prior import Prior

    for name, speakers, most in (("fsdd", 6, 3e6), ("librispeech", 265, 8e6)):
        recipe = load_recipe(REPOSITORY / "recipes" / name)
        speaking = VQVAE(recipe, [str(number) for number in range(speakers)])
        speaking.drop_training_parts()
        weights = halved(speaking.state_dict()) | halved(
            {f"prior.{key}": value for key, value in Prior(recipe, speaking.num_codes, ()).state_dict().items()}
        )
        size = sum(value.numel() * value.element_size() for value in weights.values())
        assert 0.3 * most < size < most, (name, size)


# Bundled models


def test_convert_works_with_nothing_but_the_bundled_models(with_models):
    assert call("convert", "--speaker", "theo", "in.wav").split() == ["in.theo.wav"]
    assert load_audio("in.theo.wav").shape == (2000,)
    call("convert", "--speaker", "frank", "in.wav")


def test_a_bundled_name_is_a_model(with_models):
    call("convert", "--speaker", "ann", "--model", "small", "in.wav")
    call("encode", "in.wav", "--model", "small")
    assert "site/weights/small" in call("info", "small")
    assert "3: ann, bob, theo" in call("info", "small")


def test_the_environment_may_name_a_bundled_model(with_models, monkeypatch):
    monkeypatch.setenv("VQSPEECH_MODEL", "others")
    call("convert", "--speaker", "eve", "in.wav")
    assert "others" in call("info")


def test_python_knows_the_bundled_names_too(with_models):
    import vqspeech

    assert vqspeech.load_model("small").speakers == ("ann", "bob", "theo")
    assert vqspeech.load_model(speaker="eve").speakers == ("eve", "frank")


def test_a_run_that_knows_the_speaker_goes_before_a_bundled_model_and_both_are_named(with_models, tiny_model, caplog):
    write_run(Path("runs/mine"), tiny_model, None)
    assert find(speaker="theo").file == Path("runs/mine/model.safetensors")
    caplog.set_level("INFO", "vqspeech")
    assert find(speaker="theo").file == Path("runs/mine/model.safetensors")
    assert "runs/mine" in caplog.text and "--model small" in caplog.text
    assert bundled.FOLDER in find(speaker="eve").file.parents  # no run knows her


def test_without_a_speaker_the_newest_run_goes_before_the_bundled_models(with_models, tiny_model, caplog):
    assert find().file.parent.name == "others"  # the first by name, and the other is named
    caplog.set_level("INFO", "vqspeech")
    find()
    assert "taking the bundled others" in caplog.text and "--model small" in caplog.text
    write_run(Path("runs/mine"), tiny_model, None)
    assert find().file == Path("runs/mine/model.safetensors")


def test_a_folder_with_a_model_of_the_same_name_is_refused_with_both_ways_out(with_models, tiny_model):
    write_run(Path("small"), tiny_model, None)
    message = refuse("convert", "--speaker", "theo", "--model", "small", "in.wav")
    assert "bundled:small" in message and "./small" in message
    assert resolve("./small") == Path("small/model.safetensors")
    assert resolve("bundled:small") == bundled.FOLDER / "small" / "model.safetensors"


def test_a_folder_of_the_same_name_without_a_model_is_not_mistaken_for_one(with_models):
    Path("small").mkdir()
    assert resolve("small") == bundled.FOLDER / "small" / "model.safetensors"


def test_a_run_of_the_same_name_is_named_while_the_bundled_model_is_taken(with_models, tiny_model, caplog):
    write_run(Path("runs/small"), tiny_model, None)
    caplog.set_level("INFO", "vqspeech")
    assert bundled.FOLDER in resolve("small").parents
    assert "taking the bundled small" in caplog.text and "--model runs/small" in caplog.text


def test_a_bundled_model_that_lacks_the_voice_lists_those_it_has(with_models):
    message = refuse("convert", "--speaker", "eve", "--model", "small", "in.wav")
    for fact in ("'eve'", "ann, bob, theo"):
        assert fact in message
    near = refuse("convert", "--speaker", "thea", "--model", "small", "in.wav")
    assert "Did you mean theo?" in near and "ann, bob, theo" in near


def test_a_voice_that_nothing_at_hand_has_is_answered_with_all_there_are(with_models):
    message = refuse("convert", "--speaker", "zoe", "in.wav")
    assert "the bundled small (ann, bob, theo)" in message and "the bundled others (eve, frank)" in message
    assert "vqspeech enroll" in message


def test_a_name_with_a_slip_is_answered_with_the_nearest_bundled_model(with_models):
    message = refuse("convert", "--speaker", "theo", "--model", "smal", "in.wav")
    assert "no model at smal" in message and "Did you mean small?" in message


def test_a_copy_without_weights_says_so(place, nothing_bundled):
    for arguments in (["convert", "--speaker", "theo", "in.wav"], ["encode", "in.wav"], ["info"]):
        message = refuse(*arguments)
        assert "this vqspeech came without weights" in message
        assert "vqspeech train" in message
    assert call("models") == ""
    with pytest.raises(CheckpointError, match="no bundled model 'fsdd'. This copy of vqspeech came without weights"):
        resolve("bundled:fsdd")


def test_weights_that_are_not_those_of_the_card_are_not_used(with_models):
    file = bundled.FOLDER / "small" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    for arguments in (["--model", "small"], []):
        message = refuse("convert", "--speaker", "theo", *arguments, "in.wav")
        assert "SHA-256" in message and "Install vqspeech again" in message


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"speakers": 1}'])
def test_a_damaged_card_is_a_sentence(with_models, text):
    (bundled.FOLDER / "small" / "card.json").write_text(text)
    assert "card.json is damaged" in refuse("convert", "--speaker", "theo", "--model", "small", "in.wav")
    assert "damaged" in call("models")  # and the others are listed


def test_models_lists_the_bundled_models_the_runs_and_what_each_is_worth(with_models, tiny_model):
    metrics = {"bits": 3.5, "perplexity": 6.0, "code_gain": 1.25, "speaker_gain": 0.5}
    card = ModelCard(tiny_model.recipe, tiny_model.speakers, 100, metrics)
    save_model("runs/mine/model.safetensors", tiny_model.state_dict(), card)
    lines = call("models").splitlines()
    starts = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    entries = {lines[start].split()[0]: "\n".join(lines[start:end]) for start, end in zip(starts, [*starts[1:], None])}
    assert list(entries) == ["others", "small", "runs/mine"]
    for fact in ("bundled", "3: ann, bob, theo", "8000 Hz, 500 codes per second", LICENCE, "Right vowel: 90 %.",
                 "MB, without a prior", "small/README.md"):  # fmt: skip
        assert fact in entries["small"], fact
    for fact in ("3.500 bits/sample", "code gain 1.25", "licence", "not stated"):
        assert fact in entries["runs/mine"], fact


def test_an_evaluation_of_a_bundled_model_is_not_written_into_the_package(with_models, tiny_run):
    from vqspeech.pretrained.registry import report_folder

    assert report_folder(resolve("small")) == Path("evaluations/small")
    assert report_folder(tiny_run / MODEL_FILE) == tiny_run / "evaluation"


def test_sampling_and_compressing_work_with_a_bundled_model(place, tiny_model, tmp_path, monkeypatch):
    pytest.importorskip("constriction")
    run = write_run(tmp_path / "run", tiny_model, make_prior(tiny_model, stop_bias=1.0))
    bundle(monkeypatch, tmp_path / "bundled", small=run)
    call("sample", "--speaker", "bob", "--num", 1, "--duration", 0.2, "--seed", 1)
    call("compress", "in.wav", "--speaker", "ann")
    call("decompress", "in.vqs", "--speaker", "theo")
    assert len(load_audio("in.theo.wav")) == 2000


# The models that ship


def test_what_ships_is_whole_small_and_says_what_it_is():
    """Of each model that is bundled; a checkout without weights has none to hold."""
    for name in bundled.bundled_names():
        folder = bundled.FOLDER / name
        bundled.check_hashes(folder, "")
        card = bundled.read_packed_card(folder)
        assert card is not None and card.name == name
        assert set(card.sha256) >= {MODEL_FILE}
        assert card.licence and card.data and card.command and card.quality and card.limits
        assert read_card(folder).speakers == card.speakers
        assert sum(file.stat().st_size for file in folder.iterdir()) < {"fsdd": 3e6}.get(name, 8e6)
        assert "consent" in (folder / "README.md").read_text()
        assert "/home/" not in card.to_json() and "/work" not in card.to_json()


def test_the_bundled_models_are_part_of_the_package():
    import configparser

    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    patterns = setup["options.package_data"]["vqspeech"].split("\n")
    package = REPOSITORY / "vqspeech"
    assert any("weights/x/model.safetensors" == pattern.replace("*/*", "x/model.safetensors") for pattern in patterns)
    assert bundled.FOLDER == package / "weights"


def test_bundled_models_say_by_whose_optimiser_they_learned():
    # fsdd was trained before Muon was the default, and its file does not name what was.
    found = {name: read_card(bundled.FOLDER / name).recipe.train.optimizer for name in ("fsdd", "english")}
    assert found == {"fsdd": "adam", "english": "muon"}
