"""Voices judged: passages joined, similarities and error rates by hand, shares counted, and what cannot be heard."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from voices import PITCHES, RATE, hum, make_evaluation, make_store, voice_of
from vqspeech.errors import CorpusError, DependencyError
from vqspeech.evaluation.figures.statistics import equal_error_rate
from vqspeech.evaluation.figures.types import Figure
from vqspeech.evaluation.judges.frozen import load_judges
from vqspeech.evaluation.judges.speakers import (
    SpeakerClassifier,
    cut,
    find_speaker_classifier,
    frozen_judges,
    train_speaker_classifier,
)
from vqspeech.evaluation.judges.voiceprint import Voiceprints, join_recordings, join_trials, raised
from vqspeech.evaluation.measures import similarity, speakers, voice
from vqspeech.evaluation.measures.similarity import measure_similarity
from vqspeech.evaluation.measures.speakers import measure_speakers
from vqspeech.evaluation.trials.real_speech import real_speech
from vqspeech.evaluation.trials.signals import CONVERSION, is_audible

REPOSITORY = Path(__file__).resolve().parents[2]


class ToneVoiceprints:
    """Hears how much of each speaker's pitch a sound has: a voiceprint with one axis for each."""

    def of(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        t = np.arange(len(wav)) / sample_rate
        parts = np.array([abs(np.vdot(np.exp(2j * np.pi * f * t), wav)) for f in PITCHES.values()])
        return (parts / np.linalg.norm(parts)).astype(np.float32)


class ToneJudge:
    """A frozen judge of speakers that hears the same."""

    classes = tuple(PITCHES)
    sample_rate = RATE
    sha256 = "0123456789abcdef"

    def probabilities(self, wavs, batch_size: int = 64) -> np.ndarray:
        heard = np.array([ToneVoiceprints().of(wav, RATE) ** 2 for wav in wavs])
        return heard.reshape(len(wavs), len(self.classes))


CLASSIFIER = SpeakerClassifier(ToneJudge(), 1.5, "made of tones")


@pytest.fixture(autouse=True)
def tone_voiceprints(request, monkeypatch):
    """Tests of arithmetic hear with ToneVoiceprints; those marked so with Resemblyzer itself."""
    if "resemblyzer" not in request.fixturenames:
        monkeypatch.setattr(similarity, "Voiceprints", ToneVoiceprints)
        monkeypatch.setattr(speakers, "find_speaker_classifier", lambda evaluation: CLASSIFIER)


@pytest.fixture
def resemblyzer() -> Voiceprints:
    pytest.importorskip("resemblyzer", reason="the judge of voices comes with: pip install 'vqspeech[evaluate]'")
    return Voiceprints()


def by_name(figures) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def control(figure: Figure, name: str) -> Figure:
    return by_name(figure.controls)[name]


# Equal error rate


def test_the_equal_error_rate_of_a_case_by_hand():
    """At a threshold of 0.5 one of three genuine trials is refused and one of three impostors accepted."""
    assert equal_error_rate(np.array([0.9, 0.8, 0.4]), np.array([0.5, 0.3, 0.2])) == pytest.approx(1 / 3)


def test_separate_scores_have_no_errors_and_reversed_ones_nothing_else():
    low, high = np.array([0.1, 0.2]), np.array([0.8, 0.9])
    assert equal_error_rate(high, low) == 0.0
    assert equal_error_rate(low, high) == 1.0


def test_the_same_scores_on_both_sides_cannot_be_told_apart():
    scores = np.array([0.1, 0.4, 0.7, 0.9])
    assert equal_error_rate(scores, scores) == pytest.approx(0.5)


def test_no_trials_have_no_rate():
    assert np.isnan(equal_error_rate(np.array([]), np.array([0.1])))


SCORES = st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=30)


@given(genuine=SCORES, impostor=SCORES)
def test_the_rate_is_where_sklearns_curve_crosses_the_diagonal(genuine, impostor):
    accepted, kept, _ = roc_curve(
        [1] * len(genuine) + [0] * len(impostor), [*genuine, *impostor], drop_intermediate=False
    )
    finer = np.linspace(0, 1, 20001)
    along = np.interp(finer * (len(accepted) - 1), np.arange(len(accepted)), accepted)
    refused = 1 - np.interp(finer * (len(kept) - 1), np.arange(len(kept)), kept)
    nearest = np.abs(along - refused).argmin()
    rate = equal_error_rate(np.array(genuine), np.array(impostor))
    assert rate == pytest.approx((along[nearest] + refused[nearest]) / 2, abs=2e-3)


