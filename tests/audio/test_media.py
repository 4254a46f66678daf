"""Recordings of phones and browsers: what PyAV reads is what was encoded, and the rest is a sentence."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media import cut, delay_of, sweep, write_film, write_media
from vqspeech.audio import load_audio, open_audio
from vqspeech.errors import AudioError

pytest.importorskip("av", reason="PyAV is not installed (extra media)")

# Name, container, codec, sample rate, and by how many samples FFmpeg's own output comes late: these containers do not
# tell what an encoder put before the first sample, or FFmpeg does not heed it.
KINDS = [
    ("a.m4a", "ipod", "aac", 44100, 0),
    ("a.mp4", "mp4", "libmp3lame", 44100, 0),
    ("alac.m4a", "ipod", "alac", 44100, 0),
    ("a.3gp", "3gp", "aac", 44100, 0),
    ("a.mov", "mov", "pcm_s16le", 44100, 0),
    ("a.webm", "webm", "libopus", 48000, 0),
    ("a.mka", "matroska", "flac", 44100, 0),
    ("a.avi", "avi", "pcm_s16le", 44100, 0),
    ("a.wv", "wv", "wavpack", 44100, 0),
    ("a.tta", "tta", "tta", 44100, 0),
    ("a.aac", "adts", "aac", 44100, 1024),
    ("fragments.mp4", "mp4", "aac", 44100, 1024),
    ("a.amr", "amr", "libopencore_amrnb", 8000, 39),
    ("a.mpg", "mpeg", "mp2", 44100, 481),
]
OPTIONS = {"fragments.mp4": {"movflags": "frag_every_frame+empty_moov+default_base_moof"}}
LOSSLESS = ("alac.m4a", "a.mov", "a.mka", "a.avi", "a.wv", "a.tta")


@pytest.mark.parametrize("name, container, codec, rate, delay", KINDS)
def test_what_was_encoded_is_read_with_its_length_and_in_its_place(tmp_path, name, container, codec, rate, delay):
    wav = sweep(rate, 2 * rate + 123)
    write_media(tmp_path / name, container, codec, wav, rate, options=OPTIONS.get(name))
    with open_audio(tmp_path / name) as reader:
        assert (reader.source_rate, reader.num_channels) == (rate, 1)
        assert reader.duration_s == pytest.approx(len(wav) / rate, abs=0.05)
        found = np.concatenate(list(reader))
    assert found.dtype == np.float32
    assert delay_of(found, wav) == delay
    inside = slice(rate // 10, 2 * rate - rate // 10)
    assert np.corrcoef(found[delay:][inside], wav[inside])[0, 1] > 0.95
    if delay == 0 and name != "a.webm":  # never shorter by more than the container's clock is coarse: 1 ms
        assert -rate / 1000 <= len(found) - len(wav) <= 2 * rate / 1000
    if name in LOSSLESS:
        assert len(found) == len(wav)
        assert np.abs(found - wav).max() < (0.01 if codec in ("wavpack", "tta") else 2**-15)  # written as 8 bits


def test_windows_media_is_read_but_for_the_block_that_its_decoder_swallows(tmp_path):
    wav = sweep(44100, 2 * 44100)
    write_media(tmp_path / "a.wma", "asf", "wmav2", wav, 44100)
    found = load_audio(tmp_path / "a.wma")
    assert delay_of(found, wav) in (0, -2048)
    assert len(wav) - 3 * 2048 < len(found) <= len(wav) + 2048


def test_what_fills_the_last_block_is_cut_off(tmp_path):
    wav = sweep(44100, 44100 + 1)  # a block of 1,024 samples is almost empty
    write_media(tmp_path / "a.m4a", "ipod", "aac", wav, 44100, options={"movie_timescale": "44100"})
    assert len(load_audio(tmp_path / "a.m4a")) - len(wav) in range(46)  # a millisecond is left, lest sound be lost


def test_channels_are_averaged(tmp_path):
    wav = sweep(48000, 48000)
    write_media(tmp_path / "a.mka", "matroska", "flac", np.stack([wav, 0 * wav]), 48000)
    with open_audio(tmp_path / "a.mka") as reader:
        assert reader.num_channels == 2
        assert np.concatenate(list(reader)) == pytest.approx(wav / 2, abs=2**-15)


def test_a_resampled_sine_is_the_sine_at_the_new_rate(tmp_path):
    sine = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(22050) / 44100)
    write_media(tmp_path / "a.mka", "matroska", "flac", sine, 44100)
    wav = load_audio(tmp_path / "a.mka", 16000)
    assert len(wav) == 8000
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000)
    assert np.abs(wav - expected)[1000:-1000].max() < 1e-3


@pytest.fixture(scope="module")
def phone(tmp_path_factory) -> Path:
    """Three seconds as a phone records them."""
    path = tmp_path_factory.mktemp("phone") / "memo.m4a"
    write_media(path, "ipod", "aac", sweep(44100, 3 * 44100), 44100, options={"movflags": "faststart"})
    return path


@pytest.mark.parametrize("block_samples", [1, 777, 100_000])
def test_blocks_of_any_size_give_the_samples_of_the_whole(phone, block_samples):
    with open_audio(phone, 16000, duration_s=0.2, block_samples=block_samples) as reader:
        assert np.array_equal(np.concatenate(list(reader)), load_audio(phone, 16000, duration_s=0.2))


def test_a_part_is_the_same_stretch_of_the_whole(phone):
    whole = load_audio(phone)
    assert np.array_equal(load_audio(phone, offset_s=1.0, duration_s=0.5), whole[44100:66150])
    assert np.array_equal(load_audio(phone, offset_s=2.5), whole[110250:])
    with pytest.raises(AudioError, match=r"lasts 3\.00 s.*starts at 9"):
        load_audio(phone, offset_s=9)


def test_memory_does_not_grow_with_the_recording(tmp_path):
    write_media(tmp_path / "long.m4a", "ipod", "aac", np.zeros(120 * 44100), 44100)
    tracemalloc.start()
    try:
        with open_audio(tmp_path / "long.m4a", 16000) as reader:
            count = sum(map(len, reader))
        assert tracemalloc.get_traced_memory()[1] < 4e6  # two minutes would be 21 MB
    finally:
        tracemalloc.stop()
    assert count == pytest.approx(120 * 16000, abs=100)


def test_the_content_decides_not_the_name(phone, tmp_path):
    for name in ("memo", "memo.wav", "a:b.m4a", os.fsdecode(b"\xff.m4a")):
        (tmp_path / name).write_bytes(phone.read_bytes())
        assert np.array_equal(load_audio(tmp_path / name), load_audio(phone))
    soundfile.write(tmp_path / "a.wav", sweep(8000, 8000), 8000)
    os.rename(tmp_path / "a.wav", tmp_path / "wav.m4a")
    assert len(load_audio(tmp_path / "wav.m4a")) == 8000


def test_a_codec_that_libsndfile_does_not_know_is_read_in_its_container(tmp_path):
    wav = sweep(44100, 44100)
    write_media(tmp_path / "a.caf", "caf", "adpcm_ima_qt", wav, 44100)
    with pytest.raises(soundfile.SoundFileError):
        soundfile.info(tmp_path / "a.caf")
    assert np.corrcoef(load_audio(tmp_path / "a.caf")[:44100], wav)[0, 1] > 0.99


def test_the_sound_of_a_film_is_read(tmp_path):
    wav = sweep(44100, 22050)
    write_media(tmp_path / "film.mp4", "mp4", "aac", wav, 44100, pictures=30)  # the picture lasts six times as long
    found = load_audio(tmp_path / "film.mp4")
    assert delay_of(found, wav) == 0
    assert len(found) == pytest.approx(22050, abs=100)


def test_a_film_whose_sound_ends_before_its_picture_is_no_truncated_recording(tmp_path):
    wav = sweep(44100, 22050)
    write_media(tmp_path / "film.mkv", "matroska", "aac", wav, 44100, pictures=30)
    assert len(load_audio(tmp_path / "film.mkv")) == pytest.approx(22050, abs=1100)


def test_what_a_browser_recorded_without_knowing_the_length_is_read(tmp_path):
    wav = sweep(48000, 96000)
    write_media(tmp_path / "live.webm", "webm", "libopus", wav, 48000, options={"live": "1"})
    with open_audio(tmp_path / "live.webm") as reader:
        assert reader.duration_s == pytest.approx(2, abs=0.02)
        assert len(np.concatenate(list(reader))) == 96000


def write_cut(path: Path, share: float, container: str, codec: str, rate: int = 44100, **options: str) -> None:
    write_media(path, container, codec, sweep(rate, 3 * rate), rate, options=options)
    cut(path, share)


@pytest.mark.parametrize(
    "name, make, message",
    [
        ("cut.m4a", lambda path: write_cut(path, 0.7, "ipod", "aac", movflags="faststart"), r"truncated.*of 3\.00 s"),
        ("unfinished.m4a", lambda path: write_cut(path, 0.7, "ipod", "aac"), "truncated or corrupt.*lacks its index"),
        ("stub.mp4", lambda path: write_cut(path, 0.005, "mp4", "aac"), "truncated or corrupt"),
        ("cut.webm", lambda path: write_cut(path, 0.6, "webm", "libopus", 48000), r"truncated.*announces 3\.0"),
        ("cut.aac", lambda path: write_cut(path, 0.7, "adts", "aac"), "truncated or corrupt"),
        ("film.mp4", write_film, "holds no sound, only video"),
        ("list.m4a", lambda path: path.write_text("#EXTM3U\nother.m4a\n"), "not a recording that can be read"),
        ("list.mp4", lambda path: path.write_text("ffconcat version 1.0\nfile a.m4a\n"), "not a recording that can be"),
    ],
)
def test_a_bad_recording_is_named_with_its_fault(tmp_path, capfd, name, make, message):
    make(tmp_path / name)
    with pytest.raises(AudioError, match=message) as raised:
        load_audio(tmp_path / name, 16000)
    assert name in str(raised.value)
    assert capfd.readouterr() == ("", "")  # FFmpeg's own words stay away


def test_without_the_extra_the_sentence_names_it_and_ffmpegs_command(phone, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.chdir(phone.parent)
    command = r"ffmpeg -i memo\.m4a memo\.wav"
    with pytest.raises(AudioError, match=rf"memo\.m4a.*pip install 'vqspeech\[media\]'.*{command}"):
        load_audio("memo.m4a")
