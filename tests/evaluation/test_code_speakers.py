"""What codes tell of the speaker: the probe finds what is there, and texts are matched where they can be."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from voices import RATE, hum, make_evaluation, make_store
from vqspeech.evaluation.judges.sequence_probe import SequenceProbe, probe_sequences
from vqspeech.evaluation.measures import code_speakers
from vqspeech.evaluation.measures.code_speakers import choose_utterances

HOP = 64
TOLD, BITS = "speakers told from the codes", "information about the speaker in the codes, at least"


def sequences(count: int, means: list[float], seed: int) -> tuple[list[np.ndarray], list[int]]:
    """Noise of varying length around the mean of each class, classes in turn."""
    random = np.random.default_rng(seed)
    classes = [number % len(means) for number in range(count)]
    return [random.normal(means[c], 1, (random.integers(5, 40), 4)) for c in classes], classes


class Codes:
    """A model whose codes are a function of the pitch heard: 16 entries on a line."""

    hop_length = HOP

    def __init__(self, speakers, code_of) -> None:
        self.speakers = tuple(speakers)
        self.recipe = SimpleNamespace(name="tones")
        self._code_of = code_of

    def encode(self, wav: np.ndarray) -> torch.Tensor:
        return torch.full((-(-len(wav) // HOP),), self._code_of(wav), dtype=torch.long)

    def lookup(self, codes: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(codes, 16).float()


def whose(wav: np.ndarray) -> int:
    """0, 1 or 2: the speaker whose pitch it is."""
    t = np.arange(len(wav)) / RATE
    return int(np.argmax([abs(np.vdot(np.exp(2j * np.pi * f * t), wav)) for f in (110, 165, 275)]))


def measure(store, code_of):
    evaluation = make_evaluation(store, model=Codes(store.speakers, code_of))
    section = code_speakers.measure(evaluation)
    return {figure.name: figure for figure in section.figures}, section.notes


# The probe


def test_the_probe_tells_classes_of_different_means():
    fit, classes = sequences(60, [-1.0, 0.0, 1.0], seed=0)
    asked, truth = sequences(30, [-1.0, 0.0, 1.0], seed=1)
    answers = probe_sequences(fit, classes, asked, 3, seed=0, steps=120)
    np.testing.assert_allclose(np.exp(answers).sum(1), 1, atol=1e-9)
    assert (answers.argmax(1) == truth).mean() == 1.0


def test_the_probe_finds_nothing_where_there_is_nothing():
    """Classes of one distribution: on average it gains no information over chance."""
    fit, classes = sequences(300, [0.0, 0.0], seed=0)
    asked, truth = sequences(200, [0.0, 0.0], seed=1)
    answers = probe_sequences(fit, classes, asked, 2, seed=0, steps=60)
    gained = np.mean([answer[c] for answer, c in zip(answers, truth, strict=True)]) + math.log(2)
    assert gained < 0.02
    assert (answers.argmax(1) == truth).mean() == pytest.approx(0.5, abs=0.12)


def test_the_order_of_frames_can_tell_what_their_mean_cannot():
    """Rising and falling ramps hold the same values."""
    ramp = np.linspace(-1, 1, 8)[:, None]
    fit = [np.tile(ramp if number % 2 else ramp[::-1], (3, 1)) for number in range(40)]
    answers = probe_sequences(fit, [number % 2 for number in range(40)], [fit[1][:16], fit[0][:16]], 2, seed=0)
    assert answers.argmax(1).tolist() == [1, 0]


def test_what_else_is_in_the_batch_changes_no_scores():
    torch.manual_seed(0)
    probe = SequenceProbe(4, 3).eval()
    short, long = torch.randn(1, 6, 4), torch.randn(1, 30, 4)
    both = torch.zeros(2, 30, 4)
    both[0, :6], both[1] = short[0], long[0]
    with torch.no_grad():
        together = probe(both, torch.tensor([6, 30]))
        torch.testing.assert_close(together[:1], probe(short, torch.tensor([6])))
        torch.testing.assert_close(together[1:], probe(long, torch.tensor([30])))


def test_the_same_seed_gives_the_same_answers_and_the_callers_random_numbers_stay():
    fit, classes = sequences(20, [-1.0, 1.0], seed=0)
    state = torch.get_rng_state()
    once, again, other = (probe_sequences(fit, classes, fit, 2, seed=seed, steps=20) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert probe_sequences(fit, classes, [], 2, seed=0, steps=1).shape == (0, 2)


# Which utterances


def test_matched_texts_are_said_equally_often_by_every_speaker():
    """ann says text 0 twice as often as the others do: only as many are taken as everyone has."""
    said = lambda speaker, take: "text 0" if speaker == "ann" and take % 2 else f"text {take % 3}"  # noqa: E731
    evaluation = make_evaluation(make_store(train=18, test=12, texts=said))
    chosen = choose_utterances(evaluation)
    assert chosen.matched
    store = evaluation.store
    for taken, split in ((chosen.fit, "train"), (chosen.score, "test")):
        assert all(index in store.utterances(split) for index in taken)
        assert len(set(taken)) == len(taken)
        pairs = Counter((store.speaker(index), store.text(index)) for index in taken)
        for text in {text for _, text in pairs}:
            assert len({pairs[speaker, text] for speaker in range(3)}) == 1


def test_texts_that_not_all_say_leave_the_choice_unmatched_and_balanced():
    evaluation = make_evaluation(make_store(texts=lambda speaker, take: f"{speaker} says {take}"))
    chosen = choose_utterances(evaluation)
    assert not chosen.matched
    assert set(Counter(evaluation.store.speaker(index) for index in chosen.fit).values()) == {12}
    _, notes = measure(make_store(seconds=0.4, texts=lambda speaker, take: f"{speaker} says {take}"), whose)
    assert any("Texts are not matched" in note for note in notes)


def test_a_corpus_without_text_is_not_matched():
    store = make_store(texts=lambda speaker, take: "")
    chosen = choose_utterances(make_evaluation(store))
    assert not chosen.matched and len(chosen.fit) == 36


def test_training_utterances_that_are_evaluated_teach_nothing():
    store = make_store(train=12, test=0)
    trials = make_evaluation(make_store(train=0, test=12)).trials[::3]
    named = tuple(replace(trial, utterance=trial.utterance.replace("test", "train")) for trial in trials)
    evaluation = replace(make_evaluation(store, split="train", trained_on=True), trials=named)
    chosen = choose_utterances(evaluation)
    scored = {store.utterance_id(index) for index in chosen.score}
    assert scored <= {trial.utterance for trial in named}
    assert not scored & {store.utterance_id(index) for index in chosen.fit}


# The section


def test_codes_that_are_the_speaker_tell_them_all():
    figures, notes = measure(make_store(seconds=0.4), whose)
    assert figures[TOLD].value == 1.0
    assert figures[BITS].value == pytest.approx(math.log2(3), abs=0.1)
    assert figures[TOLD].beats_controls is False  # less is better, and the MFCCs tell no more
    assert any("A lower bound" in note and "1.58 bits" in note for note in notes)
    assert any("Texts are matched" in note for note in notes)


def test_codes_that_are_always_the_same_tell_nothing():
    """Utterances of one length: neither codes nor their number tell anything."""
    figures, _ = measure(make_store(seconds=0.4), lambda wav: 3)
    assert figures[TOLD].value == pytest.approx(1 / 3)
    assert figures[BITS].value <= 0.01
    controls = {found.name: found for found in figures[TOLD].controls}
    assert controls["chance"].value == pytest.approx(1 / 3)
    assert controls["the same probe on MFCCs"].value == 1.0


@pytest.mark.parametrize(
    ("store", "why"),
    [(make_store(speakers=("ann",)), "one speaker"), (make_store(train=3), "too few utterances")],
)
def test_a_corpus_in_which_nobody_can_be_told_apart_says_so(store, why):
    figures, notes = measure(store, whose)
    assert why in notes[0]
    assert all(math.isnan(figure.value) and why in figure.note for figure in figures.values())


def test_a_speaker_with_too_few_utterances_is_left_out_and_named():
    store = make_store(seconds=0.4)
    few = [entry for entry in store._entries if not entry[0].startswith("cat-train") or entry[0] == "cat-train-0"]
    splits = {split: [entry for entry in few if f"-{split}-" in entry[0]] for split in ("train", "test")}
    figures, notes = measure(type(store)(splits), whose)
    assert any("left out: cat" in note for note in notes)
    controls = {found.name: found for found in figures[TOLD].controls}
    assert controls["chance"].value == 0.5


def test_hums_are_what_the_fake_model_takes_them_for():
    assert [whose(hum(pitch, 0.5)) for pitch in (110, 165, 275)] == [0, 1, 2]
