"""Results come in as listeners sent them: what is damaged, foreign or contradictory is refused, and nothing written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from simulated_listeners import Effects, simulate

from commands import call, refuse
from vqspeech.listening.key import write_key

SMALL = {"num_listeners": 8, "num_items": 8, "effects": Effects(), "seed": 0}


def save(key, results, folder: Path = Path()) -> None:
    write_key(folder / "test.key.json", key)
    for one in results:
        target = folder / "results" / f"{one.listener}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(one.model_dump_json())


@pytest.fixture
def collected(tmp_path, monkeypatch) -> Path:
    """A folder with the results of eight listeners to a test of naturalness, and the key above it."""
    monkeypatch.chdir(tmp_path)
    save(*simulate("mos", {"a": 2.5, "b": 3.5}, **SMALL))
    return Path("results")


def edit(path: Path, **changes) -> dict:
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(values))
    return values


def edit_answer(path: Path, **changes) -> None:
    values = json.loads(path.read_text())
    values["answers"][0] |= changes
    path.write_text(json.dumps(values))


def test_results_are_scored_with_the_key_above_them(collected):
    printed = call("listening-test", "score", collected, "--out", "out")
    assert "mos" in printed and "score.json" in printed
    written = json.loads(Path("out/score.json").read_text())
    assert [one["name"] for one in written["screened"]["systems"]] == ["b", "a"]
    assert Path("out/score.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_results_and_seed_give_the_same_score(collected):
    for out in ("one", "two"):
        call("listening-test", "score", collected, "--out", out, "--seed", 3)
    assert Path("one/score.json").read_bytes() == Path("two/score.json").read_bytes()
    call("listening-test", "score", collected, "--out", "two", "--seed", 4)
    assert Path("one/score.json").read_bytes() != Path("two/score.json").read_bytes()


def test_files_can_be_named_one_by_one(collected):
    call("listening-test", "score", *sorted(collected.glob("*.json")), "--key", "test.key.json", "--out", "files")
    call("listening-test", "score", collected, "--out", "folder")
    assert Path("files/score.json").read_bytes() == Path("folder/score.json").read_bytes()


def test_a_score_in_the_folder_of_results_is_no_result(collected):
    call("listening-test", "score", collected, "--out", collected)
    first = json.loads((collected / "score.json").read_text())
    assert "score.json" in call("listening-test", "score", collected, "--out", collected)
    again = json.loads((collected / "score.json").read_text())
    assert again["screened"] == first["screened"]
    assert any("not results, left out" in note for note in again["notes"])


def test_a_missing_key_is_asked_for(collected):
    Path("test.key.json").unlink()
    assert "--key" in refuse("listening-test", "score", "results")


def test_the_key_of_another_test_is_not_taken(collected):
    key, _ = simulate("mos", {"a": 2.5, "b": 3.5}, **(SMALL | {"seed": 1}))
    write_key("test.key.json", key)
    assert "no key of test simulated-mos-0" in refuse("listening-test", "score", "results")
    assert "belongs to test simulated-mos-0" in refuse("listening-test", "score", "results", "--key", "test.key.json")


def test_results_of_different_tests_are_not_scored_together(collected):
    edit(collected / "l000.json", test="another")
    sentence = refuse("listening-test", "score", "results")
    assert "2 tests" in sentence and "another" in sentence and "l000.json" in sentence


def test_a_half_written_file_is_named(collected):
    path = collected / "l003.json"
    path.write_bytes(path.read_bytes()[:200])
    assert "l003.json is no whole JSON" in refuse("listening-test", "score", "results")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 100_000, b"{}", b"[]", b"7"])
def test_a_file_that_is_no_result_is_named(collected, content):
    (collected / "l003.json").write_bytes(content)
    assert "l003.json" in refuse("listening-test", "score", collected / "l003.json")


def test_the_same_file_twice_counts_once_and_is_noted(collected):
    call("listening-test", "score", collected, "--out", "one")
    shutil.copy(collected / "l000.json", collected / "l000 (1).json")
    assert "counted once" in " ".join(call("listening-test", "score", collected, "--out", "two").split())
    one, two = (json.loads(Path(out, "score.json").read_text()) for out in ("one", "two"))
    assert two["screened"] == one["screened"]
    assert len(two["notes"]) == len(one["notes"]) + 1


def test_a_listener_whose_files_contradict_each_other_is_refused(collected):
    shutil.copy(collected / "l000.json", collected / "copy.json")
    trial = json.loads((collected / "copy.json").read_text())["answers"][0]
    (name,) = trial["ratings"]
    edit_answer(collected / "copy.json", ratings={name: 1 + trial["ratings"][name] % 5})
    sentence = refuse("listening-test", "score", "results")
    assert "both of listener l000" in sentence and "copy.json" in sentence


def test_an_earlier_state_of_the_same_answers_is_replaced_by_the_later(collected):
    call("listening-test", "score", collected, "--out", "one")
    values = json.loads((collected / "l000.json").read_text())
    (collected / "before.json").write_text(json.dumps(values | {"answers": values["answers"][:5], "finished": False}))
    assert "more answers counts" in " ".join(call("listening-test", "score", collected, "--out", "two").split())
    one, two = (json.loads(Path(out, "score.json").read_text()) for out in ("one", "two"))
    assert two["screened"] == one["screened"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trial": "t99-9"}, "no trial t99-9"),
        ({"ratings": {"stranger": 3}}, "stimulus stranger is not judged there"),
        ({"ratings": {}}, "has no rating"),
        ({"choice": "stranger"}, "stranger is not judged there"),
        ({"trial": "../../etc/passwd"}, "damaged or was edited"),
        ({"milliseconds": -5}, "damaged or was edited"),
        ({"comment": "x" * 2000}, "damaged or was edited"),
    ],
)
def test_an_answer_that_the_test_does_not_allow_is_refused(collected, changes, said):
    edit_answer(collected / "l000.json", **changes)
    sentence = refuse("listening-test", "score", "results")
    assert said in sentence and "l000.json" in sentence


@pytest.mark.parametrize("rating", [0, 5.5, 99, -1, 1e9])
def test_a_rating_outside_the_scale_is_refused(collected, rating):
    (name,) = json.loads((collected / "l000.json").read_text())["answers"][0]["ratings"]
    edit_answer(collected / "l000.json", ratings={name: rating})
    assert "l000.json" in refuse("listening-test", "score", "results")


def test_a_trial_that_is_answered_twice_is_refused(collected):
    answers = json.loads((collected / "l000.json").read_text())["answers"]
    edit(collected / "l000.json", answers=[answers[0], *answers])
    assert "answered twice" in refuse("listening-test", "score", "results")


def test_a_place_that_the_test_has_not_is_refused(collected):
    edit(collected / "l000.json", place=8)
    assert "place 8" in refuse("listening-test", "score", "results")


def test_a_choice_has_to_be_made_in_abx_but_not_in_preference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in ("abx", "preference"):
        save(*simulate(kind, {"a": 0.0, "b": 1.0}, **SMALL), Path(kind))
        edit_answer(Path(kind, "results", "l000.json"), choice=None)
    assert "no choice" in refuse("listening-test", "score", "abx/results")
    call("listening-test", "score", "preference/results", "--out", "out")


def test_an_empty_folder_and_a_missing_one_are_told(collected):
    Path("empty").mkdir()
    assert "no results in empty" in refuse("listening-test", "score", "empty")
    assert "nowhere does not exist" in refuse("listening-test", "score", "nowhere")


def test_consent_that_is_not_recorded_is_noted(collected):
    edit(collected / "l002.json", consented=False)
    assert "no consent is recorded for: l002" in call("listening-test", "score", collected, "--out", "out")


def test_script_in_a_comment_reaches_neither_table_nor_file(collected):
    edit_answer(collected / "l000.json", comment="<script>alert(1)</script>")
    assert "script" not in call("listening-test", "score", collected, "--out", "out")
    assert "script" not in Path("out/score.json").read_text()


def test_where_nothing_can_be_written_no_half_of_a_score_is_left(collected):
    Path("taken").write_text("a file")
    assert "taken" in refuse("listening-test", "score", "results", "--out", "taken")
