"""The probe: content heard in cepstra, voices in their statistics, and shares that can be counted by hand."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from vqspeech.audio import save_audio
from vqspeech.config import DataConfig
from vqspeech.data.preparation import prepare_store
from vqspeech.data.store import ENTRY, Store
from vqspeech.evaluation.judges import probe
from vqspeech.evaluation.judges.probe import (
    Conversion,
    VoiceClassifier,
    can_tell_voices,
    cepstra,
    choose_utterances,
    content_match,
    score_conversions,
)

RATE = 8000
VOWELS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240), "e": (530, 1840, 2480)}  # Hz
VOICES = {"ann": (210, 1.18), "bob": (110, 1.0), "cem": (150, 0.85)}  # pitch in Hz, and a factor on all formants


def speak(voice: str, vowels: str, seed: int = 0) -> np.ndarray:
    """120 ms of each vowel: pulses and noise through three resonances."""
    pitch, scale = VOICES[voice]
    num = int(0.12 * RATE)
    pieces = []
    for number, vowel in enumerate(vowels):
        wav = 0.05 * np.random.default_rng([seed, number]).normal(size=num)
        wav[:: RATE // pitch] += 1
        for formant in VOWELS[vowel]:
            pole = 0.97 * np.exp(2j * np.pi * formant * scale / RATE)
            wav = lfilter([1 - 0.97], [1, -2 * pole.real, abs(pole) ** 2], wav)
        pieces.append(wav / np.abs(wav).max())
    return (0.5 * np.concatenate(pieces)).astype(np.float32)


def sentence(seed: int, length: int = 10) -> str:
    return "".join(np.random.default_rng(seed).choice(list(VOWELS), length))


@pytest.fixture(scope="module")
def voices(tmp_path_factory) -> Store:
    """Three voices, twelve sentences each."""
    folder = tmp_path_factory.mktemp("voices")
    for number, voice in enumerate(VOICES):
        for take in range(12):
            seed = 100 * number + take
            save_audio(folder / "speech" / voice / f"{voice}-{take}.wav", speak(voice, sentence(seed), seed), RATE)
    data = DataConfig(corpus="folder", sample_rate=RATE, valid_share=0.1, test_share=0.3)
    prepare_store(data, folder / "speech", folder / "prepared", num_workers=1)
    return Store.open(folder / "prepared")


@pytest.fixture(scope="module")
def classifier(voices) -> VoiceClassifier:
    return VoiceClassifier(voices)


# Cepstra


@pytest.mark.parametrize(
    "rate, num_fft, hop", [(4000, 128, 40), (8000, 256, 80), (16000, 512, 160), (48000, 2048, 480)]
)
def test_cepstra_are_librosas_of_about_32_ms_every_10_ms(rate, num_fft, hop):
    wav = np.random.default_rng(0).normal(0, 0.1, rate // 2).astype(np.float32)
    mel = librosa.feature.melspectrogram(y=wav, sr=rate, n_fft=num_fft, hop_length=hop, n_mels=40)
    expected = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=20).T
    np.testing.assert_allclose(cepstra(wav, rate), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("samples", [1, 100, 256])
def test_a_recording_shorter_than_a_window_has_cepstra_too(samples):
    assert cepstra(np.full(samples, 0.1, np.float32), RATE).shape == (4, 20)  # 256 samples: 1 + 256 // 80 frames


# Content


def test_a_recording_says_the_same_as_itself():
    wav = speak("bob", sentence(0, 20))
    assert content_match(wav, wav, RATE) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("gain", [0.1, 0.7, 1.9])
def test_a_gain_changes_nothing_of_the_content(gain):
    source, converted = speak("bob", sentence(0, 20)), speak("ann", sentence(0, 20))
    expected = content_match(source, converted, RATE)
    assert content_match(source, np.float32(gain) * converted, RATE) == pytest.approx(expected, abs=1e-3)
    assert content_match(source, np.float32(gain) * source, RATE) == pytest.approx(1, abs=1e-4)


def test_another_voice_saying_the_same_is_nearer_than_the_same_voice_saying_something_else():
    source = speak("bob", sentence(0, 30))
    same = content_match(source, speak("ann", sentence(0, 30)), RATE)
    other = content_match(source, speak("bob", sentence(1, 30)), RATE)
    assert same > 0.5
    assert abs(other) < 0.25


def test_neither_the_reverse_nor_noise_says_the_same():
    source = speak("bob", sentence(0, 40))
    assert abs(content_match(source, source[::-1].copy(), RATE)) < 0.25
    noise = np.random.default_rng(0).normal(0, 0.1, len(source)).astype(np.float32)
    assert abs(content_match(source, noise, RATE)) < 0.1


def test_silence_says_nothing():
    source, silence = speak("bob", "ai"), np.zeros(2000, np.float32)
    assert content_match(source, silence, RATE) == pytest.approx(0, abs=1e-3)
    assert content_match(silence, source, RATE) == pytest.approx(0, abs=1e-3)


def test_of_two_lengths_the_shorter_counts():
    source = speak("bob", sentence(0, 20))
    longer = np.concatenate([source, speak("bob", sentence(1, 5))])
    assert content_match(source, longer, RATE) > 0.98  # the window at the cut sees what follows


# Voices


def test_voices_are_told_apart_in_recordings_that_the_judge_never_heard(voices, classifier):
    held_out = [*voices.utterances("test"), *voices.utterances("valid")]
    assert len(held_out) >= 9
    assert classifier.hear([voices.wav(index) for index in held_out]) == [voices.speaker(i) for i in held_out]


def test_the_level_does_not_tell_voices(voices, classifier):
    wavs = [voices.wav(index) for index in voices.utterances("test")]
    assert classifier.hear([np.float32(0.2) * wav for wav in wavs]) == classifier.hear(wavs)


def corpus_of(speakers: list[int], num_train: int | None = None) -> SimpleNamespace:
    """What the choice of utterances sees of a store, with a valid split behind the train split."""
    index = np.zeros(len(speakers), ENTRY)
    index["speaker"] = speakers
    num_train = len(speakers) if num_train is None else num_train
    spans = {"train": range(num_train), "valid": range(num_train, len(speakers))}
    return SimpleNamespace(index=index, utterances=spans.__getitem__)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), st.integers(1, 200))
def test_every_speaker_is_learned_from_equally_many_training_utterances(speakers, num_train):
    num_train = min(num_train, len(speakers))
    chosen = choose_utterances(corpus_of(speakers, num_train))
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(range(num_train))
    for speaker in set(speakers[:num_train]):
        count = sum(speakers[index] == speaker for index in chosen)
        own = speakers[:num_train].count(speaker)
        assert count == (min(20, own) if own > 1 else 0)  # a voice is not learned from one recording


def test_a_corpus_of_many_speakers_takes_fewer_utterances_of_each(monkeypatch):
    monkeypatch.setattr(probe, "MAX_UTTERANCES", 12)
    speakers = [0] * 30 + [1] * 30 + [2] * 3
    assert sorted(speakers[index] for index in choose_utterances(corpus_of(speakers))) == [0] * 4 + [1] * 4 + [2] * 3
    crowd = [speaker for speaker in range(50) for _ in range(3)]
    chosen = choose_utterances(corpus_of(crowd), first=[49, 7])
    assert len(set(chosen)) == len(chosen) == 80  # two of each of forty: a voice is not learned from one
    assert {49, 7} <= {crowd[index] for index in chosen}


@pytest.mark.parametrize("num_speakers", [2, 30, 110, 2400])
def test_a_judge_of_any_number_of_speakers_has_enough_of_each(num_speakers):
    speakers = [speaker for speaker in range(num_speakers) for _ in range(20)]
    chosen = choose_utterances(corpus_of(speakers))
    heard = Counter(speakers[index] for index in chosen)
    assert len(heard) == min(num_speakers, 40) and min(heard.values()) >= 15 and len(chosen) <= 600


@pytest.mark.parametrize(
    "speakers, num_train, can",
    [
        ([0] * 20, 20, False),  # one voice: nothing to tell apart
        ([0, 0, 1, 1], 4, True),
        ([0, 0, 1], 3, False),
        ([0, 0, 0, 1], 3, False),  # the second voice has no training utterance
        ([0, 1, 1, 1], 4, False),  # the first has one alone
        ([0, 1, 1, 2, 2], 5, True),  # and is left out where others can be told apart
    ],
)
def test_voices_can_be_judged_where_there_are_two_and_enough_of_each(speakers, num_train, can):
    assert can_tell_voices(corpus_of(speakers, num_train)) == can


# Figures


def test_recordings_of_the_target_are_heard_as_the_target(voices, classifier):
    """Three conversions that return a recording of the target's own instead."""
    by_speaker = {voices.speaker(index): voices.wav(index) for index in voices.utterances("test")}
    assert len(by_speaker) == 3
    made = [
        Conversion(by_speaker[s], s, t, reconstruction=by_speaker[s], converted=by_speaker[t])
        for s, t in ((0, 1), (1, 2), (2, 0))
    ]
    figures = score_conversions(made, classifier, RATE)
    assert figures["target"] == figures["own"] == figures["voice_ceiling"] == 1.0
    assert figures["still_source"] == 0.0
    assert abs(figures["content"]) < 0.4  # other sentences
    assert figures["content_control"] == pytest.approx(1, abs=1e-6)  # each is the very next one's source


