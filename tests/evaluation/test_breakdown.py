"""Trials sorted by voice, sexes and word, against counting by hand; what was heard for what was said."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.evaluation.figures.confusion import MOST, NOTHING, confusions, tabulate
from vqspeech.evaluation.figures.statistics import figure
from vqspeech.evaluation.figures.together import HEARD_AS_TARGET, both_right
from vqspeech.evaluation.figures.types import Figure, Section, Table
from vqspeech.evaluation.report.breakdown import FEW, TITLE, break_down
from vqspeech.evaluation.report.sections import figure_from_json, figure_to_json, section_to_json

RIGHT = "right word, classifier of this corpus: conversions"
SEXES = {"ann": "F", "bob": "M", "cat": "F"}
# Utterance: speaker, text.
SAID = {"a1": ("ann", "one"), "a2": ("ann", "two"), "b1": ("bob", "one"), "b2": ("bob", "two"), "c1": ("cat", "two")}
# Source's utterance, target; the word heard, the voice heard.
TRIALS = [
    ("a1", "bob", "one", "bob"), ("a2", "bob", "one", "bob"), ("b1", "ann", "one", "ann"), ("b2", "ann", "two", "bob"),
    ("c1", "bob", "two", "bob"), ("a1", "cat", "one", "ann"), ("a2", "cat", "", "cat"), ("b1", "cat", "one", "cat"),
    ("b2", "cat", "two", "cat"), ("c1", "ann", "two", "ann"),
]  # fmt: skip


def evaluation(sexes=SEXES, said=None):
    said = said or SAID
    trials = [
        SimpleNamespace(utterance=u, speaker=said[u][0], target=target, text=said[u][1]) for u, target, *_ in TRIALS
    ]
    return SimpleNamespace(trials=tuple(trials), sexes=sexes, seed=0)


def samples(right) -> list[tuple]:
    return [(float(right(*trial)), SAID[trial[0]][0], trial[0], trial[1]) for trial in TRIALS]


def share(name: str, right, answers=None, **more) -> Figure:
    found = figure(name, samples(right), seed=0, unit="%", higher_is_better=True, **more)
    if answers is None:
        return found
    heard = tuple((trial[answers], SAID[trial[0]][0], trial[0], trial[1]) for trial in TRIALS)
    return Figure(**{**vars(found), "answers": heard})


WORDS = share(RIGHT, lambda u, target, word, voice: word == SAID[u][1], answers=2)
VOICES = share(HEARD_AS_TARGET, lambda u, target, word, voice: voice == target, answers=3)


def sections(*more: Figure) -> list[Section]:
    found = [Section("content", (WORDS, *more)), Section("voice", (VOICES,))]
    return [both_right(found, 0), *found]


def table(section: Section, title: str) -> dict[str, dict[str, str]]:
    """Rows of the table with this title by their first cell."""
    (found,) = [one for one in section.tables if one.title.startswith(title)]
    return {row[0]: dict(zip(found.header[1:], row[1:], strict=True)) for row in found.rows}


def count(select, right) -> str:
    """The share of the trials selected, by a plain loop."""
    chosen = [right(*trial) for trial in TRIALS if select(*trial)]
    return f"{100 * sum(chosen) / len(chosen):.1f} %"


def test_each_voice_each_pair_of_sexes_and_each_word_is_counted_as_a_loop_counts_it():
    section = break_down(sections(), evaluation())
    groups = {
        "Conversions by target voice": {name: lambda u, t, w, v, n=name: t == n for name in SEXES},
        "Conversions by source voice": {name: lambda u, t, w, v, n=name: SAID[u][0] == n for name in SEXES},
        "Conversions by word": {name: lambda u, t, w, v, n=name: SAID[u][1] == n for name in ("one", "two")},
        "Conversions by sexes": {
            f"{a} to {b}": lambda u, t, w, v, a=a, b=b: (SEXES[SAID[u][0]], SEXES[t]) == (a, b)
            for a, b in ("FF", "FM", "MF")
        },
    }
    for title, rows in groups.items():
        found = table(section, title)
        assert set(found) == set(rows)
        for name, select in rows.items():
            row = found[name]
            assert row["n"] == str(sum(select(*trial) for trial in TRIALS))
            assert row["right words"] == count(select, lambda u, t, w, v: w == SAID[u][1])
            assert row["heard as target"] == count(select, lambda u, t, w, v: v == t)
            both = row["both right [95 %]"].split(" [")[0]
            assert both == count(select, lambda u, t, w, v: w == SAID[u][1] and v == t)


def test_the_weakest_come_first_and_small_groups_last():
    section = break_down(sections(), evaluation())
    targets = table(section, "Conversions by target voice")
    assert [(name, row["n"]) for name, row in targets.items()] == [
        ("cat", "4"),
        ("ann", "3"),
        ("bob", "3"),
    ]  # 2/4, 2/3, 2/3
    assert list(table(section, "Conversions by word"))[0] == "two"
    assert any(note.startswith("weakest by word (both right): two") for note in section.notes)
    many = [(1.0, "ann", f"u{n}", "bob") for n in range(FEW)]
    few = [(0.0, "bob", "v", "ann")]
    trials = [SimpleNamespace(utterance=u, speaker=s, target=t, text=None) for _, s, u, t in [*many, *few]]
    found = break_down(
        [Section("voice", (figure(HEARD_AS_TARGET, [*many, *few], seed=0, unit="%"),))],
        SimpleNamespace(trials=tuple(trials), sexes={}, seed=0),
    )
    assert list(table(found, "Conversions by target voice")) == ["bob", "ann"]  # ann is weaker, of one trial
    assert any("weakest by target voice" in note and "ann" not in note for note in found.notes)


def test_error_rates_are_ratios_of_sums_and_the_highest_is_the_weakest():
    errors = [((n, 4), "ann", f"u{n}", "bob" if n % 2 else "cat") for n in range(10)]
    trials = [SimpleNamespace(utterance=u, speaker=s, target=t, text=None) for _, s, u, t in errors]
    found = figure("word error rate, X: conversions", errors, seed=0, unit="%", statistic="ratio",
                   higher_is_better=False)  # fmt: skip
    section = break_down([Section("content", (found,))], SimpleNamespace(trials=tuple(trials), sexes={}, seed=0))
    rows = table(section, "Conversions by target voice")
    assert [(name, row["word errors [95 %]"].split(" [")[0]) for name, row in rows.items()] == [
        ("bob", "125.0 %"), ("cat", "100.0 %")  # (1+3+5+7+9) / 20 and (0+2+4+6+8) / 20
    ]  # fmt: skip


def test_a_passage_counts_for_its_target_and_for_a_source_or_a_word_only_where_it_has_one():
    passages = [
        (0.9, "bob", "a1 and 1 more", "a1 a2"),  # ann alone, two words
        (0.5, "ann", "b1 and 1 more", "b1 c1"),  # two sources of two sexes
        (0.7, "cat", "a1 and 0 more", "a1"),
    ]
    section = break_down(sections(figure("similarity to the target", passages, seed=0)), evaluation())
    by_target = table(section, "Conversions by target voice")
    assert {name: row["similarity to target"] for name, row in by_target.items()} == {
        "bob": "0.900 (1)", "ann": "0.500 (1)", "cat": "0.700 (1)"
    }  # fmt: skip
    by_source = table(section, "Conversions by source voice")
    assert by_source["ann"]["similarity to target"] == "0.800 (2)"
    assert by_source["bob"]["similarity to target"] == "–"
    by_word = table(section, "Conversions by word")
    assert by_word["one"]["similarity to target"] == "0.700 (1)"
    assert table(section, "Conversions by sexes")["F to M"]["similarity to target"] == "0.900 (1)"


def test_it_is_said_where_not_every_pair_of_voices_occurs():
    """ann to bob and cat, bob to ann and cat, cat to ann and bob: all six."""
    assert not [note for note in break_down(sections(), evaluation()).notes if "pairs of voices" in note]
    fewer = evaluation()
    fewer.trials = tuple(t for t in fewer.trials if (t.speaker, t.target) != ("bob", "cat"))
    assert [note for note in break_down(sections(), fewer).notes if note.startswith("5 of 6 pairs of voices occur")]


def test_conversions_to_ones_own_voice_are_left_out():
    own = [(1.0, "ann", "a1", "ann"), (1.0, "ann", "a2", "ann")]
    trials = [SimpleNamespace(utterance=u, speaker=s, target=t, text="one") for _, s, u, t in own]
    voice = Section("voice", (figure(HEARD_AS_TARGET, own, seed=0, unit="%"),))
    assert break_down([voice], SimpleNamespace(trials=tuple(trials), sexes={}, seed=0)) is None


def test_without_figures_there_is_no_section_and_without_sexes_or_few_texts_no_such_table():
    assert break_down([Section("sound")], evaluation()) is None
    section = break_down(sections(), evaluation(sexes={}))
    assert not [one for one in section.tables if "sexes" in one.title]
    everything = {u: (speaker, f"text {'abcdefghijklmnopqrstuvwxyz'[n]}" * (n + 1)) for n, (u, (speaker, _)) in
                  enumerate(SAID.items())}  # fmt: skip
    silent = {u: (speaker, None) for u, (speaker, _) in SAID.items()}
    assert [one for one in break_down(sections(), evaluation(said=everything)).tables if "by word" in one.title]
    assert not [one for one in break_down(sections(), evaluation(said=silent)).tables if "by word" in one.title]


# What was heard for what was said


def test_words_said_and_heard_are_counted_with_nothing_heard_last():
    section = break_down(sections(), evaluation())
    (words,) = [one for one in section.tables if one.title.startswith("Words asked for")]
    assert words.header == ("word asked for, heard as", "one", "two", NOTHING, "n", "right")
    assert words.rows == (("one", "4", "·", "·", "4", "100.0%"), ("two", "1", "4", "1", "6", "66.7%"))
    (voices,) = [one for one in section.tables if one.title.startswith("Voices asked for")]
    assert [row[:4] for row in voices.rows] == [
        ("ann", "2", "1", "·"), ("bob", "·", "3", "·"), ("cat", "1", "·", "3")
    ]  # fmt: skip
    assert [one.title for one in section.pictures] == [words.title, voices.title]
    assert section.pictures[0].png.startswith(b"\x89PNG")
    assert section.pictures[0].alt == "two heard as one in 1 of 6"


NAMES = st.sampled_from(["one", "two", "three", ""])


@given(st.lists(st.tuples(NAMES.filter(bool), NAMES), min_size=1, max_size=60))
def test_every_pair_is_counted_once_where_it_belongs(pairs):
    asked, heard, counts = confusions(pairs)
    assert counts.sum() == len(pairs)
    for row, name in enumerate(asked):
        for column, answer in enumerate(heard):
            assert counts[row, column] == pairs.count((name, answer))
    assert heard[: len(asked)] == asked == sorted({name for name, _ in pairs})


def test_a_table_nobody_can_read_is_not_made():
    assert tabulate("t", "voice", [("ann", "ann")]) is None
    crowd = [(f"v{n:02}", f"v{n:02}") for n in range(MOST + 1)]
    assert tabulate("t", "voice", crowd) is None
    found = tabulate("t", "voice", crowd[:MOST])
    assert isinstance(found[0], Table) and found[1].alt == "all heard right"


def test_the_picture_has_a_square_for_every_count():
    import matplotlib.image

    _, picture = tabulate("t", "word", [("one", "one"), ("two", "one")])
    image = matplotlib.image.imread(io.BytesIO(picture.png))
    assert image.ndim == 3 and np.unique(image[..., 0]).size > 2  # white, black, the letters' edges


def test_answers_are_kept_with_a_section_and_stay_out_of_the_report():
    again = figure_from_json(figure_to_json(WORDS, samples=True))
    assert again.answers == WORDS.answers and again.samples == WORDS.samples
    assert "answers" not in figure_to_json(WORDS)
    kept = section_to_json(break_down(sections(), evaluation()), whole=True)
    assert kept["title"] == TITLE and kept["pictures"][0]["png"]


@pytest.mark.parametrize("said", ["", "  "])
def test_an_utterance_without_text_is_no_word(said):
    nameless = {u: (speaker, said if u == "a1" else text) for u, (speaker, text) in SAID.items()}
    rows = table(break_down(sections(), evaluation(said=nameless)), "Conversions by word")
    assert rows["one"]["n"] == "2" and rows["two"]["n"] == "6"
