"""Reports: strict JSON, a terminal table, one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from rich.console import Console

from vqspeech.cli.report import print_report
from vqspeech.evaluation.figures.statistics import figure
from vqspeech.evaluation.figures.types import Evaluation, Figure, Picture, Section, Table, Trial, missing
from vqspeech.evaluation.report import html
from vqspeech.evaluation.report.html import plot_section, wav_file, write_html
from vqspeech.evaluation.report.sections import (
    Report,
    keep_section,
    kept_section,
    section_from_json,
    section_to_json,
    show,
    to_json,
    verdict,
    write_json,
)

FACTS = {
    "model": "fsdd", "weights": "0123456789abcdef", "recipe": "fsdd", "steps": 10, "codes": 8, "code_rate_hz": 500.0,
    "sample_rate_hz": 8000, "data": "f", "split": "test", "trained_on": False, "conversions": 2, "utterances": 2,
    "speakers": {"ann": "F"}, "seed": 0,
}  # fmt: skip


def some_section() -> Section:
    rows = [(0.5, "ann", "1"), (0.7, "bob", "2"), (0.9, "bob", "3")]
    chance = Figure("random codes", 0.95, unit="%")
    return Section(
        "Content",
        (
            figure("words heard right", rows, seed=0, unit="%", higher_is_better=True, controls=[chance]),
            missing("whisper", "not installed: pip install vqspeech[evaluate]"),
        ),
        ("a note",),
        (Table("by word", ("word", "share"), (("one", "50 %"),)),),
        (Picture("confusions", b"\x89PNG", "which for which"),),
    )


@pytest.fixture
def evaluation(tiny_model):
    def trial(number: int) -> Trial:
        wav = np.sin(np.arange(1600) / 8).astype(np.float32) * 0.3
        return Trial(f"<u{number}>", "ann", "bob", "say \"a\" & b", *[wav] * 6, np.zeros(100, np.int32))  # fmt: skip

    silent = SimpleNamespace(speakers=())  # a store without real speech of the target
    return Evaluation(tiny_model, silent, "test", (trial(0), trial(1)), 0, 8000, 16, {})


def test_shares_are_shown_in_percent_with_their_interval():
    assert show(Figure("x", 0.743, 0.701, 0.78, unit="%")) == "74.3 % [70.1, 78.0]"
    assert show(Figure("x", 4.7251, unit="dB")) == "4.725 dB"
    assert show(Figure("x", math.nan)) == "not measured"


def test_json_holds_every_figure_and_null_for_what_was_not_measured(tmp_path):
    write_json(tmp_path / "report.json", to_json(Report(FACTS, (some_section(),), ("a remark",))))
    written = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)  # no NaN, no Infinity
    words, whisper = written["sections"][0]["figures"]
    assert words["value"] == pytest.approx(0.7) and words["beats_controls"] is False
    assert words["controls"][0]["name"] == "random codes" and "samples" not in words
    assert whisper["value"] is None and "pip install" in whisper["note"]


def test_a_section_comes_back_whole_from_its_file(tmp_path):
    section = some_section()
    again = section_from_json(json.loads(json.dumps(section_to_json(section, whole=True))))
    assert again.figures[0] == section.figures[0] and again.figures[0].samples == section.figures[0].samples
    assert (again.notes, again.tables, again.pictures) == (section.notes, section.tables, section.pictures)
    keep_section(tmp_path / "s.json", "key", section)
    assert kept_section(tmp_path / "s.json", "key").title == "Content"
    assert kept_section(tmp_path / "s.json", "another key") is None
    (tmp_path / "s.json").write_text("{")
    assert kept_section(tmp_path / "s.json", "key") is None


def test_rows_of_numbers_as_trial_values_survive_the_file():
    section = Section("x", (figure("r", [((1, 2), "a", "1"), ((3, 4), "b", "2")], seed=0, statistic="ratio"),))
    again = section_from_json(json.loads(json.dumps(section_to_json(section, whole=True))))
    assert again.figures[0].samples == (((1.0, 2.0), "a", "1"), ((3.0, 4.0), "b", "2"))


def test_names_of_trials_judges_and_draws_survive_the_file():
    trials = [(1.0, "a", "1", "to b"), (2.0, "a", "2", "to b")]
    drawn = Figure("i", 0.5, statistic="", draws=(0.25, 0.75), drawn="these")
    beside = figure("random codes", [(0.0, *trial[1:]) for trial in trials], seed=0)
    section = Section("x", (figure("r", trials, seed=0, basis="judge a", controls=(beside,)), drawn))
    again = section_from_json(json.loads(json.dumps(section_to_json(section, whole=True)))).figures
    assert again[0].samples == tuple(trials) and again[0].basis == "judge a"
    assert again[0].controls[0].samples == beside.samples  # content and voice are joined for controls too
    assert (again[1].draws, again[1].drawn) == ((0.25, 0.75), "these")


def test_the_terminal_says_which_control_is_not_beaten_and_what_is_missing():
    console = Console(file=io.StringIO(), width=160)
    print_report(Report(FACTS, (some_section(),)), console)
    shown = console.file.getvalue()
    assert "does not beat random codes" in shown
    assert "not measured" in shown and "pip install vqspeech[evaluate]" in shown and "a note" in shown


def test_a_difference_is_called_by_its_interval():
    assert verdict(Figure("d", 0.1, 0.05, 0.2, higher_is_better=True)) == "better"
    assert verdict(Figure("d", 0.1, 0.05, 0.2, higher_is_better=False)) == "worse"
    assert verdict(Figure("d", -0.1, -0.2, -0.05)) == "lower"
    assert verdict(Figure("d", 0.1, -0.05, 0.2, higher_is_better=True)) == "not told apart"
    assert verdict(Figure("d", 0.1, note="no paired interval")) == "no paired interval"
    assert verdict(Figure("d", 0.1, 0.05, 0.2, note="2 of 3 trials are in both")) == "higher; 2 of 3 trials are in both"
    assert verdict(missing("d", "not comparable: judge a here, judge b there")).startswith("not comparable")


def test_two_models_stand_side_by_side():
    report = Report(FACTS, (some_section(),), (), FACTS | {"model": "other"}, (some_section(),))
    against = to_json(report)["against"]
    assert against["differences"][0]["value"] == 0 and against["differences"][0]["verdict"] == "not told apart"
    console = Console(file=io.StringIO(), width=160)
    print_report(report, console)
    assert "fsdd against other" in console.file.getvalue()


def test_html_needs_nothing_from_outside_and_escapes_what_the_corpus_says(tmp_path, evaluation):
    write_html(tmp_path / "report.html", Report(FACTS, (some_section(),)), evaluation)
    page = (tmp_path / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page) and "@import" not in page and "<script" not in page
    assert page.count("<audio") == 2 * 4 and "&lt;u0&gt;" in page and "<u0>" not in page
    assert 'class="measured unbeaten"' in page and "does not beat random codes" in page
    sounds = re.findall(r"data:audio/wav;base64,([^\"]+)", page)
    wav, sample_rate = soundfile.read(io.BytesIO(base64.b64decode(sounds[0])))
    assert sample_rate == 8000 and wav == pytest.approx(evaluation.trials[0].source, abs=1 / 32768)


def test_summary_and_three_conversions_with_a_picture_come_before_any_table_of_figures(tmp_path, evaluation):
    quoted = Section("Voice", (Figure("similarity to the target", 0.73, 0.7, 0.76, higher_is_better=True),))
    five = replace(evaluation, trials=tuple(replace(evaluation.trials[0], utterance=f"<u{n}>") for n in range(5)))
    write_html(tmp_path / "report.html", Report(FACTS, (some_section(), quoted)), five)
    first, rest = (tmp_path / "report.html").read_text().split("<nav>")
    assert first.index("0.73 [0.70, 0.76]") < first.index("<audio") < first.index("<img")
    assert first.count("<audio") == 3 * 4 and first.count("<img") == 1 and 'class="figures"' not in first
    assert rest.count("<audio") == 2 * 4 and 'class="figures"' in rest


def test_the_targets_real_voice_stands_beside_source_and_conversion(tmp_path, evaluation, monkeypatch):
    monkeypatch.setattr(html, "real_speech", lambda *_, **__: [("other", np.zeros(800, np.float32))])
    write_html(tmp_path / "report.html", Report(FACTS, ()), evaluation)
    labels = re.findall("<figcaption>(.*?)</figcaption>", (tmp_path / "report.html").read_text())
    assert labels[:3] == ["source (ann)", "the target&#39;s real voice (bob)", "conversion to bob"]


def test_long_tables_are_folded_and_short_ones_are_not(tmp_path, evaluation):
    def page(rows: int) -> str:
        figures = tuple(Figure(f"f{number}", 0.5) for number in range(rows))
        write_html(tmp_path / "report.html", Report(FACTS, (Section("x", figures),)), evaluation)
        return (tmp_path / "report.html").read_text()

    assert "<details open><summary>12 figures" in page(12) and "<details><summary>13 figures" in page(13)


def test_every_link_of_the_page_leads_somewhere_on_it(tmp_path, evaluation):
    report = Report(FACTS, (some_section(),), (), FACTS | {"model": "other"}, (some_section(),))
    write_html(tmp_path / "report.html", report, evaluation, evaluation)
    page = (tmp_path / "report.html").read_text()
    links = re.findall(r'href="#([^"]+)"', page)
    assert {"against", "1", "listen", "other"} == set(links)
    names = re.findall(r'id="([^"]+)"', page)
    assert len(names) == len(set(names)) and set(links) <= set(names)


def test_what_cannot_be_heard_to_its_end_says_so(tmp_path, evaluation):
    long = replace(evaluation.trials[0], source=np.tile(evaluation.trials[0].source, 31))  # 6.2 s at 8 kHz
    write_html(tmp_path / "report.html", Report(FACTS, ()), replace(evaluation, trials=(long, evaluation.trials[1])))
    page = (tmp_path / "report.html").read_text()
    assert page.count("(the first 6 s)") == 1
    write_html(tmp_path / "report.html", Report(FACTS, ()), evaluation)
    assert "(the first 6 s)" not in (tmp_path / "report.html").read_text()


def test_small_shares_are_not_shown_as_nothing():
    assert show(Figure("clipped", 0.0003, 0.0001, 0.0006, unit="%")) == "0.03 % [0.01, 0.06]"
    assert show(Figure("silent", 0.0, unit="%")) == "0.0 %"


def test_a_figure_that_equals_all_its_controls_needs_no_plot():
    same = tuple(Figure(name, 0.0, 0.0, 0.0, unit="%") for name in ("source", "random codes"))
    assert plot_section(Section("x", (Figure("silent", 0.0, 0.0, 0.0, unit="%", controls=same),))) == ()


def test_html_says_when_the_model_was_trained_on_what_it_is_judged_by(tmp_path, evaluation):
    write_html(tmp_path / "report.html", Report(FACTS | {"trained_on": True}, ()), evaluation)
    assert "Evaluated on utterances that the model was trained on" in (tmp_path / "report.html").read_text()


def test_html_shows_both_models_conversions(tmp_path, evaluation):
    report = Report(FACTS, (some_section(),), (), FACTS | {"model": "other"}, (some_section(),))
    write_html(tmp_path / "report.html", report, evaluation, evaluation)
    page = (tmp_path / "report.html").read_text()
    assert "conversion by other to bob" in page and "not told apart" in page


def test_a_conversion_that_is_not_finite_is_still_shown(tmp_path, evaluation):
    broken = evaluation.trials[0].conversion.copy()
    broken[3] = np.nan
    spoilt = replace(evaluation, trials=(replace(evaluation.trials[0], conversion=broken),))
    write_html(tmp_path / "report.html", Report(FACTS, ()), spoilt)
    assert (tmp_path / "report.html").stat().st_size


def test_a_plot_shows_figures_that_have_controls():
    (plot,) = plot_section(some_section())
    assert plot.png.startswith(b"\x89PNG") and "words heard right" in plot.alt
    assert plot_section(Section("x", (Figure("alone", 1.0),))) == ()


def test_a_wav_file_is_16_bit():
    info = soundfile.info(io.BytesIO(wav_file(np.zeros(80, np.float32), 8000)))
    assert (info.subtype, info.samplerate, info.frames) == ("PCM_16", 8000, 80)
