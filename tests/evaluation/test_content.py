"""Whether what was said is heard again: grammars, ranks among decoys, classifiers, word errors, and bad input."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.audio import load_audio
from vqspeech.data.embedded import build_embedded
from vqspeech.data.preparation import prepare_store
from vqspeech.data.store import Store
from vqspeech.evaluation.figures.types import Evaluation, Figure, Trial
from vqspeech.evaluation.judges.words import find_word_classifier
from vqspeech.evaluation.measures import content, decoys
from vqspeech.evaluation.measures import words as words_module
from vqspeech.evaluation.tools import transcribers
from vqspeech.evaluation.tools.ranking import IMPOSSIBLE, alignment_costs, make_chain, rank
from vqspeech.evaluation.tools.sphinx import RATE, Senones, Sphinx, to_pcm, words_of
from vqspeech.evaluation.tools.transcribers import Transcriber, read_ctc, word_errors
from vqspeech.evaluation.trials.scoring import beside_controls
from vqspeech.evaluation.trials.signals import SIGNALS
from vqspeech.evaluation.trials.texts import find_texts


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Half a hundred sentences of eight voices at 16 kHz, with texts."""
    from vqspeech.config import parse_recipe

    folder = tmp_path_factory.mktemp("embedded")
    build_embedded(folder / "corpus", minutes=2.5, sample_rate=RATE)
    values = {"name": "x", "data": {"corpus": "embedded", "sample_rate": RATE, "valid_share": 0, "test_share": 0.5}}
    prepare_store(parse_recipe(values, "a test's recipe").data, folder / "corpus", folder / "store", num_workers=1)
    return Store.open(folder / "store")


def make_trial(store, index, **changes):
    """A perfect conversion; the control's codes are random."""
    wav = store.read(index).astype(np.float32) / 32768
    noise = np.random.default_rng(index).normal(0, 0.05, len(wav)).astype(np.float32)
    speaker = store.speakers[store.speaker(index)]
    trial = Trial(
        store.utterance_id(index), speaker, "zac", store.text(index), wav, wav, wav, wav, wav, noise, np.zeros(1, int)
    )
    return replace(trial, **changes)


def make_evaluation(model, store, trials):
    return Evaluation(model, store, "test", tuple(trials), 0, store.sample_rate, 16, {})


def controls_of(figure):
    return {control.name: control for control in figure.controls}


# What is said.


def test_words_are_the_dictionarys():
    assert words_of("Hugh's dog didn’t — “bark”: 'twas 2 a.m.") == (
        "hugh's", "dog", "didn't", "bark", "twas", "two", "a", "m",
    )  # fmt: skip
    assert words_of("7") == ("seven",) and words_of(" ?!") == ()
    assert words_of("12 or 345 takes, 9") == (
        "12",
        "or",
        "345",
        "takes",
        "nine",
    )  # larger numbers stay as they are written


@given(st.text(max_size=30))
def test_words_of_any_text_are_words_again(text):
    words = words_of(text)
    assert words_of(" ".join(words)) == words and all(word and " " not in word for word in words)


def test_a_recording_that_was_cut_is_not_held_against_its_text(store, tiny_model):
    first, second, third = list(store.utterances("test"))[:3]
    trials = [make_trial(store, first), make_trial(store, second), make_trial(store, third, text=None)]
    trials[1] = replace(trials[1], source=trials[1].source[:8000], is_cut=True)
    texts = find_texts(make_evaluation(tiny_model, store, trials))
    assert list(texts.of) == [trials[0].utterance]
    assert any("1 of 3 utterances were cut" in note for note in texts.notes)
    assert any("1 of 3 utterances have no text" in note for note in texts.notes)


# Ranks.


def naive_cost(costs, words, pause):
    """Every path: choose which pauses are there, then every way to give each state at least one frame."""
    best = int(IMPOSSIBLE)
    for kept in itertools.product((False, True), repeat=len(words) + 1):
        states = list(pause) * kept[0]
        for word, own in zip(words, kept[1:]):
            states += [*word, *(list(pause) * own)]
        for cuts in itertools.combinations(range(1, len(costs)), len(states) - 1):
            borders = [0, *cuts, len(costs)]
            spans = zip(states, borders, borders[1:])
            best = min(best, sum(int(costs[start:end, state].sum()) for state, start, end in spans))
    return best


