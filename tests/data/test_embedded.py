"""The embedded corpus: voices that differ, sentences that cover English, phoneme times that fit the waveform."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from vqspeech.data import embedded, espeak
from vqspeech.data.embedded import VOICES, build_embedded, read_labels
from vqspeech.data.espeak import EspeakVoice, PhonemeEvent, label_phonemes
from vqspeech.data.phonemes import ARPABET, PHONEMES, from_arpabet, from_espeak
from vqspeech.data.sentences import make_sentence
from vqspeech.errors import CorpusError, DependencyError, VQSpeechError

RATE = 16000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    pytest.importorskip("espeakng_loader", reason="needs the extra `demo`")
    return build_embedded(tmp_path_factory.mktemp("embedded") / "corpus", minutes=3.2)


def recordings(corpus: Path, voice: str):
    """Yield (wav, labels) of a voice's utterances."""
    import soundfile

    for path in sorted((corpus / "wav" / voice).glob("*.wav")):
        wav, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        yield wav, read_labels(corpus / "labels" / voice / f"{path.stem}.tsv")


def sounds_of(corpus: Path, voice: str, phonemes: set[str]) -> list[np.ndarray]:
    return [
        wav[round(start * RATE) : round(end * RATE)]
        for wav, labels in recordings(corpus, voice)
        for start, end, phoneme in labels
        if phoneme in phonemes and end - start > 0.02
    ]


def level_db(wav: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(wav)) + 1e-12))


def test_eight_voices_share_the_minutes_asked_for(corpus):
    assert len(VOICES) >= 8
    for voice in VOICES:
        seconds = sum(len(wav) / RATE for wav, _ in recordings(corpus, voice.name))
        assert 3.2 * 60 / len(VOICES) <= seconds < 3.2 * 60 / len(VOICES) + 5


def test_utterances_last_two_to_five_seconds(corpus):
    durations = [len(wav) / RATE for voice in VOICES for wav, _ in recordings(corpus, voice.name)]
    assert 2 <= min(durations) and max(durations) <= 5


def test_same_settings_give_the_same_bytes(corpus, tmp_path):
    again = build_embedded(tmp_path / "again", minutes=3.2)
    files = sorted(path.relative_to(corpus) for path in corpus.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((corpus / file).read_bytes() == (again / file).read_bytes() for file in files)


def test_voices_differ_in_pitch_low_to_high(corpus):
    librosa = pytest.importorskip("librosa")
    medians = []
    for voice in VOICES:
        wav = np.concatenate(sounds_of(corpus, voice.name, {"AA", "AE", "AH", "EH", "IY", "AY", "OW"})[:30])
        medians.append(np.median(librosa.yin(wav, fmin=50, fmax=450, sr=RATE, frame_length=1024)))
    assert medians == sorted(medians)  # VOICES are in the order of their pitch
    assert medians[0] < 90 and medians[-1] > 250
    assert all(higher / lower > 1.08 for lower, higher in zip(medians, medians[1:]))


def test_pauses_are_silent_and_vowels_are_loud(corpus):
    for voice in VOICES:
        pauses = np.mean([level_db(wav) for wav in sounds_of(corpus, voice.name, {"SIL"})])
        vowels = np.mean([level_db(wav) for wav in sounds_of(corpus, voice.name, {"AA", "AE", "AY", "EY"})])
        assert vowels - pauses > 40


def test_sibilants_cross_zero_far_more_often_than_vowels_and_nasals(corpus):
    def crossings(voice: EspeakVoice, phonemes: set[str]) -> float:
        sounds = sounds_of(corpus, voice.name, phonemes)
        return float(np.mean([np.mean(np.diff(np.signbit(wav)) != 0) for wav in sounds]))

    for voice in VOICES:
        assert crossings(voice, {"S"}) > 3 * crossings(voice, {"AA", "AY", "M", "N"})


def test_shifting_the_labels_by_forty_milliseconds_makes_sibilants_less_sharp(corpus):
    def mean_crossings(shift: float) -> float:
        rates = []
        for voice in VOICES:
            for wav, labels in recordings(corpus, voice.name):
                for start, end, phoneme in labels:
                    piece = wav[max(0, round((start + shift) * RATE)) : round((end + shift) * RATE)]
                    if phoneme == "S" and len(piece) > 100:
                        rates.append(np.mean(np.diff(np.signbit(piece)) != 0))
        return float(np.mean(rates))

    assert mean_crossings(0.0) > mean_crossings(0.04) + 0.1
    assert mean_crossings(0.0) > mean_crossings(-0.04) + 0.1


def test_labels_cover_each_recording_without_gaps(corpus):
    for voice in VOICES:
        for wav, labels in recordings(corpus, voice.name):
            starts, ends, phonemes = zip(*labels)
            assert starts[0] == 0 and starts[1:] == ends[:-1]
            assert ends[-1] == pytest.approx(len(wav) / RATE, abs=1 / RATE)
            assert set(phonemes) <= set(PHONEMES)


def test_all_39_phonemes_occur_and_next_to_nothing_is_left_over(corpus):
    seconds = dict.fromkeys(PHONEMES, 0.0)
    for voice in VOICES:
        for _, labels in recordings(corpus, voice.name):
            for start, end, phoneme in labels:
                seconds[phoneme] += end - start
    assert all(seconds[phoneme] > 0 for phoneme in ARPABET)
    assert seconds["OTH"] < 0.005 * sum(seconds.values())


def test_every_fifth_sentence_is_the_same_for_all_voices_and_the_others_differ(corpus):
    def text(voice: EspeakVoice, number: int) -> str:
        return (corpus / "text" / voice.name / f"{voice.name}_{number:04d}.txt").read_text(encoding="utf-8")

    assert len({text(voice, 1) for voice in VOICES}) == len({text(voice, 6) for voice in VOICES}) == 1
    assert len({text(voice, 2) for voice in VOICES}) == len(VOICES)


def test_sentences_start_with_a_capital_end_with_a_mark_and_are_rarely_repeated():
    sentences = [make_sentence(0, str(number)) for number in range(500)]
    assert all(text[0].isupper() and text[-1] in ".?!" and "{" not in text for text in sentences)
    assert len(set(sentences)) > 490


def test_another_seed_gives_other_sentences():
    assert make_sentence(0, "1") != make_sentence(1, "1")


def test_a_corpus_already_built_is_found_and_left_alone(corpus, monkeypatch):
    monkeypatch.setattr(embedded, "start_job", None)  # nothing may be spoken
    assert build_embedded(corpus, minutes=3.2) == corpus


def test_a_corpus_built_with_other_settings_is_not_taken_for_this_one(corpus):
    with pytest.raises(CorpusError, match=r"other settings \(sample_rate\).*remove this one"):
        build_embedded(corpus, minutes=3.2, sample_rate=8000)


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CorpusError, match="no embedded corpus. Choose another folder"):
        build_embedded(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_build_that_fails_halfway_leaves_nothing(tmp_path, monkeypatch):
    pytest.importorskip("espeakng_loader", reason="needs the extra `demo`")

    def stop_at_third(folder, voice, *settings):
        (folder / voice.name).write_text("half")
        if voice.name == VOICES[2].name:
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(embedded, "start_job", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        build_embedded(tmp_path / "corpus")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_named(tmp_path):
    pytest.importorskip("espeakng_loader", reason="needs the extra `demo`")
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="cannot write the embedded corpus to .*corpus: Not a directory"):
        build_embedded(tmp_path / "file" / "corpus")


def test_missing_espeak_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DependencyError, match=r"pip install 'vqspeech\[demo\]'"):
        build_embedded(tmp_path / "corpus")
    assert list(tmp_path.iterdir()) == []


