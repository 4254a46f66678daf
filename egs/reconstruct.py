"""Hear what the codes keep: a recording, encoded and spoken again in the same speaker's voice.

python egs/reconstruct.py --model runs/fsdd --speaker theo in.wav

writes in.reconstructed.wav, and in.reconstructed.png with both spectrograms and the codes beneath.
"""

from pathlib import Path

import click

import vqspeech
from vqspeech.pictures import plot_spectrograms, save_picture


@click.command(help=__doc__)
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="Run folder or model file.")
@click.option("--speaker", required=True, help="Who speaks in the recording.")
@click.option("--seed", default=0, show_default=True)
def reconstruct(recording: Path, model: str, speaker: str, seed: int) -> None:
    vqvae = vqspeech.load_model(model)
    wav = vqspeech.load_audio(recording, vqvae.sample_rate)
    codes = vqvae.encode(wav)
    again = vqspeech.decode(vqvae, codes, speaker, seed=seed)[: len(wav)]

    out = recording.with_suffix(".reconstructed.wav")
    vqspeech.save_audio(out, again, vqvae.sample_rate)
    rows = [(recording.name, wav), (f"from {len(codes)} codes, as {speaker}", again)]
    save_picture(plot_spectrograms(rows, vqvae.sample_rate, codes.numpy(), vqvae.hop_length), out.with_suffix(".png"))

    sound = len(wav) * 16 / 1000  # kbit
    kept = len(codes) * vqvae.recipe.bit_rate / vqvae.code_rate / 1000
    print(f"{out}: {sound:.1f} kbit of sound through {kept:.2f} kbit of codes, {sound / kept:.0f} times less")


if __name__ == "__main__":
    reconstruct()
