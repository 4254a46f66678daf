"""What a conversion has to beat: the source with its pitch moved, and random codes in the target's voice."""

# T samples, N code frames, C conditioning channels.
from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.store import Store
from vqspeech.evaluation.figures.types import Wav
from vqspeech.models.vqvae import VQVAE, evaluating
from vqspeech.mu_law import mu_law_decode
from vqspeech.numba_cache import import_librosa
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.scheduler import Task, Workers

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
    from vqspeech.evaluation.trials.signals import real_speech

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
    decodings = _Decodings(model, jobs, seed)
    with evaluating(model):
        sampler = get_engine("auto", precision).load(model.wavenet, model.hop_length)
        Workers(sampler, decodings, num_threads=num_threads, width=sampler.width, seed=seed).run()
    return [mu_law_decode(np.concatenate(pieces)).astype(np.float32) for pieces in decodings.classes]


class _Decodings:
    """Random codes as tasks; see `workers.Tasks`."""

    def __init__(self, model: VQVAE, jobs: Sequence[tuple[int, str, int]], seed: int) -> None:
        self.classes: list[list[NDArray[np.integer]]] = [[] for _ in jobs]
        self._model, self._seed = model, seed
        self._waiting = list(enumerate(jobs))[::-1]

    def take(self) -> Task | None:
        """The next sequence."""
        if not self._waiting:
            return None
        number, (num_codes, speaker, utterance) = self._waiting.pop()
        # The control's own random numbers: the conversion of the same utterance has another stream.
        return Task(~utterance & 0xFFFFFFFF, 0, self._sample(number, num_codes, speaker, utterance))

    def is_exhausted(self) -> bool:
        """Whether all have been taken."""
        return not self._waiting

    def fail(self, task: Task, error: Exception) -> None:
        """No failure is expected here."""
        raise error

    def stop(self) -> None:
        """Nothing that `take` does here lasts."""

    def _sample(
        self, number: int, num_codes: int, speaker: str, utterance: int
    ) -> Generator[NDArray[np.float32], NDArray[np.int32], None]:
        generator = np.random.default_rng([self._seed, utterance])
        codes = generator.integers(self._model.num_codes, size=num_codes)
        condition = self._model.condition(codes, self._model.speaker_index(speaker))
        self.classes[number].append((yield condition.cpu().numpy()))
