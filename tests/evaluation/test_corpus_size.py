"""Measures of speakers at any size of corpus: two speakers, 30, 110, 2,400; one; and some with a single recording."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.errors import VQSpeechError
from vqspeech.evaluation.evaluate import number_of
from vqspeech.evaluation.judges import sequence_probe, speakers
from vqspeech.evaluation.measures import code_speakers, pitch
from vqspeech.evaluation.measures.speakers import measure_speakers
from vqspeech.evaluation.report import stages
from vqspeech.evaluation.trials.pairs import MOST_VOICES, choose_pairs, draw_voices
from vqspeech.evaluation.trials.systems import heard_voices, notes_on, work_ahead

SIZES = [2, 30, 110, 2400]
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def crowd(monkeypatch):
    """The benchmark that makes up corpora of any size."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import corpus_size

    return corpus_size


class Tones:
    """A model whose codes are the loudest of 16 bands of each 128 samples."""

    def __init__(self, speakers) -> None:
        self.speakers = tuple(speakers)
        self.recipe = SimpleNamespace(name="crowd", data=SimpleNamespace(corpus="folder"))

    def encode(self, wav: np.ndarray) -> torch.Tensor:
        frames = np.pad(wav, (0, -len(wav) % 128)).reshape(-1, 128)
        return torch.from_numpy(np.abs(np.fft.rfft(frames))[:, 1:33].reshape(len(frames), 16, 2).sum(2).argmax(1))

    def lookup(self, codes: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(codes, 16).float()


@pytest.fixture
def quick(monkeypatch):
    """Fewer steps of training: these tests ask whether there are figures, and not how good they are."""
    probe = sequence_probe.probe_sequences
    monkeypatch.setattr(sequence_probe, "probe_sequences", lambda *a, **k: probe(*a, **k | {"steps": 30}))
    monkeypatch.setattr(speakers, "_EACH_S", 2.0)
    monkeypatch.setattr(speakers, "_TRAIN_S", 40.0)


def hear_voices(evaluation):
    classifier = speakers.train_speaker_classifier(evaluation, seconds=40, steps=10)
    figures, notes = measure_speakers(evaluation, classifier)
    return classifier, {one.name: one for one in figures}, notes


# Both measures at each size


@pytest.mark.parametrize("size", SIZES)
def test_both_measures_of_speakers_give_figures(crowd, quick, size):
    store = crowd.Crowd(size, train=5, test=2, seconds=0.5)
    evaluation = crowd.make_evaluation(store, Tones(store.speakers))
    classifier, voices, _ = hear_voices(evaluation)
    assert len(classifier.judge.classes) == len(evaluation.voices) == min(size, MOST_VOICES)
    assert all(one.is_measured for one in voices.values())
    assert voices["conversions heard as the target"].count == len(evaluation.trials)
    section = code_speakers.measure(evaluation)
    assert all(one.is_measured for one in section.figures)
    assert any(f"{min(size, MOST_VOICES)} speakers" in note for note in section.notes)


def test_where_all_of_very_many_voices_are_kept_the_measures_draw_and_say_how_many(crowd, quick, monkeypatch):
    monkeypatch.setattr(speakers, "_MOST_VOICES", 12)
    store = crowd.Crowd(2400, train=5, test=2, seconds=0.5)
    evaluation = crowd.make_evaluation(store, Tones(store.speakers), pairs=6, keep_all=True)
    classifier, voices, notes = hear_voices(evaluation)
    tried = {name for trial in evaluation.trials for name in (trial.speaker, trial.target)}
    assert len(classifier.judge.classes) == 12 and len(tried) <= 12
    assert tried <= set(classifier.judge.classes)  # all trials are judged
    assert voices["conversions heard as the target"].count == len(evaluation.trials)
    assert "12 of 2400 voices were drawn by the seed" in notes[0]
    section = code_speakers.measure(evaluation)
    assert all(one.is_measured for one in section.figures)
    assert any(f"{MOST_VOICES} of 2400 speakers" in note for note in section.notes)


@pytest.mark.slow
def test_110_voices_are_told_apart_as_well_as_a_few(crowd):
    store = crowd.Crowd(110)
    evaluation = crowd.make_evaluation(store, Tones(store.speakers), keep_all=True)
    classifier = speakers.train_speaker_classifier(evaluation)
    figures, _ = measure_speakers(evaluation, classifier)
    assert len(classifier.judge.classes) == 110
    assert figures[0].value >= 0.8 and figures[2].value >= 0.8


def test_a_speaker_with_a_single_recording_is_left_out_with_a_note(crowd, quick):
    store = crowd.Crowd(4, train=8, test=3, seconds=1.0, single=1)
    evaluation = crowd.make_evaluation(store, Tones(store.speakers), pairs=9)
    assert "s0003" in {trial.target for trial in evaluation.trials}
    classifier, voices, notes = hear_voices(evaluation)
    assert classifier.judge.classes == ("s0000", "s0001", "s0002")
    assert "too few recordings to know s0003" in notes[0]
    assert all(one.is_measured for one in voices.values())
    section = code_speakers.measure(evaluation)
    assert all(one.is_measured for one in section.figures)
    assert any("left out: s0003" in note for note in section.notes)


def test_a_conversion_to_a_voice_that_is_not_known_is_not_judged(crowd, quick):
    store = crowd.Crowd(3, train=8, test=3, seconds=1.0)
    evaluation = crowd.make_evaluation(store, Tones(store.speakers), pairs=6)
    classifier = speakers.train_speaker_classifier(replace(evaluation, common=("s0000", "s0001")), seconds=40, steps=10)
    figures, _ = measure_speakers(evaluation, classifier)
    known = [t for t in evaluation.trials if {t.speaker, t.target} <= {"s0000", "s0001"}]
    assert figures[2].count == len(known) < len(evaluation.trials)


def test_one_speaker_has_notes_and_no_figures(crowd):
    store = crowd.Crowd(1, train=8, test=3, seconds=1.0)
    evaluation = crowd.make_evaluation(store, Tones(store.speakers), pairs=3)
    assert {trial.target for trial in evaluation.trials} == {"s0000"}
    figures, notes = measure_speakers(evaluation)
    assert not any(one.is_measured for one in figures) and "one voice" in notes[0]
    section = code_speakers.measure(evaluation)
    assert not any(one.is_measured for one in section.figures) and "nobody to tell apart" in section.notes[0]
    assert not any(one.is_measured for one in pitch.measure(evaluation).figures)


def test_two_speakers_with_one_recording_each_have_notes(crowd):
    store = crowd.Crowd(2, train=1, test=1, seconds=1.0)
    evaluation = crowd.make_evaluation(store, Tones(store.speakers), pairs=2)
    figures, notes = measure_speakers(evaluation)
    assert not any(one.is_measured for one in figures) and "1 training recordings" in notes[0]
    assert "too few utterances" in code_speakers.measure(evaluation).notes[0]


def test_the_pitch_of_many_speakers_is_known_from_less_of_each(crowd, monkeypatch):
    asked = []
    monkeypatch.setattr(pitch, "measure_pitch", lambda *wavs, sample_rate: asked.append(
        sum(map(len, wavs)) / sample_rate) or pitch.Pitch(100.0, 3.0))  # fmt: skip
    for size in (3, 40):
        store = crowd.Crowd(size, train=20, test=2, seconds=1.0)
        evaluation = crowd.make_evaluation(store, Tones(store.speakers), pairs=80)
        asked.clear()
        pitch.measure(evaluation)
        assert asked[:size] == [20.0 if size == 3 else 10.0] * size


# Who is drawn


NAMES = [f"s{number}" for number in range(60)]


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_drawn_voices_are_as_many_as_can_be_in_their_order_and_those_asked_for_go_first(size, most, data):
    voices = NAMES[:size]
    sexes = {name: data.draw(st.sampled_from("FM")) for name in voices if data.draw(st.booleans())}
    first = data.draw(st.sets(st.sampled_from(voices)))
    seed = data.draw(st.integers(0, 3))
    drawn = draw_voices(voices, sexes, seed, most=most, first=first)
    assert len(drawn) == min(size, most)
    assert drawn == [name for name in voices if name in drawn]
    assert first <= set(drawn) or set(drawn) <= first
    assert drawn == draw_voices(voices, sexes, seed, most=most, first=first)
    if size <= most:
        assert drawn == voices


def test_both_sexes_are_drawn_alike_and_another_seed_draws_others():
    sexes = {name: "F" if number < 45 else "M" for number, name in enumerate(NAMES)}
    drawn = [draw_voices(NAMES, sexes, seed, most=20) for seed in range(2)]
    assert [Counter(sexes[name] for name in own) for own in drawn] == [{"F": 10, "M": 10}] * 2
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("size", SIZES)
def test_trials_are_chosen_among_the_drawn_voices_and_the_report_says_how_many(crowd, size):
    store = crowd.Crowd(size)
    model = SimpleNamespace(speakers=store.speakers, card=None)
    system = SimpleNamespace(model=model, store=store)
    pairs = choose_pairs(store, "test", store.speakers, 200, sexes={}, seed=0)
    voices = heard_voices([system], pairs)
    assert len(voices) == min(size, MOST_VOICES)
    assert {name for c in pairs for name in (c.speaker, c.target)} <= set(voices)
    assert len(pairs) == min(200, size * 4 * (size - 1))
    told = [note for note in notes_on(system, pairs, 200, {}, voices) if "were drawn by the seed" in note]
    assert told == [] if size <= MOST_VOICES else f"40 of the model's {size} voices" in told[0]


# All pairs


def test_all_pairs_are_every_utterance_to_every_other_voice_once(crowd):
    store = crowd.Crowd(5, test=3)
    pairs = choose_pairs(store, "test", store.speakers, None, sexes={}, seed=0)
    wanted = {(f"{a}_{20 + take}", a, b) for a in store.speakers for b in store.speakers if a != b for take in range(3)}
    assert {(c.utterance, c.speaker, c.target) for c in pairs} == wanted and len(pairs) == 5 * 3 * 4


def test_all_pairs_of_one_voice_are_to_itself(crowd):
    store = crowd.Crowd(1, test=3)
    pairs = choose_pairs(store, "test", store.speakers, None, sexes={}, seed=0)
    assert [c.target for c in pairs] == ["s0000"] * 3


@pytest.mark.parametrize(("pairs", "number"), [("all", None), ("7", 7), (7, 7), (1, 1)])
def test_pairs_are_a_number_or_all(pairs, number):
    assert number_of(pairs) == number


@pytest.mark.parametrize("pairs", ["some", "", "0", 0, -3, "2.5", "ALL"])
def test_other_pairs_are_refused_with_what_was_expected(pairs):
    with pytest.raises(VQSpeechError, match=f"--pairs {pairs}: expected a whole number, at least 1, or 'all'"):
        number_of(pairs)


def test_the_work_ahead_is_said_in_speech_and_memory(crowd):
    """3 speakers x 2 utterances x 2 voices: 12 conversions, 12 of random codes, 6 reconstructions, of 2 s each."""
    store = crowd.Crowd(3, test=2)
    pairs = choose_pairs(store, "test", store.speakers, None, sexes={}, seed=0)
    said = work_ahead(store, "test", pairs)
    assert said.startswith("12 conversions: every utterance to every other voice")
    assert "1 minutes of speech" in said  # 60 s
    assert "0.00 GB" in said  # 12 x 16,000 samples x 20 bytes = 3.8 MB


def test_the_time_that_is_left_is_said_once_and_only_if_it_is_long(monkeypatch):
    clock = iter([0.0, 10.0, 20.0, 30.0])
    monkeypatch.setattr(stages, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    told: list[str] = []
    tell = stages.pace_of(4848, told.append)
    tell(48)  # 10 s for 48: 100 times as many are left
    tell(96)
    assert told == ["48 of 4848 conversions took 10 s: 17 minutes more for the others"]  # 1000 s
    quickly = stages.pace_of(96, told.append)
    monkeypatch.setattr(stages, "time", SimpleNamespace(perf_counter=lambda: 31.0))
    quickly(48)
    assert len(told) == 1
