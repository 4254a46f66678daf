"""The section "Units": perfect units, random ones, what cannot be measured, and that the time is bounded."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vqspeech.evaluation.evaluate import MEASURES
from vqspeech.evaluation.figures.pairing import paired
from vqspeech.evaluation.measures import unit_abx
from vqspeech.evaluation.measures.unit_abx import KMEANS, MAX_FRAME_PAIRS, plan_abx
from vqspeech.evaluation.measures.units import SHUFFLED, Rates, measure, measure_units
from vqspeech.evaluation.report.sections import section_from_json, section_to_json
from vqspeech.evaluation.tools.mfcc import centre_vectors, cluster_mfccs, fit_clusters, normalised_mfccs, quantize
from vqspeech.evaluation.trials.coded_speech import CodedSpeech
from vqspeech.units.items import make_items
from vqspeech.units.phones import Phone, fill_gaps, frame_labels

pytestmark = pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # noise makes few different frames
RATE, HOP = 8000, 160  # 50 codes a second
PITCH = {"AA": 300, "IY": 700, "S": 1500, "M": 2600, "UW": 3400}  # Hz
NAMES = [*PITCH, "SIL"]
NUM_CODES = len(NAMES)
RATES = Rates(NUM_CODES, RATE, HOP, np.eye(NUM_CODES, 4).astype(np.float32))
UNITS = {
    "ABX error within speakers, codes": "%",
    "ABX error across speakers, codes": "%",
    "ABX error within speakers, quantized vectors": "%",
    "ABX error across speakers, quantized vectors": "%",
    "bit rate": "bits/s",
    "PNMI": "",
    "cluster purity": "",
    "phone purity": "",
    "phoneme error rate": "%",
    "boundary R-value": "",
}


def talk(seed: int, num: int = 25) -> list[Phone]:
    """Phones of 80 to 160 ms in whole code frames, no two alike in a row, silence at both ends."""
    random = np.random.default_rng(seed)
    names, times = ["SIL"], [0.0]
    for _ in range(num):
        names.append(str(random.choice([name for name in PITCH if name != names[-1]])))
    for _ in [*names, "SIL"]:
        times.append(times[-1] + 0.02 * int(random.integers(4, 9)))
    return [Phone(start, end, name) for start, end, name in zip(times, times[1:], [*names, "SIL"])]


def say(phones: list[Phone], seed: int) -> np.ndarray:
    """A tone a phone, with some noise."""
    random = np.random.default_rng(seed)
    pieces = []
    for start_s, end_s, name in phones:
        t = np.arange(round((end_s - start_s) * RATE)) / RATE
        pieces.append(0.3 * np.sin(2 * np.pi * PITCH[name] * t) if name in PITCH else 0 * t)
    wav = np.concatenate(pieces)
    return (wav + random.normal(0, 0.01, len(wav))).astype(np.float32)


def make_speech(num: int = 8, speakers=("ann", "bob"), spoil: float = 0.0) -> tuple[CodedSpeech, list]:
    """Utterances whose codes are their phones, a share of them drawn at random."""
    random = np.random.default_rng(1)
    phones = [talk(seed) for seed in range(num)]
    wavs = [say(own, seed) for seed, own in enumerate(phones)]
    codes = [frame_labels(own, NAMES, len(wav) // HOP, RATE / HOP) for own, wav in zip(phones, wavs)]
    codes = [np.where(random.random(len(own)) < spoil, random.integers(0, NUM_CODES, len(own)), own) for own in codes]
    names = tuple(speakers[number % len(speakers)] for number in range(num))
    return CodedSpeech(tuple(f"u{number}" for number in range(num)), names, wavs, codes), phones


def figures_of(section) -> dict:
    return {figure.name: figure for figure in section.figures}


@pytest.fixture(scope="module")
def perfect():
    """The section of units that are the phones."""
    return measure_units(*make_speech(), RATES, seed=0)


def test_the_figures_have_their_names_units_and_controls(perfect):
    assert MEASURES["units"] == perfect.title == "Units"
    found = figures_of(perfect)
    assert {name: figure.unit for name, figure in found.items()} == UNITS
    for name, figure in found.items():
        controls = [control.name for control in figure.controls]
        if name.startswith("ABX"):
            assert controls == [KMEANS, "chance", "MFCCs, continuous"]
            assert [control.is_ceiling for control in figure.controls] == [False, False, True]
            assert figure.higher_is_better is False and figure.controls[1].value == 0.5
        elif name == "bit rate":
            assert controls == ["each run of equal codes once", KMEANS]
        else:
            assert controls == [KMEANS, SHUFFLED]
    written = section_to_json(perfect, whole=True)
    json.dumps(written, allow_nan=False)
    assert section_from_json(written) == perfect


def test_units_that_are_the_phones_are_perfect(perfect):
    found = figures_of(perfect)
    assert found["PNMI"].value == pytest.approx(1.0)
    assert found["cluster purity"].value == found["phone purity"].value == 1.0
    assert found["phoneme error rate"].value == 0.0
    assert found["boundary R-value"].value == pytest.approx(1.0)
    for mode in ("within", "across"):
        # Items of other lengths have other neighbours in them, so that few triplets are right by luck alone.
        assert found[f"ABX error {mode} speakers, codes"].value < 0.06
    assert all(figure.beats_controls is not False for figure in perfect.figures if figure.name != "bit rate"
               and KMEANS not in [control.name for control in figure.unbeaten])  # fmt: skip


def test_the_bit_rate_is_by_hand(perfect):
    speech, _ = make_speech()
    codes, seconds = np.concatenate(speech.codes), sum(map(len, speech.wavs)) / RATE
    share = np.bincount(codes) / len(codes)
    expected = len(codes) / seconds * -(share * np.log2(share)).sum()
    figure = figures_of(perfect)["bit rate"]
    assert figure.value == pytest.approx(expected) and figure.low < expected < figure.high
    runs = 1 + sum(int((np.diff(own) != 0).sum()) for own in speech.codes) / len(speech.codes)
    assert figure.controls[0].value < expected * runs / (len(codes) / len(speech.codes)) * 1.5


def test_random_units_are_at_chance_and_beat_nothing():
    section = measure_units(*make_speech(spoil=1.0), RATES, seed=0)
    found = figures_of(section)
    for name in UNITS:
        if name.startswith("ABX"):
            assert found[name].value == pytest.approx(0.5, abs=0.06)
            assert found[name].beats_controls is False
    assert found["PNMI"].value == pytest.approx(found["PNMI"].controls[1].value, abs=0.02)
    assert found["PNMI"].beats_controls is False
    assert found["phoneme error rate"].value > 0.5 and found["boundary R-value"].value < 0.5


def test_intervals_hold_the_values_and_shrink_with_more_speech():
    widths = []
    for num in (4, 16):
        found = figures_of(measure_units(*make_speech(num, spoil=0.4), RATES, seed=0))
        for figure in found.values():
            assert figure.low <= figure.value <= figure.high, figure.name
        widths.append(found["phone purity"].high - found["phone purity"].low)
    assert widths[1] < widths[0]


def test_two_models_on_the_same_speech_are_compared_draw_by_draw():
    good, bad = (figures_of(measure_units(*make_speech(spoil=spoil), RATES, seed=0)) for spoil in (0.1, 0.6))
    for name in ("ABX error within speakers, codes", "PNMI", "phoneme error rate", "boundary R-value"):
        difference = paired(good[name], bad[name], 0)
        assert difference.is_measured and math.isfinite(difference.low), name
        assert (difference.high < 0) if good[name].higher_is_better is False else (difference.low > 0)


def test_the_same_seed_gives_the_same_figures():
    once, again = (measure_units(*make_speech(spoil=0.3), RATES, seed=3) for _ in range(2))
    assert section_to_json(once, whole=True) == section_to_json(again, whole=True)


# What cannot be measured


def test_one_speaker_has_no_errors_across_speakers():
    found = figures_of(measure_units(*make_speech(speakers=("ann",)), RATES, seed=0))
    for what in ("codes", "quantized vectors"):
        assert found[f"ABX error within speakers, {what}"].is_measured
        across = found[f"ABX error across speakers, {what}"]
        assert not across.is_measured and "needs two speakers" in across.note


def test_without_phone_times_the_bit_rate_is_left():
    speech, _ = make_speech()
    section = measure_units(speech, [[] for _ in range(8)], RATES, seed=0)
    found = figures_of(section)
    assert set(found) == set(UNITS)
    assert [name for name, figure in found.items() if figure.is_measured] == ["bit rate"]
    assert all("needs phone times" in figure.note for figure in found.values() if not figure.is_measured)


@pytest.mark.parametrize("phones", [[Phone(0.0, 0.4, "SIL")], [Phone(0.0, 0.2, "SIL"), Phone(0.2, 0.4, "AA")]])
def test_one_short_utterance_crashes_nothing(phones):
    wav = say(phones, 0)
    speech = CodedSpeech(("u",), ("ann",), [wav], [np.arange(20) % NUM_CODES])
    found = figures_of(measure_units(speech, [phones], RATES, seed=0))
    assert set(found) == set(UNITS)
    assert "no phone is said twice" in found["ABX error within speakers, codes"].note
    assert found["bit rate"].is_measured and not math.isfinite(found["bit rate"].low)


# The control


def test_clusters_of_mfccs_are_told_apart_by_all_their_coefficients():
    """Standardised centres and frames: no coefficient outweighs another, as the level would."""
    wavs = [say(talk(seed), seed) for seed in range(3)]
    kmeans = fit_clusters(wavs, 8, RATE, HOP)
    frames = centre_vectors(kmeans)[kmeans.labels_]
    np.testing.assert_allclose(frames.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(frames.std(0), 1, atol=1e-9)
    own = normalised_mfccs(wavs[0], 60, RATE, HOP)
    np.testing.assert_allclose([own.mean(0), own.std(0)], [np.zeros(13), np.ones(13)], atol=1e-9)
    lengths = [len(wav) // HOP for wav in wavs]
    again = cluster_mfccs(wavs, wavs, lengths, 8, RATE, HOP)
    for codes, same in zip(quantize(kmeans, wavs, lengths, RATE, HOP), again):
        np.testing.assert_array_equal(codes, same)


# A bounded time


@pytest.mark.parametrize("num_speakers", [1, 2, 30, 110, 2400])
@pytest.mark.parametrize("mode", ["within", "across"])
def test_tasks_stay_within_their_bound_at_any_number_of_speakers(num_speakers, mode):
    """2,400 utterances of two seconds: an hour and a third; `measure` takes ten minutes at most."""
    names = [f"u{number}" for number in range(2400 if num_speakers > 30 else 300)]
    phones = {name: talk(number, 18) for number, name in enumerate(names)}
    speakers = {name: f"s{number % num_speakers}" for number, name in enumerate(names)}
    lengths = {name: int(own[-1].end_s * 125) for name, own in phones.items()}
    plan = plan_abx(phones, speakers, lengths, 125, mode, seed=0)
    if mode == "across" and num_speakers == 1:
        assert plan.task is None
        return
    if plan.task is None:
        assert mode == "within" and num_speakers == 2400  # one utterance each: few say a triphone twice
        return
    frames = [round((item.offset_s - item.onset_s) * 125) for item in plan.task.items]
    assert sum(sum(frames[member] for member in group) ** 2 / 2 for group in plan.task.groups) <= MAX_FRAME_PAIRS
    assert "at most" in plan.note and plan.task.num_pairs > 1


def test_speakers_are_drawn_where_fewer_items_do_not_suffice(monkeypatch):
    monkeypatch.setattr(unit_abx, "MAX_FRAME_PAIRS", 60_000)
    phones = {f"u{number}": talk(number) for number in range(20)}
    speakers = {name: name for name in phones}
    lengths = {name: int(own[-1].end_s * 50) for name, own in phones.items()}
    plan = plan_abx(phones, speakers, lengths, 50, "across", seed=0)
    assert "of 20 speakers, drawn" in plan.note
    assert len({item.speaker for item in plan.task.items}) < 20


def test_triphones_are_taken_where_there_are_enough_else_phones(monkeypatch):
    monkeypatch.setattr(unit_abx, "MIN_PAIRS", 20)
    phones = {f"u{number}": talk(number) for number in range(30)}
    speakers, lengths = dict.fromkeys(phones, "ann"), dict.fromkeys(phones, 300)
    many = plan_abx(phones, speakers, lengths, 50, "within", seed=0)
    assert many.kind == "triphone" and many.task.num_pairs == 20  # ordered pairs of five phones
    few = plan_abx({"u0": phones["u0"]}, {"u0": "ann"}, {"u0": 300}, 50, "within", seed=0)
    assert few.kind == "phone" and "too few triphones" in few.note


# On a store


def evaluation_of(model, store, root=None):
    return SimpleNamespace(
        model=model, store=store, split="test", seed=0, sample_rate=model.sample_rate, hop_length=model.hop_length,
        root=root,
    )  # fmt: skip


def test_a_corpus_without_text_or_times_says_so(model, store):
    section = measure(evaluation_of(model, store))
    assert [figure.name for figure in section.figures if figure.is_measured] == ["bit rate"]
    assert any("neither phoneme times nor a text" in note for note in section.notes)


def test_lab_files_beside_the_recordings_are_enough(model, store, corpus, tmp_path):
    """Of the utterances of the split one has labels: all figures are of it alone."""
    index = store.utterances("test")[0]
    duration_s = store.length(index) / store.sample_rate
    ends = np.linspace(0, duration_s, 7)[1:]
    lines = [f"{end:.5f} 26 {name}" for end, name in zip(ends, ["pau", "a", "b", "a", "b", "pau"])]
    path = Path(tmp_path / f"{store.utterance_id(index)}.lab")
    path.parent.mkdir(parents=True)
    path.write_text("#\n" + "\n".join(lines) + "\n")
    section = measure(evaluation_of(model, store, tmp_path))
    found = figures_of(section)
    assert found["PNMI"].is_measured and found["PNMI"].count == 1
    assert found["bit rate"].count == 1
    assert any("festival's lab files" in note for note in section.notes)
    labels = [(0.0, float(ends[0]), "pau")] + [
        (float(start), float(end), name) for start, end, name in zip(ends, ends[1:], ["a", "b", "a", "b", "pau"])
    ]
    items = make_items(fill_gaps(labels, duration_s), "x", "ann", "phone")
    assert [item.phone for item in items] == ["a", "b", "a", "b"]