# Passages


def test_a_quiet_take_is_raised_to_minus_30_db_and_a_loud_one_left():
    quiet = raised(hum(110, 1.0, level=1e-4))
    assert 20 * np.log10(np.sqrt(np.mean(quiet**2))) == pytest.approx(-30, abs=0.01)
    loud = hum(110, 1.0, level=0.3)
    np.testing.assert_array_equal(raised(loud), loud)


def test_a_pair_with_enough_speech_has_passages_of_its_own():
    evaluation = make_evaluation(make_store(test=12, seconds=2.0))  # 6 trials a pair: 12 s
    passages, left_out = join_trials(evaluation.trials, CONVERSION, RATE)
    assert left_out == 0
    assert len(passages) == 6 * 2  # 3 takes each
    assert all(len(passage.sources) == 1 and len(passage.wav) == 6 * RATE for passage in passages)


def test_pairs_with_too_little_share_passages_of_one_target_and_one_relation():
    evaluation = make_evaluation(make_store(test=4, seconds=2.0))  # 2 trials a pair: 4 s; 8 s a target
    shared, left_out = join_trials(evaluation.trials, CONVERSION, RATE)
    assert left_out == 0 and len(shared) == 3
    assert sorted(passage.target for passage in shared) == ["ann", "bob", "cat"]
    assert all(set(passage.sources.values()) == {0.5} for passage in shared)
    apart, left_out = join_trials(evaluation.trials, CONVERSION, RATE, lambda trial: trial.speaker)
    assert apart == [] and left_out == 12


