"""Speakers left out of a training: nothing of them is prepared, and a slip in a name does not go unnoticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from vqspeech.config import DataConfig
from vqspeech.data.corpora import find_utterances
from vqspeech.data.preparation import fingerprint_of, prepare_store
from vqspeech.data.store import VERSION, Store
from vqspeech.errors import CorpusError


def test_who_is_left_out_is_not_in_the_store(corpus, tmp_path):
    data = DataConfig(corpus="folder", sample_rate=4000, leave_out=("ben",))
    prepare_store(data, corpus, tmp_path / "store", num_workers=1)
    store = Store.open(tmp_path / "store")
    assert store.speakers == ("ada", "cyd")
    assert len(store) == 16
    whole = find_utterances(DataConfig(corpus="folder", sample_rate=4000), corpus)
    assert [one for one in whole if one.speaker != "ben"] == find_utterances(data, corpus)


def test_a_name_that_nobody_has_is_refused_with_the_nearest(corpus):
    with pytest.raises(CorpusError, match="'bent'.*ben"):
        find_utterances(DataConfig(corpus="folder", leave_out=("bent",)), corpus)


def test_somebody_has_to_be_left(corpus):
    with pytest.raises(CorpusError, match="none of the 3 speakers"):
        find_utterances(DataConfig(corpus="folder", leave_out=("ada", "ben", "cyd")), corpus)


def test_a_store_without_anybody_left_out_has_the_fingerprint_it_always_had(tmp_path):
    """Models name the fingerprint of their speech: those from before `leave_out` still know theirs."""
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "a.wav").write_bytes(b"123")
    data = DataConfig(corpus="folder")
    (utterance,) = find_utterances(data, tmp_path)
    status = Path(utterance.audio).stat()
    settings = data.model_dump(mode="json", exclude={"root", "help", "leave_out", "voices"})
    row = [utterance.utterance, "ada", None, 0.0, None, None, [3, status.st_mtime_ns], None]
    digest = hashlib.sha256(json.dumps([VERSION, settings], sort_keys=True).encode() + json.dumps(row).encode())
    assert fingerprint_of(data, [utterance]) == digest.hexdigest()
    for key in ("leave_out", "voices"):
        other = data.model_copy(update={key: ("ben",)})
        assert fingerprint_of(other, [utterance]) != digest.hexdigest()
