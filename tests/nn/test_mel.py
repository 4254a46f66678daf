"""Log-mel frames, for the encoder and around each code, against librosa."""

import librosa
import numpy as np
import pytest
import torch

from vqspeech.nn.mel import LogMel


def test_mel_frames_equal_librosa():
    wav = 0.3 * torch.randn(1, 256 + 9 * 32)
    frames = LogMel(8000, 32, 20)(wav)
    mel = librosa.feature.melspectrogram(
        y=wav[0].numpy(), sr=8000, n_fft=256, hop_length=32, center=False, power=1.0, n_mels=20, htk=True, norm=None
    )
    np.testing.assert_allclose(frames[0].numpy(), (np.log(mel + 1e-3) + 2.5) / 2.5, atol=1e-4)


@pytest.mark.parametrize(("sample_rate", "hop", "window"), [(16000, 64, 512), (8000, 64, 256), (16000, 640, 640)])
def test_spectral_target_equals_librosa(sample_rate, hop, window):
    log_mel = LogMel(sample_rate, hop, 40)
    assert log_mel.window == window  # 32 ms, or a frame where that is longer
    lead, num_frames = 700, 6
    wav = 0.3 * torch.randn(2, lead + num_frames * hop + 700)
    found = log_mel.around_frames(wav, lead, num_frames)
    for row, frames in zip(wav.numpy(), found.numpy(), strict=True):
        for n, frame in enumerate(frames):
            start = lead + n * hop - (window - hop) // 2  # centred on the frame
            mel = librosa.feature.melspectrogram(
                y=row[start : start + window], sr=sample_rate, n_fft=window, hop_length=hop, center=False,
                power=1.0, n_mels=40, htk=True, norm=None,
            )  # fmt: skip
            np.testing.assert_allclose(frame, np.log(mel[:, 0] + 1e-3), atol=1e-4)


def test_spectrum_beyond_the_batch_is_that_of_silence():
    log_mel = LogMel(8000, 16, 40)
    wav = torch.randn(1, 64)
    padded = torch.nn.functional.pad(wav, (300, 300))
    torch.testing.assert_close(log_mel.around_frames(wav, 0, 4), log_mel.around_frames(padded, 300, 4))


def test_targets_under_autocast_are_those_of_full_precision():
    log_mel, wav = LogMel(8000, 64, 40), 0.3 * torch.randn(2, 2000)
    expected = log_mel.around_frames(wav, 300, 20)
    with torch.autocast("cpu", torch.bfloat16):
        found = log_mel.around_frames(wav, 300, 20)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_the_encoders_frames_under_autocast_are_those_of_full_precision():
    log_mel, wav = LogMel(8000, 64, 40), 0.3 * torch.randn(2, 2000)
    expected = log_mel(wav)
    with torch.autocast("cpu", torch.bfloat16):
        found = log_mel(wav)
    assert torch.equal(found, expected)
