"""Seconds a stage: of this run, and of earlier ones whose results were kept."""

from __future__ import annotations

import json

import pytest

from vqspeech.evaluation.report.stages import FILE, Stages


def test_stages_are_kept_at_once_and_those_of_an_earlier_run_stay(tmp_path):
    with Stages(tmp_path).time("sound"):
        pass
    again = Stages(tmp_path)
    with again.time("voice"):
        assert set(json.loads((tmp_path / FILE).read_text())) == {"sound"}
    assert set(json.loads((tmp_path / FILE).read_text())) == {"sound", "voice"}
    assert all(took >= 0 for took in again.seconds.values())


def test_the_longest_stage_is_told_first_and_one_that_was_not_run_is_not_told(tmp_path):
    stages = Stages(tmp_path)
    stages.seconds = {"sound": 2.4, "content": 80.6, "pitch": 9.0}
    assert stages.describe(["sound", "voice", "content"]) == "content 81 s, sound 2 s"


def test_a_stage_that_fails_leaves_no_time(tmp_path):
    stages = Stages(tmp_path)
    with pytest.raises(ZeroDivisionError), stages.time("sound"):
        1 / 0  # noqa: B018
    assert stages.seconds == {}


@pytest.mark.parametrize("text", ["", "[]", '{"sound": "long"}', '{"sound": null}', "\0"])
def test_a_damaged_file_counts_as_none(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert Stages(tmp_path).seconds == {}