def test_a_model_that_returns_its_input_keeps_the_content_and_the_voice(voices, classifier):
    by_speaker = {voices.speaker(index): voices.wav(index) for index in voices.utterances("test")}
    wavs = [by_speaker[s] for s in range(3)]
    made = [Conversion(wavs[s], s, (s + 1) % 3, wavs[s], wavs[s]) for s in range(3)]
    figures = score_conversions(made, classifier, RATE)
    assert figures["content"] == pytest.approx(1, abs=1e-6)
    others = [content_match(wavs[(s + 1) % 3], wavs[s], RATE) for s in range(3)]
    assert figures["content_control"] == pytest.approx(sum(others) / 3)
    assert (figures["target"], figures["still_source"], figures["own"]) == (0.0, 1.0, 1.0)


def test_shares_are_counted():
    """A judge that reads the voice from the recording's length."""
    wavs = {voice: speak("bob", "ai")[: 1600 + voice] for voice in range(3)}
    classifier = SimpleNamespace(hear=lambda heard: [len(wav) - 1600 for wav in heard], speakers={0, 1, 2})
    made = [
        Conversion(wavs[0], 0, 1, reconstruction=wavs[0], converted=wavs[1]),  # right
        Conversion(wavs[0], 0, 2, reconstruction=wavs[1], converted=wavs[0]),  # still the source
        Conversion(wavs[2], 1, 2, reconstruction=wavs[0], converted=wavs[0]),  # somebody else; the source misheard
    ]
    figures = score_conversions(made, classifier, RATE)
    expected = {"target": 1 / 3, "still_source": 1 / 3, "own": 1 / 3, "voice_ceiling": 2 / 3}
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_where_voices_cannot_be_judged_only_content_is(voices):
    wav = speak("bob", "ai")
    assert score_conversions([Conversion(wav, 0, 0, wav, wav)], None, RATE).keys() == {"content", "content_control"}