@given(st.data())
def test_the_best_path_equals_that_of_all_paths(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    costs = generator.integers(0, 50, (data.draw(st.integers(1, 7)), 6))
    word = st.lists(st.integers(1, 5), min_size=1, max_size=2)
    texts = data.draw(st.lists(st.lists(word, min_size=1, max_size=2), min_size=1, max_size=3))
    pause = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=2))
    found = alignment_costs(costs, [make_chain(words, pause) for words in texts])
    assert found.tolist() == [naive_cost(costs, words, pause) for words in texts]


def test_ranks_by_hand():
    assert rank(1, np.array([2, 3, 4])) == 1
    assert rank(5, np.array([2, 3, 4])) == 4
    assert rank(2, np.array([2, 2, 9])) == 2  # two ties count half each


def test_costs_of_states_are_zero_for_the_best_and_one_row_every_10_ms(store):
    index = store.utterances("test")[0]
    wav = store.read(index) / 32768
    with Senones() as senones:
        costs = senones.costs(to_pcm(wav, RATE))
    assert costs.shape[0] == pytest.approx(len(wav) / 160, abs=3) and costs.shape[1] == 5126  # en-us has 5,126 senones
    assert (costs.min(axis=1) == 0).all()


def test_a_sentence_ranks_first_and_noise_does_not(store, tiny_model):
    many = FewTexts(store, different(store, 23))
    trials = [make_trial(many, index) for index in range(4)]
    section = content.measure(make_evaluation(tiny_model, many, trials))
    first, again, mean_rank = section.figures[0], section.figures[1], section.figures[2]
    assert first.name == "true transcript ranked first, PocketSphinx: conversions" and first.count == 4
    assert first.value >= 3 / 4 and again.value == first.value
    assert controls_of(first)["random codes"].value <= 0.5
    assert controls_of(first)["chance"].value == pytest.approx(1 / 21)
    assert mean_rank.value < 2 < controls_of(mean_rank)["random codes"].value
    assert controls_of(mean_rank)["chance"].value == 11
    assert mean_rank.higher_is_better is False


def test_decoys_are_twenty_others_of_about_the_length():
    chains = {(f"w{n}",): make_chain([[1] * n], [0]) for n in range(1, 200)}
    chosen = decoys.choose_decoys(("w100",), chains, seed=0)
    assert len(set(chosen)) == 20 and ("w100",) not in chosen
    assert all(70 <= int(words[0][1:]) <= 130 for words in chosen)
    assert decoys.choose_decoys(("w100",), chains, seed=0) == chosen != decoys.choose_decoys(("w100",), chains, 1)


# Few texts.


class FewTexts:
    """A corpus of some sentences of another one."""

    def __init__(self, store, indices):
        self.store, self.indices = store, indices
        self.sample_rate, self.speakers = store.sample_rate, store.speakers
        self.split_sizes = {"train": 0, "valid": 0, "test": len(indices)}

    def __len__(self):
        return len(self.indices)

    def utterances(self, split):
        return range(len(self.indices) if split == "test" else 0)

    def __getattr__(self, name):
        return lambda index, *rest: getattr(self.store, name)(self.indices[index], *rest)


def different(store, num):
    """Positions of test utterances of different texts."""
    of = {store.text(index): index for index in store.utterances("test")}
    return list(of.values())[:num]


def test_few_texts_are_a_closed_grammar(store, tiny_model):
    few = FewTexts(store, different(store, 5))
    trials = [make_trial(few, index) for index in range(5)]
    wrong = replace(trials[0], conversion=trials[1].source)  # says another text
    section = content.measure(make_evaluation(tiny_model, few, [wrong, *trials[1:]]))
    figure = section.figures[0]
    assert figure.name == "right text, PocketSphinx: conversions" and "5 texts" in figure.note
    assert figure.value == pytest.approx(4 / 5)
    controls = controls_of(figure)
    assert controls["source unchanged"].value == controls["reconstructions"].value == 1
    assert controls["chance"].value == pytest.approx(1 / 5)
    ceilings = {name for name, control in controls.items() if control.is_ceiling}
    assert ceilings == {"reconstructions", "source unchanged", "mu-law copy", "pitch-shifted source"}
    assert any(note.startswith("no classifier of words") for note in section.notes)


def test_a_few_sentences_are_ranked_among_made_up_ones_too(store, tiny_model):
    few = FewTexts(store, different(store, 3))
    section = content.measure(make_evaluation(tiny_model, few, [make_trial(few, index) for index in range(3)]))
    by_name = {figure.name: figure for figure in section.figures}
    mean_rank = by_name["its mean rank: conversions"]
    assert mean_rank.value <= 2 < controls_of(mean_rank)["random codes"].value
    assert any("the corpus has 3 texts" in note and "made-up sentences" in note for note in section.notes)


