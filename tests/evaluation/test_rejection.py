"""The judge that may hear nothing: what it is taught as nothing, and that it tells it from words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rejecting_judge import (
    JUDGE,
    NOTHING,
    VOICES,
    hear,
    make_babble,
    make_noise,
    shuffle_codes,
    train_rejecting_judge,
)

from vqspeech.errors import CheckpointError
from vqspeech.evaluation.judges.frozen import load_judge, load_judges, save_judge
from vqspeech.evaluation.trials.synthesis import pass_mu_law

REPOSITORY = Path(__file__).resolve().parents[2]
FROZEN = REPOSITORY / "recipes" / "fsdd" / "rejecting_judge.safetensors"
RATE = 8000

# Tables that quote this hash were judged by these networks. A new judge means new tables, not a new hash here alone.
FROZEN_HASH = "46c6e9291cddab2dbb352e3524d01027bc5c0358af4924aac2c2151f65d83e47"
WITHOUT_CODES = REPOSITORY / "recipes" / "fsdd" / "rejecting_judge_without_codes.safetensors"
WITHOUT_CODES_HASH = "af5e1a820af614a3377088c7fe13e3e58c7b1353ce0a126ebf869a38ad501fed"


def say(word: str, seed: int) -> np.ndarray:
    """A rising or a falling tone of 0.2 to 0.5 s."""
    random = np.random.default_rng([seed, len(word)])
    time_s = np.arange(int(random.uniform(0.2, 0.5) * RATE)) / RATE
    share = time_s / time_s[-1]
    hertz = random.uniform(0.9, 1.1) * (400 + 1000 * (share if word == "up" else 1 - share))
    return (0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / RATE) * np.hanning(len(time_s))).astype(np.float32)


def recordings(count: int, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    words = [("up", "down")[number % 2] for number in range(count)]
    return [say(word, seed + number) for number, word in enumerate(words)], words


@pytest.fixture
def benchmarks(monkeypatch):
    """The benchmarks' folder, to import from."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))


@pytest.fixture(scope="module")
def judge():
    wavs, words = recordings(96)
    nothing = {"noise": make_noise(wavs, 48, RATE, 0), "babble": make_babble(wavs, 48, 0)}
    return train_rejecting_judge(wavs, words, nothing, RATE, epochs=20, batch_size=16, channels=16)


def test_words_are_heard_and_noise_and_babble_are_not(judge):
    wavs, words = recordings(40, seed=500)
    assert judge.classes == ("down", NOTHING, "up")
    assert np.mean([heard == word for heard, word in zip(hear(judge, wavs), words, strict=True)]) >= 0.9
    for nothing in (make_noise(wavs, 40, RATE, 1), make_babble(wavs, 40, 1)):
        assert np.mean([heard is None for heard in hear(judge, nothing)]) >= 0.85
    assert judge.report["trained_on"] == {"words": 96, "noise": 48, "babble": 48}


def test_the_judge_comes_back_from_its_file_by_name(judge, tmp_path):
    save_judge(tmp_path / "judge.safetensors", judge)
    loaded = load_judge(tmp_path / "judge.safetensors", JUDGE)
    assert (loaded.sha256, loaded.classes, loaded.report) == (judge.sha256, judge.classes, judge.report)
    with pytest.raises(CheckpointError, match="holds the judges rejecting, not 'content'"):
        load_judges(tmp_path / "judge.safetensors")
    with pytest.raises(CheckpointError, match="no judges at .*missing. Train one"):
        load_judge(tmp_path / "missing", JUDGE, "Train one")


def test_noise_is_as_long_as_recordings_and_every_other_one_as_loud_in_time():
    wavs = [np.concatenate([np.zeros(1000), np.ones(500), np.zeros(1500)]).astype(np.float32)]
    steady, shaped, *_ = made = make_noise(wavs, 20, RATE, 3)
    assert {len(wav) for wav in made} == {3000}
    assert all(np.abs(wav).max() == pytest.approx(0.5) for wav in made)

    def loudness(wav: np.ndarray) -> float:
        return float(np.sqrt(np.mean(wav**2)))

    assert loudness(shaped[1000:1500]) > 20 * loudness(shaped[:900])
    assert 0.3 < loudness(steady[1000:1500]) / loudness(steady[:900]) < 3


