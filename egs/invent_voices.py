"""More voices than were recorded: copies of a corpus's training speech in other throats, colours and noise.

python egs/invent_voices.py recipes/fsdd free-spoken-digit-dataset many [--leave-out theo --leave-out nicolas]
A base for `vqspeech enroll` has to span the voices to come. Train with --set data.corpus=manifest, data.level=speaker.
"""

import json
from pathlib import Path

import click
import numpy as np

from vqspeech.audio import load_audio, save_audio
from vqspeech.config import PerturbationConfig, load_recipe
from vqspeech.data.corpora import find_utterances, split_of
from vqspeech.data.perturbation import VocodedUtterance, draw_variation

COPIES, SHARE = 12, 4  # of each speaker; every fourth utterance is in a copy
LIMITS = PerturbationConfig(pitch_semitones=7, pitch_range=1.2, formants=1.2, equalizer_db=8, noise_snr_db=8)


@click.command()
@click.argument("recipe")
@click.argument("data")
@click.argument("folder")
@click.option("--leave-out", multiple=True, help="Speaker who is not to be heard.")
def main(recipe: str, data: str, folder: str, leave_out: tuple[str, ...]) -> None:
    """Write FOLDER/manifest.jsonl, the recordings of DATA and copies of them as further speakers."""
    config = load_recipe(recipe, [f"data.leave_out={json.dumps(leave_out)}"] * bool(leave_out)).data
    lines, rate = [], config.sample_rate
    for number, u in enumerate(find_utterances(config, Path(data))):
        if u.offset_s or u.duration_s:
            raise click.UsageError(f"{u.utterance} is a part of a recording. Give every utterance a file of its own")
        told = {"split": u.split or split_of(u.utterance, config), "text": u.text, "sex": u.sex}
        lines.append(told | {"speaker": u.speaker, "audio": str(u.audio.resolve())})
        speech = VocodedUtterance(load_audio(u.audio, rate), rate)
        for copy in range(number % SHARE, COPIES, SHARE) if told["split"] == "train" else ():
            voice = draw_variation(LIMITS, np.random.default_rng([*u.speaker.encode(), copy]))  # whatever it says
            wav = (0.5 * speech.resynthesize(voice, np.random.default_rng([number, copy]))).clip(-1, 1)
            lines.append(told | {"speaker": (name := f"{u.speaker}-{copy:02d}"), "audio": f"{name}/{number:06d}.wav"})
            save_audio(Path(folder, lines[-1]["audio"]), wav, rate)
    Path(folder, "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    click.echo(f"{folder}/manifest.jsonl: {len({line['speaker'] for line in lines})} voices, {len(lines)} utterances")


if __name__ == "__main__":
    main()
