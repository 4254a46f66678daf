"""Recipes: what is misspelt or impossible is refused with the key, what was given and what is allowed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vqspeech.config import DataConfig, Recipe, load_recipe, parse_recipe, parse_stored_recipe
from vqspeech.errors import RecipeError

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
SMALLEST = 'name = "small"\n[data]\ncorpus = "folder"\n'


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(SMALLEST)
    return tmp_path


@pytest.mark.parametrize("file", sorted(RECIPES.rglob("*.toml")), ids=lambda file: str(file.relative_to(RECIPES)))
def test_every_recipe_is_valid(file):
    assert load_recipe(file).name


def test_a_folder_stands_for_its_recipe_toml(recipe):
    assert load_recipe(recipe) == load_recipe(recipe / "recipe.toml")


def test_the_defaults_are_the_papers_vctk_setting_at_64_samples_a_code(recipe):
    # arXiv 1711.00937 §4.3: six convolutions of stride 2, 512 codes. 16000 / 64 = 250 Hz, 9 bits each.
    loaded = load_recipe(recipe)
    assert loaded.encoder.hop_length == 64
    assert loaded.code_rate == 250
    assert loaded.bit_rate == 2250
    assert loaded.bottleneck.commitment == 0.25


def test_640_samples_a_code_with_128_codes_are_25_codes_and_175_bits_a_second(recipe):
    strides = "encoder.strides=[5, 2, 2, 2, 2, 2, 2, 2]"
    loaded = load_recipe(recipe, [strides, "bottleneck.num_codes=128"])
    assert (loaded.encoder.hop_length, loaded.code_rate, loaded.bit_rate) == (640, 25, 175)


@given(strides=st.lists(st.sampled_from([2, 4, 5, 8]), min_size=1, max_size=5))
def test_the_hop_is_the_product_of_the_strides(strides):
    hop = math.prod(strides)
    values = {
        "name": "x",
        "data": {"corpus": "folder"},
        "encoder": {"strides": strides},
        "train": {"crop_samples": hop},
    }
    assert parse_recipe(values, "test").encoder.hop_length == hop


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.batchsize=8", r"unknown key 'train.batchsize': did you mean 'batch_size'\?"),
        ("bottleneck.num_code=8", r"unknown key 'bottleneck.num_code': did you mean 'num_codes'\?"),
        ("trian.steps=8", r"unknown key 'trian': did you mean 'train'\?"),
        ("loss.zzz=1", r"unknown key 'loss.zzz': allowed are spectral, spectral_bands, adversary"),
    ],
)
def test_a_misspelt_key_gets_the_nearest_name_or_the_allowed_ones(recipe, override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.batch_size=0", r"train\.batch_size = 0: .*greater than 0"),
        ("train.batch_size=many", r"train\.batch_size = 'many': .*valid integer"),
        ("train.learning_rate=nan", r"train\.learning_rate = nan: .*finite"),
        ("train.learning_rate=-1", r"train\.learning_rate = -1: .*greater than 0"),
        ("train.max_minutes=0", r"train\.max_minutes = 0: .*greater than 0"),
        ("train.max_minutes=inf", r"train\.max_minutes = inf: .*finite"),
        ("train.max_minutes=1e9", r"train\.max_minutes = 1000000000\.0: .*less than or equal to 1000000"),
        ("train.warm_start_share=0.6", r"train\.warm_start_share = 0\.6: .*less than or equal to 0\.5"),
        ("data.sample_rate=800", r"data\.sample_rate = 800: .*4000"),
        ("data.corpus=vctc", r"data\.corpus = 'vctc': .*'vctk', 'librispeech'"),
        ("bottleneck.num_codes=1", r"bottleneck\.num_codes = 1: .*greater than or equal to 2"),
        ("bottleneck.kind=gumble", r"bottleneck\.kind = 'gumble': .*'vq' or 'vq-ema'"),
        ("encoder.strides=[]", r"encoder\.strides = .*at least 1"),
        ("encoder.strides=[3]", r"encoder\.strides\.0 = 3: .*2, 4, 5 or 8"),
        ("data.valid_share=1", r"data\.valid_share = 1: .*less than 1"),
        ("data=5", r"data = 5: "),
    ],
)
def test_an_impossible_value_is_refused_with_its_key_what_was_given_and_what_is_allowed(recipe, override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe, [override])


def test_a_crop_that_is_no_multiple_of_the_hop_gets_the_nearest_one_that_is(recipe):
    with pytest.raises(RecipeError, match=r"5000 is not a multiple of the encoder's 64 samples per code; use 4992"):
        load_recipe(recipe, ["train.crop_samples=5000"])


def test_a_code_lasts_whole_passes_of_the_decoder(recipe):
    strides, crop = "encoder.strides=[5, 2]", "train.crop_samples=1000"
    assert load_recipe(recipe, [strides, crop, "decoder.samples_per_step=2"]).decoder.samples_per_step == 2
    with pytest.raises(RecipeError, match=r"samples_per_step = 4 does not divide the encoder's 10 samples per code"):
        load_recipe(recipe, [strides, crop, "decoder.samples_per_step=4"])
    with pytest.raises(RecipeError, match=r"samples_per_step = 3.*1, 2 or 4"):
        load_recipe(recipe, ["decoder.samples_per_step=3"])


def test_a_warm_start_without_a_spectral_loss_is_refused(recipe):
    with pytest.raises(RecipeError, match=r"train\.warm_start_steps needs loss\.spectral"):
        load_recipe(recipe, ["train.warm_start_steps=10"])
    assert load_recipe(recipe, ["train.warm_start_steps=10", "loss.spectral=1"]).train.warm_start_steps == 10


def test_held_out_shares_must_leave_something_to_train_on(recipe):
    with pytest.raises(RecipeError, match="must stay below 1"):
        load_recipe(recipe, ["data.valid_share=0.5", "data.test_share=0.5"])


def test_all_mistakes_are_told_at_once(recipe):
    with pytest.raises(RecipeError, match=r"train\.steps = 0.*; .*train\.seed = -1"):
        load_recipe(recipe, ["train.steps=0", "train.seed=-1"])


def test_overrides_are_toml_values_and_bare_words_are_strings(recipe):
    loaded = load_recipe(
        recipe,
        ["train.batch_size=4", "train.learning_rate=1e-3", "bottleneck.data_init=false", "encoder.strides=[4, 2]"]
        + ["bottleneck.kind=vq", 'data.level="speaker"', "train.max_minutes=1.5", " train.seed = 7"],
    )
    assert (loaded.train.batch_size, loaded.train.learning_rate) == (4, 1e-3)
    assert (loaded.bottleneck.data_init, loaded.encoder.strides) == (False, (4, 2))
    assert (loaded.bottleneck.kind, loaded.data.level) == ("vq", "speaker")
    assert (loaded.train.max_minutes, loaded.train.seed) == (1.5, 7)


def test_the_last_of_two_overrides_holds(recipe):
    assert load_recipe(recipe, ["train.seed=1", "train.seed=2"]).train.seed == 2


@pytest.mark.parametrize("override", ["train.seed", "=5", "train.=5", ""])
def test_an_override_of_another_form_gets_an_example(recipe, override):
    with pytest.raises(RecipeError, match=r"not of the form section\.key=value, for example train\.batch_size=8"):
        load_recipe(recipe, [override])


def test_a_value_cannot_be_used_as_a_section(recipe):
    with pytest.raises(RecipeError, match=r"'name' is a value, not a section"):
        load_recipe(recipe, ["name.first=x"])


def test_a_missing_recipe_is_told_with_an_example(tmp_path):
    with pytest.raises(RecipeError, match=r"no recipe at .*recipe\.toml\. Give a folder .*recipes/vctk"):
        load_recipe(tmp_path)


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"[data]\n[data]\n"])
def test_a_file_that_is_not_toml_is_refused(tmp_path, content):
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(RecipeError, match="is not valid TOML"):
        load_recipe(tmp_path)


def test_missing_keys_are_named(tmp_path):
    (tmp_path / "recipe.toml").write_text("[data]\nsample_rate = 8000\n")
    with pytest.raises(RecipeError, match=r"name is missing; data\.corpus is missing"):
        load_recipe(tmp_path)


def test_a_recipe_survives_the_way_through_json(recipe):
    loaded = load_recipe(recipe, ["train.max_minutes=2", "data.root=/corpus"])
    assert Recipe.model_validate_json(loaded.model_dump_json()) == loaded


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        DataConfig(corpus="fsdd").sample_rate = 8000


def test_what_was_kept_before_muon_was_the_default_was_adams():
    values = load_recipe(RECIPES / "vctk").model_dump(mode="json")
    assert parse_stored_recipe(values, "test").train.optimizer == "muon"  # said, and so it stays
    del values["train"]["optimizer"]
    assert parse_recipe(values, "test").train.optimizer == "muon"
    assert parse_stored_recipe(values, "test").train.optimizer == "adam"
    del values["train"]
    assert parse_stored_recipe(values, "test").train.optimizer == "adam"
    with pytest.raises(RecipeError, match="train"):
        parse_stored_recipe({"name": "x", "train": 3}, "test")
