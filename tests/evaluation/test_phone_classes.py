"""One table of phone names: every source's name of a sound falls into one of the 41 classes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.data.phonemes import ARPABET, OTHER, PHONEMES, SILENCE, from_espeak
from vqspeech.evaluation.tools.phone_classes import class_of, table


def test_there_is_a_row_for_each_of_the_39_phonemes_silence_and_other():
    rows = table().rows
    assert [row[0] for row in rows] == [*PHONEMES] and len(rows) == 41
    assert all(len(row) == len(table().header) and all(row) for row in rows)


@pytest.mark.parametrize("phoneme", ARPABET)
def test_stress_digits_of_the_cmu_dictionary_fall_away(phoneme):
    assert {class_of(phoneme), class_of(f"{phoneme}0"), class_of(f"{phoneme}1"), class_of(phoneme.lower())} == {phoneme}


@pytest.mark.parametrize("row", table().rows, ids=lambda row: row[0])
def test_the_table_says_what_the_mappings_do(row):
    name, espeak, _, ipa = row
    if name in (SILENCE, OTHER):
        return
    assert {from_espeak(mnemonic) for mnemonic in espeak.split()} == {name}
    assert {class_of(symbol) for symbol in ipa.split()} == {name}


@pytest.mark.parametrize(
    ("symbol", "phoneme"),
    # Words of MFA's english_mfa dictionary: pie, key, beat, caught, button's n, little's l, city, the, higher, you.
    [("pʰ", "P"), ("cʰ", "K"), ("iː", "IY"), ("ɒː", "AO"), ("n̩", "N"), ("ɫ̩", "L"), ("ɾ", "T"), ("ð", "DH"),
     ("ç", "HH"), ("ʉː", "UW"), ("aj", "AY"), ("əw", "OW"), ("dʒ", "JH"), ("t̪", "T"), ("ɡʷ", "G"), ("ɝ", "ER")],
)  # fmt: skip
def test_ipa_loses_its_marks_and_keeps_its_sound(symbol, phoneme):
    assert class_of(symbol) == phoneme


def test_a_cedilla_written_as_a_combining_mark_is_the_same_letter():
    assert class_of("c\u0327") == class_of("ç") == "HH" != class_of("c")


@pytest.mark.parametrize("name", ["", "sil", "sp", "SIL", "<sil>", " "])
def test_pauses_are_silence(name):
    assert class_of(name) == SILENCE


@pytest.mark.parametrize("name", ["spn", "+NSN+", "+SPN+", "ʔ", "???", "<unk>"])
def test_noise_unknown_words_and_glottal_stops_are_other(name):
    assert class_of(name) == OTHER


@given(st.text(max_size=6))
def test_any_name_falls_into_one_of_the_classes(name):
    assert class_of(name) in PHONEMES