@given(lengths=st.lists(st.floats(0.1, 7.0), min_size=1, max_size=20), heard=st.lists(st.booleans(), min_size=20))
def test_every_trial_that_is_heard_is_in_one_passage_of_its_target_or_counted(lengths, heard):
    one = make_evaluation(make_store(train=1, test=1)).trials[0]
    targets = list(PITCHES)
    trials = [
        replace(
            one,
            utterance=str(number),
            target=targets[number % 3],
            speaker=targets[(number + 1 + number // 3 % 2) % 3],
            conversion=hum(100 + number, seconds) * (1.0 if heard[number] else 0.0),
        )
        for number, seconds in enumerate(lengths)
    ]
    passages, left_out = join_trials(trials, CONVERSION, RATE)
    audible = [trial for trial in trials if is_audible(trial.conversion)]
    counted = sum(1 + int(passage.name.split(" and ")[1].split()[0]) for passage in passages)
    assert counted + left_out == len(audible)
    for passage in passages:
        assert len(passage.wav) >= 5 * RATE
        assert sum(passage.sources.values()) == pytest.approx(1)
        assert passage.target not in passage.sources
    for target in targets:
        joined = sum(len(passage.wav) for passage in passages if passage.target == target)
        available = sum(len(trial.conversion) for trial in audible if trial.target == target)
        assert 0 <= available - joined < 5 * RATE


def test_real_recordings_are_joined_to_five_seconds_and_a_rest_is_left():
    passages = join_recordings([(str(n), hum(110, 2.0)) for n in range(7)], RATE)
    assert [(name, len(wav)) for name, wav in passages] == [("0", 6 * RATE), ("3", 6 * RATE)]


@pytest.mark.parametrize("wav", [np.zeros(0), np.zeros(800), np.full(800, np.nan), np.full(800, 5e-4)])
def test_silence_and_what_is_not_finite_is_not_heard(wav):
    assert not is_audible(wav.astype(np.float32))
    assert is_audible(hum(110, 0.1))


def test_real_speech_is_of_one_speaker_long_enough_and_none_that_is_left_out():
    store = make_store(train=12, test=4, seconds=2.0)
    found = real_speech(store, "bob", ["train"], 7.0, leave_out={"bob-train-0"})
    assert len(found) == 4
    assert all(name.startswith("bob-train-") and name != "bob-train-0" for name, _ in found)
    assert real_speech(store, "nobody", ["train"], 7.0) == []


# Similarity


def test_perfect_conversions_are_the_target_and_cannot_be_told_from_it():
    figures = by_name(measure_similarity(make_evaluation(make_store(test=12)))[0])
    assert figures["similarity to the target"].value == pytest.approx(1, abs=0.01)
    assert figures["similarity to the source"].value == pytest.approx(0, abs=0.05)
    assert figures["nearer to the target than to the source"].value == 1.0
    assert control(figures["similarity to the target"], "source unchanged").value == pytest.approx(0, abs=0.05)
    assert control(figures["similarity to the target"], "real recordings of the target").value > 0.99
    assert control(figures["nearer to the target than to the source"], "source unchanged").value == 0.0
    assert control(figures["equal error rate, conversions against the real target"], "source unchanged").value == 0.0
    assert figures["reconstructions' similarity to their speaker"].value > 0.99


def test_a_model_that_keeps_the_voice_beats_no_control():
    kept = make_evaluation(make_store(test=12), lambda speaker, target, seconds: voice_of(speaker, seconds))
    figures = by_name(measure_similarity(kept)[0])
    assert figures["similarity to the target"].value == pytest.approx(0, abs=0.05)
    assert figures["similarity to the source"].value == pytest.approx(1, abs=0.01)
    assert figures["nearer to the target than to the source"].value == 0.0
    assert figures["equal error rate, conversions against the real target"].value == 0.0
    for name in ("similarity to the target", "similarity to the source", "nearer to the target than to the source"):
        assert figures[name].beats_controls is False


def test_the_share_nearer_to_the_target_is_counted():
    """Conversions to cat keep the source's voice, the others are perfect: two of three targets are reached."""

    def convert(speaker: str, target: str, seconds: float) -> np.ndarray:
        return voice_of(speaker if target == "cat" else target, seconds)

    figures = by_name(measure_similarity(make_evaluation(make_store(test=12), convert))[0])
    assert figures["nearer to the target than to the source"].value == pytest.approx(2 / 3)
    assert figures["similarity to the target"].value == pytest.approx(2 / 3, abs=0.02)


def test_pairs_of_the_same_and_of_different_sex_have_their_own_figures():
    """Only the pair ann and cat is of one sex; only conversions across are perfect."""

    def convert(speaker: str, target: str, seconds: float) -> np.ndarray:
        return voice_of(target if "bob" in (speaker, target) else speaker, seconds)

    sexes = {"ann": "F", "bob": "M", "cat": "F"}
    figures = by_name(measure_similarity(make_evaluation(make_store(test=12), convert, sexes=sexes))[0])
    same, other = (figures[f"similarity to the target, {kind} sex"] for kind in ("same", "different"))
    assert same.value == pytest.approx(0, abs=0.05) and other.value == pytest.approx(1, abs=0.01)
    assert same.count + other.count == figures["similarity to the target"].count == 12
    assert same.count == 4


def test_a_corpus_that_does_not_tell_the_sexes_says_so():
    figures, notes, retry = measure_similarity(make_evaluation(make_store(test=12)))
    assert not any("sex" in figure.name for figure in figures)
    assert any("does not tell the speakers' sexes" in note for note in notes)


def test_too_few_conversions_for_a_passage_ask_for_more():
    figures = by_name(measure_similarity(make_evaluation(make_store(test=1)))[0])
    assert np.isnan(figures["similarity to the target"].value)
    assert "too little speech for a passage of 5 s: raise --pairs" in figures["similarity to the target"].note


# The section, and bad content


def test_without_resemblyzer_its_figures_name_the_extra_and_the_rest_is_computed(monkeypatch):
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    monkeypatch.setattr(similarity, "Voiceprints", Voiceprints)
    with pytest.raises(DependencyError, match=r"pip install 'vqspeech\[evaluate\]'"):
        Voiceprints()
    section = voice.measure(make_evaluation(make_store(test=12)))
    assert any("pip install 'vqspeech[evaluate]'" in note for note in section.notes)
    figures = by_name(section.figures)
    assert np.isnan(figures["similarity to the target"].value)
    assert figures["conversions heard as the target"].value == 1.0


def test_silent_conversions_and_nan_are_named_and_the_others_judged():
    evaluation = make_evaluation(make_store(test=12))
    first, second, *others = evaluation.trials
    broken = (
        replace(first, conversion=np.zeros(100, np.float32)),
        replace(second, conversion=np.full(100, np.nan, np.float32)),
        *others,
    )
    section = voice.measure(replace(evaluation, trials=broken))
    assert any(note.startswith("2 of 36 conversions are silent or hold values that are not") for note in section.notes)
    figures = by_name(section.figures)
    assert figures["similarity to the target"].value == pytest.approx(1, abs=0.01)
    assert figures["conversions heard as the target"].value == pytest.approx(34 / 36)
    assert figures["conversions heard as the source"].value == 0.0


def test_one_voice_has_its_reconstructions_judged_and_says_that_there_is_no_conversion():
    section = voice.measure(make_evaluation(make_store(test=12, speakers=("ann",))))
    figures = by_name(section.figures)
    assert any("one voice" in note for note in section.notes)
    assert figures["reconstructions' similarity to their speaker"].value > 0.99
    assert figures["reconstructions heard as their speaker"].value == 1.0
    for name in ("similarity to the target", "conversions heard as the target"):
        assert np.isnan(figures[name].value) and "no conversions" in figures[name].note


def test_the_same_seed_gives_the_same_section():
    evaluation = make_evaluation(make_store(test=6))
    assert voice.measure(evaluation) == voice.measure(evaluation)


# The speaker classifier


def test_a_silent_take_in_one_model_leaves_the_passages_of_equal_content_paired():
    from vqspeech.evaluation.figures.pairing import paired

    store = make_store(test=12)
    silent = make_evaluation(store)
    lost = replace(silent.trials[2], conversion=np.zeros_like(silent.trials[2].conversion))
    one, other = (
        by_name(voice.measure(each).figures)["similarity to the target"]
        for each in (silent, replace(silent, trials=(*silent.trials[:2], lost, *silent.trials[3:])))
    )
    difference = paired(one, other, 0)
    assert difference.value == pytest.approx(0, abs=1e-6) and 0 < difference.count < one.count
    assert "trials are in both" in difference.note


def test_shares_of_the_classifier_are_counted():
    """Conversions to cat keep the source's voice."""

    def convert(speaker: str, target: str, seconds: float) -> np.ndarray:
        return voice_of(speaker if target == "cat" else target, seconds)

    figures, notes = measure_speakers(make_evaluation(make_store(test=12), convert), CLASSIFIER)
    found = by_name(figures)
    assert found["conversions heard as the target"].value == pytest.approx(2 / 3)
    assert found["conversions heard as the source"].value == pytest.approx(1 / 3)
    assert control(found["conversions heard as the target"], "chance").value == pytest.approx(1 / 3)
    assert control(found["conversions heard as the target"], "source unchanged").value == 0.0
    assert control(found["conversions heard as the source"], "source unchanged").value == 1.0
    for name in ("real test recordings", "mu-law copies"):
        assert found[f"speaker classifier: {name} heard right"].value == 1.0
    assert any("0123456789ab" in note for note in notes)


def test_a_classifier_that_does_not_know_real_recordings_is_called_unreliable():
    class Deaf(ToneJudge):
        def probabilities(self, wavs, batch_size: int = 64) -> np.ndarray:
            return np.tile([0.8, 0.1, 0.1], (len(wavs), 1))

    _, notes = measure_speakers(make_evaluation(make_store()), SpeakerClassifier(Deaf(), None, "deaf"))
    assert any("UNRELIABLE: it hears 33% of real recordings right" in note for note in notes)


def test_what_cannot_be_heard_is_nobody():
    wavs = [voice_of("bob", 1.0), np.zeros(800, np.float32), np.full(800, np.nan, np.float32), voice_of("cat", 4.0)]
    assert CLASSIFIER.hear(wavs, RATE) == ["bob", "", "", "cat"]
    assert CLASSIFIER.hear([], RATE) == []


def test_a_judge_hears_a_higher_rate_brought_down_to_its_own():
    import soxr

    lengths: list[int] = []

    class Counting(ToneJudge):
        def probabilities(self, wavs, batch_size: int = 64) -> np.ndarray:
            lengths.extend(map(len, wavs))
            return super().probabilities(wavs)

    wav = soxr.resample(voice_of("cat", 2.0), RATE, 2 * RATE)
    assert SpeakerClassifier(Counting(), None, "counting").hear([wav], 2 * RATE) == ["cat"]
    assert lengths == [2 * RATE]  # two seconds at the judge's rate


def test_chance_is_that_of_the_judge_who_may_know_more_voices_than_the_model():
    two = replace(make_evaluation(make_store()), common=("ann", "bob"))
    found = by_name(measure_speakers(two, CLASSIFIER)[0])
    assert control(found["conversions heard as the target"], "chance").value == pytest.approx(1 / 3)
    real = found["speaker classifier: real test recordings heard right"]
    assert {speaker for _, speaker, _ in real.samples} == {"ann", "bob"}  # those that are compared


def test_pieces_of_a_recording_hold_what_can_be_heard_of_it():
    wav = np.concatenate([hum(110, 1.5), np.zeros(int(1.5 * RATE), np.float32), hum(110, 0.6)])
    assert [len(piece) / RATE for piece in cut(wav, RATE)] == [1.5, 0.6]


def test_a_classifier_is_trained_on_real_training_recordings_and_knows_others():
    evaluation = make_evaluation(make_store(train=12, test=6))
    classifier, again = (train_speaker_classifier(evaluation, seconds=60, steps=30) for _ in range(2))
    assert isinstance(classifier, SpeakerClassifier) and isinstance(again, SpeakerClassifier)
    assert classifier.judge.sha256 == again.judge.sha256
    figures, notes = measure_speakers(evaluation, classifier)
    assert by_name(figures)["speaker classifier: real test recordings heard right"].value >= 0.9
    assert any("real training recordings" in note and "never heard a conversion" in note for note in notes)


@pytest.mark.parametrize(
    ("store", "why"),
    [
        (make_store(train=12, speakers=("ann",)), "one voice"),
        (make_store(train=3), "ann has 3 training recordings that are not evaluated, 4 of at least two speakers"),
    ],
)
def test_a_corpus_that_is_too_small_for_a_classifier_says_so(store, why, monkeypatch):
    with pytest.raises(CorpusError, match=why) as raised:
        train_speaker_classifier(make_evaluation(store))
    monkeypatch.setattr(speakers, "find_speaker_classifier", train_speaker_classifier)
    figures, notes = measure_speakers(make_evaluation(store))
    assert notes == (str(raised.value),) and all(np.isnan(figure.value) for figure in figures)


def test_the_recipes_frozen_judge_is_taken_where_it_knows_the_models_speakers():
    judges = load_judges(REPOSITORY / "recipes" / "fsdd" / "judges.safetensors")
    evaluation = make_evaluation(make_store())
    model = type(evaluation.model)(
        speakers=judges.speaker.classes, recipe=SimpleNamespace(name="fsdd", data=SimpleNamespace(corpus="fsdd"))
    )
    known = replace(evaluation, model=model)
    found = frozen_judges(known, REPOSITORY / "recipes")
    assert found is not None and found.speaker.sha256 == judges.speaker.sha256
    classifier = find_speaker_classifier(known)
    assert (
        isinstance(classifier, SpeakerClassifier)
        and classifier.origin == "frozen with the recipe, trained on FSDD takes 10-49"
    )
    renamed = SimpleNamespace(name="mine", data=SimpleNamespace(corpus="fsdd"))  # the corpus's judges know it, too
    mine = replace(known, model=SimpleNamespace(speakers=judges.speaker.classes[:2], recipe=renamed), sample_rate=16000)
    again = frozen_judges(mine, REPOSITORY / "recipes")
    assert again is not None and again.speaker.sha256 == judges.speaker.sha256
    assert frozen_judges(replace(known, sample_rate=4000), REPOSITORY / "recipes") is None  # lacks what it listens for
    assert frozen_judges(replace(known, model=type(model)(speakers=("ann",), recipe=model.recipe))) is None


# Resemblyzer itself


def test_resemblyzer_hears_that_two_hums_of_one_voice_are_more_alike_than_two_voices(resemblyzer):
    one, again, other = (resemblyzer.of(hum(pitch, 3.0, phase=p), RATE) for pitch, p in ((110, 0), (110, 1), (275, 0)))
    assert one.shape == (256,) and np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert one @ again > one @ other


def test_the_rate_of_a_recording_is_brought_to_resemblyzers(resemblyzer):
    import soxr

    wav = hum(165, 3.0)
    same = resemblyzer.of(soxr.resample(wav, RATE, 16000), 16000)
    assert resemblyzer.of(wav, RATE) @ same == pytest.approx(1, abs=1e-3)


@pytest.mark.real_data
def test_resemblyzer_is_as_reliable_on_real_speech_as_published(resemblyzer, real_data, tmp_path):
    """Same speaker about 0.92, different speakers about 0.64, on the VCTK pieces."""
    command = [sys.executable, "benchmarks/resemblyzer_reliability.py", "--data", str(real_data / "vctk")]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "r")], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].startswith("Resemblyzer on real recordings: same speaker 0.92, different 0.6")
    headline = json.loads((tmp_path / "r").read_text())["headline"]
    assert headline["same speaker"] == pytest.approx(0.92, abs=0.01)
    assert headline["different speakers"] == pytest.approx(0.64, abs=0.01)
