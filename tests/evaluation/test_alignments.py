"""Phoneme times: the corpus's own, a forced aligner's TextGrids, PocketSphinx's; and what each cannot do."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from vqspeech.config import parse_recipe
from vqspeech.data.embedded import build_embedded
from vqspeech.data.preparation import prepare_store
from vqspeech.data.store import Store
from vqspeech.errors import CorpusError, DependencyError
from vqspeech.evaluation.tools.alignments import EXACT, SPHINX, TEXTGRID, align_utterances, read_textgrid
from vqspeech.evaluation.tools.sphinx import Sphinx, to_pcm, words_of

RATE = 16000


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """The embedded corpus, one minute."""
    return build_embedded(tmp_path_factory.mktemp("spoken") / "corpus", minutes=1.0, sample_rate=RATE)


def open_store(values, data, folder):
    recipe = {"name": "x", **values}
    prepare_store(parse_recipe(recipe, "a test's recipe").data, data, folder, num_workers=1)
    return Store.open(folder)


@pytest.fixture(scope="module")
def exact(spoken, tmp_path_factory):
    """Its store, with exact times."""
    values = {"data": {"corpus": "embedded", "sample_rate": RATE, "test_share": 0.4}}
    return open_store(values, spoken, tmp_path_factory.mktemp("exact") / "store")


def open_manifest(entries, folder):
    """A store of a manifest: texts without times, nothing trimmed."""
    folder.mkdir(parents=True)
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    values = {"data": {"corpus": "manifest", "sample_rate": RATE, "trim_db": 0}}
    return open_store(values, path, folder / "store")


@pytest.fixture(scope="module")
def texts(spoken, tmp_path_factory):
    """Three recordings with a right text, one with a word that no dictionary has, one without a text."""
    entries = []
    for number, path in enumerate(sorted((spoken / "text" / "david").glob("*.txt"))[:1] * 5):
        text = {3: "the snorfleblat sat", 4: None}.get(number, path.read_text(encoding="utf-8"))
        audio = str(spoken / "wav" / "david" / path.with_suffix(".wav").name)
        entries.append({"audio": audio, "speaker": "david", "text": text, "offset_s": 0.0001 * number})
    return open_manifest(entries, tmp_path_factory.mktemp("texts") / "corpus")


def test_exact_times_are_taken_as_they_are(exact):
    chosen = list(range(len(exact)))[:4]
    found = align_utterances(exact, chosen)
    assert [own.labels for own in found.utterances] == [exact.labels(index) for index in chosen]
    assert {own.source for own in found.utterances} == {EXACT}
    assert found.notes == (f"phoneme times of 4 utterances: {EXACT}",)


def test_pocketsphinx_finds_the_boundaries_within_some_20_ms(spoken):
    sphinx, errors = Sphinx(), []
    for path in sorted((spoken / "text").rglob("*.txt"))[:8]:
        from vqspeech.audio import load_audio
        from vqspeech.data.embedded import read_labels

        inside = path.relative_to(spoken / "text")
        wav = load_audio(spoken / "wav" / inside.with_suffix(".wav"), RATE)
        found = sphinx.align(words_of(path.read_text()), to_pcm(wav, RATE))
        true = read_labels(spoken / "labels" / inside.with_suffix(".tsv"))
        assert found[0][0] == 0 and found[-1][1] == pytest.approx(len(wav) / RATE, abs=0.03)
        assert all(a[1] == b[0] for a, b in zip(found, found[1:])), "no gaps"
        # Fricatives of the words, in order: sounds of one name in both dictionaries, easy to see in a spectrogram.
        starts = [[start for start, _, name in labels if name in ("S", "SH")] for labels in (found, true)]
        if len(starts[0]) == len(starts[1]):
            errors += list(np.abs(np.subtract(*starts)))
    assert len(errors) >= 5 and np.median(errors) < 0.025


def test_texts_are_aligned_and_what_cannot_be_is_told(texts):
    found = align_utterances(texts, range(len(texts)))
    assert [own.source for own in found.utterances] == [SPHINX] * 3
    assert found.notes[0] == f"phoneme times of 3 utterances: {SPHINX}"
    assert any("1 of 5 utterances have words outside the dictionary (snorfleblat)" in note for note in found.notes)
    assert any("neither phoneme times nor a text" in note for note in found.notes)


def test_an_utterance_is_aligned_once_however_many_ask(texts, monkeypatch):
    first = align_utterances(texts, range(len(texts)))
    monkeypatch.setattr(Sphinx, "align", lambda *_: pytest.fail("aligned again"))
    assert align_utterances(texts, range(len(texts))) == first


def test_a_recording_too_short_for_its_text_is_told():
    sphinx, words = Sphinx(), words_of("this is far too long a text for so short a recording")
    short = np.random.default_rng(0).normal(0, 0.1, 3000)
    assert sphinx.align(words, to_pcm(short, RATE)) is None
    assert sphinx.align(words, b"") is None
    assert sphinx.align((), to_pcm(short, RATE)) is None


def test_without_pocketsphinx_the_note_names_the_extra(texts, monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    found = align_utterances(texts, range(len(texts)))
    assert not found.utterances
    assert any("pip install 'vqspeech[evaluate]'" in note for note in found.notes)


def textgrid(tiers, end, style="long"):
    """A TextGrid as Praat writes it: name -> list of (start, end, label)."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    if style == "short":
        lines += ["0", str(end), "<exists>", str(len(tiers))]
        for name, entries in tiers.items():
            lines += ['"IntervalTier"', f'"{name}"', "0", str(end), str(len(entries))]
            lines += [part for start, stop, label in entries for part in (str(start), str(stop), f'"{label}"')]
        return "\n".join(lines) + "\n"
    lines += ["xmin = 0", f"xmax = {end}", "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, entries) in enumerate(tiers.items(), 1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {end}", f"        intervals: size = {len(entries)}"]
        for place, (start, stop, label) in enumerate(entries, 1):
            lines += [f"        intervals [{place}]:", f"            xmin = {start}", f"            xmax = {stop}"]
            lines += [f'            text = "{label}"']
    return "\n".join(lines) + "\n"


