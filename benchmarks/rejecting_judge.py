"""A judge of words that may also answer that it heard none, for speech that nobody wrote a text for.

A classifier of words alone has to name one, whatever it hears. This one has a further class, trained on what has the
sound of speech, or of anything, and no word in it: noise, babble, and what a decoder makes of codes in random order. It
never hears what is judged.
"""

# T samples.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from judges import with_report

from vqspeech.evaluation.figures.types import Wav
from vqspeech.evaluation.judges import augmentation
from vqspeech.evaluation.judges.frozen import FrozenJudge
from vqspeech.evaluation.judges.training import disturb_for_content, train_judge

JUDGE = "rejecting"  # its name in a file
NOTHING = "nothing"  # the class of what is no word
VOICES = (4, 8)  # fewest and most that babble at once
ENVELOPE_S = 0.02  # smoothing of a recording's loudness


def make_noise(recordings: Sequence[Wav], num: int, sample_rate: int, seed: int) -> list[Wav]:
    """Noise (T,) of random smooth spectra, as long as the recordings; every other one rises and falls like one.

    Otherwise loudness alone would tell a word.
    """
    random = np.random.default_rng([seed, 0])
    generator = torch.Generator().manual_seed(seed)
    window = np.hanning(max(3, int(ENVELOPE_S * sample_rate)))
    made = []
    for number in range(num):
        like = recordings[int(random.integers(len(recordings)))]
        white = torch.randn(1, len(like), generator=generator)
        noise = augmentation.equalise(white, 10.0, generator, num_knots=4)[0].numpy()
        if number % 2:
            power = np.convolve(np.square(like, dtype=np.float64), window / window.sum(), "same")
            noise = noise * np.sqrt(np.maximum(power, 0))
        made.append(_scaled(noise))
    return made


def make_babble(recordings: Sequence[Wav], num: int, seed: int) -> list[Wav]:
    """Several voices (T,) at once, each equally loud and begun anywhere, as long together as one recording."""
    random = np.random.default_rng([seed, 1])
    made = []
    for _ in range(num):
        length = len(recordings[int(random.integers(len(recordings)))])
        mixed = np.zeros(length)
        count = min(len(recordings), int(random.integers(VOICES[0], VOICES[1] + 1)))
        for chosen in random.choice(len(recordings), count, replace=False):
            voice = recordings[chosen].astype(np.float64)
            begun = np.roll(np.resize(np.roll(voice, random.integers(len(voice))), length), random.integers(length))
            mixed += begun / max(1e-9, float(np.sqrt(np.mean(begun**2))))
        made.append(_scaled(mixed))
    return made


def shuffle_codes(sequences: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """Each utterance's own codes (N,) in random order."""
    random = np.random.default_rng([seed, 2])
    return [random.permutation(codes) for codes in sequences]


def train_rejecting_judge(
    wavs: Sequence[Wav], words: Sequence[str], nothing: Mapping[str, Sequence[Wav]], sample_rate: int, **options: Any
) -> FrozenJudge:
    """Train a classifier of words, and of `NOTHING`, on disturbed copies; see `train_judge`.

    Parameters
    ----------
    wavs, words : real recordings (T_i,), and what is said in each
    nothing : name to waveforms of each kind of what is no word
    options : of `train_judge`
    """
    assert NOTHING not in words
    none = [wav for kind in nothing.values() for wav in kind]
    labels = [*words, *[NOTHING] * len(none)]
    judge = train_judge(JUDGE, [*wavs, *none], labels, sample_rate, disturb_for_content, **options)
    counts = {"words": len(wavs)} | {name: len(kind) for name, kind in nothing.items()}
    return with_report(judge, trained_on=counts)


def hear(judge: FrozenJudge, wavs: Sequence[Wav]) -> list[str | None]:
    """The likeliest word of each waveform (T,), None where it is likelier that there is none."""
    return [None if word == NOTHING else word for word in judge.predict(wavs)]


def _scaled(wav: np.ndarray) -> Wav:
    """Peak 0.5."""
    return (0.5 * wav / max(1e-9, float(np.abs(wav).max()))).astype(np.float32)
