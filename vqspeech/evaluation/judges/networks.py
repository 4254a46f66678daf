"""What judges hear with: two networks unlike in features and architecture, so that no finding is a quirk of one."""

# B batch, T samples, M mel bands, N frames, C channels, Q cepstral coefficients.
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.evaluation.judges.augmentation import mask_samples

NUM_MELS = 40
NUM_CEPSTRA = 20
NARROW_MELS = 26  # bands under the cepstra
DELTA_FRAMES = 2  # on either side, of a slope over time


class Classifier(nn.Module):
    """Log-mel bands, three convolutions over time, pooling over the utterance's own frames, class scores.

    Parameters
    ----------
    num_classes : int
    sample_rate : int
        Hz; the window is 32 ms, the hop 10 ms.
    channels : int
    """

    mel: Tensor
    window: Tensor

    def __init__(self, num_classes: int, sample_rate: int, channels: int = 80) -> None:
        super().__init__()
        self.hop_length = sample_rate // 100
        num_fft = 1 << (sample_rate * 32 // 1000 - 1).bit_length()
        self.register_buffer("mel", torch.from_numpy(mel_filters(sample_rate, num_fft, NUM_MELS)), persistent=False)
        self.register_buffer("window", torch.hann_window(num_fft), persistent=False)
        sizes = [(NUM_MELS, 5, 1), (channels, 5, 2), (channels, 3, 2)]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, channels, width, stride, padding=width // 2, bias=False)
            for inputs, width, stride in sizes
        )
        self.strides = [stride for _, _, stride in sizes]
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in sizes)
        self.scores = nn.Linear(2 * channels, num_classes)

    def forward(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """Score utterances.

        Parameters
        ----------
        wav : Tensor, shape (B, T), zero beyond each length
        lengths : LongTensor, shape (B,), samples

        Returns
        -------
        scores : Tensor, shape (B, num_classes)
        """
        x, num_frames = self.features(wav, lengths)
        for convolution, norm, stride in zip(self.convolutions, self.norms, self.strides, strict=True):
            x = torch.relu(norm(convolution(x)))  # (B, C, N)
            num_frames = (num_frames - 1) // stride + 1
            # Frames beyond the utterance stay zero, so that the padding of a batch changes no score.
            x = x * mask_samples(num_frames, x.shape[2])[:, None]
        mean = x.sum(2) / num_frames[:, None]
        pooled = torch.cat([mean, x.amax(2)], 1)  # (B, 2C)
        return self.scores(F.dropout(pooled, 0.3, self.training))

    def features(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel bands, each utterance's own mean level taken off: (B, M, N) and the number of frames (B,)."""
        bands, inside, num_frames = log_bands(wav, lengths, self.mel, self.window, self.hop_length)
        level = (bands * inside).sum((1, 2), keepdim=True) / (num_frames[:, None, None] * NUM_MELS)
        return (bands - level) * inside / 3.0, num_frames


def log_bands(
    wav: Tensor, lengths: Tensor, mel: Tensor, window: Tensor, hop_length: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-mel bands (B, M, N), which frames are the utterance's own (B, 1, N), and how many (B,)."""
    spectrum = torch.stft(wav, len(window), hop_length, window=window, pad_mode="constant", return_complex=True)
    num_frames = lengths // hop_length + 1
    inside = mask_samples(num_frames, spectrum.shape[2])[:, None]
    power = mel @ spectrum.abs().square()
    # A floor 50 dB below the utterance's mean band: how silent its silence is says which microphone it was.
    mean_power = (power * inside).sum((1, 2), keepdim=True) / (num_frames[:, None, None] * len(mel))
    return torch.log(power + 1e-5 * mean_power + 1e-10), inside, num_frames


def mel_filters(sample_rate: int, num_fft: int, num_mels: int) -> np.ndarray:
    """Triangular filters on the HTK mel scale, peak 1, from 0 Hz to half the rate: (num_mels, num_fft // 2 + 1)."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, num_mels + 2) / 2595) - 1)  # Hz
    frequencies = np.linspace(0, sample_rate / 2, num_fft // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def pad(wavs: Sequence[np.ndarray], shortest: int) -> tuple[Tensor, Tensor]:
    """Stack waveforms: (B, T) zero beyond each length, and the lengths (B,); T is at least `shortest`."""
    lengths = torch.tensor([len(wav) for wav in wavs])
    batch = torch.zeros(len(wavs), max(shortest, int(lengths.max())))
    for row, wav in zip(batch, wavs, strict=True):
        row[: len(wav)] = torch.from_numpy(np.ascontiguousarray(wav, dtype=np.float32))
    return batch, lengths


class RecurrentClassifier(nn.Module):
    """Cepstra with their slopes, two recurrent layers both ways over time, a weighted mean of frames, class scores.

    Shares neither features nor architecture with `Classifier`: windows of 20 ms every 8 ms with pre-emphasis, 20 MFCCs
    (the first, the level, without its mean) and their slopes over five frames, GRUs, attention for pooling.

    Parameters
    ----------
    num_classes : int
    sample_rate : int
        Hz
    channels : int
        Of each direction.
    """

    mel: Tensor
    window: Tensor
    cosines: Tensor

    def __init__(self, num_classes: int, sample_rate: int, channels: int = 64) -> None:
        super().__init__()
        self.hop_length = sample_rate // 125
        num_fft = 1 << (sample_rate // 50 - 1).bit_length()
        self.register_buffer("mel", torch.from_numpy(mel_filters(sample_rate, num_fft, NARROW_MELS)), persistent=False)
        self.register_buffer("window", torch.hamming_window(num_fft), persistent=False)
        band = (torch.arange(NARROW_MELS) + 0.5) * torch.pi / NARROW_MELS
        cosines = torch.cos(torch.arange(NUM_CEPSTRA)[:, None] * band)  # DCT-II
        self.register_buffer("cosines", cosines * (2 / NARROW_MELS) ** 0.5, persistent=False)
        self.norm = nn.BatchNorm1d(2 * NUM_CEPSTRA)
        self.recurrent = nn.GRU(2 * NUM_CEPSTRA, channels, 2, batch_first=True, bidirectional=True, dropout=0.2)
        self.attention = nn.Linear(2 * channels, 1)
        self.scores = nn.Linear(2 * channels, num_classes)

    def forward(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """Score utterances; shapes as in `Classifier.forward`."""
        x, num_frames = self.features(wav, lengths)
        packed = nn.utils.rnn.pack_padded_sequence(x, num_frames.cpu(), batch_first=True, enforce_sorted=False)
        y, _ = nn.utils.rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)  # (B, N, 2C)
        weight = self.attention(y).masked_fill(~mask_samples(num_frames, y.shape[1])[..., None], -torch.inf).softmax(1)
        return self.scores(F.dropout((weight * y).sum(1), 0.3, self.training))

    def features(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised cepstra and slopes (B, N, 2Q), and the number of frames (B,)."""
        wav = torch.cat([wav[:, :1], wav[:, 1:] - 0.97 * wav[:, :-1]], 1)
        wav = wav * mask_samples(lengths, wav.shape[1])
        bands, mask, num_frames = log_bands(wav, lengths, self.mel, self.window, self.hop_length)
        cepstra = self.cosines @ bands  # (B, Q, N)
        level = (cepstra[:, :1] * mask).sum(2, keepdim=True) / num_frames[:, None, None]
        cepstra = torch.cat([cepstra[:, :1] - level, cepstra[:, 1:]], 1) * mask
        x = torch.cat([cepstra, _slopes(cepstra) * mask], 1)  # (B, 2Q, N)
        return self.norm(x).transpose(1, 2), num_frames


def _slopes(x: Tensor) -> Tensor:
    """Least-squares slope of (B, Q, N) over `DELTA_FRAMES` frames on either side."""
    step = torch.arange(-DELTA_FRAMES, DELTA_FRAMES + 1, dtype=x.dtype)
    kernel = (step / step.square().sum()).expand(x.shape[1], 1, -1)
    return F.conv1d(x, kernel, padding=DELTA_FRAMES, groups=x.shape[1])  # zeros outside, as in a batch


NETWORKS: dict[str, type[Classifier] | type[RecurrentClassifier]] = {
    "convolutional": Classifier, "recurrent": RecurrentClassifier,
}  # fmt: skip
