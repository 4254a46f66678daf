"""The judges hear real recordings rightly, and nothing about a batch or a copied file can change a verdict."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from judges import examine, train_judges

from vqspeech.errors import CheckpointError
from vqspeech.evaluation.judges import augmentation
from vqspeech.evaluation.judges.frozen import FrozenJudges, load_judges, save_judge
from vqspeech.evaluation.judges.networks import RecurrentClassifier, mel_filters, pad
from vqspeech.evaluation.judges.training import disturb_for_content, disturb_for_speaker

REPOSITORY = Path(__file__).resolve().parents[2]
FROZEN = REPOSITORY / "recipes" / "fsdd" / "judges.safetensors"
RATE = 8000

# Tables that quote these hashes were judged by these networks. New judges mean new tables, not a new hash here alone.
FROZEN_CONTENT = "f07123a4b9abc03b12e5eae05583d94dd5f789f1bf2440130dd64f1d2ad35673"
FROZEN_SPEAKER = "d1db8b35b5cd795041296383f4a5c8900c22de2d93dea039a8ad19bd1cac761d"


def tone(hertz: float, seconds: float, harmonics: int = 1) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE)) / RATE
    return sum(0.3 / n * np.sin(2 * math.pi * n * hertz * time_s) for n in range(1, harmonics + 1)).astype(np.float32)


def corpus_of_tones() -> tuple[list[np.ndarray], list[str], list[str]]:
    """Two "words" (low or high pitch) by two "speakers" (pure or rich tone), lengths varied."""
    rng = np.random.default_rng(0)
    wavs, words, speakers = [], [], []
    for index in range(96):
        word, speaker = ("low", "high")[index % 2], ("pure", "rich")[index // 2 % 2]
        pitch = {"low": 200, "high": 700}[word] * rng.uniform(0.95, 1.05)
        wavs.append(tone(pitch, rng.uniform(0.2, 0.5), {"pure": 1, "rich": 5}[speaker]))
        words.append(word)
        speakers.append(speaker)
    return wavs, words, speakers


SECOND = REPOSITORY / "recipes" / "fsdd" / "second_judges.safetensors"
SECOND_CONTENT = "132a6debbe1cf762333a491e740885cfe25d785cd34f6aa6fd3d1850f7ff565f"
SECOND_SPEAKER = "e0082cf765ff399f3ebb8e43a09366b2b5914caa6aae8ec9e84a2c93671e21a1"


@pytest.fixture(scope="module")
def judges() -> FrozenJudges:
    wavs, words, speakers = corpus_of_tones()
    return train_judges(wavs[:80], words[:80], speakers[:80], RATE, epochs=30, seed=1, batch_size=16, channels=16)


@pytest.fixture(scope="module")
def frozen() -> FrozenJudges:
    return load_judges(FROZEN)


@pytest.fixture(scope="module")
def recurrent() -> FrozenJudges:
    wavs, words, speakers = corpus_of_tones()
    return train_judges(
        wavs[:80], words[:80], speakers[:80], RATE, epochs=30, seed=1, batch_size=16, channels=8, kind="recurrent"
    )


def test_the_frozen_judges_are_the_ones_the_recipes_tables_name(frozen):
    assert (frozen.content.sha256, frozen.speaker.sha256) == (FROZEN_CONTENT, FROZEN_SPEAKER)
    assert frozen.content.classes == tuple("0123456789")
    assert frozen.speaker.classes == ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    assert FROZEN.stat().st_size < 400_000


def test_so_are_the_second_pair_and_they_are_of_another_kind(frozen):
    second = load_judges(SECOND)
    assert (second.content.sha256, second.speaker.sha256) == (SECOND_CONTENT, SECOND_SPEAKER)
    assert (second.content.classes, second.speaker.classes) == (frozen.content.classes, frozen.speaker.classes)
    assert {second.content.kind, second.speaker.kind} == {"recurrent"}
    assert {frozen.content.kind, frozen.speaker.kind} == {"convolutional"}
    assert SECOND.stat().st_size < 500_000


def test_judges_tell_low_from_high_and_pure_from_rich_tones(judges):
    wavs, words, speakers = corpus_of_tones()
    assert judges.content.accuracy(wavs[80:], words[80:]) == 1.0
    assert judges.speaker.accuracy(wavs[80:], speakers[80:]) >= 0.9


def test_the_second_pair_hears_with_other_features(recurrent, tmp_path):
    wavs, words, speakers = corpus_of_tones()
    assert recurrent.content.accuracy(wavs[80:], words[80:]) == 1.0
    assert recurrent.speaker.accuracy(wavs[80:], speakers[80:]) >= 0.9
    save_judge(tmp_path / "second.safetensors", recurrent.content, recurrent.speaker)
    loaded = load_judges(tmp_path / "second.safetensors")
    assert (loaded.content.kind, loaded.content.sha256) == ("recurrent", recurrent.content.sha256)
    np.testing.assert_array_equal(loaded.content.probabilities(wavs), recurrent.content.probabilities(wavs))
    alone = np.concatenate([loaded.speaker.probabilities([wav]) for wav in wavs[:8]])
    np.testing.assert_allclose(loaded.speaker.probabilities(wavs[:8]), alone, atol=1e-5)


def test_its_features_are_librosas_cepstra_and_slopes():
    """But for the level, which is each recording's own, and librosa's filters, which it shares."""
    wav = tone(180, 0.6, 8) + 0.01 * np.random.default_rng(0).standard_normal(4800).astype(np.float32)
    network = RecurrentClassifier(2, RATE).eval()
    found, num_frames = network.features(*pad([wav], 1))
    emphasised = np.append(wav[:1], wav[1:] - 0.97 * wav[:-1])
    power = np.abs(librosa.stft(emphasised, n_fft=256, hop_length=64, window="hamming", pad_mode="constant")) ** 2
    bands = mel_filters(RATE, 256, 26) @ power
    cepstra = scipy.fft.dct(np.log(bands + 1e-5 * bands.mean() + 1e-10), axis=0)[:20] / 2 * (2 / 26) ** 0.5
    cepstra[0] -= cepstra[0].mean()
    slopes = librosa.feature.delta(cepstra, width=5, mode="constant")
    expected = np.concatenate([cepstra, slopes]).T / np.sqrt(1 + 1e-5)  # a norm that has learned nothing yet
    assert int(num_frames) == len(expected) == found.shape[1]
    np.testing.assert_allclose(found[0].detach().numpy(), expected, atol=2e-2)


def test_the_same_seed_trains_the_same_judges_and_another_seed_others():
    wavs, words, _ = corpus_of_tones()
    first, same, other = (
        train_judges(wavs, words, words, RATE, epochs=1, seed=seed, batch_size=16, channels=8).content.sha256
        for seed in (3, 3, 4)
    )
    assert first == same != other


def test_a_verdict_does_not_depend_on_what_else_is_in_the_batch(frozen):
    wavs = [tone(150 + 60 * index, 0.1 + 0.15 * index, 4) for index in range(8)]
    for judge in (frozen.content, frozen.speaker):
        together = judge.probabilities(wavs)
        alone = np.concatenate([judge.probabilities([wav]) for wav in wavs])
        np.testing.assert_allclose(together, alone, atol=1e-4)


@given(gain=st.floats(0.02, 1.0))
def test_a_verdict_does_not_depend_on_the_level(frozen, gain):
    wav = tone(180, 0.4, 6) + 0.01 * np.random.default_rng(0).standard_normal(3200).astype(np.float32)
    for judge in (frozen.content, frozen.speaker):
        np.testing.assert_allclose(judge.probabilities([wav]), judge.probabilities([np.float32(gain) * wav]), atol=2e-3)


@pytest.mark.parametrize("num_samples", [0, 1, 79, 80, 81, 40000])
def test_silence_of_any_length_gets_finite_probabilities_that_sum_to_one(frozen, num_samples):
    for judge in (frozen.content, frozen.speaker):
        answer = judge.probabilities([np.zeros(num_samples, np.float32)])
        assert answer.shape == (1, len(judge.classes))
        assert answer.sum() == pytest.approx(1.0, abs=1e-5)


def test_no_waveforms_get_no_verdicts(frozen):
    assert frozen.content.predict([]) == []


def test_saved_judges_answer_as_before(judges, tmp_path):
    wavs, _, _ = corpus_of_tones()
    save_judge(tmp_path / "judges.safetensors", judges.content, judges.speaker)
    loaded = load_judges(tmp_path / "judges.safetensors")
    for before, after in ((judges.content, loaded.content), (judges.speaker, loaded.speaker)):
        assert (before.sha256, before.classes, before.name) == (after.sha256, after.classes, after.name)
        np.testing.assert_array_equal(before.probabilities(wavs[:8]), after.probabilities(wavs[:8]))


def test_one_changed_weight_is_noticed(judges, tmp_path):
    file = tmp_path / "judges.safetensors"
    save_judge(file, judges.content, judges.speaker)
    damaged = bytearray(file.read_bytes())
    damaged[-10] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"judge's weights hash to .* was frozen"):
        load_judges(file)


def test_a_missing_file_of_judges_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(CheckpointError, match=r"no judges at .*benchmarks/judges.py --train"):
        load_judges(tmp_path / "none.safetensors")


def test_a_truncated_file_of_judges_is_refused(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(FROZEN.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_judges(tmp_path / "cut.safetensors")


def test_another_safetensors_file_is_not_taken_for_judges(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds no judges of format"):
        load_judges(tmp_path / "model.safetensors")


def test_mel_filters_equal_librosas_htk_filters():
    expected = librosa.filters.mel(sr=RATE, n_fft=256, n_mels=40, htk=True, norm=None)
    np.testing.assert_allclose(mel_filters(RATE, 256, 40), expected, atol=1e-5)


def test_noise_is_added_at_the_asked_ratio_and_only_inside_the_utterance():
    wav, lengths = pad([tone(300, 0.5), tone(300, 0.2)], 0)
    noisy = augmentation.add_noise(wav, lengths, (10.0, 10.0), torch.Generator().manual_seed(0))
    noise = noisy - wav
    ratio_db = 10 * torch.log10(wav.square().sum(1) / noise.square().sum(1))
    torch.testing.assert_close(ratio_db, torch.tensor([10.0, 10.0]), atol=1e-2, rtol=0)
    assert not noise[1, int(lengths[1]) :].any()


def test_a_filter_of_zero_depth_changes_nothing():
    wav, _ = pad([tone(300, 0.5)], 0)
    torch.testing.assert_close(augmentation.equalise(wav, 0.0, torch.Generator()), wav, atol=1e-5, rtol=0)


def test_faster_speech_is_shorter_and_higher():
    wav, lengths = pad([tone(400, 1.0)] * 40, 0)
    changed, shorter = augmentation.change_speed(wav, lengths, 0.15, torch.Generator().manual_seed(0))
    assert shorter.min() < 7200 and shorter.max() > 8800
    for row, length in zip(changed, shorter.tolist(), strict=True):
        stretch = row[:length].numpy()
        peak = np.abs(np.fft.rfft(stretch * np.hanning(length))).argmax() * RATE / length
        assert peak == pytest.approx(400 * 8000 / length, abs=3)


def test_a_crop_is_a_stretch_of_the_utterance():
    wav, lengths = pad([np.arange(1, 1001, dtype=np.float32), np.arange(1, 501, dtype=np.float32)], 0)
    cropped, kept = augmentation.crop(wav, lengths, 0.6, torch.Generator().manual_seed(0))
    for row, length, whole in zip(cropped, kept.tolist(), lengths.tolist(), strict=True):
        assert 0.6 * whole - 1 <= length <= whole
        assert (row[1:length] - row[: length - 1] == 1).all() and 1 <= row[0] and row[length - 1] <= whole
        assert not row[length:].any()


@pytest.mark.parametrize("disturb", [disturb_for_content, disturb_for_speaker])
def test_disturbed_copies_stay_in_range_and_silent_beyond_their_length(disturb):
    wav, lengths = pad([tone(200 + 10 * index, 0.2 + 0.01 * index, 3) for index in range(16)], 0)
    copy, copied = disturb(wav, lengths, torch.Generator().manual_seed(0))
    assert copy.isfinite().all() and copy.abs().max() <= 1
    for row, length in zip(copy, copied.tolist(), strict=True):
        assert row[:length].any() and not row[length:].any()


@pytest.mark.real_data
def test_frozen_judges_hear_at_least_97_percent_of_real_test_recordings_rightly(frozen, fsdd):
    sys.path.insert(0, str(REPOSITORY / "benchmarks"))
    import judges as benchmark

    wavs, digits, speakers = benchmark.load_takes(fsdd, benchmark.TEST_TAKES)
    assert len(wavs) == 6 * 10 * 5
    for judge, labels in ((frozen.content, digits), (frozen.speaker, speakers)):
        accuracy = examine(judge, wavs, labels)
        assert accuracy["clean"] >= 0.97 and accuracy["mu-law"] >= 0.97
        assert accuracy["clean"] == pytest.approx(judge.report["accuracy"]["clean"], abs=0.005)


@pytest.mark.real_data
def test_the_benchmark_ends_with_its_headline_and_writes_its_figures(fsdd, tmp_path):
    command = [sys.executable, "benchmarks/judges.py", "--data", str(fsdd), "--quick", "--json", str(tmp_path / "j")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith("real test recordings heard right: digit ")
    assert '"headline"' in (tmp_path / "j").read_text()