def test_a_voice_that_espeak_lacks_is_named(tmp_path):
    pytest.importorskip("espeakng_loader", reason="needs the extra `demo`")
    with pytest.raises(VQSpeechError, match="voice 'ghost' failed: .*no voice 'nobody'"):
        espeak.start_job(tmp_path, EspeakVoice("ghost", "nobody"), 1.0, RATE, 0)


def test_a_label_line_without_tabs_is_named(tmp_path):
    (tmp_path / "a.tsv").write_text("0.0\t0.1\tAA\n0.1 0.2 S\n")
    with pytest.raises(CorpusError, match="line 2: '0.1 0.2 S'"):
        read_labels(tmp_path / "a.tsv")


def test_the_zeros_before_a_stop_are_its_closure():
    wav = np.ones(22050, dtype=np.int16)
    wav[4410:6615] = 0  # 0.2 to 0.3 s
    labels = label_phonemes(
        wav, [PhonemeEvent(0, "'aI"), PhonemeEvent(6615, "t"), PhonemeEvent(11025, "_:"), PhonemeEvent(13230, "_")]
    )
    assert labels == [(0.0, 0.2, "AY"), (0.2, 0.5, "T"), (0.5, 1.0, "SIL")]


def test_a_silent_glottal_stop_is_a_sound_of_its_own():
    wav = np.ones(22050, dtype=np.int16)
    wav[4410:6615] = 0
    labels = label_phonemes(wav, [PhonemeEvent(0, "'V"), PhonemeEvent(4410, "?"), PhonemeEvent(6615, "n-")])
    assert labels == [(0.0, 0.2, "AH"), (0.2, 0.3, "OTH"), (0.3, 1.0, "N")]


def test_the_zeros_of_a_pause_stay_a_pause():
    wav = np.ones(22050, dtype=np.int16)
    wav[4410:6615] = 0
    labels = label_phonemes(wav, [PhonemeEvent(0, "s"), PhonemeEvent(4410, "_:"), PhonemeEvent(6615, "b")])
    assert labels == [(0.0, 0.2, "S"), (0.2, 0.3, "SIL"), (0.3, 1.0, "B")]


def test_there_are_41_classes_with_the_39_phonemes_of_the_cmu_dictionary():
    assert len(PHONEMES) == len(set(PHONEMES)) == 41
    assert len(ARPABET) == 39


@pytest.mark.parametrize(
    ("word", "mnemonics", "phonemes"),  # pronunciations of the CMU dictionary
    [
        ("measure", "m 'E Z 3", "M EH ZH ER"),
        ("church", "tS '3: tS", "CH ER CH"),
        ("enjoy", "I2 n dZ 'OI", "IH N JH OY"),
        ("thing", "T 'I N", "TH IH NG"),
        ("good", "g 'U d", "G UH D"),
        ("yellow", "j 'E l oU", "Y EH L OW"),
        ("city", "s 'I t# i", "S IH T IY"),
    ],
)
def test_espeak_sounds_are_the_dictionarys(word, mnemonics, phonemes):
    assert [from_espeak(mnemonic) for mnemonic in mnemonics.split()] == phonemes.split()


def test_names_of_forced_aligners_are_understood():
    assert [from_arpabet(name) for name in ("AH0", "iy1", "sil", "", "spn")] == ["AH", "IY", "SIL", "SIL", "OTH"]


def test_the_description_tells_settings_and_seconds(corpus):
    description = json.loads((corpus / "corpus.json").read_text(encoding="utf-8"))
    assert description["settings"]["sample_rate"] == RATE
    assert list(description["spoken"]) == [voice.name for voice in VOICES]
