"""Look at the units a model learned: which codes recordings use, how evenly, and how long each lasts.

python egs/inspect_codes.py --model runs/fsdd in.wav [more.wav ...]

prints statistics over all recordings, and draws each one's spectrogram with its codes beneath: in.codes.png.
"""

from pathlib import Path

import click
import numpy as np

import vqspeech
from vqspeech.pictures import plot_spectrograms, save_picture


@click.command(help=__doc__)
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", required=True, help="Run folder or model file.")
def inspect_codes(recordings: tuple[Path, ...], model: str) -> None:
    vqvae = vqspeech.load_model(model)
    tracks = []
    for recording in recordings:
        wav = vqspeech.load_audio(recording, vqvae.sample_rate)
        tracks.append(vqvae.encode(wav).numpy())
        figure = plot_spectrograms([(recording.name, wav)], vqvae.sample_rate, tracks[-1], vqvae.hop_length)
        save_picture(figure, recording.with_suffix(".codes.png"))

    counts = np.bincount(np.concatenate(tracks), minlength=vqvae.num_codes)
    share = counts / counts.sum()
    entropy_bits = -np.sum(share * np.log2(share, where=share > 0, out=np.zeros_like(share)))
    runs = sum(1 + np.count_nonzero(np.diff(track)) for track in tracks)
    print(f"codes         {counts.sum()} in {len(recordings)} recordings, {vqvae.code_rate:g} per second")
    print(f"in use        {np.count_nonzero(counts)} of {vqvae.num_codes}")
    print(f"perplexity    {2**entropy_bits:.1f} (all used evenly: {vqvae.num_codes})")
    print(f"bit rate      {entropy_bits * vqvae.code_rate:.0f} bit/s (all used evenly: {vqvae.recipe.bit_rate:.0f})")
    print(f"mean length   {1000 * counts.sum() / runs / vqvae.code_rate:.1f} ms until the code changes")
    print("commonest     " + ", ".join(f"{code} ({share[code]:.1%})" for code in counts.argsort()[::-1][:8]))


if __name__ == "__main__":
    inspect_codes()
