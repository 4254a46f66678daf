"""Listening tests from a model or a folder: balanced items, equal loudness, names that tell nothing, refusals."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import yaml

from commands import call, contents, refuse
from vqspeech.audio import load_audio, save_audio
from vqspeech.config import parse_recipe
from vqspeech.data.preparation import prepare_store
from vqspeech.data.store import Store
from vqspeech.errors import ListeningTestError
from vqspeech.listening.design.corpus_items import distinct_names, plan_items
from vqspeech.listening.design.export import export
from vqspeech.listening.design.foreign import webmushra
from vqspeech.listening.design.loudness import TARGET_LUFS, loudness
from vqspeech.listening.key import read_key
from vqspeech.listening.kinds import KINDS
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.cards import ModelCard
from vqspeech.pretrained.checkpoint import MODEL_FILE, save_model

RATE = 4000
SEXES = {"ada": "F", "ben": "M", "cyd": "F"}


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    """Folder of three speakers, sixteen half-seconds of noisy tone each; what is said is the take's number."""
    folder = tmp_path_factory.mktemp("speech")
    for number, speaker in enumerate(SEXES):
        for take in range(16):
            random = np.random.default_rng([number, take])
            t = np.arange(RATE // 2 + 40 * take) / RATE
            wav = 0.2 * np.sin(2 * np.pi * (150 + 80 * number + 5 * take) * t) + random.normal(0, 0.02, len(t))
            save_audio(folder / speaker / f"{speaker}-{take:02d}.wav", wav.astype(np.float32), RATE)
    return folder


@pytest.fixture(scope="module")
def recipe(tiny_values):
    shares = {"valid_share": 0.1, "test_share": 0.6}
    return parse_recipe(tiny_values | {"data": tiny_values["data"] | shares}, "a recipe that holds much out")


@pytest.fixture(scope="module")
def held_out(recipe, speech, tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("store") / "prepared"
    prepare_store(recipe.data, speech, folder, num_workers=1)
    return Store.open(folder)


@pytest.fixture(scope="module")
def runs(recipe, tmp_path_factory) -> Path:
    """Run folders: `first` and `second`, untrained, of three voices; `alone`, of one."""
    folder = tmp_path_factory.mktemp("runs")
    for name, voices in (("first", tuple(SEXES)), ("second", tuple(SEXES)), ("alone", ("ada",))):
        model = VQVAE(recipe, voices)
        save_model(folder / name / MODEL_FILE, model.state_dict(), ModelCard(recipe, voices, version="0.1.0"))
    return folder


@pytest.fixture(scope="module")
def tests(runs, speech, tmp_path_factory) -> dict[str, SimpleNamespace]:
    """One test of each kind, of four trials, for six listeners; `preference` and `mushra` compare two models."""
    folder = tmp_path_factory.mktemp("tests")
    made = {}
    for kind in KINDS:
        against = [runs / "second"] if kind in ("preference", "mushra") else []
        test = export(
            runs / "first", kind=kind, out=folder / kind, data=speech, against=against, trials=4, listeners=6,
            formats=("webmushra", "csv"), num_threads=1,
        )  # fmt: skip
        made[kind] = SimpleNamespace(folder=test.folder, key=test.key, systems=test.systems)
    return made


@pytest.fixture
def systems(tmp_path) -> Path:
    """Folder of two systems, three sounds of 0.3 s each."""
    for number, system in enumerate(("alpha", "beta")):
        for item in range(3):
            wav = np.random.default_rng([number, item]).normal(0, 0.05 * (1 + number), 2400).astype(np.float32)
            save_audio(tmp_path / "systems" / system / f"item{item}.wav", wav, 8000)
    return tmp_path / "systems"


def public_text(folder: Path) -> str:
    return "".join(p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file() and p.suffix != ".wav")


def roles(key, place: int) -> list[str]:
    return [key.trials[name].role for name in key.orders[place]]


# Items


def test_short_utterances_of_one_speaker_are_joined_to_a_second_and_none_is_in_two_items(held_out):
    plans = plan_items(held_out, "test", held_out.speakers, 8, sexes=SEXES, seed=0)
    assert len(plans) == 8
    length = {held_out.utterance_id(i): held_out.length(i) / RATE for i in held_out.utterances("test")}
    for plan in plans:
        assert 2 <= len(plan.utterances) <= 3 and sum(length[name] for name in plan.utterances) >= 0.75
        assert all(name.split("/")[-1].startswith(plan.speaker) for name in plan.utterances)
        assert plan.target != plan.speaker
    counts = Counter(name for plan in plans for name in plan.utterances)
    assert set(counts.values()) == {1}
    assert set(counts) <= set(length)  # held out


def test_items_are_balanced_over_speakers(held_out):
    plans = plan_items(held_out, "test", held_out.speakers, 6, sexes=SEXES, seed=0)
    counts = Counter(plan.speaker for plan in plans)
    assert set(counts) == set(SEXES) and max(counts.values()) - min(counts.values()) <= 1


def test_every_system_says_the_same_joined_utterances_in_the_same_length(tests):
    key = tests["mos"].key
    lengths: dict[str, set[int]] = {}
    for name, stimulus in key.stimuli.items():
        if stimulus.system in ("source", "reconstruction", "first"):
            wav, _ = soundfile.read(tests["mos"].folder / "sounds" / f"{name}.wav")
            lengths.setdefault(stimulus.item, set()).add(len(wav))
    assert lengths and all(len(found) == 1 and min(found) >= RATE for found in lengths.values())


@pytest.mark.parametrize(
    ("kind", "models", "expected"),
    [
        ("mos", ["m"], ("source", "reconstruction", "m")),
        ("mos", ["m", "n"], ("source", "reconstruction", "m", "n")),
        ("similarity", ["m"], ("target", "source", "m")),
        ("abx", ["m", "n"], ("m", "n")),
        ("preference", ["m", "n"], ("m", "n")),
        ("preference", ["m"], ("source", "reconstruction", "m")),
        ("mushra", ["m"], ("source", "reconstruction")),
        ("mushra", ["m", "n"], ("source", "m", "n")),
    ],
)
def test_what_is_judged_depends_on_the_kind(kind, models, expected):
    assert KINDS[kind].systems(models, True) == expected


def test_models_of_one_name_and_models_called_like_real_speech_keep_names_of_their_own():
    assert distinct_names(["m", "m", "source", "anchor-7"]) == ["m", "m'", "source'", "model anchor-7"]


# Trials and orders


@pytest.mark.parametrize("kind", KINDS)
def test_a_listener_trains_first_then_hears_each_item_once_with_a_check_and_a_repeat(tests, kind):
    key = tests[kind].key
    for place, order in enumerate(key.orders):
        assert roles(key, place)[0] == "training"
        assert Counter(roles(key, place)) == {"training": 1, "main": 4, "attention": 1, "repeat": 1}
        main = [key.trials[name] for name in order if key.trials[name].role == "main"]
        assert len({trial.item for trial in main}) == 4
        (again,) = [name for name in order if key.trials[name].role == "repeat"]
        first = key.trials[again].repeats
        assert order.index(again) - order.index(first) >= 2
        assert set(key.trials[again].rated) == set(key.trials[first].rated)


@pytest.mark.parametrize("kind", ["mos", "similarity"])
def test_every_item_is_heard_from_every_system_equally_often(tests, kind):
    key = tests[kind].key
    heard = Counter(
        (key.trials[name].item, key.stimuli[key.trials[name].rated[0]].system)
        for order in key.orders for name in order if key.trials[name].role == "main"
    )  # fmt: skip
    assert len(heard) == 4 * 3 and set(heard.values()) == {len(key.orders) // 3}


def test_in_a_pair_each_system_is_a_and_b_equally_often(tests):
    key = tests["preference"].key
    firsts = Counter(
        key.stimuli[key.trials[name].rated[0]].system
        for order in key.orders for name in order if key.trials[name].role == "main"
    )  # fmt: skip
    assert firsts == {"first": 12, "second": 12}


def test_in_abx_the_target_speaker_is_expected_and_the_pair_is_real_speech_of_other_utterances(tests):
    key = tests["abx"].key
    for trial in key.trials.values():
        a_and_b = [key.stimuli[name] for name in trial.rated]
        assert {stimulus.system for stimulus in a_and_b} == {"source", "target"}
        x = key.stimuli[trial.reference]
        if trial.role == "attention":
            assert x.sha256 == key.stimuli[trial.expected.choice].sha256
        else:
            assert key.stimuli[trial.expected.choice].system == "target" and x.system == "first"
            assert not set(x.item.split(" + ")) & {name for s in a_and_b for name in s.item.split(" + ")}


def test_in_similarity_two_real_recordings_of_the_target_are_not_the_same_one(tests):
    key = tests["similarity"].key
    real = [t for t in key.trials.values() if key.stimuli[t.rated[0]].system == "target"]
    assert real and all(key.stimuli[t.rated[0]].item != key.stimuli[t.reference].item or
                        key.stimuli[t.rated[0]].sha256 != key.stimuli[t.reference].sha256 for t in real)  # fmt: skip


def test_in_mushra_the_hidden_reference_equals_the_open_one_and_anchors_stand_beside_it(tests):
    key = tests["mushra"].key
    for trial in key.trials.values():
        if trial.role != "attention":
            systems = {key.stimuli[name].system: key.stimuli[name].sha256 for name in trial.rated}
            assert set(systems) == {"source", "first", "second", "anchor-875", "anchor-1500"}
            assert systems["source"] == key.stimuli[trial.reference].sha256 and trial.reference not in trial.rated


def test_the_repeat_of_a_pair_is_the_other_way_round(tests):
    for kind in ("abx", "preference"):
        key = tests[kind].key
        again = [trial for trial in key.trials.values() if trial.role == "repeat"]
        assert again and all(trial.rated == key.trials[trial.repeats].rated[::-1] for trial in again)


# Blinding


@pytest.mark.parametrize("kind", KINDS)
def test_the_public_folder_names_no_system_speaker_role_or_expected_answer(tests, kind):
    text = public_text(tests[kind].folder).lower()
    for word in (
        "reconstruction",
        "anchor-",
        "attention",
        "repeats",
        "expected",
        '"first"',
        '"second"',
        "ada-",
        "ben-",
    ):
        assert word not in text, word


@pytest.mark.parametrize("kind", KINDS)
def test_neither_order_nor_time_nor_header_of_a_file_tells_its_system(tests, kind):
    folder, key = tests[kind].folder, tests[kind].key
    assert list(key.stimuli) == sorted(key.stimuli) and list(key.trials) == sorted(key.trials)
    assert len({path.stat().st_mtime for path in folder.rglob("*")}) == 1
    for path in (folder / "sounds").iterdir():
        data = path.read_bytes()
        assert re.fullmatch(r"s[0-9a-f]{12}\.wav", path.name)
        assert (
            data[12:16] == b"fmt "
            and data[36:40] == b"data"
            and len(data) == 44 + int.from_bytes(data[40:44], "little")
        )


def test_a_second_export_has_the_same_sounds_under_other_names(tests, runs, speech, tmp_path):
    again = export(
        runs / "first", kind="mos", out=tmp_path / "again", data=speech, trials=4, listeners=6, num_threads=1
    )
    entries = [
        Counter((s.system, s.item, s.sha256) for s in key.stimuli.values()) for key in (again.key, tests["mos"].key)
    ]
    assert entries[0] == entries[1]
    assert not set(again.key.stimuli) & set(tests["mos"].key.stimuli)


def test_the_key_lies_beside_the_folder_and_never_in_it(tests):
    folder = tests["mos"].folder
    assert read_key(folder.parent / "mos.key.json") == tests["mos"].key
    assert not list(folder.rglob("*key*"))


# Sound


def test_all_stimuli_of_a_test_are_equally_loud_and_none_is_clipped(tests):
    found = []
    for path in (tests["mos"].folder / "sounds").iterdir():
        wav = load_audio(path)
        assert np.abs(wav).max() < 1
        found.append(loudness(wav, RATE))
    assert np.ptp(found) < 0.1 and max(found) <= TARGET_LUFS + 0.1


def test_sounds_too_short_for_a_gated_loudness_are_matched_by_their_level(systems, tmp_path):
    test = export(None, kind="mos", out=tmp_path / "t", stimuli=systems, trials=3, listeners=2)
    quiet, loud = ([p for p in (test.folder / "sounds").iterdir() if test.key.stimuli[p.stem].system == name]
                   for name in ("alpha", "beta"))  # fmt: skip
    levels = [np.sqrt(np.mean(load_audio(path) ** 2)) for path in (*quiet, *loud)]
    assert max(levels) / min(levels) < 1.01
    assert levels[0] == pytest.approx(10 ** ((TARGET_LUFS + 0.691) / 20), rel=0.01)


# A folder of anyone's systems


def test_sounds_of_different_rates_and_formats_are_brought_to_the_highest_rate(systems, tmp_path):
    (systems / "beta" / "item0.wav").unlink()
    save_audio(systems / "beta" / "item0.flac", np.random.default_rng(0).normal(0, 0.1, 4800), 16000)
    test = export(None, kind="preference", out=tmp_path / "t", stimuli=systems, trials=2)
    assert {soundfile.info(path).samplerate for path in (test.folder / "sounds").iterdir()} == {16000}


def test_a_missing_stimulus_is_named(systems, place):
    (systems / "beta" / "item1.wav").unlink()
    sentence = refuse("listening-test", "export", "--stimuli", systems, "--kind", "mos", "--out", "t", "--trials", 2)
    assert "beta lacks item1" in sentence


@pytest.mark.parametrize(
    ("kind", "missing"), [("mushra", "reference"), ("similarity", "target"), ("abx", "source"), ("preference", None)]
)
def test_a_kind_says_which_subfolders_it_needs(systems, place, kind, missing):
    if kind == "preference":
        for path in (systems / "beta").iterdir():
            path.unlink()
        (systems / "beta").rmdir()
    sentence = refuse("listening-test", "export", "--stimuli", systems, "--kind", kind, "--out", "t", "--trials", 2)
    assert (missing or "at least 2") in sentence


def test_a_silent_stimulus_is_refused(systems, place):
    save_audio(systems / "beta" / "item1.wav", np.zeros(2400), 8000)
    assert "silent" in refuse(
        "listening-test", "export", "--stimuli", systems, "--kind", "mos", "--out", "t", "--trials", 3
    )


# Refusals


def test_fewer_utterances_than_trials_are_told_with_the_number_that_there_are(runs, speech, tmp_path):
    before = contents(tmp_path)
    with pytest.raises(ListeningTestError, match=r"500 trials .* gives \d+ items .* --trials \d+"):
        export(runs / "first", kind="mos", data=speech, out=tmp_path / "t", trials=500)
    assert contents(tmp_path) == before


def test_fewer_items_than_trials_in_a_folder_are_told(systems, place):
    sentence = refuse("listening-test", "export", "--stimuli", systems, "--kind", "mos", "--out", "t", "--trials", 4)
    assert "holds 3 items" in sentence and "--trials 3" in sentence


@pytest.mark.parametrize("kind", ["similarity", "abx"])
def test_one_speaker_is_too_few_where_it_is_asked_whose_voice_it_is(runs, speech, tmp_path, kind):
    with pytest.raises(ListeningTestError, match=r"one voice only \(ada\)"):
        export(runs / "alone", kind=kind, data=speech, out=tmp_path / "t", trials=2)


def test_one_speaker_is_enough_for_naturalness(runs, speech, tmp_path):
    test = export(runs / "alone", kind="mos", data=speech, out=tmp_path / "t", trials=2, num_threads=1)
    assert test.systems == ("source", "reconstruction")


def test_nothing_is_written_over_a_test_its_key_or_its_answers(systems, place):
    arguments = "listening-test", "export", "--stimuli", systems, "--kind", "mos", "--trials", 2, "--out"
    call(*arguments, "t")
    assert "t exists" in refuse(*arguments, "t")
    Path("u.key.json").write_text("{}")
    assert "u.key.json exists" in refuse(*arguments, "u")
    Path("v.results.sqlite").write_text("")
    assert "v.results.sqlite exists" in refuse(*arguments, "v")


def test_models_of_different_sample_rates_are_compared_at_the_highest(runs, recipe, speech, tmp_path):
    finer = recipe.model_copy(update={"data": recipe.data.model_copy(update={"sample_rate": 2 * RATE})})
    model = VQVAE(finer, tuple(SEXES))
    save_model(tmp_path / "finer" / MODEL_FILE, model.state_dict(), ModelCard(finer, tuple(SEXES), version="0.1.0"))
    against = [tmp_path / "finer"]
    test = export(runs / "first", kind="mos", out=tmp_path / "t", data=speech, against=against, trials=2, num_threads=1)
    assert test.systems == ("source", "reconstruction", "first", "finer")
    sounds = {name: soundfile.info(test.folder / "sounds" / f"{name}.wav") for name in test.key.stimuli}
    assert {sound.samplerate for sound in sounds.values()} == {2 * RATE}
    frames: dict[str, set[int]] = {}
    for name, stimulus in test.key.stimuli.items():
        frames.setdefault(stimulus.item, set()).add(sounds[name].frames)
    assert all(max(found) - min(found) <= 8 for found in frames.values())


def test_neither_model_nor_folder_or_both_is_refused(systems, runs, place):
    for given in ((), (runs / "first", "--stimuli", systems)):
        assert "either a MODEL" in refuse("listening-test", "export", *given, "--kind", "mos", "--out", "t")


def test_what_fails_while_writing_leaves_nothing(systems, tmp_path, monkeypatch):
    before = contents(tmp_path)
    with pytest.raises(ZeroDivisionError):
        monkeypatch.setattr("vqspeech.listening.design.folder.write_key", lambda path, key: 1 / 0)
        export(None, kind="mos", stimuli=systems, out=tmp_path / "t", trials=2)
    assert contents(tmp_path) == before


def test_own_consent_takes_the_place_of_the_pages_and_markup_in_it_stays_text(systems, tmp_path):
    (tmp_path / "consent.txt").write_text("Dear <b>listener</b>,\n\nplease\nhelp.", encoding="utf-8")
    test = export(None, kind="mos", stimuli=systems, out=tmp_path / "t", trials=2, consent=tmp_path / "consent.txt")
    script = (test.folder / "test.js").read_text()
    told = json.loads(script.partition("window.LISTENING_TEST = ")[2].rstrip(";\n"))
    assert told["consent"] == ["Dear <b>listener</b>,", "please help."]


# Other tools


def test_webmushra_gets_the_keys_that_its_documentation_names(tests):
    documented = {
        "generic": {"type", "id", "name", "content"},
        "mushra": {"type", "id", "name", "content", "showWaveform", "enableLooping", "strict", "reference",
                   "createAnchor35", "createAnchor70", "randomize", "showConditionNames", "stimuli", "switchBack"},
        "paired_comparison": {"type", "id", "name", "content", "unforced", "showWaveform", "enableLooping", "reference",
                              "stimuli"},
        "likert_single_stimulus": {"type", "id", "name", "content", "showWaveform", "mustRate", "mustPlayback",
                                   "stimuli", "maxStimuli", "response"},
        "finish": {"type", "name", "content", "showResults", "writeResults"},
    }  # fmt: skip
    kinds = {"mushra": "mushra", "abx": "paired_comparison", "preference": "paired_comparison",
             "mos": "likert_single_stimulus", "similarity": "likert_single_stimulus"}  # fmt: skip
    for kind, page_type in kinds.items():
        folder, key = tests[kind].folder, tests[kind].key
        files = sorted((folder / "webmushra").iterdir())
        assert len(files) == len(key.orders)
        configuration = yaml.safe_load(files[1].read_text())
        assert configuration == webmushra(key, 1, f"configs/{kind}")
        assert set(configuration) == {"testname", "testId", "bufferSize", "stopOnErrors", "showButtonPreviousPage",
                                      "remoteService", "pages"}  # fmt: skip
        assert configuration["bufferSize"] in (256, 512, 1024, 2048, 4096, 8192, 16384)
        pages = configuration["pages"]
        assert [page["type"] for page in pages] == ["generic", *[page_type] * len(key.orders[1]), "finish"]
        for page in pages:
            assert set(page) <= documented[page["type"]]
            for path in [page.get("reference"), *page.get("stimuli", {}).values()]:
                assert path is None or (folder.parent / path.removeprefix("configs/")).is_file()


def test_webmushra_adds_the_hidden_reference_itself(tests):
    key = tests["mushra"].key
    pages = [page for page in webmushra(key, 0, "configs/t")["pages"] if page["type"] == "mushra"]
    shown = Counter(key.stimuli[name].system for page in pages for name in page["stimuli"])
    assert "source" not in shown and shown["first"] == shown["anchor-875"] == 6  # the attention page has none of them


def test_the_csv_has_a_row_for_each_page_of_each_place(tests):
    for kind in KINDS:
        key, folder = tests[kind].key, tests[kind].folder
        with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(int(row["place"]), row["trial"]) for row in rows] == [
            (place, name) for place, order in enumerate(key.orders) for name in order
        ]
        for row in rows:
            assert [row[f"stimulus_{n}"] for n in range(1, 1 + len(key.trials[row["trial"]].rated))] == [
                f"sounds/{name}.wav" for name in key.trials[row["trial"]].rated
            ]
