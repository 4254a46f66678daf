"""Phone times in festival's lab files and in align.jsonl, beside the recordings or elsewhere; own names of phones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_alignments import RATE, open_store, textgrid

from vqspeech.audio import save_audio
from vqspeech.errors import CorpusError
from vqspeech.evaluation.tools.alignments import align_utterances, find_labels
from vqspeech.evaluation.tools.label_files import JSONL, LAB, TEXTGRID, LabelFiles, is_lab, read_align_jsonl, read_lab

# As festvox-ru's ru_0001.lab: a header up to "#", then the end of each phone, a colour, its name.
RUSSIAN = "signal ru\nnfields 1\n#\n 0.10000 125 pau\n0.25000 125 gg\n0.40000 125 ii\n0.70000 125 pau\n"
PHONES = [(0.0, 0.1, "pau"), (0.1, 0.25, "gg"), (0.25, 0.4, "ii"), (0.4, 0.7, "pau")]
# As rhasspy's nathalie.
DUTCH = {
    "id": "one",
    "words": [
        {"word": "een", "phones": [{"start": 0.0, "duration": 0.1, "phone": "ˈeː"}]},
        {
            "word": "goed",
            "phones": [{"start": 0.1, "duration": 0.3, "phone": "ɣ"}, {"start": 0.4, "duration": 0.3, "phone": "SIL"}],
        },
    ],
    "ipa": "eː ɣ",
}


@pytest.fixture
def corpus(tmp_path):
    """A folder of two speakers, a recording of 0.7 s each, not trimmed."""
    noise = np.random.default_rng(0).normal(0, 0.1, int(0.7 * RATE)).astype(np.float32)
    for name in ("ann/one.wav", "bob/two.wav"):
        save_audio(tmp_path / "corpus" / name, noise, RATE)
    return tmp_path / "corpus"


@pytest.fixture
def store(corpus, tmp_path):
    return open_store(
        {"data": {"corpus": "folder", "sample_rate": RATE, "trim_db": 0}}, corpus, tmp_path / "store"
    )  # fmt: skip


def write(path, content: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def test_a_lab_file_is_read_with_each_phone_from_the_end_of_the_one_before(tmp_path):
    path = write(tmp_path / "a.lab", RUSSIAN)
    assert is_lab(path) and read_lab(path, 0.72) == PHONES
    assert read_lab(write(tmp_path / "b.lab", "#\n0.1 26 ax ; word 3\n"), None) == [(0.0, 0.1, "ax")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("#\n", "without labels"),
        ("#\n0.1 26 a\n0.05 26 b\n", "times fall"),
        ("#\n0.1 26\n", "no label"),
        ("#\nx 26 a", "no label"),
    ],
)
def test_a_bad_lab_file_is_an_error_of_ours(tmp_path, content, words):
    with pytest.raises(CorpusError, match=words):
        read_lab(write(tmp_path / "a.lab", content))


@pytest.mark.parametrize("duration_s", [0.6, 0.8])
def test_labels_that_end_before_or_after_the_sound_are_left_out(tmp_path, duration_s):
    with pytest.raises(CorpusError, match=f"lasts 0.70 s, the recording {duration_s:.2f} s"):
        read_lab(write(tmp_path / "a.lab", RUSSIAN), duration_s)


def test_a_text_of_the_aligner_is_no_label(tmp_path, store):
    """The Montreal Forced Aligner takes texts in files of the same ending."""
    path = write(tmp_path / "labels" / "one.lab", "this is what was said\n")
    assert not is_lab(path)
    assert LabelFiles(tmp_path / "labels").read("ann/one", "ann", 0.7) is None


def test_align_jsonl_is_read_and_bad_lines_are_told(tmp_path):
    lines = [json.dumps(DUTCH), "", "no json", json.dumps({"id": "x"}), json.dumps({"id": "none", "words": []})]
    lines.append('{"id": "y", "words": [{"phones": [{"start": NaN, "duration": 1, "phone": "a"}]}]}')
    found, problems = read_align_jsonl(write(tmp_path / "align.jsonl", "\n".join(lines)))
    assert list(found) == ["one"]
    assert [name for _, _, name in found["one"]] == ["ˈeː", "ɣ", "SIL"]
    assert [problem.split(" of ")[0] for problem in problems] == ["line 3", "line 4", "line 6"]
    assert "line 3" in LabelFiles(tmp_path).note


def test_label_files_that_cannot_be_read_stop_nothing(tmp_path, store):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "align.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "labels" / "one.lab").symlink_to(tmp_path / "nowhere")
    found = align_utterances(store, range(2), tmp_path / "labels")
    assert not found.utterances and find_labels(tmp_path / "labels").fingerprint()
    assert any("cannot be read" in note for note in found.notes)


@pytest.mark.parametrize("place", ["one.lab", "ann/one.lab", "deep/down/one.lab"])
def test_lab_files_are_found_by_name_and_their_phones_keep_their_names(tmp_path, store, place):
    write(tmp_path / "labels" / place, RUSSIAN)
    found = align_utterances(store, range(2), tmp_path / "labels")
    (one,) = found.utterances
    assert (one.source, one.phones) == (LAB, PHONES)
    assert [name for _, _, name in one.labels] == ["SIL", "OTH", "OTH", "SIL"]
    assert any("2 phones are not among the 41 English classes" in note and "gg" in note for note in found.notes)
    assert any("neither phoneme times nor a text" in note for note in found.notes)


def test_align_jsonl_is_found_and_its_phones_keep_their_names(tmp_path, store, monkeypatch):
    write(tmp_path / "labels" / "align.jsonl", json.dumps(DUTCH))
    monkeypatch.setenv("VQSPEECH_ALIGNMENTS", str(tmp_path / "labels"))
    found = align_utterances(store, range(2))
    (one,) = found.utterances
    assert one.source == JSONL and [name for _, _, name in one.phones] == ["ˈeː", "ɣ", "SIL"]
    assert [name for _, _, name in one.labels] == ["EY", "OTH", "SIL"]
    assert any(": ɣ" in note for note in found.notes)


def test_labels_of_another_length_are_told_and_the_rest_is_aligned(tmp_path, store):
    write(tmp_path / "labels" / "two.lab", RUSSIAN)
    write(tmp_path / "labels" / "one.TextGrid", textgrid({"phones": [(0, 0.9, "K")]}, 0.9))
    found = align_utterances(store, range(2), tmp_path / "labels")
    assert [store.utterance_id(one.index) for one in found.utterances] == ["bob/two"]
    assert any("1 of 2 utterances have labels of another duration" in note and "ann/one (0.90 s for 0.70 s)" in note
               for note in found.notes)  # fmt: skip


def test_files_beside_the_recordings_are_found_unless_a_folder_is_named(corpus, store, tmp_path, monkeypatch):
    assert not align_utterances(store, range(2), beside=corpus).utterances
    assert find_labels(beside=corpus).note == ""  # nobody asked for any
    write(corpus / "ann" / "one.lab", RUSSIAN)
    before = find_labels(beside=corpus).fingerprint()
    assert [one.source for one in align_utterances(store, range(2), beside=corpus).utterances] == [LAB]
    write(corpus / "bob" / "two.TextGrid", textgrid({"phones": [(0, 0.7, "K")]}, 0.7))
    assert [one.source for one in align_utterances(store, range(2), beside=corpus).utterances] == [LAB, TEXTGRID]
    assert find_labels(beside=corpus).fingerprint() != before
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("VQSPEECH_ALIGNMENTS", str(tmp_path / "none"))
    found = align_utterances(store, range(2), beside=corpus)
    assert not found.utterances and any("no TextGrids or other labels" in note for note in found.notes)
    assert find_labels(beside=corpus / "manifest.jsonl") is not None  # the folder that was named
    monkeypatch.delenv("VQSPEECH_ALIGNMENTS")
    assert find_labels(beside=corpus / "manifest.jsonl") is None
