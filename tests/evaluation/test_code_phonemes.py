"""The section "Codes to phonemes": the same figures as the plain measure, with intervals, controls and a picture."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import normalized_mutual_info_score

from phoneme_reference import code_phoneme_accuracy
from vqspeech.data.phonemes import PHONEMES
from vqspeech.evaluation.figures.pairing import paired
from vqspeech.evaluation.figures.types import Evaluation, Section
from vqspeech.evaluation.measures import code_phonemes
from vqspeech.evaluation.measures.code_phonemes import TITLE, measure, measure_codes
from vqspeech.evaluation.report.sections import section_to_json
from vqspeech.evaluation.tools.mapping import count_pairs, learn_mapping, normalised_information
from vqspeech.evaluation.tools.phone_classes import label_frames
from vqspeech.evaluation.trials.coded_speech import CodedSpeech, choose_minutes

# Some tones make fewer different frames than clusters are asked for.
pytestmark = pytest.mark.filterwarnings("ignore:Number of distinct clusters")
RATE, HOP = 8000, 160  # 50 codes a second
SOUNDS = ["SIL", "AA", "S", "M", "IY"]


def talk(seed: int) -> list[tuple[float, float, str]]:
    """Labels: twenty sounds of 100 ms, silence commonest."""
    names = np.random.default_rng(seed).choice(SOUNDS, size=20, p=[0.4, 0.15, 0.15, 0.15, 0.15])
    return [(index / 10, (index + 1) / 10, str(name)) for index, name in enumerate(names)]


def say(labels) -> np.ndarray:
    """A waveform of tones, noise and silence for the labels."""
    t, noise = np.arange(RATE // 10) / RATE, np.random.default_rng(1)
    wavs = {
        "SIL": np.zeros_like(t),
        "AA": 0.3 * np.sin(2 * np.pi * 800 * t),
        "S": noise.normal(0, 0.05, len(t)),
        "M": 0.2 * np.sin(2 * np.pi * 200 * t),
        "IY": 0.2 * np.sin(2 * np.pi * 2400 * t),
    }
    return np.concatenate([wavs[name] for _, _, name in labels]).astype(np.float32)


def make_speech(codes_of, num=12) -> tuple[CodedSpeech, list[np.ndarray]]:
    """Speech, and the class of each of its frames."""
    labels = [talk(seed) for seed in range(num)]
    classes = [label_frames(own, 100, RATE / HOP) for own in labels]
    speech = CodedSpeech(
        tuple(f"ann-{n}" for n in range(num)),
        tuple("ann" if n % 2 else "bob" for n in range(num)),
        [say(own) for own in labels],
        [codes_of(own) for own in classes],
    )
    return speech, classes


def spoil(share, seed=3):
    """Codes that are the phonemes, a share of them drawn at random."""
    generator = np.random.default_rng(seed)

    def codes_of(classes):
        return np.where(generator.random(len(classes)) < share, generator.integers(0, 41, len(classes)), classes)

    return codes_of


def test_figures_equal_the_plain_measure():
    speech, classes = make_speech(spoil(0.4))
    figures, read, truth = measure_codes(speech, classes, 41, RATE, HOP, seed=5)
    labels = [talk(seed) for seed in range(12)]
    plain = code_phoneme_accuracy(
        speech.utterances,
        speech.codes,
        labels,
        num_codes=41,
        sample_rate=RATE,
        hop_length=HOP,
        wavs=speech.wavs,
        seed=5,
    )
    own = [plain.codes.accuracy, plain.codes.accuracy_speech]
    own += [plain.codes.mutual_information, plain.codes.mutual_information_speech]
    assert [figure.value for figure in figures] == pytest.approx(own, abs=1e-6)
    for position, key in enumerate(("accuracy", "accuracy_speech")):
        controls = {control.name: control.value for control in figures[position].controls}
        assert controls["k-means on MFCCs"] == pytest.approx(getattr(plain.mfcc, key))
        assert controls["shuffled codes"] == pytest.approx(getattr(plain.shuffled, key))
        assert controls["majority class"] == pytest.approx(getattr(plain.majority, key))
    assert (read == truth).mean() == pytest.approx(plain.codes.accuracy)


def test_intervals_hold_their_figures():
    figures, *_ = measure_codes(*make_speech(spoil(0.4)), 41, RATE, HOP)
    for figure in (*figures, *(control for own in figures for control in own.controls)):
        assert 0 <= figure.low <= figure.value <= figure.high <= 1, figure.name
        assert figure.count == 6


def test_two_codings_of_the_same_utterances_are_paired_in_their_information_too():
    good, bad = (measure_codes(*make_speech(spoil(share)), 41, RATE, HOP)[0] for share in (0.2, 0.6))
    for one, other in zip(good, bad, strict=True):
        difference = paired(one, other, 0)
        assert difference.value == pytest.approx(one.value - other.value)
        assert 0 < difference.low < difference.value < difference.high, one.name


def test_codes_that_know_nothing_are_said_not_to_beat_their_controls():
    generator = np.random.default_rng(0)
    nothing, *_ = measure_codes(*make_speech(lambda own: generator.integers(0, 8, len(own))), 41, RATE, HOP)
    assert [figure.beats_controls for figure in nothing] == [False] * 4
    # Perfect codes tie with k-means here, which tells tones apart as well: judged by the other controls.
    perfect, *_ = measure_codes(*make_speech(lambda own: own), 41, RATE, HOP)
    for figure in perfect:
        others = tuple(control for control in figure.controls if "MFCC" not in control.name)
        assert figure.value == pytest.approx(1) and replace(figure, controls=others).beats_controls


def test_utterances_of_silence_alone_give_figures_without_values_not_errors():
    speech, _ = make_speech(lambda own: own)
    silent = [np.full(100, PHONEMES.index("SIL"))] * 12
    figures, *_ = measure_codes(speech, silent, 41, RATE, HOP)
    assert figures[0].value == 1 and not figures[1].is_measured and not figures[3].is_measured
    assert "no labelled frames" in figures[1].note and "no labelled frames" in figures[3].note
    json.dumps(section_to_json(Section("x", figures), whole=True), allow_nan=False)  # it can be kept


def test_draws_without_a_value_are_not_kept_since_a_report_holds_no_nan(monkeypatch):
    speech = make_speech(spoil(0.4))
    values = itertools.chain([0.5], itertools.repeat(math.nan))
    monkeypatch.setattr(code_phonemes, "normalised_information", lambda table: next(values))
    figures, *_ = measure_codes(*speech, 41, RATE, HOP)
    assert figures[2].draws == ()


PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60)


@given(PAIRS)
def test_information_from_counts_is_scikit_learns(pairs):
    codes, labels = np.array(pairs).T
    expected = normalized_mutual_info_score(labels, codes)
    assert normalised_information(count_pairs(codes, labels, 6, 4)) == pytest.approx(expected, abs=1e-9)


@given(arrays.arrays(np.int64, (4, 3), elements=st.integers(0, 9)))
def test_information_is_a_share_and_the_same_both_ways(counts):
    value = normalised_information(counts)
    assert 0 <= value <= 1 + 1e-12
    assert value == pytest.approx(normalised_information(counts.T), abs=1e-12)


def test_a_mapping_by_hand():
    # Code 0 meets 1, 1, 2; code 1 meets 2, 0, a tie for the lower; code 2 never, so the commonest, 1.
    label_of, commonest = learn_mapping([0, 0, 0, 1, 1], [1, 1, 2, 2, 0], num_codes=3, num_labels=3)
    assert label_of.tolist() == [1, 0, 1] and commonest == 1
    assert count_pairs([0, 0, 2], [1, 1, 0], 3, 2).tolist() == [[0, 2], [0, 0], [1, 0]]


class Labelled:
    """A prepared corpus with exact times, as far as the section reads one."""

    speakers = ("ann", "bob")
    sample_rate = RATE

    def __init__(self, num, labels=talk, text=None):
        self.labels_of = [labels(seed) if labels else None for seed in range(num)]
        self.said = text
        self.split_sizes = {"train": 0, "valid": 0, "test": num}

    def utterances(self, split):
        return range(self.split_sizes["test"] if split == "test" else 0)

    def duration_s(self, split):
        return 2.0 * len(self.utterances(split))

    def utterance_id(self, index):
        return f"u{index}"

    def speaker(self, index):
        return index % 2

    def text(self, index):
        return self.said

    def length(self, index):
        return 2 * RATE

    def labels(self, index):
        return self.labels_of[index]

    def wav(self, index, max_samples=None):
        return self.read(index, 0, max_samples).astype(np.float32) * np.float32(1 / 32768)

    def read(self, index, start=0, length=None):
        wav = say(self.labels_of[index] or talk(index))[start:][:length]
        return np.rint(wav * 32767).astype(np.int16)


def make_evaluation(model, store):
    return Evaluation(model, store, "test", (), 0, RATE, model.hop_length, {})


def test_the_section_has_figures_notes_tables_and_a_picture(tiny_model):
    section = measure(make_evaluation(tiny_model, Labelled(8)))
    assert section.title == TITLE and len(section.figures) == 4
    assert all(figure.is_measured and len(figure.controls) >= 2 for figure in section.figures)
    assert section.notes[0] == "phoneme times of 8 utterances: the corpus's exact times"
    assert "49.3 % for K = 128 at 25 Hz" in section.notes[-1]
    assert section.pictures[0].png.startswith(b"\x89PNG")
    readings, classes = section.tables
    assert readings.rows[0][0] == "SIL" and len(classes.rows) == 41
    assert sum(float(row[1].rstrip("%")) for row in readings.rows) == pytest.approx(100, abs=0.5)


def test_a_corpus_without_times_and_texts_gets_its_line(tiny_model):
    section = measure(make_evaluation(tiny_model, Labelled(5, labels=None)))
    assert [figure.is_measured for figure in section.figures] == [False] * 4
    assert any("5 of 5 utterances have neither phoneme times nor a text" in note for note in section.notes)


def test_one_utterance_cannot_be_halved_and_says_so(tiny_model):
    section = measure(make_evaluation(tiny_model, Labelled(1)))
    assert all("needs two utterances" in figure.note for figure in section.figures)


@given(st.integers(1, 400), st.integers(1, 5))
def test_utterances_are_spread_within_the_minutes(num, minutes):
    chosen = choose_minutes(Labelled(num, labels=None), "test", minutes)
    assert chosen[0] == 0 and 2 * (len(chosen) - 1) <= 60 * minutes
    assert len({b - a for a, b in zip(chosen, chosen[1:])}) <= 1