PHONES = [(0, 0.1, ""), (0.1, 0.25, "K"), (0.25, 0.4, "AE1"), (0.4, 0.5, "T"), (0.5, 0.7, "spn")]
CLASSES = [(0.0, 0.1, "SIL"), (0.1, 0.25, "K"), (0.25, 0.4, "AE"), (0.4, 0.5, "T"), (0.5, 0.7, "OTH")]


@pytest.mark.parametrize("style", ["long", "short"])
@pytest.mark.parametrize("tier", ["phones", "ann - phones"])
def test_a_textgrid_of_a_forced_aligner_is_read(tmp_path, style, tier):
    path = tmp_path / "a.TextGrid"
    path.write_text(textgrid({"words": [(0, 0.7, "cat")], tier: PHONES}, 0.7, style), encoding="utf-8")
    assert read_textgrid(path) == CLASSES


def test_a_textgrid_without_phones_says_what_it_has(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(textgrid({"words": [(0, 0.7, "cat")]}, 0.7), encoding="utf-8")
    with pytest.raises(CorpusError, match='without a tier "phones".*has words'):
        read_textgrid(path)


def test_what_is_no_textgrid_is_an_error_of_ours(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text("nothing of the kind")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_textgrid(path)


def test_a_textgrid_of_another_duration_is_not_laid_over_the_recording(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(textgrid({"phones": PHONES}, 0.7), encoding="utf-8")
    with pytest.raises(CorpusError, match="data.trim_db to 0"):
        read_textgrid(path, 1.2)


def test_without_praatio_the_note_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "praatio", None)
    with pytest.raises(DependencyError, match="vqspeech\\[evaluate\\]"):
        read_textgrid(tmp_path / "a.TextGrid")


@pytest.mark.parametrize("place", ["ann/one.TextGrid", "deep/down/one.TextGrid", "one.TextGrid"])
def test_textgrids_are_found_by_speaker_and_by_name(tmp_path, place, monkeypatch):
    from vqspeech.audio import save_audio

    noise = np.random.default_rng(0).normal(0, 0.1, int(0.7 * RATE)).astype(np.float32)
    save_audio(tmp_path / "corpus" / "one.wav", noise, RATE)
    store = open_manifest([{"audio": str(tmp_path / "corpus" / "one.wav"), "speaker": "ann"}], tmp_path / "m")
    path = tmp_path / "grids" / place
    path.parent.mkdir(parents=True)
    path.write_text(textgrid({"phones": PHONES}, 0.7), encoding="utf-8")
    monkeypatch.setenv("VQSPEECH_ALIGNMENTS", str(tmp_path / "grids"))
    (found,) = align_utterances(store, range(1)).utterances
    assert (found.source, found.labels) == (TEXTGRID, CLASSES)


def test_a_folder_without_textgrids_is_told(texts, tmp_path):
    notes = align_utterances(texts, [0], tmp_path).notes
    assert any("expected SPEAKER/UTTERANCE.TextGrid" in note for note in notes)
