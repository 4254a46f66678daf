"""`vqspeech evaluate`: held-out utterances, balanced pairs, controls; goes on after an interrupt, hides nothing."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.audio import save_audio
from vqspeech.config import DataConfig
from vqspeech.errors import CorpusError, VQSpeechError
from vqspeech.evaluation import evaluate
from vqspeech.evaluation.figures.types import Section
from vqspeech.evaluation.measures import codebook, gains, sound
from vqspeech.evaluation.report import html
from vqspeech.evaluation.trials import synthesis
from vqspeech.evaluation.trials.controls import decode_random, median_f0, shift_pitch
from vqspeech.evaluation.trials.pairs import assign_targets, choose_pairs, choose_split
from vqspeech.evaluation.trials.sexes import find_sexes
from vqspeech.evaluation.trials.synthesis import Settings, make_evaluation
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import mu_law_decode
from vqspeech.pretrained.cards import ModelCard
from vqspeech.pretrained.checkpoint import MODEL_FILE, save_model
from vqspeech.units.quality import deduplicate

QUICK = ("sound", "codebook")


@pytest.fixture(autouse=True)
def one_example(monkeypatch):
    """Pictures take time: one is enough here."""
    monkeypatch.setattr(html, "EXAMPLES", 1)


@pytest.fixture
def run(model, work) -> Path:
    """Run folder of an untrained model of the corpus's three speakers, in the working folder."""
    return save_run(work / "runs" / "tiny", model)


def save_run(folder: Path, model: VQVAE) -> Path:
    save_model(folder / MODEL_FILE, model.state_dict(), ModelCard(model.recipe, model.speakers, version="0.1.0"))
    return folder


def save_noises(folder: Path) -> None:
    for take in range(12):
        save_audio(folder / f"{take}.wav", np.random.default_rng(take).normal(0, 0.1, 2000), 4000)


def assess(run, corpus, **options):
    options = {"pairs": 6, "measures": QUICK, "num_threads": 1} | options
    return evaluate.evaluate(run, data=corpus, **options)


# The whole


def test_a_report_has_every_figure_beside_its_controls(run, corpus):
    report = assess(run, corpus)
    assert report.folder == run / "evaluation"
    written = json.loads((report.folder / "report.json").read_text(), parse_constant=pytest.fail)
    assert [section["title"] for section in written["sections"]] == ["Sound", "Codebook"]
    assert (written["split"], written["trained_on"], written["conversions"]) == ("test", False, 6)
    distortion = written["sections"][0]["figures"][0]
    assert distortion["low"] <= distortion["value"] <= distortion["high"]
    assert {control["name"] for control in distortion["controls"]} == {
        "source unchanged", "mu-law copy", "pitch-shifted source", "random codes",
    }  # fmt: skip
    assert (report.folder / "report.html").read_text().count("<audio") >= 4


def test_the_same_seed_gives_the_same_report(run, corpus, tmp_path):
    assess(run, corpus, out=tmp_path / "a")
    assess(run, corpus, out=tmp_path / "b")
    assert (tmp_path / "a/report.json").read_text() == (tmp_path / "b/report.json").read_text()


