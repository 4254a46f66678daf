"""Speakers who teach the encoder and are no voices: heard while it learns, and unknown to the finished model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vqspeech.config import DataConfig, Recipe
from vqspeech.data.batches import Batches
from vqspeech.data.corpora import find_utterances
from vqspeech.data.preparation import prepare_store
from vqspeech.data.store import Store
from vqspeech.errors import CorpusError
from vqspeech.evaluation.trials.sexes import find_sexes
from vqspeech.pretrained.checkpoint import read_model, read_prior
from vqspeech.training.start import train


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory) -> Store:
    """Of ada, ben and cyd, ben and cyd alone are voices."""
    data = DataConfig(corpus="folder", sample_rate=4000, valid_share=0.3, test_share=0.2, voices=("cyd", "ben"))
    folder = tmp_path_factory.mktemp("store")
    prepare_store(data, corpus, folder, num_workers=1)
    return Store.open(folder)


def test_voices_come_first_and_alone_are_held_out(store):
    assert (store.speakers, store.num_voices) == (("ben", "cyd", "ada"), 2)
    held_out = [*store.utterances("valid"), *store.utterances("test")]
    assert held_out and {store.speaker(index) for index in held_out} == {0, 1}
    assert sum(store.speaker(index) == 2 for index in store.utterances("train")) == 8


def test_crops_of_voices_are_drawn_by_their_length_alone(store):
    settings = {"crop_samples": 64, "hop_length": 16, "batch_size": 4000, "seed": 3}
    utterances, starts = Batches(store, "train", num_speakers=2, **settings).draw(5, 0)
    own = [index for index in store.utterances("train") if store.speaker(index) < 2]
    lengths = np.array([store.length(index) for index in own])
    drawn = np.array([(utterances == index).sum() for index in own])
    assert drawn.sum() == 4000
    np.testing.assert_allclose(drawn / 4000, lengths / lengths.sum(), atol=0.03)
    assert (starts + 64 <= [store.length(int(index)) for index in utterances]).all()
    everybody, _ = Batches(store, "train", **settings).draw(5, 0)
    assert {store.speaker(int(index)) for index in everybody} == {0, 1, 2}


def test_a_voice_that_nobody_has_is_refused_with_the_nearest(corpus):
    with pytest.raises(CorpusError, match="data.voices names 'bent'.*ben"):
        find_utterances(DataConfig(corpus="folder", voices=("bent",)), corpus)


def test_voices_need_an_encoder_that_learns_before_the_decoder(tiny_values):
    values = tiny_values | {"data": tiny_values["data"] | {"voices": ["ben"]}}
    with pytest.raises(ValidationError, match="needs train.freeze_encoder = true"):
        Recipe.model_validate(values)


def test_the_finished_model_knows_its_voices_and_nobody_else(work, corpus, write_recipe, monkeypatch):
    changes = {"data.voices": ["cyd", "ben"], "train.freeze_encoder": True, "train.warm_start_steps": 4}
    heard: dict[int, set[int]] = {}  # by step; what k-means asks for ahead is drawn again
    draw = Batches.draw

    def listen(self, step: int, rank: int):
        utterances, starts = draw(self, step, rank)
        heard[step] = {self.store.speaker(int(index)) for index in utterances}
        return utterances, starts

    monkeypatch.setattr(Batches, "draw", listen)
    result = train(write_recipe(changes), data=corpus, out=Path("run"))
    assert result.finished
    assert [step for step in range(8) if 2 in heard[step] and step >= 4] == []
    assert any(2 in heard[step] for step in range(4))
    model = read_model("run")
    assert model.speakers == ("ben", "cyd")
    assert model.speaker_vectors.weight.shape[0] == 2
    whole = torch.load("run/state.pt", weights_only=True)["average"]["module.speaker_vectors.weight"]
    torch.testing.assert_close(model.speaker_vectors.weight, whole[:2])
    prior = read_prior("run", model)
    assert prior.unconditional == 2
    codes = torch.zeros(1, 3, dtype=torch.long)
    torch.testing.assert_close(prior(codes, torch.tensor([7])), prior(codes, torch.tensor([2])))  # ada is none


def test_a_manifest_tells_splits_and_sexes(corpus, tmp_path):
    lines = [
        {"audio": str(corpus / name / f"{name}-{take}.wav"), "speaker": name, "sex": sex, "split": split}
        for name, sex in (("ada", "F"), ("ben", "M"), ("cyd", None))
        for take, split in enumerate(("train", "valid", "test"))
    ]
    del lines[2]["sex"]  # said once is enough
    manifest = tmp_path / "all.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = DataConfig(corpus="manifest", sample_rate=4000)
    found = find_utterances(data, manifest)
    assert {utterance.split for utterance in found if utterance.audio.stem.endswith("-1")} == {"valid"}
    assert find_sexes(data, tmp_path, ("ada", "ben", "cyd")) == {"ada": "F", "ben": "M"}
    manifest.write_text('{"audio": "a.wav", "speaker": "ann", "split": "dev"}\n')
    with pytest.raises(CorpusError, match="line 1: split = 'dev', expected one of train, valid, test"):
        find_utterances(data, manifest)
    manifest.write_text('{"audio": "a.wav", "speaker": "ann", "sex": "woman"}\n')
    with pytest.raises(CorpusError, match="line 1: sex = 'woman', expected one of F, M"):
        find_utterances(data, manifest)


@pytest.mark.parametrize("voices, leave_out", [(["ben", "ben"], []), (["ben", "ada"], ["ben"])])
def test_a_voice_named_twice_or_left_out_is_refused(tiny_values, voices, leave_out):
    train = tiny_values["train"] | {"freeze_encoder": True, "warm_start_steps": 4}
    data = tiny_values["data"] | {"voices": voices, "leave_out": leave_out}
    with pytest.raises(ValidationError, match="names a speaker twice, or one of data.leave_out"):
        Recipe.model_validate(tiny_values | {"data": data, "train": train})


def test_a_voice_of_whom_nothing_can_be_used_is_told_and_nobody_takes_the_place(corpus, tmp_path):
    data = DataConfig(corpus="folder", sample_rate=4000, voices=("ben", "cyd"))
    for path in (corpus / "ben").iterdir():
        (tmp_path / "corpus" / "ben").mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / "ben" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "corpus" / "cyd").mkdir()
    (tmp_path / "corpus" / "cyd" / "1.wav").write_bytes(b"not sound")
    with pytest.raises(CorpusError, match="data.voices names 'cyd', but none of that speaker's recordings.*cyd/1.wav"):
        prepare_store(data, tmp_path / "corpus", tmp_path / "store", num_workers=1)


def test_hours_can_be_predicted_without_any_of_the_voices_at_hand(tiny_values, work, write_recipe):
    from vqspeech.training.timing import predict

    recipe = write_recipe({"data.voices": ["ben"], "train.freeze_encoder": True, "train.warm_start_steps": 4})
    assert predict(recipe, rounds=1).hours > 0
