"""Word errors without a list of texts: paired with the source, English alone, numbers and silence accounted for."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech import example_recording
from vqspeech.audio import load_audio
from vqspeech.errors import DependencyError
from vqspeech.evaluation.figures.types import Evaluation, Trial
from vqspeech.evaluation.measures import words
from vqspeech.evaluation.measures.words import by_transcribers, measure
from vqspeech.evaluation.tools.sphinx import words_of
from vqspeech.evaluation.tools.transcribers import Transcriber, find_transcribers, word_errors
from vqspeech.evaluation.trials.scoring import WordedTrial
from vqspeech.evaluation.trials.signals import SIGNALS, Signal
from vqspeech.evaluation.trials.texts import Texts

SAID = ("the", "cat", "sat")
HEARD = {
    "source": "the cat sat", "reconstruction": "the cat", "conversion": "a bat sat down now", "mu_law": "the cat sat",
    "shifted": "", "random": "no",
}  # fmt: skip


def wav_of(signal: Signal, number: int) -> np.ndarray:
    """Sound that says, in its first sample, which signal it is."""
    wav = np.full(1600, 0.1, np.float32)
    wav[0], wav[1] = SIGNALS.index(signal) / 10, number / 100
    return wav


def trial(number: int, speaker: str = "ann") -> Trial:
    sounds = {signal.name: wav_of(signal, number) for signal in SIGNALS}
    return Trial(f"u{number}", speaker, "bob", None, codes=np.zeros(4, np.int32), **sounds)


def ask(monkeypatch, heard: list[WordedTrial], language: str = ""):
    told = Transcriber("parrot", lambda wav, rate: HEARD[SIGNALS[round(float(wav[0]) * 10)].name])
    monkeypatch.setattr(words, "find_transcribers", lambda: ([told], []))
    evaluation = Evaluation(
        SimpleNamespace(speakers=("ann", "bob")), None, "test", (), 0, 16000, 64, {}, language=language
    )
    figures, notes, _ = by_transcribers(evaluation, heard)
    return {one.name: one for one in figures}, notes


def test_errors_are_counted_over_words_and_beside_those_of_the_source(monkeypatch):
    found, notes = ask(monkeypatch, [WordedTrial(trial(n), SAID) for n in range(2)])
    rate = found["word error rate, parrot: conversions"]
    # the → a, cat → bat, and two words too many: 4 errors of 3 words
    assert rate.value == pytest.approx(4 / 3) and rate.count == 2 and rate.higher_is_better is False
    assert {one.name: round(one.value, 3) for one in rate.controls} == {
        "reconstructions": 0.333, "source unchanged": 0.0, "mu-law copy": 0.0, "pitch-shifted source": 1.0,
        "random codes": 1.0, "nothing heard": 1.0,
    }  # fmt: skip
    assert found["word error rate, parrot: reconstructions"].value == pytest.approx(1 / 3) and notes == []


def test_words_lost_are_errors_above_those_of_the_same_recording(monkeypatch):
    monkeypatch.setitem(HEARD, "source", "the cat sit")  # one word of real speech is not understood either
    found, _ = ask(monkeypatch, [WordedTrial(trial(n), SAID) for n in range(2)])
    assert found["words lost, parrot: conversions"].value == pytest.approx((4 - 1) / 3)
    assert found["words lost, parrot: reconstructions"].value == 0.0
    beside = {one.name: one.value for one in found["words lost, parrot: conversions"].controls}
    assert beside["source unchanged"] == 0.0 and beside["nothing heard"] == pytest.approx(2 / 3)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_word_errors_are_the_edit_distance(said, heard):
    rows = list(range(len(heard) + 1))
    for place, word in enumerate(said, start=1):
        before, rows[0] = rows[0], place
        for column, other in enumerate(heard, start=1):
            before, rows[column] = rows[column], min(rows[column] + 1, rows[column - 1] + 1, before + (word != other))
    assert word_errors(tuple(said), tuple(heard)) == rows[-1]


def test_silence_has_every_word_wrong(monkeypatch):
    silent = trial(0)
    for signal in SIGNALS:
        signal.of(silent)[:] = 0
    found, _ = ask(monkeypatch, [WordedTrial(silent, SAID)])
    assert found["word error rate, parrot: conversions"].value == 1.0


def test_numbers_in_digits_are_left_out_and_told(monkeypatch):
    found, notes = ask(
        monkeypatch,
        [WordedTrial(trial(0), SAID), WordedTrial(trial(1), ("in", "1984")), WordedTrial(trial(2), ("3rd",))],
    )
    assert found["word error rate, parrot: conversions"].count == 1
    assert len(notes) == 1 and "2 of 3 trials have numbers in digits (1984)" in notes[0]
    assert words_of("2 cats") == ("two", "cats")  # one digit is a word


GERMAN = words_of("Er hat die größten Städte nie gesehen und wollte das auch nicht")
RUSSIAN = words_of("Он никогда не видел больших городов")


@pytest.mark.parametrize("foreign", [GERMAN, RUSSIAN])
def test_speakers_of_other_languages_are_left_out_and_the_others_measured(monkeypatch, foreign):
    pytest.importorskip("pocketsphinx")
    english = WordedTrial(trial(0), words_of("the birch canoe slid on the smooth planks"))
    found, notes = ask(monkeypatch, [english, WordedTrial(trial(1, "kerstin"), foreign)])
    assert found["word error rate, parrot: conversions"].count == 1
    assert any("1 of 2 trials are left out" in note and "kerstin are not English" in note for note in notes)


def test_a_corpus_of_another_language_has_a_note_and_no_figures(monkeypatch):
    pytest.importorskip("pocketsphinx")
    found, notes = ask(monkeypatch, [WordedTrial(trial(0), GERMAN)])
    assert found == {} and any("not English" in note for note in notes)
    found, notes = ask(monkeypatch, [WordedTrial(trial(0), SAID)], language="de")
    assert found == {} and "'de'" in notes[0] and "The rest is measured" in notes[0]
    assert ask(monkeypatch, [WordedTrial(trial(0), GERMAN)], language="en-US")[0]  # who says so is believed


def test_a_name_that_no_dictionary_has_counts_and_is_told(monkeypatch):
    pytest.importorskip("pocketsphinx")
    strange = words_of("the old man of zzyzx walked slowly down to the sea")
    found, notes = ask(monkeypatch, [WordedTrial(trial(0), strange)])
    assert found["word error rate, parrot: conversions"].is_measured
    assert notes == ["1 words are outside PocketSphinx's dictionary and count as errors, in sources too (zzyzx)"]


def test_a_corpus_without_texts_says_so_and_one_without_recognisers_too(monkeypatch):
    def found_in(texts: Texts):
        monkeypatch.setattr(words, "find_texts", lambda _: texts)
        monkeypatch.setattr(
            words, "find_transcribers", lambda: ([], [DependencyError("PocketSphinx does not load. Install it")])
        )
        speakers = SimpleNamespace(speakers=("ann", "bob"))
        return measure(Evaluation(speakers, None, "test", (trial(0),), 0, 16000, 64, {}))

    silent = found_in(Texts({}, (), {}, ("1 of 1 utterances have no text",)))
    assert not silent.figures[0].is_measured and silent.figures[0].note == "no text to compare with"
    assert silent.notes == ("1 of 1 utterances have no text",)
    deaf = found_in(Texts({"u0": SAID}, (SAID,), {}))
    assert deaf.retry and not silent.retry
    assert not deaf.figures[0].is_measured and "PocketSphinx does not load. Install it" in deaf.notes


# PocketSphinx itself


@pytest.fixture(scope="module")
def sphinx() -> Transcriber:
    pytest.importorskip("pocketsphinx")
    return next(one for one in find_transcribers()[0] if one.name == "PocketSphinx")


def test_what_is_heard_does_not_depend_on_what_was_heard_before(sphinx):
    wav = load_audio(example_recording(), 16000)
    first = sphinx.hear(wav, 16000)
    sphinx.hear(wav[::-1].copy(), 16000)
    assert sphinx.hear(wav, 16000) == first and len(first.split()) > 2


def test_nothing_is_heard_in_nothing_and_what_is_not_finite_is_no_error(sphinx):
    assert sphinx.hear(np.zeros(0, np.float32), 16000) == ""
    assert isinstance(sphinx.hear(np.full(8000, np.nan, np.float32), 8000), str)


@pytest.mark.real_data
def test_a_recording_of_vctk_is_understood_for_the_most_part(sphinx, real_data):
    folder = real_data / "vctk" / "VCTK-Corpus-0.92"
    errors = total = 0
    for path in sorted(folder.rglob("p227_*_mic1.flac"))[:4]:
        said = words_of((folder / "txt" / "p227" / path.name.replace("_mic1.flac", ".txt")).read_text())
        errors += word_errors(said, words_of(sphinx.hear(load_audio(path, 16000), 16000)))
        total += len(said)
    if not total:
        pytest.skip("no VCTK among the real recordings")
    assert 0.1 < errors / total < 0.6  # a small general model: 42 % on these readers