def test_made_up_sentences_last_about_as_long_as_the_texts_and_are_never_one_of_them(store):
    (index,) = different(store, 1)
    text = words_of(store.text(index))
    wav = np.tile(store.read(index).astype(np.float32) / 32768, 2)
    chains = decoys.make_up(Sphinx(), [text], wav, RATE, seed=0)
    assert len(chains) >= decoys.NUM_DECOYS and text not in chains
    letters = len(" ".join(text))
    assert all(0.4 * letters < len(" ".join(words)) < 2.1 * letters for words in chains)


@pytest.mark.parametrize(
    "texts, expected", [([("one",), ("two",)], False), ([], False), ([("a",) * 9, ("b",) * 4], True)]
)
def test_single_words_have_no_sentences_beside_them(texts, expected):
    assert decoys.are_sentences(texts) is expected


# Closed corpora.


class Tones:
    """A closed corpus of two words, each a tone of its own: ten recordings of each to train on, two to test."""

    sample_rate, speakers = 8000, ("ann", "bob")

    def __init__(self, num_train=20):
        self.split_sizes = {"train": num_train, "valid": 0, "test": 4}

    def __len__(self):
        return sum(self.split_sizes.values())

    def utterances(self, split):
        train = self.split_sizes["train"]
        return {"train": range(train), "valid": range(train, train), "test": range(train, train + 4)}[split]

    def utterance_id(self, index):
        return f"u{index}"

    def speaker(self, index):
        return index // 2 % 2

    def text(self, index):
        return ("one", "two")[index % 2]

    def length(self, index):
        return 4000

    def wav(self, index, max_samples=None):
        return self.read(index, 0, max_samples).astype(np.float32) * np.float32(1 / 32768)

    def read(self, index, start=0, length=None):
        noise = np.random.default_rng(index).normal(0, 300, 4000)
        wav = 9000 * np.sin(2 * np.pi * (400, 1500)[index % 2] * np.arange(4000) / 8000) + noise
        return wav[start:][:length].astype(np.int16)


def test_a_closed_corpus_gets_a_classifier_of_its_words_from_real_recordings(tiny_model):
    tones = Tones()
    trials = [make_trial(tones, index) for index in tones.utterances("test")]
    evaluation = make_evaluation(tiny_model, tones, trials)
    judge, notes = find_word_classifier(evaluation, find_texts(evaluation), steps=60)
    assert not notes and set(judge.words) == {("one",), ("two",)}
    assert [judge.hear(trial.source, tiny_model.sample_rate) for trial in trials] == [
        words_of(trial.text) for trial in trials
    ]
    assert f"classifier {judge.judge.sha256[:12]}, trained on 20 real training recordings" in judge.note
    again, _ = find_word_classifier(evaluation, find_texts(evaluation), steps=60)
    assert again.judge.sha256 == judge.judge.sha256


def test_too_few_recordings_to_train_on_are_told(tiny_model):
    tones = Tones(num_train=6)
    evaluation = make_evaluation(tiny_model, tones, [make_trial(tones, index) for index in tones.utterances("test")])
    judge, notes = find_word_classifier(evaluation, find_texts(evaluation))
    assert judge is None and "has 3 training recordings that are not evaluated, 8 of each" in notes[0]


# Word errors.


def test_word_errors_by_hand():
    said = ("the", "cat", "sat")
    assert word_errors(said, said) == 0
    assert word_errors(said, ("cat", "sat")) == 1
    assert word_errors(said, ("the", "cat", "sat", "down")) == 1
    assert word_errors(said, ()) == 3


def test_ctc_by_hand():
    labels = ("-", "|", "A", "B")
    assert read_ctc(np.array([2, 2, 0, 2, 1, 1, 3, 0]), labels) == "AA B"
    assert read_ctc(np.array([0, 0]), labels) == ""


def test_a_recogniser_at_hand_counts_word_errors(store, tiny_model, monkeypatch):
    few = FewTexts(store, different(store, 4))
    trials = [make_trial(few, index) for index in range(4)]
    texts = {trial.source.tobytes(): trial.text for trial in trials}

    def hear(wav, sample_rate):
        return texts.get(wav.tobytes(), "")

    monkeypatch.setattr(words_module, "find_transcribers", lambda: ([Transcriber("an oracle", hear)], []))
    broken = replace(trials[0], conversion=np.full(8000, np.nan, np.float32))
    section = words_module.measure(make_evaluation(tiny_model, few, [broken, *trials[1:]]))
    (figure,) = (f for f in section.figures if f.name == "word error rate, an oracle: conversions")
    lengths = [len(words_of(trial.text)) for trial in trials]
    assert figure.value == pytest.approx(lengths[0] / sum(lengths))
    assert controls_of(figure)["source unchanged"].value == 0
    assert controls_of(figure)["random codes"].value == 1


