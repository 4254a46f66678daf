"""Generated utterances on disk: sound, codes and a picture of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import save_audio
from vqspeech.conversion.codes import save_codes
from vqspeech.conversion.options import SamplingOptions
from vqspeech.errors import VQSpeechError
from vqspeech.generation.code_sampling import CodeSamplingOptions
from vqspeech.generation.speech import speak_samples
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE
from vqspeech.pictures import plot_spectrograms, save_picture

SUFFIXES = (".wav", ".npz", ".png")


@dataclass(frozen=True)
class Generated:
    """One utterance as it was written.

    Attributes
    ----------
    wav : the sound; codes (.npz) and picture (.png) lie beside it
    num_codes : prompt included
    duration_s : seconds
    has_ended : whether the prior ended it, before the longest duration did
    """

    wav: Path
    num_codes: int
    duration_s: float
    has_ended: bool


def plan_targets(out: Path, name: str, num: int, *, force: bool = False) -> list[Path]:
    """The WAV files of `num` utterances, `out/NAME-000.wav` and so on.

    Raises
    ------
    VQSpeechError
        If one of the files to be written exists and `force` is false.
    """
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    targets = [out / f"{safe}-{number:03d}.wav" for number in range(num)]
    for target in targets:
        for file in (target.with_suffix(suffix) for suffix in SUFFIXES):
            if file.is_dir():
                raise VQSpeechError(f"{file} is a folder. Choose another --out")
            if file.exists() and not force:
                raise VQSpeechError(f"{file} exists. Overwrite it with --force, or choose another --out or --seed")
    return targets


def generate_files(
    model: VQVAE,
    prior: Prior,
    targets: list[Path],
    speaker: str,
    options: SamplingOptions,
    code_options: CodeSamplingOptions,
    *,
    max_duration_s: float,
    num_threads: int,
    prompt: NDArray[np.integer] | None = None,
) -> Iterator[Generated]:
    """Draw, speak and write one utterance for each target; each is yielded as soon as it is written.

    Parameters
    ----------
    speaker : who speaks
    options : how the decoder samples
    code_options : how the prior does
    max_duration_s : seconds at most, the prompt not counted
    prompt : codes that all begin with; they are spoken in the voice too

    Raises
    ------
    UnknownSpeakerError, VQSpeechError
        See `sample`; and if a place cannot be written.
    """
    made = speak_samples(
        model,
        prior,
        len(targets),
        speaker,
        options,
        code_options,
        max_duration_s=max_duration_s,
        num_threads=num_threads,
        prompt=prompt,
    )
    for one in made:
        target = targets[one.number]
        figure = plot_spectrograms([(target.stem, one.wav)], model.sample_rate, one.codes, model.hop_length)
        save_audio(target, one.wav, model.sample_rate)
        save_codes(target.with_suffix(".npz"), one.codes, model, len(one.wav))
        save_picture(figure, target.with_suffix(".png"))
        yield Generated(target, len(one.codes), len(one.wav) / model.sample_rate, one.has_ended)