def test_an_interrupted_evaluation_goes_on_where_it_stopped(run, corpus, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(codebook, "measure", interrupt)
        with pytest.raises(KeyboardInterrupt):
            assess(run, corpus)
    assert not (run / "evaluation" / "report.json").exists()
    monkeypatch.setattr(synthesis, "convert_many", lambda *_, **__: pytest.fail("converted again"))
    monkeypatch.setattr(sound, "measure", lambda _: pytest.fail("measured again"))
    assert [section.title for section in assess(run, corpus).sections] == ["Sound", "Codebook"]


def test_what_is_kept_is_judged_as_it_was_made_a_byte_a_sample_where_that_loses_nothing():
    drawn = mu_law_decode(np.random.default_rng(0).integers(0, 256, 500))
    assert synthesis._pack(drawn).dtype == np.uint8
    np.testing.assert_array_equal(synthesis._unpack(synthesis._pack(drawn)), drawn)
    filtered = np.random.default_rng(0).uniform(-1, 1, 500).astype(np.float32)  # as linear prediction speaks
    once = synthesis._unpack(synthesis._pack(filtered))
    np.testing.assert_allclose(once, filtered, atol=2**-15)
    assert synthesis._pack(once).dtype == np.int16
    np.testing.assert_array_equal(synthesis._unpack(synthesis._pack(once)), once)


def test_another_model_is_measured_anew_in_the_same_folder(run, corpus, model):
    first = assess(run, corpus)
    for parameter in model.parameters():
        parameter.data *= 1.1
    save_run(run, model)
    second = assess(run, corpus)
    assert second.facts["weights"] != first.facts["weights"]
    assert second.sections[0].figures[0].value != first.sections[0].figures[0].value
    assert len(list((run / "evaluation" / "material").glob("*.npz"))) == 6  # nothing old is left


def test_a_measure_that_fails_gets_its_line_and_stops_no_other(run, corpus, monkeypatch):
    monkeypatch.setattr(sound, "measure", lambda _: 1 / 0)
    told = []
    report = assess(run, corpus, notify=told.append)
    assert report.sections[0] == Section("Sound", notes=("could not be measured: ZeroDivisionError: division by zero",))
    assert report.sections[1].figures and any("Sound: could not be measured" in line for line in told)
    monkeypatch.undo()
    assert assess(run, corpus).sections[0].figures  # a failure is not kept


def test_a_section_that_lacked_a_package_is_measured_again(run, corpus, monkeypatch):
    lacking = Section("Sound", notes=("not installed: pip install vqspeech[evaluate]",), retry=True)
    with monkeypatch.context() as patch:
        patch.setattr(sound, "measure", lambda _: lacking)
        assert assess(run, corpus).sections[0] == lacking
    assert assess(run, corpus).sections[0].figures


def test_training_utterances_are_refused_unless_asked_for_and_then_labelled(model, corpus, work):
    recipe = model.recipe.model_copy(
        update={"data": model.recipe.data.model_copy(update={"valid_share": 0.0, "test_share": 0.0})}
    )
    run = save_run(work / "runs" / "all", VQVAE(recipe, model.speakers))
    with pytest.raises(CorpusError, match="--trained"):
        assess(run, corpus)
    report = assess(run, corpus, trained=True)
    assert report.facts["trained_on"] and "TRAINED ON" in report.notes[0]
    assert "trained on" in (report.folder / "report.html").read_text()


def test_without_a_test_split_the_validation_split_is_taken_and_named():
    store = SimpleNamespace(split_sizes={"train": 5, "valid": 2, "test": 0})
    split, note = choose_split(store, trained=False)
    assert split == "valid" and "no test split" in note


def test_other_recordings_are_not_prepared_over_those_of_the_training(run, corpus, store, tmp_path):
    before = (store.folder / "store.json").read_text()
    for speaker in store.speakers:
        for take in range(12):
            save_audio(
                tmp_path / "mine" / speaker / f"{take}.wav", np.random.default_rng(take).normal(0, 0.1, 2000), 4000
            )
    report = assess(run, tmp_path / "mine")
    assert (store.folder / "store.json").read_text() == before
    assert (report.folder / "prepared" / "store.json").is_file()


def test_recordings_of_strangers_are_refused(run, tmp_path):
    save_noises(tmp_path / "mine" / "zoe")
    with pytest.raises(CorpusError, match="speaker of the model"):
        assess(run, tmp_path / "mine")


def test_a_model_against_itself_is_not_told_apart(run, corpus):
    report = assess(run, corpus, against=run)
    measured = [difference for *_, difference in report.differences() if difference.is_measured]
    assert measured and all(difference.value == 0 for difference in measured)
    assert {
        trial["verdict"] for trial in json.loads((report.folder / "report.json").read_text())["against"]["differences"]
    }
    assert all(difference.count for difference in measured if np.isfinite(difference.low))


def test_models_without_a_common_voice_cannot_be_compared(run, corpus, model, work):
    other = save_run(work / "runs" / "other", VQVAE(model.recipe, ("eve", "frank")))
    with pytest.raises(CorpusError, match="no voice in common"):
        assess(run, corpus, against=other)


def test_one_voice_is_reported_as_such(corpus, work, model, store):
    voice = store.speakers[store.speaker(store.utterances("test")[0])]
    run = save_run(work / "runs" / "one", VQVAE(model.recipe, (voice,)))
    report = assess(run, corpus, pairs=1)
    assert any("one voice only" in note for note in report.notes)
    assert any("2 speakers of the corpus are not the model's" in note for note in report.notes)
    gain = next(one for one in report.sections[1].figures if one.name == "speaker gain")
    assert not gain.is_measured and "one voice" in gain.note


def test_fewer_conversions_than_asked_for_are_said(run, corpus):
    report = assess(run, corpus, pairs=1000)
    assert any("of the 1000 asked for" in note for note in report.notes)


def test_all_pairs_are_every_utterance_to_every_other_voice_and_said_before(run, corpus, store):
    said: list[str] = []
    report = assess(run, corpus, pairs="all", measures=["codebook"], notify=said.append)
    assert report.facts["conversions"] == 2 * store.split_sizes["test"]
    assert said[0].startswith(f"{2 * store.split_sizes['test']} conversions: every utterance to every other voice")
    assert not any("asked for" in note for note in report.notes)


def test_pairs_that_are_neither_a_number_nor_all_are_refused_by_the_command(run, corpus):
    from vqspeech.cli.main import main

    done = CliRunner().invoke(main, ["evaluate", str(run), "--data", str(corpus), "--pairs", "some"])
    assert done.exit_code == 1 and "--pairs some: expected a whole number, at least 1, or 'all'" in done.output


def test_no_conversions_are_refused(run, corpus):
    with pytest.raises(VQSpeechError, match="at least 1"):
        assess(run, corpus, pairs=0)


def test_the_command_prints_the_table_and_where_the_report_is(run, corpus, monkeypatch):
    from vqspeech.cli.main import main

    monkeypatch.setattr(evaluate.evaluate, "__kwdefaults__", evaluate.evaluate.__kwdefaults__ | {"measures": QUICK})
    done = CliRunner().invoke(main, ["evaluate", str(run), "--data", str(corpus), "--pairs", "4", "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert "mel-cepstral distortion" in done.output and "report.html" in done.output


def test_the_command_tells_an_interrupted_user_how_to_go_on(run, corpus, monkeypatch):
    from vqspeech.cli.main import main

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "evaluate", interrupt)
    done = CliRunner().invoke(main, ["evaluate", str(run), "--data", str(corpus)])
    assert done.exit_code == 130 and "Go on with the same command" in done.output


# Pair


@given(st.integers(2, 7), st.data())
def test_every_speaker_is_source_as_often_as_any_other_and_target_of_nobody_twice(size, data):
    voices = [f"v{number}" for number in range(size)]
    rounds = data.draw(st.integers(1, size - 1))
    sexes = {voice: data.draw(st.sampled_from("FM")) for voice in voices if data.draw(st.booleans())}
    targets = assign_targets(voices, voices, rounds, sexes)
    for speaker, given_to in targets.items():
        assert len(given_to) == len(set(given_to)) == rounds and speaker not in given_to


def test_without_sexes_targets_are_as_frequent_as_sources():
    voices = list("abcdef")
    targets = assign_targets(voices, voices, 2, {})
    assert Counter(t for own in targets.values() for t in own) == dict.fromkeys(voices, 2)


def test_half_of_the_pairs_cross_the_sexes():
    voices = list("abcdefgh")
    sexes = dict(zip(voices, "FFFFMMMM", strict=True))
    targets = assign_targets(voices, voices, 2, sexes)
    crossing = [sexes[s] != sexes[t] for s, own in targets.items() for t in own]
    assert sum(crossing) == len(crossing) / 2


def test_utterances_come_again_for_other_targets_when_there_are_few(store):
    pairs = choose_pairs(store, "test", store.speakers, 1000, sexes={}, seed=0)
    assert len(pairs) == len(set(pairs))  # no conversion twice
    speakers = {store.speakers[store.speaker(index)] for index in store.utterances("test")}
    assert {pair.speaker for pair in pairs} == speakers
    assert all(pair.speaker != pair.target for pair in pairs)
    assert len(pairs) == 2 * store.split_sizes["test"]  # each to both others


def test_a_speaker_without_others_is_their_own_target():
    assert assign_targets(["a"], ["a"], 1, {}) == {"a": ["a"]}


# Evaluation


def make(model, store, folder, **settings):
    pairs = choose_pairs(store, "test", store.speakers, 4, sexes={}, seed=0)
    return make_evaluation(model, store, pairs, folder, Settings(**settings), split="test", sexes={})


def test_conversions_are_those_of_convert(model, store, tmp_path):
    import zlib

    from vqspeech.conversion import convert

    trial = make(model, store, tmp_path, seed=3).trials[0]
    number = zlib.crc32(trial.utterance.encode())
    for wav, speaker in ((trial.conversion, trial.target), (trial.reconstruction, trial.speaker)):
        np.testing.assert_array_equal(wav, convert(model, trial.source, speaker, seed=3, utterance=number))
    np.testing.assert_array_equal(trial.codes, model.encode(trial.source).numpy())


def test_all_sounds_of_a_trial_have_the_length_of_their_source(model, store, tmp_path):
    for trial in make(model, store, tmp_path).trials:
        for way in ("reconstruction", "conversion", "mu_law", "shifted", "random"):
            assert getattr(trial, way).shape == trial.source.shape and getattr(trial, way).dtype == np.float32


def test_kept_trials_is_the_same_and_damaged_files_are_made_again(model, store, tmp_path):
    first = make(model, store, tmp_path)
    next(iter(tmp_path.glob("*.npz"))).write_bytes(b"broken")
    again = make(model, store, tmp_path)
    for one, other in zip(first.trials, again.trials, strict=True):
        for way in ("reconstruction", "conversion", "shifted", "random", "codes"):
            np.testing.assert_array_equal(getattr(one, way), getattr(other, way))


def test_random_codes_do_not_depend_on_what_is_decoded_beside_them(model):
    jobs = [(20, "ada", 1), (30, "ben", 2), (25, "cyd", 3)]
    together = decode_random(model, jobs, seed=0, num_threads=2)
    alone = decode_random(model, jobs[1:2], seed=0, num_threads=1)
    np.testing.assert_array_equal(together[1], alone[0])
    assert [len(wav) for wav in together] == [20 * 16, 30 * 16, 25 * 16]


def test_the_shifted_source_has_the_pitch_asked_for_and_its_own_length():
    t = np.arange(16000) / 8000
    wav = sum(0.2 / k * np.sin(2 * np.pi * 120 * k * t) for k in range(1, 8)).astype(np.float32)
    assert median_f0(wav, 8000) == pytest.approx(120, rel=0.02)
    shifted = shift_pitch(wav, 8000, 1.5)
    assert median_f0(shifted, 8000) == pytest.approx(180, rel=0.02) and len(shifted) == len(wav)


def test_what_has_no_pitch_is_not_shifted():
    silence = np.zeros(4000, np.float32)
    assert np.isnan(median_f0(silence, 8000))
    np.testing.assert_array_equal(shift_pitch(silence, 8000, float("nan")), silence)


# Sexes


def test_vctk_and_librispeech_and_fsdd_tell_the_sexes(tmp_path):
    (tmp_path / "speaker-info.txt").write_text("ID  AGE  GENDER\np225  23  F    English\n226  22  M  English\n")
    assert find_sexes(DataConfig(corpus="vctk"), tmp_path, ["p225", "p226", "p999"]) == {"p225": "F", "p226": "M"}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "SPEAKERS.TXT").write_text(
        "; comment\n14   | F | train | 25.0 | Kristin\n17 | M | train | 1 | G\n"
    )
    assert find_sexes(DataConfig(corpus="librispeech"), tmp_path / "a", ["14", "17"]) == {"14": "F", "17": "M"}
    (tmp_path / "metadata.py").write_text("metadata = {\n  'jackson': {\n    'gender': 'male',\n  },\n}\n")
    assert find_sexes(DataConfig(corpus="fsdd"), tmp_path / "recordings", ["jackson", "theo"]) == {"jackson": "M"}


def test_a_corpus_that_does_not_tell_leaves_the_sexes_out(tmp_path):
    assert find_sexes(DataConfig(corpus="folder"), tmp_path, ["ann"]) == {}


# Bad content, in the measures that need nothing optional


def test_silent_and_broken_conversions_get_their_lines(model, store, tmp_path):
    whole = make(model, store, tmp_path)
    silent, broken, *_ = whole.trials
    silent = replace(silent, conversion=np.zeros_like(silent.conversion))
    spoilt = broken.reconstruction.copy()
    spoilt[5] = np.nan
    broken = replace(broken, reconstruction=spoilt)
    section = sound.measure(replace(whole, trials=(silent, broken)))
    assert any("conversion is silent in" in note for note in section.notes)
    assert any("reconstruction holds values that are not finite in 1" in note for note in section.notes)
    assert "could not be measured" in section.figures[0].note and section.figures[0].is_measured


def test_a_decoder_that_cannot_be_run_leaves_the_other_figures(model, store, tmp_path, monkeypatch):
    whole = make(model, store, tmp_path)
    monkeypatch.setattr(gains, "_forced_bits", lambda _: 1 / 0)
    figures = {one.name: one for one in codebook.measure(whole).figures}
    assert figures["perplexity"].is_measured and not figures["code gain"].is_measured
    assert "could not be run" in figures["code gain"].note


def test_the_bits_are_those_of_the_training_s_gains(model, store, tmp_path):
    from vqspeech.likelihood.gains import compute_gains, held_out_batches

    pairs = choose_pairs(store, "test", store.speakers, 1000, sexes={}, seed=0)
    whole = make_evaluation(model, store, pairs, tmp_path, Settings(), split="test", sexes={})
    figures = {one.name: one for one in codebook.measure(whole).figures}
    expected = compute_gains(model, held_out_batches(model, store, "test", 1000, at_a_time=8))
    assert figures["bits per sample"].value == pytest.approx(expected.bits, abs=1e-4)
    assert figures["perplexity"].value == pytest.approx(expected.perplexity, rel=1e-4)
    assert figures["bit rate, codes' frequencies"].value == pytest.approx(expected.bit_rate, rel=1e-4)


def test_run_lengths_add_up_to_the_codes():
    codes = np.array([3, 3, 3, 1, 1, 3])
    assert deduplicate(codes)[1].tolist() == [3, 2, 1] and deduplicate(codes[:1])[1].tolist() == [1]


def test_a_recording_is_no_distance_from_itself_and_level_is_no_distortion(chirp):
    assert sound.mel_cepstral_distortion(chirp, chirp, 8000) == 0 == sound.stft_distance(chirp, chirp, 8000)
    noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    assert sound.mel_cepstral_distortion(noise, 0.5 * noise, 8000) == pytest.approx(0, abs=1e-3)
    assert sound.stft_distance(noise, 0.5 * noise, 8000) == pytest.approx(0.5 + np.log(2), abs=1e-3)


def test_mel_cepstral_distortion_of_one_coefficient_is_hand_arithmetic(monkeypatch, chirp):
    cepstra = iter([np.zeros((4, 13)), np.eye(4, 13) * 0.5])
    monkeypatch.setattr(sound, "_mel_cepstra", lambda *_: next(cepstra))
    assert sound.mel_cepstral_distortion(chirp, chirp, 8000) == pytest.approx(10 / np.log(10) * np.sqrt(2 * 0.25))


def test_a_mel_cepstrum_is_the_cosine_series_of_the_log_spectrum(monkeypatch, chirp):
    import librosa

    bands = np.arange(40)
    curve = 0.7 * np.cos(np.pi * 3 * (bands + 0.5) / 40)  # c_3 = 0.7 of the log magnitude
    monkeypatch.setattr(librosa.feature, "melspectrogram", lambda **_: np.exp(2 * curve)[:, None])
    expected = np.zeros(13)
    expected[2] = 0.7
    np.testing.assert_allclose(sound._mel_cepstra(chirp, 8000)[0], expected, atol=1e-6)


def test_noise_is_further_than_the_mu_law_copy(chirp):
    noise = np.random.default_rng(0).normal(0, 0.1, len(chirp)).astype(np.float32)
    copy = synthesis.pass_mu_law(chirp)
    for distance in (sound.mel_cepstral_distortion, sound.stft_distance):
        assert distance(chirp, copy, 8000) < distance(chirp, noise, 8000)


def test_a_quick_look_makes_fewer_conversions_and_says_so(run, corpus, monkeypatch):
    monkeypatch.setattr(evaluate, "QUICK", ("sound",))
    monkeypatch.setattr(evaluate, "QUICK_PAIRS", 2)
    report = evaluate.evaluate(run, data=corpus, quick=True, num_threads=1)
    assert report.facts["conversions"] == 2 and [section.title for section in report.sections] == ["Sound"]
    assert "measured with --quick" in report.summary().basis()
    monkeypatch.setattr(evaluate, "PAIRS", 3)
    assert "measured with --quick" not in assess(run, corpus).summary().basis()
