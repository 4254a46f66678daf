"""Judges of naturalness: noise below speech, silence at the bottom, equal sound once, and nothing lost without them."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vqspeech import example_recording
from vqspeech.audio import load_audio
from vqspeech.errors import DependencyError
from vqspeech.evaluation.figures.pairing import paired
from vqspeech.evaluation.figures.types import Evaluation, Trial
from vqspeech.evaluation.judges import opinion
from vqspeech.evaluation.judges.opinion import LOWEST, RATE, Opinion, find_opinions, load_distillmos, load_dnsmos
from vqspeech.evaluation.measures import naturalness
from vqspeech.evaluation.measures.naturalness import listen, measure
from vqspeech.evaluation.trials.signals import SIGNALS

LOUD, NAMES = 0.3, ("DistillMOS", "DNSMOS OVRL", "DNSMOS SIG", "DNSMOS P.808")


def tone(hertz: float, rate: int = 8000, seconds: float = 0.5) -> np.ndarray:
    return (LOUD * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def trial(number: int, **changed: np.ndarray) -> Trial:
    sounds = {signal.name: tone(100 + 10 * place) for place, signal in enumerate(SIGNALS)} | changed
    return Trial(f"u{number}", "ann", "bob", None, codes=np.zeros(4, np.int32), **sounds)


def evaluation_of(*trials: Trial, rate: int = 8000) -> Evaluation:
    return Evaluation(SimpleNamespace(speakers=("ann", "bob")), None, "test", trials, 0, rate, 64, {})


def by_pitch(asked: list | None = None) -> Opinion:
    """Hears as many hundred hertz as a tone has, as its score."""

    def hear(wav: np.ndarray) -> dict[str, float]:
        if asked is not None:
            asked.append(len(wav))
        return {"DistillMOS": float(np.abs(np.fft.rfft(wav)).argmax() * RATE / len(wav) / 100)}

    return Opinion("by pitch", {"DistillMOS": "not at all"}, hear)


def use(monkeypatch, *opinions: Opinion, lacking: tuple[DependencyError, ...] = ()) -> None:
    monkeypatch.setattr(naturalness, "find_opinions", lambda: (list(opinions), list(lacking)))


def test_each_signal_is_scored_beside_its_controls(monkeypatch):
    use(monkeypatch, by_pitch())
    first, second = measure(evaluation_of(trial(0), trial(1))).figures
    assert (first.name, second.name) == ("DistillMOS: conversions", "DistillMOS: reconstructions")
    assert first.value == pytest.approx(1.0, abs=0.03) and second.value == pytest.approx(1.1, abs=0.03)
    beside = {control.name: round(control.value, 1) for control in first.controls}
    assert beside == {
        "reconstructions": 1.1, "source unchanged": 1.2, "mu-law copy": 1.3, "pitch-shifted source": 1.4,
        "random codes": 1.5,
    }  # fmt: skip
    ceilings = {control.name for control in first.controls if control.is_ceiling}
    assert ceilings == {"reconstructions", "source unchanged", "mu-law copy", "pitch-shifted source"}
    assert first.basis == "by pitch" and first.note == "not at all" and first.beats_controls is False


def test_equal_sound_is_judged_once():
    asked: list[int] = []
    same = {signal.name: tone(200) for signal in SIGNALS}
    scores = listen(by_pitch(asked), [trial(0, **same), trial(1, **same)], 8000)
    assert len(asked) == 1 and all(len(own) == 2 for own in scores["DistillMOS"].values())


def test_what_cannot_be_heard_gets_the_lowest_score_and_is_told(monkeypatch):
    use(monkeypatch, by_pitch())
    silence, broken = np.zeros(4000, np.float32), np.full(4000, np.nan, np.float32)
    found = measure(evaluation_of(trial(0, conversion=silence), trial(1, conversion=broken)))
    assert found.figures[0].value == LOWEST
    assert "conversions: 2 of 2 are silent or not finite and count as 1" in found.notes


def test_a_signal_is_brought_to_the_judges_rate_and_cut_to_what_they_hear_at_once(monkeypatch):
    asked: list[int] = []
    use(monkeypatch, by_pitch(asked))
    found = measure(evaluation_of(trial(0, source=tone(120, seconds=12)), rate=8000))
    assert max(asked) == pytest.approx(9.0 * RATE, abs=2) and min(asked) == pytest.approx(0.5 * RATE, abs=2)
    assert any("expect 16 kHz" in note for note in found.notes) and any("first 9 s" in note for note in found.notes)
    assert not any("expect 16 kHz" in note for note in measure(evaluation_of(trial(0), rate=16000)).notes)


def test_voices_are_told_apart_the_lowest_first(monkeypatch):
    use(monkeypatch, by_pitch())
    low, high = trial(0), replace(trial(1, conversion=tone(300)), speaker="bob", target="ann")
    (table,) = measure(evaluation_of(high, low)).tables
    assert [row[:3] for row in table.rows] == [("bob", "1.00", "1"), ("ann", "3.00", "1")]
    assert [row[3] for row in table.rows] == ["1.20", "1.20"]  # what bob and ann really sound like


def test_without_a_judge_there_is_a_reason_and_no_crash(monkeypatch):
    lacking = DependencyError("DistillMOS does not load. Install it: pip install 'vqspeech[naturalness]'")
    use(monkeypatch, lacking=(lacking,))
    found = measure(evaluation_of(trial(0)))
    assert found.retry
    assert not found.figures[0].is_measured and any("vqspeech[naturalness]" in note for note in found.notes)


@pytest.mark.parametrize(("load", "package"), [(load_distillmos, "distillmos"), (load_dnsmos, "speechmos")])
def test_a_package_that_does_not_load_is_named_with_what_installs_it(monkeypatch, load, package):
    load.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.dnsmos", None)
    found, lacking = find_opinions()
    assert len(lacking) == 1 and "pip install 'vqspeech[naturalness]'" in str(lacking[0])
    assert not lacking[0].is_installed  # so that what was measured without it is kept until it is
    assert all(package not in one.basis for one in found)
    load.cache_clear()


def test_two_models_are_compared_trial_by_trial_and_only_by_one_judge(monkeypatch):
    use(monkeypatch, by_pitch())
    worse = measure(evaluation_of(trial(0), trial(1))).figures[0]
    better = measure(evaluation_of(*(trial(n, conversion=tone(300)) for n in range(2)))).figures[0]
    difference = paired(better, worse, seed=0)
    assert difference.value == pytest.approx(2.0, abs=0.03) and difference.count == 2
    assert not paired(better, replace(worse, basis="another judge"), seed=0).is_measured


def test_a_training_is_told_mean_scores_and_nothing_without_judges(monkeypatch):
    spoken = [tone(hertz) for hertz in (200, 400)]
    monkeypatch.setattr(opinion, "find_opinions", lambda: ([by_pitch()], []))
    assert opinion.mean_opinions(spoken, 8000) == {"distillmos": pytest.approx(3.0, abs=0.03)}
    assert opinion.mean_opinions([], 8000) == {}
    monkeypatch.setattr(opinion, "find_opinions", lambda: ([], [DependencyError("not installed")]))
    assert opinion.mean_opinions(spoken, 8000) == {}


# The judges themselves


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return load_audio(example_recording(), RATE)


def hear_speech_and_noise(judge: Opinion, speech: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, len(speech)).astype(np.float32)
    clean, mixed, alone = (judge.score(wav, RATE) for wav in (speech, speech + noise, noise))
    assert set(clean) == set(judge.agreement) <= set(NAMES)
    for scale in clean:
        assert 5 >= clean[scale] > max(mixed[scale], alone[scale]) >= 0.9
    assert judge.score(speech, RATE) == clean  # the same each time
    assert judge.score(np.zeros(RATE, np.float32), RATE) == dict.fromkeys(clean, LOWEST)


def test_speech_sounds_better_to_dnsmos_than_noise_and_than_speech_in_noise(speech):
    pytest.importorskip("speechmos")
    hear_speech_and_noise(load_dnsmos(), speech)


@pytest.mark.real_data
def test_real_speech_sounds_better_to_distillmos_than_noise(real_data):
    pytest.importorskip("distillmos")
    (recording, *_) = sorted((real_data / "vctk").rglob("*p227_011*.flac")) or [None]
    if recording is None:
        pytest.skip("no VCTK among the real recordings")
    hear_speech_and_noise(load_distillmos(), load_audio(recording, RATE))


def test_distillmos_takes_synthetic_speech_for_worse_than_noise_as_the_report_warns(speech):
    """It was taught by transmitted and coded speech: what it says of synthesis by rule is no measure."""
    pytest.importorskip("distillmos")
    noise = np.random.default_rng(0).normal(0, 0.1, len(speech)).astype(np.float32)
    judge = load_distillmos()
    assert judge.score(speech, RATE)["DistillMOS"] < judge.score(noise, RATE)["DistillMOS"]


def test_the_score_is_that_of_the_package_s_own_call(speech):
    distillmos = pytest.importorskip("distillmos")
    import torch

    own = distillmos.ConvTransformerSQAModel().eval()
    short = speech[: 5 * RATE]
    with torch.inference_mode():
        expected = float(own(torch.from_numpy(short)[None]))
    assert load_distillmos().score(short, RATE)["DistillMOS"] == pytest.approx(expected, abs=1e-5)


def test_dnsmos_is_that_of_the_package_s_own_call_on_what_lasts_one_window(speech):
    dnsmos = pytest.importorskip("speechmos.dnsmos")
    window = np.resize(speech, opinion.DNSMOS_SAMPLES)
    expected = dnsmos.run(window, RATE)
    found = load_dnsmos().score(window[: int(opinion.LONGEST_S * RATE)], RATE)
    assert found["DNSMOS OVRL"] == pytest.approx(expected["ovrl_mos"], abs=0.05)
    assert found["DNSMOS P.808"] == pytest.approx(expected["p808_mos"], abs=0.05)
