"""How far what was generated is from the nearest that was learned from: whether a prior speaks or recites.

A distance says little by itself. Beside it stand that of held-out speech, which nobody can have learned by heart, and
that of training speech coded or spoken once more, which is what reciting would look like.
"""

# T samples, M frames, N codes.
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vqspeech.errors import DependencyError
from vqspeech.evaluation.figures import Wav
from vqspeech.evaluation.mfcc import mfcc_frames

FRAME_S = 0.01


def nearest_codes(
    sequences: Sequence[NDArray[np.integer]],
    learned: Sequence[NDArray[np.integer]],
    leave_out: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """Edit distance of each sequence of codes to the nearest of others, as a share of the longer one's length.

    Parameters
    ----------
    sequences, learned : codes (N,) of each
    leave_out : for each sequence, the position in `learned` of one that is not compared, such as itself

    Returns
    -------
    distances : shape (len(sequences),), in [0, 1]; 0 is a copy
    """
    try:
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import cdist
    except ImportError:
        raise DependencyError(
            "edit distances need the package rapidfuzz. Run: pip install 'vqspeech[evaluate]'"
        ) from None
    # A code as a character: the library compares text fastest.
    texts, others = ([_text(codes) for codes in each] for each in (sequences, learned))
    distances = cdist(texts, others, scorer=Levenshtein.normalized_distance, dtype=np.float64)
    if leave_out is not None:
        distances[np.arange(len(texts)), np.asarray(leave_out)] = np.inf
    return distances.min(axis=1)


def nearest_sound(
    wavs: Sequence[Wav],
    learned: Sequence[Sequence[Wav]],
    sample_rate: int,
) -> NDArray[np.float64]:
    """Distance of each waveform to the nearest of its own list, by dynamic time warping of MFCCs, per frame.

    Loudness is left out (the coefficients 1 to 12 are compared), and tempo is warped away.

    Parameters
    ----------
    wavs : (T,) each
    learned : for each the waveforms that it is compared with, for example all of its speaker's

    Returns
    -------
    distances : shape (len(wavs),); the mean Euclidean distance along the best path, both ways' frames counted
    """
    known: dict[int, NDArray[np.float32]] = {}

    def features(wav: Wav) -> NDArray[np.float32]:
        if id(wav) not in known:
            hop = int(FRAME_S * sample_rate)
            known[id(wav)] = np.ascontiguousarray(mfcc_frames(wav, max(1, len(wav) // hop), sample_rate, hop)[:, 1:].T)
        return known[id(wav)]  # (12, M)

    return np.array(
        [
            min(warped_distance(features(wav), features(other)) for other in others)
            for wav, others in zip(wavs, learned, strict=True)
        ]
    )


def warped_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Mean Euclidean distance of two series of vectors (C, M) along the path that warps time best.

    A step forward in both counts twice, so that every path counts all frames of both.
    """
    import librosa

    steps = np.array([[1, 1], [0, 1], [1, 0]])
    total = librosa.sequence.dtw(a, b, step_sizes_sigma=steps, weights_mul=np.array([2.0, 1.0, 1.0]), backtrack=False)[
        -1, -1
    ]
    return float(total) / (a.shape[1] + b.shape[1])


def _text(codes: NDArray[np.integer]) -> str:
    return "".join(map(chr, np.asarray(codes).tolist()))