def test_babble_holds_several_voices_equally_loud():
    tones = [(0.05 * k * np.sin(2 * np.pi * 300 * k * np.arange(4000) / RATE)).astype(np.float32) for k in range(1, 13)]
    counts = set()
    for wav in make_babble(tones, 40, 0):
        bands = np.abs(np.fft.rfft(wav))[150::150][:12]  # one bin each
        heard = bands[bands > 0.1 * bands.max()]
        counts.add(len(heard))
        assert heard.max() == pytest.approx(heard.min(), rel=0.01)
    assert counts == set(range(VOICES[0], VOICES[1] + 1))


def test_the_same_seed_makes_the_same_nothing():
    wavs, _ = recordings(10)
    for make in (lambda seed: make_noise(wavs, 4, RATE, seed), lambda seed: make_babble(wavs, 4, seed)):
        first, again, other = make(0), make(0), make(1)
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_shuffled_codes_are_the_same_codes_in_another_order():
    codes = [np.arange(50), np.arange(30) % 7]
    shuffled = shuffle_codes(codes, 0)
    for own, mixed in zip(codes, shuffled, strict=True):
        assert sorted(mixed.tolist()) == sorted(own.tolist()) and not np.array_equal(own, mixed)


@pytest.mark.parametrize(("file", "sha256"), [(FROZEN, FROZEN_HASH), (WITHOUT_CODES, WITHOUT_CODES_HASH)])
def test_the_frozen_judges_are_those_that_the_recipes_table_names(file, sha256):
    frozen = load_judge(file, JUDGE)
    assert frozen.sha256 == sha256
    assert frozen.classes == (*"0123456789", NOTHING)
    assert file.stat().st_size < 200_000
    assert sha256[:12] in (file.parents[2] / "docs/results/fsdd.md").read_text()


def test_one_judge_was_taught_shuffled_codes_and_the_other_was_not(benchmarks):
    import digit_judges

    own, fair = (load_judge(file, JUDGE) for file in digit_judges.FROZEN)
    assert own.report["trained_on"] == {"words": 2400, "noise": 600, "babble": 600, "shuffled codes": 600}
    assert fair.report["trained_on"] == {"words": 2400, "noise": 600, "babble": 600}
    assert "shuffled_by" in own.report and "shuffled_by" not in fair.report
    assert digit_judges.name_of(own) == "taught babble, noise and shuffled codes"
    assert digit_judges.name_of(fair) == "taught babble and noise"


def test_the_rows_of_generation_say_what_they_are(benchmarks):
    import generation

    assert "counts of pairs of the training codes" in generation.WHAT["bigram"]
    assert set(generation.WHAT) == {"chance", "unigram", "bigram", "trigram"}


@pytest.mark.real_data
@pytest.mark.parametrize("file", [FROZEN, WITHOUT_CODES])
def test_a_frozen_judge_hears_real_digits_and_takes_neither_noise_nor_babble_for_one(fsdd, benchmarks, file):
    import judges as benchmark

    frozen = load_judge(file, JUDGE)
    wavs, digits, _ = benchmark.load_takes(fsdd, benchmark.TEST_TAKES)
    assert len(wavs) == 300
    for copies in (wavs, [pass_mu_law(wav) for wav in wavs]):
        assert np.mean([heard == digit for heard, digit in zip(hear(frozen, copies), digits, strict=True)]) >= 0.98
    for nothing in (make_noise(wavs, 300, RATE, 7), make_babble(wavs, 300, 7)):
        assert np.mean([heard is not None for heard in hear(frozen, nothing)]) <= 0.02
