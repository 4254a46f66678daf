"""Hear one recording in every voice a model knows, and see the same codes spoken differently.

python egs/convert.py --model runs/fsdd in.wav

writes in.SPEAKER.wav for each speaker (or those named with --speaker), and in.voices.png.
"""

from pathlib import Path

import click

import vqspeech
from vqspeech.conversion import target_name
from vqspeech.pictures import plot_spectrograms, save_picture


@click.command(help=__doc__)
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="Run folder or model file.")
@click.option("--speaker", "speakers", multiple=True, help="Repeatable; all of the model's by default.")
@click.option("--seed", default=0, show_default=True)
def convert(recording: Path, model: str, speakers: tuple[str, ...], seed: int) -> None:
    vqvae = vqspeech.load_model(model)
    wav = vqspeech.load_audio(recording, vqvae.sample_rate)
    rows = [(f"{recording.name}, the source", wav)]
    for speaker in speakers or vqvae.speakers:
        converted = vqspeech.convert(vqvae, wav, speaker=speaker, seed=seed)
        out = recording.with_name(target_name(recording, speaker))
        vqspeech.save_audio(out, converted, vqvae.sample_rate)
        rows.append((speaker, converted))
        print(out)
    picture = recording.with_suffix(".voices.png")
    save_picture(plot_spectrograms(rows, vqvae.sample_rate, vqvae.encode(wav).numpy(), vqvae.hop_length), picture)
    print(picture)


if __name__ == "__main__":
    convert()
