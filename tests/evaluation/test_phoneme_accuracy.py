"""Codes read as phonemes: hand-made cases, what must not matter, and the controls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoneme_reference import code_phoneme_accuracy, map_and_score
from vqspeech.data.phonemes import ARPABET, PHONEMES
from vqspeech.errors import CodesError, CorpusError
from vqspeech.evaluation.tools.mapping import teaching_half
from vqspeech.evaluation.tools.mfcc import cluster_mfccs, mfcc_frames
from vqspeech.evaluation.tools.phone_classes import label_frames

RATE, HOP = 16000, 320  # 50 codes a second


def talk(generator: np.random.Generator, num_sounds: int) -> list[tuple[float, float, str]]:
    """Random labels: sounds of 100 ms among four phonemes and silence, which is commonest."""
    names = generator.choice(["SIL", "AA", "S", "M", "IY"], size=num_sounds, p=[0.4, 0.15, 0.15, 0.15, 0.15])
    return [(index / 10, (index + 1) / 10, str(name)) for index, name in enumerate(names)]


@pytest.fixture
def utterances():
    generator = np.random.default_rng(0)
    return {f"speaker/{number}": talk(generator, 40) for number in range(20)}


def measure(utterances, codes, **options):
    return code_phoneme_accuracy(
        list(utterances), codes, list(utterances.values()), num_codes=41, sample_rate=RATE, hop_length=HOP, **options
    )


def test_codes_that_are_the_phonemes_are_all_right(utterances):
    result = measure(utterances, [label_frames(labels, 200, 50.0) for labels in utterances.values()])
    assert result.codes.accuracy == result.codes.accuracy_speech == 1
    assert result.codes.mutual_information == pytest.approx(1)
    assert result.beats_controls


def test_codes_that_know_nothing_do_as_well_as_the_majority_class(utterances):
    generator = np.random.default_rng(1)
    result = measure(utterances, [generator.integers(0, 8, size=200) for _ in utterances])
    assert result.codes.accuracy == pytest.approx(result.majority.accuracy, abs=0.03)
    assert result.codes.accuracy_speech == pytest.approx(result.majority.accuracy_speech, abs=0.05)
    assert result.codes.mutual_information < 0.02


def test_shuffled_codes_know_nothing(utterances):
    result = measure(utterances, [label_frames(labels, 200, 50.0) for labels in utterances.values()])
    assert result.shuffled.accuracy == pytest.approx(result.majority.accuracy, abs=0.03)
    assert result.shuffled.mutual_information < 0.02


def test_a_small_case_by_hand():
    # Code 0 is seen with labels 1, 1, 2 -> 1; code 1 with 2, 0 -> a tie, the lower; code 2 never -> commonest, 1.
    score = map_and_score([0, 0, 0, 1, 1], [1, 1, 2, 2, 0], [0, 1, 1, 2], [1, 2, 0, 1], num_codes=3, num_labels=3)
    assert score.accuracy == 3 / 4
    assert score.majority == 2 / 4
    assert score.num_frames == 4


def test_mutual_information_by_hand():
    # Labels 0, 0, 1, 1 against codes 0, 0, 0, 1: I = H(L) - H(L | C) with H(L) = 1 bit, H(C) = 0.8113 bit and
    # H(L | C) = 3/4 x 0.9183 bit; normalised by the mean of the entropies.
    score = map_and_score([0], [0], [0, 0, 0, 1], [0, 0, 1, 1], num_codes=2, num_labels=2)
    assert score.mutual_information == pytest.approx((1 - 0.75 * 0.91830) / ((1 + 0.81128) / 2), abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_renaming_the_codes_changes_nothing(data):
    num_codes, num_labels = 6, 4
    pairs = st.lists(st.tuples(st.integers(0, num_codes - 1), st.integers(0, num_labels - 1)), min_size=1, max_size=60)
    first, second = np.array(data.draw(pairs)), np.array(data.draw(pairs))
    name = np.array(data.draw(st.permutations(range(num_codes))))
    plain = map_and_score(*first.T, *second.T, num_codes=num_codes, num_labels=num_labels)
    renamed = map_and_score(
        name[first[:, 0]], first[:, 1], name[second[:, 0]], second[:, 1], num_codes=num_codes, num_labels=num_labels
    )
    assert (renamed.accuracy, renamed.majority) == (plain.accuracy, plain.majority)
    assert renamed.mutual_information == pytest.approx(plain.mutual_information, abs=1e-9)


@given(st.permutations([f"speaker/{number}" for number in range(9)]))
def test_the_teaching_half_is_a_half_and_depends_on_the_ids_alone(ids):
    teaching = dict(zip(ids, teaching_half(ids)))
    assert sum(teaching.values()) == 5
    assert teaching == dict(zip(sorted(ids), teaching_half(sorted(ids))))


def test_a_frame_is_named_after_the_sound_at_its_centre():
    # 50 Hz: centres at 10, 30, 50, 70, 90 ms; the label ends at 85 ms and silence follows.
    classes = label_frames([(0.0, 0.03, "S"), (0.03, 0.085, "AA1")], 5, 50.0)
    assert [PHONEMES[index] for index in classes] == ["S", "AA", "AA", "AA", "SIL"]


def test_silence_excluded_means_left_out_of_both_halves(utterances):
    # One code for everything: it reads as SIL at first, and as the commonest real phoneme once silence is left out.
    result = measure(utterances, [np.zeros(200, dtype=np.int64) for _ in utterances])
    truth = np.concatenate(
        [
            label_frames(labels, 200, 50.0)
            for labels, teaches in zip(utterances.values(), teaching_half(list(utterances)))
            if not teaches
        ]
    )
    silent = truth == PHONEMES.index("SIL")
    assert result.codes.accuracy == pytest.approx(silent.mean())
    assert result.num_frames == len(truth) and result.num_frames_speech == (~silent).sum()
    assert result.codes.accuracy_speech == result.majority.accuracy_speech < 0.35


def test_k_means_on_mfccs_tells_vowels_noise_and_silence_apart(utterances):
    generator = np.random.default_rng(2)
    time = np.arange(RATE // 10) / RATE
    sounds = {
        "SIL": np.zeros_like(time),
        "AA": sum(np.sin(2 * np.pi * f * time) for f in (120, 720, 1080)) / 6,
        "IY": sum(np.sin(2 * np.pi * f * time) for f in (120, 240, 2280)) / 6,
        "M": np.sin(2 * np.pi * 240 * time) / 4,
        "S": generator.normal(size=len(time)) / 20,
    }
    wavs = [np.concatenate([sounds[name] for _, _, name in labels]) for labels in utterances.values()]
    codes = [np.zeros(200, dtype=np.int64) for _ in utterances]
    result = measure(utterances, codes, wavs=wavs)
    assert result.mfcc.accuracy_speech > 0.85
    assert not result.beats_controls
    assert measure(utterances, codes, wavs=wavs) == result  # the seed decides


def test_a_click_stands_out_in_the_mfcc_frame_that_holds_it():
    for frame in (0, 7, 19):
        wav = np.full(20 * HOP, 1e-4, dtype=np.float32)
        wav[frame * HOP + HOP // 2] = 1.0
        loudness = mfcc_frames(wav, 20, RATE, HOP)[:, 0]
        assert loudness.argmax() == frame


@pytest.mark.parametrize(("sample_rate", "hop_length"), [(8000, 64), (16000, 640), (4000, 64)])
def test_mfcc_codes_come_at_the_rate_of_the_codes(sample_rate, hop_length):
    wavs = [np.random.default_rng(seed).normal(size=sample_rate).astype(np.float32) for seed in range(2)]
    frames = [sample_rate // hop_length, sample_rate // hop_length + 1]
    codes = cluster_mfccs(wavs, wavs, frames, 8, sample_rate, hop_length)
    assert [len(values) for values in codes] == frames
    assert all(0 <= values.min() and values.max() < 8 for values in codes)


def test_the_table_has_a_row_for_the_codes_and_each_control(utterances):
    table = measure(utterances, [label_frames(labels, 200, 50.0) for labels in utterances.values()]).table()
    assert list(table) == ["codes", "shuffled codes", "majority class"]
    assert table["codes"]["silence excluded %"] == 100


def test_codes_of_a_larger_codebook_are_refused(utterances):
    with pytest.raises(CodesError, match="codes lie between 41 and 41; 0 to 40 were expected"):
        measure(utterances, [np.full(200, 41) for _ in utterances])


def test_one_utterance_cannot_be_halved():
    with pytest.raises(CorpusError, match="Give at least two"):
        measure({"only": [(0.0, 1.0, "AA")]}, [np.zeros(50, dtype=np.int64)])


def test_utterances_of_silence_alone_have_nothing_to_score():
    with pytest.raises(CorpusError, match="no labelled frames"):
        measure({"a": [], "b": []}, [np.zeros(50, dtype=np.int64)] * 2)


def test_classes_are_those_of_the_paper():
    assert PHONEMES == (*ARPABET, "SIL", "OTH")
