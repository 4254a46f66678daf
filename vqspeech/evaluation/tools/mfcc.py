"""k-means on MFCCs: the classic way to discrete units, and the baseline that learned codes have to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vqspeech.numba_cache import import_librosa

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

# Plain coefficients: with their first and second differences (39 values) the clusters tell phonemes less well on the
# embedded corpus (K = 128, 50 Hz: 45.0 % of frames against 46.6 %), and the control should be the stronger one.
_NUM_MFCC = 13
_WINDOW_S = 0.025  # of an MFCC frame, or one code frame where that is longer
_MAX_FIT_FRAMES = 50_000  # keep k-means to seconds


def mfcc_frames(wav: NDArray[np.floating], num_frames: int, sample_rate: int, hop_length: int) -> NDArray[np.float32]:
    """Compute 13 MFCCs for each code frame.

    Parameters
    ----------
    wav : float array, shape (T,), in [-1, 1]
    num_frames, sample_rate (Hz), hop_length : int

    Returns
    -------
    features : float32 array, shape (num_frames, 13)
        Windows are centred on the code frames' centres.
    """
    librosa = import_librosa()

    window = max(hop_length, round(_WINDOW_S * sample_rate))
    n_fft = max(512, 1 << (window - 1).bit_length())  # at low rates zeros fill it up, so that no mel band is empty
    left = (n_fft - hop_length) // 2
    total = (num_frames - 1) * hop_length + n_fft
    padded = np.zeros(total, dtype=np.float32)
    kept = min(len(wav), total - left)
    padded[left : left + kept] = wav[:kept]
    mfcc = librosa.feature.mfcc(
        y=padded, sr=sample_rate, n_mfcc=_NUM_MFCC, n_mels=40,
        n_fft=n_fft, win_length=window, hop_length=hop_length, center=False,
    )  # fmt: skip
    return mfcc.T.astype(np.float32)  # (num_frames, 13)


def cluster_mfccs(
    fit_on: Sequence[NDArray[np.floating]],
    wavs: Sequence[NDArray[np.floating]],
    num_frames: Sequence[int],
    num_codes: int,
    sample_rate: int,
    hop_length: int,
    *,
    seed: int = 0,
) -> list[NDArray[np.int64]]:
    """Quantize MFCCs by k-means: the baseline that codes have to beat.

    At most 50,000 frames of `fit_on` are used.

    Parameters
    ----------
    fit_on, wavs : sequences of float arrays, shape (T_i,)
        Recordings that k-means is fitted on, and those that are quantized.
    num_frames : sequence of int
        Code frames of each of `wavs`.
    num_codes, sample_rate (Hz), hop_length : int

    Returns
    -------
    codes : list of int arrays, shape (num_frames[i],), in [0, num_codes)
    """
    kmeans = fit_clusters(fit_on, num_codes, sample_rate, hop_length, seed=seed)
    return quantize(kmeans, wavs, num_frames, sample_rate, hop_length)


def fit_clusters(
    fit_on: Sequence[NDArray[np.floating]], num_codes: int, sample_rate: int, hop_length: int, *, seed: int = 0
) -> KMeans:
    """k-means of MFCCs, at most 50,000 frames; parameters as in `cluster_mfccs`."""
    from sklearn.cluster import KMeans

    features = np.concatenate(
        [mfcc_frames(wav, max(1, len(wav) // hop_length), sample_rate, hop_length) for wav in fit_on]
    )
    if len(features) > _MAX_FIT_FRAMES:
        features = np.random.default_rng(seed).permutation(features)[:_MAX_FIT_FRAMES]
    return KMeans(min(num_codes, len(features)), n_init=1, max_iter=100, random_state=seed).fit(features)


def quantize(
    kmeans: KMeans, wavs: Sequence[NDArray[np.floating]], num_frames: Sequence[int], sample_rate: int, hop_length: int
) -> list[NDArray[np.int64]]:
    """The nearest cluster of each frame of recordings; parameters and result as in `cluster_mfccs`."""
    return [
        kmeans.predict(mfcc_frames(wav, frames, sample_rate, hop_length)).astype(np.int64)
        for wav, frames in zip(wavs, num_frames, strict=True)
    ]


def centre_vectors(kmeans: KMeans) -> NDArray[np.float64]:
    """The clusters' centres (K, 13), each coefficient with mean 0 and variance 1 over the frames they were fitted on.

    Angles between plain cepstra are angles between levels: the first coefficient outweighs the others.
    """
    centres = kmeans.cluster_centers_.astype(np.float64)
    frames = centres[kmeans.labels_]
    return (centres - frames.mean(0)) / np.maximum(frames.std(0), 1e-9)


def normalised_mfccs(
    wav: NDArray[np.floating], num_frames: int, sample_rate: int, hop_length: int
) -> NDArray[np.float64]:
    """MFCCs (num_frames, 13) with mean 0 and variance 1 over the recording, as ZeroSpeech's baselines are compared."""
    frames = mfcc_frames(wav, num_frames, sample_rate, hop_length).astype(np.float64)
    return (frames - frames.mean(0)) / np.maximum(frames.std(0), 1e-9)
