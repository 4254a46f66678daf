"""More voices than were recorded: copies of a corpus's training speech in other throats, rooms and levels.

python egs/invent_voices.py recipes/fsdd free-spoken-digit-dataset many [--leave-out theo --leave-out nicolas]

A base for `vqspeech enroll` has to span the voices to come. Train on many/manifest.jsonl, --set data.corpus=manifest.
"""

import json
from pathlib import Path

import click
import numpy as np

from vqspeech.audio import load_audio, save_audio
from vqspeech.config import PerturbationConfig, load_recipe
from vqspeech.data.corpora import find_utterances, split_of
from vqspeech.data.perturbation import Speech, draw_variation

LIMITS = PerturbationConfig(pitch_semitones=7, pitch_range=1.2, formants=1.2, equalizer_db=8)
COPIES, SHARE = 12, 4  # of each speaker; every fourth utterance is in a copy


@click.command()
@click.argument("recipe")
@click.argument("data")
@click.argument("folder")
@click.option("--leave-out", multiple=True, help="Speaker who is not to be heard, to be enrolled later.")
def main(recipe: str, data: str, folder: str, leave_out: tuple[str, ...]) -> None:
    """Write FOLDER/manifest.jsonl, the recordings of DATA and copies of them as further speakers."""
    config = load_recipe(recipe).data.model_copy(update={"leave_out": leave_out})
    lines = []
    for number, u in enumerate(find_utterances(config, Path(data))):
        told = {"split": u.split or split_of(u.utterance, config), "text": u.text}
        lines.append(told | {"speaker": u.speaker, "audio": str(u.audio.resolve())})
        speech = Speech(load_audio(u.audio, config.sample_rate), config.sample_rate)
        for copy in range(number % SHARE, COPIES, SHARE) if told["split"] == "train" else ():
            random = np.random.default_rng([*u.speaker.encode(), copy])  # one voice, whatever it says
            wav = speech.say(draw_variation(LIMITS, random)) * 10 ** (random.uniform(-20, 4) / 20)
            hiss = np.random.default_rng([number, copy]).normal(0, 10 ** (random.uniform(-75, -40) / 20), len(wav))
            named = f"{Path(u.utterance).with_suffix('')}-{copy:02d}.wav"
            save_audio(Path(folder, named), (wav + hiss).clip(-1, 1).astype(np.float32), config.sample_rate)
            lines.append(told | {"speaker": f"{u.speaker}-{copy:02d}", "audio": named})
    Path(folder, "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    click.echo(f"{folder}/manifest.jsonl: {len({line['speaker'] for line in lines})} voices, {len(lines)} utterances")


if __name__ == "__main__":
    main()
