"""What may be quoted of an evaluation: the stricter judge, the same numbers on card, page, README and terminal."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vqspeech.cli.report import print_report
from vqspeech.errors import CheckpointError
from vqspeech.evaluation.figures.types import Figure, Section, missing
from vqspeech.evaluation.report.sections import Report, to_json, write_json
from vqspeech.evaluation.report.summarise import summarise
from vqspeech.pretrained import bundled
from vqspeech.pretrained.bundled import read_packed_card
from vqspeech.pretrained.checkpoint import read_model, save_model
from vqspeech.pretrained.listing import list_models
from vqspeech.pretrained.packing import pack, quote
from vqspeech.pretrained.summary import FORMAT, Line, Summary, read_summary, summary_from_json

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))
from summaries import HEADLINES, QUOTED, headlines, mark, put_headlines, put_into, shown_in  # noqa: E402

FACTS = {
    "model": "m", "weights": "0123456789abcdef", "recipe": "r", "steps": 10, "codes": 8, "code_rate_hz": 500.0,
    "sample_rate_hz": 8000, "data": "f", "split": "test", "trained_on": False, "conversions": 2, "utterances": 2,
    "speakers": {"ann": "F"}, "seed": 0,
}  # fmt: skip
OWNER = {"data": "someone's speech", "licence": "CC0 1.0"}


def share(name: str, value: float, *controls: Figure, better: bool = True, basis: str = "") -> Figure:
    return Figure(name, value, value - 0.1, value + 0.1, "%", 40, better, controls, basis=basis)


def summary_of(*figures: Figure) -> Summary:
    return summarise([Section("any", figures)], FACTS)


def test_of_two_judges_the_stricter_is_quoted_and_named():
    sphinx = share("right text, PocketSphinx: conversions", 0.6, basis="closed grammar of 10 texts")
    classifier = share("right word, classifier of this corpus: conversions", 0.9, basis="judge 0123456789ab")
    (line,) = summary_of(classifier, sphinx).lines
    assert (line.name, line.value) == (sphinx.name, 0.6)
    assert line.judge == "closed grammar of 10 texts; the stricter of 2"


def test_of_two_recognisers_the_one_that_hears_more_errors_is_quoted():
    few = share("word error rate, Whisper base.en: conversions", 0.2, better=False)
    many = share("word error rate, PocketSphinx: conversions", 1.2, better=False)
    assert [line.value for line in summary_of(few, many).lines] == [1.2]  # more than all words can be wrong


def test_an_easy_test_is_never_quoted():
    ranked = share("true transcript ranked first, PocketSphinx: conversions", 1.0)
    one_of_six = share("right text, PocketSphinx: conversions", 1.0, basis="closed grammar of 6 texts")
    assert summary_of(ranked, one_of_six).lines == ()
    words = share("right word, classifier of this corpus: conversions", 0.9)
    assert [line.name for line in summary_of(one_of_six, words).lines] == [words.name]  # of a corpus of words it counts


def test_what_was_not_measured_is_left_out_and_an_empty_summary_says_nothing():
    found = summary_of(missing("DistillMOS: conversions", "not installed"))
    assert found.lines == () and list(found.sentences()) == []
    assert (found.conversions, found.utterances, found.speakers, found.seed) == (2, 2, 1, 0)


def test_real_speech_and_random_codes_stand_beside_by_the_same_judge():
    real = Figure("source unchanged", 4.6, is_ceiling=True)
    noise, unknown = Figure("random codes", 1.1), Figure("mu-law copy", math.nan)
    opinion = Figure("DistillMOS: conversions", 1.27, 1.2, 1.35, "", 60, True, (real, unknown, noise), basis="1.0")
    (line,) = summary_of(opinion).lines
    assert line.beside == (("real speech", 4.6), ("random codes", 1.1))
    assert line.shown() == "1.27 [1.20, 1.35]" and line.shown_beside() == "real speech 4.60, random codes 1.10"


def test_kinds_come_in_one_order_whatever_the_sections():
    figures = [Figure("bit rate", 850.0, unit="bits/s"), share("similarity to the target", 0.7),
               share("word error rate, PocketSphinx: conversions", 0.8, better=False),
               Figure("DNSMOS OVRL: conversions", 2.0, higher_is_better=True)]  # fmt: skip
    assert [line.kind for line in summary_of(*figures).lines] == ["naturalness", "words", "voice", "units"]


numbers = st.floats(-1e6, 1e6)


@given(
    st.lists(
        st.builds(
            Line, st.sampled_from(["words", "voice"]), st.text(), numbers, st.one_of(numbers, st.just(math.nan)),
            st.just(math.nan), st.sampled_from(["%", ""]), st.integers(0, 9), st.just("higher"),
            st.tuples(st.tuples(st.text(), numbers)), st.text(),
        )
    )
)  # fmt: skip
def test_a_summary_comes_back_from_strict_json(lines):
    summary = Summary(tuple(lines), 1, 1, 1, "test", 0, "abc", "0.1.0")
    text = json.dumps(summary.to_json(), allow_nan=False)
    again = summary_from_json(json.loads(text))
    assert json.dumps(again.to_json(), allow_nan=False) == text
    assert list(again.rows()) == list(summary.rows())


def test_a_summary_of_another_format_is_refused():
    with pytest.raises(ValueError, match=f"reads format {FORMAT}"):
        summary_from_json({"format": 99})


def test_a_markdown_table_has_as_many_cells_in_every_row():
    table = summary_of(share("word error rate, a|b: conversions", 0.5, better=False)).markdown()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 3 and {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_report_and_terminal_show_the_same_summary():
    section = Section("any", (share("similarity to the target", 0.73),))
    report = Report(FACTS, (section,))
    written = to_json(report)["summary"]
    assert summary_from_json(written) == report.summary()
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    said = console.file.getvalue()
    assert said.index("Summary") > said.index("any") and "73.0 % [63.0, 83.0]" in said.partition("Summary")[2]


@pytest.fixture
def evaluated(place, tiny_run) -> Path:
    """A run of our own with the report of its evaluation."""
    shutil.copytree(tiny_run, "run")
    model = read_model("run")
    facts = FACTS | {"weights": model.weights_id(), "steps": model.card.step}
    figures = (share("similarity to the target", 0.73, basis="Resemblyzer"),)
    write_json(Path("run/evaluation/report.json"), to_json(Report(facts, (Section("Voice", figures),))))
    return Path("run/evaluation/report.json")


def say_weights(report: Path, weights: str) -> None:
    values = json.loads(report.read_text())
    values["summary"]["weights"] = weights
    report.write_text(json.dumps(values))


def test_packing_takes_the_summary_of_the_same_weights_along(place, evaluated):
    packed = pack("run", "packed", **OWNER)
    assert packed.summary == read_summary(evaluated) and read_packed_card(place / "packed") == packed
    assert packed.summary.markdown() in (place / "packed/README.md").read_text()
    say_weights(evaluated, "of another training")
    assert pack("run", "packed", force=True, **OWNER).summary is None


def test_a_packed_model_is_quoted_from_its_own_evaluation_alone(place, evaluated):
    packed = pack("run", "packed", **OWNER)
    say_weights(evaluated, "of the training, which packing rounds")
    with pytest.raises(CheckpointError, match="of other weights"):
        quote("packed", evaluated)
    say_weights(evaluated, read_model("packed").weights_id())
    again = quote("packed", evaluated)
    assert replace(again, summary=packed.summary) == packed and again.summary == read_summary(evaluated)
    assert again.summary.basis() in (place / "packed/README.md").read_text()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"summary": {"format": 1}}', '{"summary": null}'])
def test_a_report_without_a_summary_is_a_sentence(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(CheckpointError, match="vqspeech evaluate"):
        read_summary(tmp_path / "report.json")


def test_models_tell_what_was_measured_of_a_run_at_this_step(evaluated):
    (entry,) = list_models(Path())
    sentence = "similarity to the target ↑: 73.0 % [63.0, 83.0] (Resemblyzer; n = 40)"
    assert ("measured", sentence) in entry.facts
    model = read_model("run")
    save_model(Path("run/model.safetensors"), model.state_dict(), replace(model.card, step=99))
    (entry,) = list_models(Path())
    assert "measured" not in dict(entry.facts)  # trained on since


def test_pages_show_what_stands_between_the_marks():
    page = f"before\n{mark('a')}\nold\n<!-- end of summary -->\nafter\n"
    summary = summary_of(share("similarity to the target", 0.73))
    again = put_into(page, "a", summary)
    assert shown_in(again, "a") == summary.markdown()
    assert again.startswith("before\n") and again.endswith("<!-- end of summary -->\nafter\n")
    assert put_into(again, "a", summary) == again and put_into(page, "b", summary) == page


def test_result_and_model_pages_quote_the_cards():
    for name in bundled.bundled_names():
        card = read_packed_card(bundled.FOLDER / name)
        if card.summary:
            assert card.summary.markdown() in (bundled.FOLDER / name / "README.md").read_text(encoding="utf-8")
            results = (REPOSITORY / "docs/results" / f"{name}.md").read_text(encoding="utf-8")
            assert shown_in(results, name) == card.summary.markdown()


@pytest.mark.parametrize("page", ["README.md", "recipes/english/README.md", "recipes/fsdd/README.md"])
def test_pages_quote_the_cards_headlines(page):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert HEADLINES.search(text) and put_headlines(text) == text


def test_headlines_are_put_between_their_marks_and_nowhere_else():
    page = "before\n<!-- headlines of fsdd english -->\nold\n<!-- end of headlines -->\nafter\n"
    table = headlines(["fsdd", "english"])
    begun, end = "<!-- headlines of fsdd english -->\n", "\n<!-- end of headlines -->"
    assert put_headlines(page) == f"before\n{begun}{table}{end}\nafter\n"
    assert put_headlines(put_headlines(page)) == put_headlines(page) and put_headlines("none") == "none"


def test_a_headline_has_its_interval_its_number_of_trials_and_what_stands_beside_it():
    card = read_packed_card(bundled.FOLDER / "english").summary
    rows = headlines(["english"]).splitlines()[2:]
    assert len(rows) == len(QUOTED)
    for (name, title, control), row in zip(QUOTED, rows, strict=True):
        (line,) = [line for line in card.lines if line.name == name]
        beside = dict(zip((who for who, _ in line.beside), line.shown_beside().split(", "), strict=True))
        assert row == f"| {title} | {line.shown()}, n = {line.count:,}; {beside[control]} |"
