"""The five kinds of listening test: each says all that sets it apart."""

from __future__ import annotations

from typing import get_args

import pytest

from vqspeech.listening import KindName
from vqspeech.listening.answers import Answer
from vqspeech.listening.key import Expected, Key, ListeningTrial, Stimulus
from vqspeech.listening.kinds import KINDS, find_mistake
from vqspeech.listening.kinds.base import PageSound


def small_key(kind: str) -> Key:
    stimuli = {name: Stimulus(system=system, item="i", sha256=name) for name, system in zip("abx", ("p", "q", "r"))}
    trial = ListeningTrial(rated=("a", "b"), reference="x", item="i", expected=Expected(choice="a"))
    return Key(test="t", kind=kind, seed=0, stimuli=stimuli, trials={"one": trial}, orders=(("one",),))


def test_every_name_that_files_and_the_command_line_know_has_its_kind():
    assert tuple(KINDS) == get_args(KindName)
    assert all(kind.name == name for name, kind in KINDS.items())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_attentive_listeners_answer_is_among_the_sounds_of_the_check(kind):
    for check in kind.checks:
        assert check.ratings or check.choice
        assert {*check.ratings, *([check.choice] if check.choice else [])} <= set(check.rated)
        for low, high in check.ratings.values():
            assert kind.scale[0] <= low < high <= kind.scale[1]


def test_a_repeated_pair_is_the_other_way_round_and_turning_twice_changes_nothing():
    assert KINDS["preference"].turned(("m", "n")) == ("n", "m")
    assert KINDS["abx"].turned(("m", "source")) == ("m", "target")
    for kind in KINDS.values():
        for condition in kind.conditions(("m", "n")):
            assert kind.turned(kind.turned(condition)) == condition


def test_in_abx_x_is_the_systems_and_the_target_speaker_is_right_wherever_it_stands():
    for first, place in (("source", 1), ("target", 0)):
        page = KINDS["abx"].page(("m", first))
        assert page.reference == PageSound("m") and page.choice == page.rated[place] == PageSound("target", "beside")


@pytest.mark.parametrize(
    ("kind", "answer", "mistake"),
    [
        ("mos", {"ratings": {"a": 5, "b": 1}}, ""),
        ("mos", {"ratings": {"a": 6, "b": 1}}, "the rating of a is 6, outside 1 to 5"),
        ("mushra", {"ratings": {"a": 100}}, "stimulus b has no rating"),
        ("similarity", {"choice": "a"}, "a choice, where similarity asks for ratings"),
        ("abx", {"choice": "x"}, "stimulus x is not judged there"),
        ("abx", {}, "no choice"),
        ("abx", {"choice": "b"}, ""),
        ("preference", {}, ""),
        ("preference", {"ratings": {"a": 1}}, "a rating, where preference asks for a choice"),
    ],
)
def test_an_answer_that_the_kind_does_not_allow_is_told(kind, answer, mistake):
    assert find_mistake(Answer(trial="one", **answer), small_key(kind)) == mistake


@pytest.mark.parametrize(
    ("kind", "answer", "expected"),
    [
        ("mos", {"ratings": {"a": 4, "b": 2}}, {"p": 4.0, "q": 2.0}),
        ("abx", {"choice": "a"}, {"r": 1.0}),
        ("abx", {"choice": "b"}, {"r": 0.0}),
        ("preference", {"choice": "b"}, {"p over q": 0.0}),
        ("preference", {}, {"p over q": 0.5}),
    ],
)
def test_what_an_answer_tells_of_systems_depends_on_the_kind(kind, answer, expected):
    key = small_key(kind)
    found = KINDS[kind].observe(key, key.trials["one"], "someone", Answer(trial="one", **answer))
    assert {one.condition: one.value for one in found} == expected


def test_the_hidden_original_is_the_sound_that_the_page_shows():
    key = small_key("mushra")
    same = key.stimuli["x"].model_copy(update={"system": "other"})
    key = key.model_copy(update={"stimuli": {**key.stimuli, "b": same}})
    assert KINDS["mushra"].hidden_originals(key, key.trials["one"]) == ["b"]
    assert KINDS["mos"].hidden_originals(key, key.trials["one"]) == []
