"""What a conversion has to beat: the source with its pitch moved, and random codes in the target's voice."""

# T samples, N code frames, C conditioning channels.
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vqspeech.conversion import CodesRequest, SamplingOptions, decode_many
from vqspeech.data.store import Store
from vqspeech.evaluation.figures.types import Wav
from vqspeech.evaluation.trials.real_speech import real_speech
from vqspeech.models.vqvae import VQVAE
from vqspeech.numba_cache import import_librosa

LISTEN_S = 8.0  # of a speaker's recordings, to find their pitch
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
MOST_SEMITONES = 12.0


def median_f0(wav: Wav, sample_rate: int) -> float:
    """Median fundamental frequency of a recording's voiced frames, Hz, by pYIN; nan where there is none."""
    librosa = import_librosa()

    frame = 1 << math.ceil(math.log2(3 * sample_rate / LOWEST_HZ))
    if len(wav) < frame or not np.isfinite(wav).all() or not wav.any():
        return math.nan
    # Steps of a fifth of a semitone: a control needs no more, and they cost a quarter of the time.
    f0, voiced, _ = librosa.pyin(
        wav, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=sample_rate, frame_length=frame, resolution=0.2
    )
    return float(np.median(f0[voiced])) if voiced.any() else math.nan


def speakers_f0(store: Store, speakers: Sequence[str]) -> dict[str, float]:
    """Median F0 of speakers' real recordings, Hz; training recordings where there are any, a control may know them."""
    found = {}
    for speaker in speakers:
        # Spread over all that was said: the first seconds of a corpus may be one word over and over.
        own = real_speech(store, speaker, ["train"], LISTEN_S) or real_speech(
            store, speaker, ["valid", "test"], LISTEN_S
        )
        found[speaker] = median_f0(np.concatenate([wav for _, wav in own]), store.sample_rate) if own else math.nan
    return found


def shift_pitch(wav: Wav, sample_rate: int, ratio: float) -> Wav:
    """Multiply a recording's pitch by `ratio`, formants included, its duration kept; at most an octave either way.

    Unchanged where the ratio is not known.
    """
    pitch_shift = import_librosa().effects.pitch_shift

    if not (np.isfinite(ratio) and ratio > 0) or len(wav) < 32:
        return wav
    semitones = float(np.clip(12 * np.log2(ratio), -MOST_SEMITONES, MOST_SEMITONES))
    num_fft = 1 << int(np.round(np.log2(0.064 * sample_rate)))
    padded = np.pad(wav, (0, max(0, num_fft - len(wav))))
    shifted = pitch_shift(padded, sr=sample_rate, n_steps=semitones, n_fft=num_fft)
    return np.clip(shifted[: len(wav)], -1, 1).astype(np.float32)


def decode_random(
    model: VQVAE, jobs: Sequence[tuple[int, str, int]], *, seed: int, num_threads: int, precision: str = "auto"
) -> list[Wav]:
    """Codes drawn uniformly from the codebook, spoken in a voice, all side by side.

    Parameters
    ----------
    jobs : number of codes, speaker, and the utterance's number for the random numbers, of each

    Returns
    -------
    wavs : float32, shape (N * hop_length,) each
    """
    requests = []
    for num_codes, speaker, utterance in jobs:
        codes = np.random.default_rng([seed, utterance]).integers(model.num_codes, size=num_codes)
        # The control's own random numbers: the conversion of the same utterance has another stream.
        requests.append(CodesRequest(codes, speaker, ~utterance & 0xFFFFFFFF))
    return decode_many(model, requests, SamplingOptions(seed, precision=precision), num_threads=num_threads)
