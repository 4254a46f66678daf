"""Recordings in and out, and mu-law: what a reader and a writer promise."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from media import write_media
from vqspeech.audio import AUDIO_SUFFIXES, AudioWriter, find_recordings, load_audio, open_audio, save_audio
from vqspeech.errors import AudioError
from vqspeech.mu_law import mu_law_decode, mu_law_encode

EVERY_INT16 = np.arange(-32768, 32768, dtype=np.float32) / 32768


def sine(frequency: float, sample_rate: int, duration_s: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(duration_s * sample_rate)) / sample_rate)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_every_sixteen_bit_value_survives_writing_and_reading(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    save_audio(path, EVERY_INT16, 16000)
    assert np.array_equal(load_audio(path), EVERY_INT16)
    assert soundfile.info(path).subtype == "PCM_16"


@pytest.mark.parametrize("source_rate", [4000, 8000, 22050, 48000, 192000])
def test_a_resampled_sine_is_the_sine_at_the_new_rate(tmp_path: Path, source_rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", sine(1000, source_rate), source_rate, subtype="FLOAT")
    wav = load_audio(tmp_path / "a.wav", 16000)
    assert wav.dtype == np.float32 and len(wav) == 8000
    inside = slice(1000, -1000)  # the filter rings at the ends
    assert np.abs(wav - sine(1000, 16000))[inside].max() < 1e-3  # -54 dB


def test_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.arange(24, dtype=np.float32).reshape(3, 8) / 32
    soundfile.write(tmp_path / "a.wav", channels, 8000, subtype="FLOAT")
    assert load_audio(tmp_path / "a.wav") == pytest.approx([3.5 / 32, 11.5 / 32, 19.5 / 32])


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_lossy_formats_are_read(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"a{suffix}", sine(440, 16000), 16000)
    wav = load_audio(tmp_path / f"a{suffix}", 16000)
    assert len(wav) == pytest.approx(8000, abs=1200)
    spectrum = np.abs(np.fft.rfft(wav[:8000]))
    assert np.argmax(spectrum) * 16000 / len(wav[:8000]) == pytest.approx(440, abs=4)


# libsndfile's format and subtype by the suffix that people's files have; it reads mp2 but writes none.
OTHER_KINDS = {
    ".opus": ("OGG", "OPUS"), ".oga": ("OGG", "VORBIS"), ".aiff": ("AIFF", "PCM_16"), ".aif": ("AIFF", "PCM_24"),
    ".aifc": ("AIFF", "IMA_ADPCM"), ".au": ("AU", "ULAW"), ".snd": ("AU", "PCM_16"), ".caf": ("CAF", "ALAC_16"),
    ".w64": ("W64", "PCM_16"), ".rf64": ("RF64", "PCM_16"), ".wave": ("WAV", "GSM610"), ".bwf": ("WAVEX", "PCM_24"),
    ".sph": ("NIST", "PCM_16"), ".nist": ("NIST", "ULAW"), ".voc": ("VOC", "PCM_16"), ".avr": ("AVR", "PCM_16"),
    ".ircam": ("IRCAM", "PCM_16"), ".sf": ("IRCAM", "FLOAT"), ".paf": ("PAF", "PCM_16"), ".pvf": ("PVF", "PCM_16"),
    ".wve": ("WVE", "ALAW"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", OTHER_KINDS)
def test_every_other_kind_of_libsndfile_is_found_in_a_folder_and_read_by_its_content(
    tmp_path: Path, suffix: str
) -> None:
    kind, subtype = OTHER_KINDS[suffix]
    soundfile.write(tmp_path / f"a{suffix}", sine(440, 8000), 8000, format=kind, subtype=subtype)
    assert find_recordings(tmp_path).readable == [tmp_path / f"a{suffix}"]
    wav = load_audio(tmp_path / f"a{suffix}", 8000)
    assert len(wav) == pytest.approx(4000, abs=480)  # codecs of blocks fill their last one
    assert np.corrcoef(wav[:4000], sine(440, 8000))[0, 1] > 0.98
    (tmp_path / f"a{suffix}").rename(tmp_path / "nameless")
    assert np.array_equal(load_audio(tmp_path / "nameless", 8000), wav)


def test_every_suffix_of_libsndfile_was_tried() -> None:
    assert set(AUDIO_SUFFIXES) == {*OTHER_KINDS, ".wav", ".flac", ".ogg", ".mp3", ".mp2"}


def test_layer_two_of_mpeg_is_read(tmp_path: Path) -> None:
    write_media(tmp_path / "a.mp2", "mp2", "mp2", sine(440, 44100), 44100)
    assert len(load_audio(tmp_path / "a.mp2", 8000)) == pytest.approx(4000, abs=400)


@given(block_samples=st.integers(1, 5000), sample_rate=st.sampled_from([None, 16000, 44100]))
def test_blocks_of_any_size_give_the_samples_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, block_samples: int, sample_rate: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocks.wav"
    if not path.exists():
        save_audio(path, np.random.default_rng(0).uniform(-1, 1, 4001), 22050)
    with open_audio(path, sample_rate, block_samples=block_samples) as reader:
        blocks = list(reader)
    assert np.array_equal(np.concatenate(blocks), load_audio(path, sample_rate))


def test_a_long_recording_is_read_in_small_blocks(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", np.zeros(600_000), 8000)
    with open_audio(tmp_path / "a.wav", 8000, block_samples=1000) as reader:
        assert reader.duration_s == 75
        assert {len(block) for block in reader} == {1000}


def test_a_part_of_a_recording_is_read(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", EVERY_INT16, 8000)
    part = load_audio(tmp_path / "a.wav", offset_s=1.0, duration_s=0.25)
    assert np.array_equal(part, EVERY_INT16[8000:10000])
    with pytest.raises(AudioError, match=r"lasts 8\.19 s.*starts at 9"):
        load_audio(tmp_path / "a.wav", offset_s=9)


def write_nan(path: Path) -> None:
    soundfile.write(path, np.array([0, np.nan, 0], np.float32), 8000, subtype="FLOAT")


def write_truncated(path: Path) -> None:
    soundfile.write(path, sine(300, 8000, 3), 8000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("missing.wav", lambda path: None, "no recording at .*Check the path"),
        ("empty.wav", lambda path: path.touch(), "empty file"),
        ("folder.wav", lambda path: path.mkdir(), "is a folder"),
        ("text.wav", lambda path: path.write_text("dear diary"), "not a recording that can be read"),
        ("noise.flac", lambda path: path.write_bytes(bytes(range(256)) * 9), "not a recording that can be read"),
        ("none.wav", lambda path: soundfile.write(path, np.zeros(0), 8000), "holds no samples"),
        ("nan.wav", write_nan, "not finite"),
        ("half.wav", write_truncated, "truncated"),
        ("half.flac", write_truncated, "truncated"),
        ("half.mp3", write_truncated, "truncated"),
    ],
)
def test_a_bad_recording_is_named_with_its_fault(tmp_path: Path, name: str, make, message: str) -> None:
    make(tmp_path / name)
    with pytest.raises(AudioError, match=message) as raised:
        load_audio(tmp_path / name, 16000)
    assert name in str(raised.value)


def test_a_wav_written_to_a_pipe_announces_no_length_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    save_audio(path, EVERY_INT16, 8000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(load_audio(path)) == len(EVERY_INT16)


def test_blocks_written_one_by_one_make_the_whole_file(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "new" / "a.flac", 8000) as writer:
        for start in range(0, 65536, 10000):
            writer.write(EVERY_INT16[start : start + 10000])
    assert np.array_equal(load_audio(tmp_path / "new" / "a.flac"), EVERY_INT16)


def test_what_lies_beyond_full_scale_is_clipped(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", np.array([-2.0, 2.0]), 8000)
    assert load_audio(tmp_path / "a.wav").tolist() == [-1, 32767 / 32768]


def test_an_interrupted_write_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", EVERY_INT16, 8000)
    with pytest.raises(KeyboardInterrupt), AudioWriter(tmp_path / "a.wav", 8000) as writer:
        writer.write(np.zeros(10))
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert len(load_audio(tmp_path / "a.wav")) == 65536


def test_a_disk_that_fills_up_at_the_last_moment_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    save_audio(tmp_path / "a.wav", np.zeros(3), 8000)
    close = soundfile.SoundFile.close

    def fail(file: soundfile.SoundFile) -> None:
        if not file.closed:
            close(file)
            raise soundfile.LibsndfileError(2)  # what flushing the last block says: system error

    monkeypatch.setattr(soundfile.SoundFile, "close", fail)
    with pytest.raises(AudioError, match=r"cannot write .*a\.wav: .*the free space"):
        save_audio(tmp_path / "a.wav", np.zeros(5), 8000)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert len(load_audio(tmp_path / "a.wav")) == 3


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", np.zeros(3), 8000)
    with pytest.raises(AudioError, match="exists and is kept.*--force"):
        save_audio(tmp_path / "a.wav", np.zeros(5), 8000, force=False)
    assert len(load_audio(tmp_path / "a.wav")) == 3


def test_what_cannot_be_written_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AudioError, match="cannot write "):
        save_audio(tmp_path / "file" / "a.wav", np.zeros(3), 8000)
    with pytest.raises(AudioError, match=r"must end in \.wav or \.flac"):
        save_audio(tmp_path / "a.mp3", np.zeros(3), 8000)
    with pytest.raises(AudioError, match="not finite"):
        save_audio(tmp_path / "a.wav", np.array([np.inf]), 8000)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_mu_law_classes_are_those_of_librosa() -> None:
    # Its curve, rounded to the 256 classes by hand: its own quantization counts from -128.
    curve = librosa.mu_compress(EVERY_INT16.astype(np.float64), mu=255, quantize=False)
    assert np.array_equal(mu_law_encode(EVERY_INT16.astype(np.float64)), np.floor((curve + 1) / 2 * 255 + 0.5))


def test_mu_law_of_arrays_and_tensors_is_torchaudios() -> None:
    functional = pytest.importorskip("torchaudio.functional", exc_type=(ImportError, OSError, RuntimeError))
    expected = functional.mu_law_encoding(torch.from_numpy(EVERY_INT16), 256)
    assert torch.equal(mu_law_encode(torch.from_numpy(EVERY_INT16)), expected)
    assert np.array_equal(mu_law_encode(EVERY_INT16), expected.numpy())
    classes = np.arange(256)
    decoded = functional.mu_law_decoding(torch.arange(256), 256).numpy()
    assert mu_law_decode(classes) == pytest.approx(decoded, abs=1e-7)
    assert mu_law_decode(torch.arange(256)).numpy() == pytest.approx(decoded, abs=1e-7)


def test_mu_law_of_silence_is_class_128_and_the_ends_are_0_and_255() -> None:
    assert mu_law_encode(np.array([0.0, -1.0, 1.0, -7.0, 7.0])).tolist() == [128, 0, 255, 0, 255]
    assert mu_law_decode(np.array([0, 255])).tolist() == [-1.0, 1.0]
    assert mu_law_decode(torch.tensor([3])).dtype == torch.float32


def test_every_class_decodes_into_itself() -> None:
    assert np.array_equal(mu_law_encode(mu_law_decode(np.arange(256))), np.arange(256))