def test_recognisers_without_weights_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "whisper", None)
    found, lacking = transcribers.find_transcribers()
    notes = list(map(str, lacking))
    assert {one.name for one in found} <= {"PocketSphinx"} and len(notes) == 2
    assert "pip install openai-whisper" in notes[0] and "nothing is downloaded" in notes[1]


# Bad input.


def test_a_corpus_without_texts_gets_its_line(store, tiny_model):
    trials = [make_trial(store, index, text=None) for index in list(store.utterances("test"))[:2]]
    section = content.measure(make_evaluation(tiny_model, store, trials))
    assert not section.figures[0].is_measured and section.figures[0].note == "no text to compare with"
    assert any("2 of 2 utterances have no text" in note for note in section.notes)


def test_silence_and_nan_count_as_wrong_and_are_told(store, tiny_model):
    few = FewTexts(store, different(store, 4))
    trials = [make_trial(few, index) for index in range(4)]
    trials[0] = replace(trials[0], conversion=np.zeros(8000, np.float32))
    trials[1] = replace(trials[1], conversion=np.full(8000, np.nan, np.float32))
    section = content.measure(make_evaluation(tiny_model, few, trials))
    assert section.figures[0].value == pytest.approx(2 / 4) and section.figures[0].count == 4
    assert any(note.startswith("conversions: 2 of 4 are silent or not finite") for note in section.notes)


def test_words_outside_the_dictionary_are_left_out_by_name(store, tiny_model):
    few = FewTexts(store, different(store, 4))
    trials = [make_trial(few, index) for index in range(4)]
    trials[0] = replace(trials[0], text="a snorfleblat")
    section = content.measure(make_evaluation(tiny_model, few, trials))
    assert section.figures[0].count == 3
    assert any("1 of 4 trials have words outside" in note and "snorfleblat" in note for note in section.notes)


def test_one_text_leaves_nothing_to_tell_apart(store, tiny_model):
    few = FewTexts(store, different(store, 1))
    section = content.measure(make_evaluation(tiny_model, few, [make_trial(few, 0)]))
    assert "two different texts" in section.figures[0].note


def test_without_pocketsphinx_the_rest_is_computed(store, tiny_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    trials = [make_trial(store, index) for index in list(store.utterances("test"))[:2]]
    section = content.measure(make_evaluation(tiny_model, store, trials))
    assert any("pip install 'vqspeech[evaluate]'" in note for note in section.notes)
    monkeypatch.setattr(words_module, "find_transcribers", lambda: ([Transcriber("deaf", lambda wav, rate: "")], []))
    section = words_module.measure(make_evaluation(tiny_model, store, trials))
    assert section.figures[0].name == "word error rate, deaf: conversions" and section.figures[0].value == 1


def test_an_untrained_voice_saying_nothing_is_no_crash():
    sphinx = Sphinx()
    sphinx.listen_for([("one",), ("two",)])
    assert sphinx.choose(b"") is None
    assert sphinx.choose(to_pcm(np.zeros(8000), RATE)) in (None, ("one",), ("two",))
    assert sphinx.choose(to_pcm(np.full(8000, np.nan), RATE)) in (None, ("one",), ("two",))
    with Senones() as senones:
        assert senones.costs(b"") is None


def test_figures_stand_beside_their_controls():
    samples = {signal: [(1.0, "ann", "u1"), (0.0, "bob", "u2")] for signal in SIGNALS}
    first, second = beside_controls("x", samples, Figure("chance", 0.1), 0, unit="%")
    assert (first.name, second.name) == ("x: conversions", "x: reconstructions")
    assert first.beats_controls is False  # random codes are as good


@pytest.mark.real_data
def test_digits_of_real_speakers_are_heard(fsdd):
    sphinx = Sphinx()
    texts = [(word,) for word in "zero one two three four five six seven eight nine".split()]
    sphinx.listen_for(texts)
    right = []
    for digit, speaker, take in itertools.product(range(10), ("jackson", "lucas", "theo"), range(2)):
        wav = load_audio(fsdd / "recordings" / f"{digit}_{speaker}_{take}.wav", 8000)
        right.append(sphinx.choose(to_pcm(wav, 8000)) == texts[digit])
    assert np.mean(right) > 0.6  # chance is 0.1; a model of 16 kHz hears half of its bands
