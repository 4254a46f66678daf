"""The codes of a corpus, extracted once and kept beside the run."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vqspeech.data import code_store
from vqspeech.data.code_store import open_code_store
from vqspeech.errors import CodesError


def wav_of(store, index) -> np.ndarray:
    return store.read(index).astype(np.float32) / 32768


def test_codes_are_those_of_encoding_every_utterance(model, store, tmp_path):
    codes = open_code_store(tmp_path / "codes", model, store)
    assert len(codes) == len(store)
    for index in range(len(store)):
        np.testing.assert_array_equal(codes.read(index), model.encode(wav_of(store, index)).numpy())
        assert codes.length(index) == -(-store.length(index) // 16)  # one a frame, the last one filled up
        assert codes.speaker(index) == store.speaker(index)


def test_training_utterances_are_coded_again_from_samples_within_the_first_frame(model, store, tmp_path):
    codes = open_code_store(tmp_path / "codes", model, store, shifts=4)
    training = store.utterances("train")
    assert len(codes) == len(store) + 3 * len(training)
    for repeat in (1, 2, 3):
        for index in training:
            number = len(store) + (repeat - 1) * len(training) + index
            expected = model.encode(wav_of(store, index)[repeat * 4 :]).numpy()  # a quarter of 16 samples each
            np.testing.assert_array_equal(codes.read(number), expected)
            assert codes.utterance(number) == index
    assert codes.sequences("train").tolist() == [*training, *range(len(store), len(codes))]
    assert codes.sequences("train", shifts=1).tolist() == list(training)
    assert codes.sequences("test").tolist() == list(store.utterances("test"))  # never shifted


def test_codes_are_made_once(model, store, tmp_path, monkeypatch):
    made = []
    open_code_store(tmp_path / "codes", model, store, 2, made.append)
    assert sum(made) == code_store.num_sequences(store, 2)
    monkeypatch.setattr(code_store, "encode_utterance", None)
    again = open_code_store(tmp_path / "codes", model, store, 2)
    assert isinstance(again._codes, np.memmap)


def test_another_encoder_another_corpus_or_other_shifts_make_them_anew(model, store, tmp_path):
    before = open_code_store(tmp_path / "codes", model, store).read(0)
    with torch.no_grad():
        model.bottleneck.codebook.copy_(model.bottleneck.codebook.flip(0))
    flipped = open_code_store(tmp_path / "codes", model, store)
    np.testing.assert_array_equal(flipped.read(0), 7 - before)
    assert len(open_code_store(tmp_path / "codes", model, store, 2)) > len(store)
    meta = json.loads((tmp_path / "codes" / "codes.json").read_text())
    assert (meta["model"], meta["data"]) == (model.codes_id(), store.fingerprint)


def test_an_interrupted_extraction_is_done_again(model, store, tmp_path):
    def stop_at_fifth(count, seen=[]):  # noqa: B006
        seen.append(count)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_code_store(tmp_path / "codes", model, store, 1, stop_at_fifth)
    assert list((tmp_path / "codes").iterdir()) == []
    assert len(open_code_store(tmp_path / "codes", model, store)) == len(store)


def test_cut_short_codes_are_told(model, store, tmp_path):
    open_code_store(tmp_path / "codes", model, store)
    file = tmp_path / "codes" / "codes.u16"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(CodesError, match=r"damaged.*Delete the folder and train again"):
        open_code_store(tmp_path / "codes", model, store)


def test_long_utterances_are_read_in_pieces(model, store, tmp_path, monkeypatch):
    whole = [code_store.encode_utterance(model, store, index, 3) for index in range(len(store))]
    monkeypatch.setattr(code_store, "READ_SAMPLES", 100)
    for index, codes in enumerate(whole):
        np.testing.assert_array_equal(code_store.encode_utterance(model, store, index, 3), codes)
