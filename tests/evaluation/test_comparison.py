"""`vqspeech evaluate --against`: two models of other rate, hop, codebook and voices, on what they have in common."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from priors import make_prior, write_run
from voices import ToneStore
from vqspeech.config import parse_recipe
from vqspeech.data.embedded import build_embedded
from vqspeech.data.store import read_meta
from vqspeech.errors import CorpusError
from vqspeech.evaluation import evaluate
from vqspeech.evaluation.figures.types import Evaluation
from vqspeech.evaluation.measures import codebook
from vqspeech.evaluation.report import html
from vqspeech.evaluation.report.sections import Report
from vqspeech.evaluation.trials.pairs import choose_pairs
from vqspeech.evaluation.trials.synthesis import Settings, make_evaluation
from vqspeech.evaluation.trials.systems import System, choose_for
from vqspeech.evaluation.trials.texts import find_texts
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.checkpoint import PRIOR_FILE

QUICK = ("sound", "codebook")


@pytest.fixture(autouse=True)
def one_example(monkeypatch):
    """Pictures take time: one is enough here."""
    monkeypatch.setattr(html, "EXAMPLES", 1)


@pytest.fixture
def run(model, work) -> Path:
    """4 kHz, hop 16, K = 8; ada, ben and cyd."""
    return write_run(work / "runs" / "tiny", model, None)


@pytest.fixture(scope="module")
def compared(tmp_path_factory, tiny_values, store, corpus) -> tuple[Report, list[Evaluation]]:
    """4 kHz, hop 16, K = 8, ada, ben, cyd, against 8 kHz, hop 64, K = 16, ada, ben, a stranger; under one name."""
    work = tmp_path_factory.mktemp("compared")
    (work / "prepared").symlink_to(store.folder.parent)
    changed = {"data": {"sample_rate": 8000}, "encoder": {"strides": [8, 8]}, "bottleneck": {"num_codes": 16}}
    recipe = parse_recipe(tiny_values, "one recipe")
    wider = parse_recipe(tiny_values | {key: tiny_values[key] | new for key, new in changed.items()}, "another recipe")
    one = write_run(work / "runs" / "tiny", VQVAE(recipe, store.speakers), None)
    two = write_run(work / "runs" / "other", VQVAE(wider, ("ada", "ben", "zoe")), None)
    made: list[Evaluation] = []
    written = evaluate.write_html

    def write_html(path, report, *evaluations) -> None:
        made.extend(evaluations)
        written(path, report, *evaluations)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        patch.setattr(html, "EXAMPLES", 1)
        patch.setattr(evaluate, "write_html", write_html)
        return compare(one, two, corpus), made


def compare(run, other, corpus, **options):
    options = {"pairs": 12, "measures": QUICK, "num_threads": 1} | options
    return evaluate.evaluate(run, data=corpus, against=other, **options)


def differences(report):
    return {one.name: difference for _, one, _, difference in report.differences()}


def test_two_models_of_other_rate_codebook_and_voices_are_compared_where_they_can_be(compared):
    report, _ = compared
    found = differences(report)
    for name in ("run length", "perplexity", "codes in use", "bit rate, codes' frequencies", "conversions: silent"):
        one = found[name]
        assert one.low <= one.value <= one.high and not one.note, name
    assert found["perplexity"].unit == "codes"
    for name in ("mel-cepstral distortion of reconstructions", "bits per sample", "code gain"):
        assert (
            not found[name].is_measured and "4000 Hz here" in found[name].note and "8000 Hz there" in found[name].note
        )
    page = (report.folder / "report.html").read_text()
    assert "not comparable" in page and "conversion by other" in page


def test_what_two_models_do_not_share_is_told(compared):
    report, _ = compared
    notes = " | ".join(report.notes)
    assert "2 voices that both know; left out: cyd, zoe" in notes and "at 4000 Hz and other at 8000 Hz" in notes
    assert any(note.startswith("other: 1 speakers of the corpus are not") for note in report.notes)


def test_the_paired_run_length_is_the_difference_of_the_means_over_all_runs(compared):
    report, _ = compared
    one, two = (
        next(figure for figure in sections[1].figures if figure.name == "run length")
        for sections in (report.sections, report.other_sections)
    )
    difference = differences(report)["run length"]
    assert difference.value == pytest.approx(one.value - two.value)
    assert difference.count == report.facts["utterances"] == one.count


def test_both_are_converted_from_the_same_utterances_to_the_same_voices(compared):
    _, made = compared
    names = [[(trial.utterance, trial.speaker, trial.target) for trial in synthesis.trials] for synthesis in made]
    assert names[0] == names[1] and len(names[0])
    for one, two in zip(*(synthesis.trials for synthesis in made), strict=True):
        assert len(one.source) / 4000 == pytest.approx(len(two.source) / 8000, abs=0.001)
    assert [synthesis.voices for synthesis in made] == [("ada", "ben")] * 2


def test_models_in_folders_of_one_name_are_told_apart(run, model, corpus, work):
    for parameter in model.parameters():
        parameter.data *= 1.1
    report = compare(run, write_run(work / "elsewhere" / "tiny", model, None), corpus, pairs=2, measures=())
    assert (report.facts["model"], report.other_facts["model"]) == ("runs/tiny", "elsewhere/tiny")


def test_the_corpus_spoken_by_espeak_is_not_prepared_over_the_first_model_s(tiny_values, work, tmp_path):
    build_embedded(tmp_path / "spoken", minutes=0.3, sample_rate=8000)
    (work / "prepared").unlink()
    runs = []
    for rate in (4000, 8000):
        data = {"corpus": "embedded", "sample_rate": rate, "valid_share": 0, "test_share": 0.5}
        recipe = parse_recipe(tiny_values | {"data": data}, "spoken")
        names = sorted(path.name for path in (tmp_path / "spoken" / "wav").iterdir())
        runs.append(write_run(work / "runs" / str(rate), VQVAE(recipe, names), None))
    report = compare(*runs, tmp_path / "spoken", pairs=2, measures=())
    meta = read_meta(work / "prepared" / "tiny")
    assert meta is not None and meta["fingerprint"] == report.facts["data"]
    assert report.other_facts["data"] != report.facts["data"]


def test_only_what_was_held_out_of_both_trainings_is_chosen():
    def system(tested, voices):
        splits = {"test": [(f"{name}-{take}", name, None, 2.0) for name in ("ann", "bob") for take in tested]}
        model = SimpleNamespace(speakers=voices)
        return System(Path("m"), model, ToneStore(splits, ("ann", "bob")), Path())

    chosen = choose_for([system(range(4), ("ann", "bob")), system(range(2, 6), ("bob", "ann"))], "test", 99, {}, 0)
    assert {pair.utterance for pair in chosen} == {"ann-2", "ann-3", "bob-2", "bob-3"}
    with pytest.raises(CorpusError, match="no utterance in the test split in common"):
        choose_for([system(range(4), ("ann",)), system(range(4, 6), ("ann",))], "test", 99, {}, 0)


def test_one_voice_and_no_text_get_their_lines_in_every_section(model, store, work, corpus):
    voice = store.speakers[store.speaker(store.utterances("test")[0])]
    run = write_run(work / "runs" / "one", VQVAE(model.recipe, (voice,)), None)
    measures = ("content", "pitch", "code_phonemes", "code_speakers")
    report = evaluate.evaluate(run, data=corpus, pairs=1, measures=measures, num_threads=1)
    said = {
        section.title: " | ".join([*section.notes, *(figure.note for figure in section.figures)])
        for section in report.sections
    }
    assert "no text to compare with" in said["Conversion: content"]
    assert "no conversions to another speaker" in said["Conversion: pitch"]
    assert "neither phoneme times nor a text to align" in said["Codes to phonemes"]
    assert "nobody to tell apart" in said["Codes to speaker"]
    assert not any("could not be measured:" in note for section in report.sections for note in section.notes)


# What an evaluation depends on


def codebook_of(report):
    return {figure.name: figure for figure in report.sections[-1].figures}


def test_a_prior_gives_the_bit_rate_and_a_section_kept_without_it_is_measured_again(run, model, corpus):
    options = {"data": corpus, "pairs": 12, "measures": ("codebook",), "num_threads": 1}
    before = codebook_of(evaluate.evaluate(run, **options))["bit rate, prior"]
    assert not before.is_measured and "no prior over codes" in before.note and "--stage prior" in before.note
    prior = make_prior(model)
    write_run(run, model, prior)
    report = evaluate.evaluate(run, **options)
    own = codebook_of(report)["bit rate, prior"]
    assert own.low < own.value < own.high and own.unit == "bit/s"
    assert {control.name for control in own.controls} == {
        "bit rate, uniform", "bit rate, codes' frequencies", "the prior on codes in random order",
    }  # fmt: skip
    (run / PRIOR_FILE).write_bytes(b"broken")
    damaged = codebook_of(evaluate.evaluate(run, **options))["bit rate, prior"]
    assert not damaged.is_measured and PRIOR_FILE in damaged.note


def test_the_prior_s_bit_rate_is_that_of_its_probabilities(model, store, tmp_path):
    import torch

    from vqspeech.likelihood.nats import code_nats

    prior = make_prior(model)
    pairs = choose_pairs(store, "test", store.speakers, 1000, sexes={}, seed=0)
    whole = make_evaluation(model, store, pairs, tmp_path, Settings(), split="test", sexes={}, prior=prior)
    bits = codes = 0.0
    for trial in {trial.utterance: trial for trial in whole.trials}.values():
        own = torch.from_numpy(trial.codes.astype(np.int64))[None]
        speaker = torch.tensor([model.speaker_index(trial.speaker)])
        bits += float(code_nats(prior, own, torch.tensor([own.shape[1]]), speaker).sum()) / np.log(2)
        codes += own.shape[1]
    found = {figure.name: figure for figure in codebook.measure(whole).figures}["bit rate, prior"]
    assert found.value == pytest.approx(bits / codes * 4000 / 16, rel=1e-5)


def test_other_frozen_judges_are_other_sections(run, corpus, monkeypatch):
    from vqspeech.evaluation.judges import speakers

    options = {"data": corpus, "pairs": 2, "measures": ("codebook",), "num_threads": 1}
    keys = set()
    for sha256 in ("a", "b", "b"):
        judge = SimpleNamespace(sha256=sha256)
        judges = SimpleNamespace(content=judge, speaker=judge)
        monkeypatch.setattr(speakers, "frozen_judges", lambda synthesis, found=judges: found)
        report = evaluate.evaluate(run, **options)
        keys.add(json.loads((report.folder / "sections" / "codebook.json").read_text())["key"])
    assert len(keys) == 2


def test_a_long_utterance_is_reported_as_cut_not_as_without_text(model, store, tmp_path, monkeypatch):
    from vqspeech.evaluation.trials import synthesis

    monkeypatch.setattr(synthesis, "LONGEST_S", 0.5)
    monkeypatch.setattr(type(store), "text", lambda self, index: "one two")
    pairs = choose_pairs(store, "test", store.speakers, 1000, sexes={}, seed=0)
    made = make_evaluation(model, store, pairs, tmp_path, Settings(), split="test", sexes={})
    cut = {trial.utterance for trial in made.trials if trial.is_cut}
    lengths = {store.utterance_id(index): store.length(index) for index in store.utterances("test")}
    assert cut == {name for name, length in lengths.items() if length > 0.5 * 4000} and 0 < len(cut) < len(lengths)
    notes = find_texts(made).notes
    assert len(notes) == 1 and notes[0].startswith(f"{len(cut)} of {len(lengths)} utterances were cut")
