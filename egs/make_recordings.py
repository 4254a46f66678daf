"""The short recordings that come with vqspeech, for who has none at hand: sentences in two voices of espeak-ng.

python egs/make_recordings.py recordings

writes them as 16 kHz FLAC, one a sentence and voice; in vqspeech/recordings lie those that this has made. The sentences
are ours, and the voices are those of which conversions by `english` were understood best.
"""

from pathlib import Path

import click
import numpy as np
import soxr

from vqspeech.audio import save_audio
from vqspeech.data.espeak import ESPEAK_RATE, Espeak, EspeakVoice
from vqspeech.pretrained.example import SENTENCES

VOICES = {"": EspeakVoice("woman", "belinda", rate=165), "-man": EspeakVoice("man", "ed", rate=165)}
RATE, PEAK, MARGIN_S = 16000, 0.35, 0.1


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
def make_recordings(folder: Path) -> None:
    espeak = Espeak(seed=0)
    for suffix, voice in VOICES.items():
        for name, text in SENTENCES.items():
            wav, _ = espeak.speak(text, voice)
            wav = soxr.resample(wav / 32768, ESPEAK_RATE, RATE, quality="HQ")
            heard = np.flatnonzero(abs(wav) > 0.01 * abs(wav).max())
            margin = int(MARGIN_S * RATE)
            wav = wav[max(0, heard[0] - margin) : heard[-1] + margin]
            save_audio(folder / f"{name}{suffix}.flac", wav * PEAK / abs(wav).max(), RATE)
            print(folder / f"{name}{suffix}.flac")


if __name__ == "__main__":
    make_recordings()
