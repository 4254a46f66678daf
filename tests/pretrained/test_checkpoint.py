"""Model files: what is saved is what is loaded, and what is not ours is refused with a remedy."""

import json
import pickle
import resource
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vqspeech.errors import CheckpointError
from vqspeech.pretrained.cards import ModelCard
from vqspeech.pretrained.checkpoint import FORMAT, KEY, MODEL_FILE, find_model_file, read_card, read_model, save_model


@pytest.fixture
def file(model, tmp_path):
    """A run folder's model file."""
    card = ModelCard(
        model.recipe, model.speakers, step=12, metrics={"bits": 3.5}, training={"minutes": 0.1}, version="0.1.0"
    )
    save_model(tmp_path / "run" / MODEL_FILE, model.state_dict(), card)
    return tmp_path / "run" / MODEL_FILE


def rewrite(file, change, drop=()) -> None:
    """Write the same file with a changed header."""
    tensors = {name: value for name, value in load_file(file).items() if name not in drop}
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()[KEY])
    save_file(tensors, file, metadata={KEY: json.dumps(change(header))})


def test_a_loaded_model_gives_the_codes_and_logits_of_the_saved_one(model, file):
    loaded = read_model(file)
    wav = 0.5 * torch.randn(5000)
    codes = model.encode(wav)
    assert torch.equal(loaded.encode(wav), codes)
    assert torch.equal(loaded.condition(codes, 1), model.condition(codes, 1))
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_a_run_folder_stands_for_its_model_file(model, file):
    assert find_model_file(file.parent) == file
    assert read_model(file.parent).speakers == model.speakers


def test_the_file_says_what_it_is(model, file):
    card = read_card(file)
    assert card.recipe == model.recipe
    assert card.speakers == ("ada", "ben", "cyd")
    assert (card.step, card.metrics, card.training, card.version) == (12, {"bits": 3.5}, {"minutes": 0.1}, "0.1.0")


def test_metadata_is_plain_json_that_other_tools_can_read(file):
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()[KEY])
    assert header["format"] == FORMAT
    assert header["speakers"] == ["ada", "ben", "cyd"]
    assert header["recipe"]["encoder"]["strides"] == [4, 4]


def test_a_loaded_model_is_ready_for_inference(file):
    loaded = read_model(file)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.card.step == 12


def test_description_names_speakers_rates_and_steps(file):
    text = ModelCard(read_card(file).recipe, ("ada", "ben", "cyd"), step=12, training={"total_steps": 40}).describe()
    assert "3: ada, ben, cyd" in text
    assert "250 per second (16x), K = 8" in text  # 4000 Hz / 16
    assert "750 bit/s" in text  # 250 x log2 8
    assert "12 of 40" in text


@pytest.mark.parametrize("load", [read_card, read_model])
class TestRefusals:
    def test_missing_file_says_how_to_get_one(self, load, tmp_path):
        with pytest.raises(CheckpointError, match=r"there is no model at .*nowhere.*vqspeech train"):
            load(tmp_path / "nowhere")

    def test_folder_without_a_model_says_what_it_lacks(self, load, tmp_path):
        with pytest.raises(CheckpointError, match=r"holds no model\.safetensors.*Give a run folder"):
            load(tmp_path)

    @pytest.mark.parametrize("keep", [0, 4, 100, 0.5, -1])
    def test_truncated_file_is_recognised(self, load, keep, file):
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
        with pytest.raises(CheckpointError, match="truncated or not a safetensors file.*[Cc]opy it again"):
            load(file)

    def test_text_is_recognised(self, load, file):
        file.write_text("not a model\n" * 100)
        with pytest.raises(CheckpointError, match="truncated or not a safetensors file"):
            load(file)

    def test_foreign_safetensors_is_recognised(self, load, file):
        save_file({"weight": torch.zeros(3)}, file)
        with pytest.raises(CheckpointError, match="not a vqspeech model.*Give a run folder"):
            load(file)

    def test_pickle_is_never_loaded(self, load, file):
        class Trap:
            def __reduce__(self):
                return (open, (str(file.parent / "sprung"), "w"))

        file.write_bytes(pickle.dumps(Trap()))
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            load(file)
        torch.save({"model": Trap()}, file)
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            load(file)
        assert not (file.parent / "sprung").exists()

    def test_newer_format_asks_for_an_upgrade(self, load, file):
        rewrite(file, lambda header: header | {"format": FORMAT + 1, "version": "9.0", "unheard_of": 1})
        with pytest.raises(CheckpointError, match=rf"newer vqspeech \(9\.0, format {FORMAT + 1}.*Upgrade"):
            load(file)

    @pytest.mark.parametrize(
        "change",
        [
            lambda header: {},
            lambda header: [header],
            lambda header: "text",
            lambda header: header | {"format": "one"},
            lambda header: header | {"recipe": {"name": "x"}},
            lambda header: header | {"recipe": header["recipe"] | {"surprise": 1}},
            lambda header: header | {"recipe": None},
            lambda header: header | {"speakers": None},
            lambda header: {key: value for key, value in header.items() if key != "speakers"},
            lambda header: header | {"surprise": 1},
        ],
    )
    def test_damaged_header_is_recognised(self, load, change, file):
        rewrite(file, change)
        with pytest.raises(CheckpointError, match="(damaged|incomplete) header.*Copy it again"):
            load(file)

    def test_header_longer_than_the_file_is_recognised(self, load, file):
        file.write_bytes(struct.pack("<Q", 10**12) + b"{}")
        with pytest.raises(CheckpointError, match="cannot be read as a model"):
            load(file)


def test_missing_tensor_is_named(file):
    rewrite(file, lambda header: header, drop=("bottleneck.codebook",))
    with pytest.raises(CheckpointError, match=r"does not hold the weights.*bottleneck\.codebook"):
        read_model(file)


def test_weights_of_another_shape_are_refused(file):
    rewrite(file, lambda header: header | {"speakers": ["only one"]})
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        read_model(file)


def test_unwritable_place_is_told_and_nothing_is_left(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write"):
        save_model(tmp_path / "file" / MODEL_FILE, model.state_dict(), ModelCard(model.recipe, model.speakers))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_save_leaves_the_former_model_whole(model, file):
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))  # stands in for a full disk
    try:
        with pytest.raises(CheckpointError, match="cannot write .* Free some space"):
            save_model(file, model.state_dict(), ModelCard(model.recipe, model.speakers))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [MODEL_FILE]
