"""A manifest of voices that were recorded for speech synthesis, for recipes/voices.

python egs/list_voices.py rhasspy rhasspy.jsonl --sex kathleen=F --sex nathalie=F --sex flemishguy=M --sex kerstin=F

One subfolder a voice, each with recordings and a metadata.csv of lines id|text. The text decides the split, 5 % of
texts each for test and validation: what one voice is tested on, no other says in training.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from vqspeech.audio import AUDIO_SUFFIXES
from vqspeech.data.corpora import stable_share
from vqspeech.evaluation.tools.sphinx import words_of
from vqspeech.files import find_files


@click.command()
@click.argument("voices", type=click.Path(path_type=Path, exists=True))
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--sex", "sexes", multiple=True, metavar="VOICE=F|M", help="Repeatable.")
def main(voices: Path, manifest: Path, sexes: tuple[str, ...]) -> None:
    """Write MANIFEST (.jsonl), which names recordings by their paths from its own folder."""
    known = dict(pair.split("=", 1) for pair in sexes)
    lines = []
    for table in sorted(voices.glob("*/metadata.csv")):
        audio = {path.stem: path for path in find_files(table.parent, AUDIO_SUFFIXES)}
        for line in table.read_text("utf-8").splitlines():
            name, _, text = line.partition("|")
            if name not in audio:
                raise click.ClickException(f"{table} names {name}, and no recording of that name is beside it")
            place, speaker = stable_share(" ".join(words_of(text))), table.parent.name
            told = {"audio": os.path.relpath(audio[name], manifest.parent), "speaker": speaker, "text": text}
            split = ("test", "valid", *["train"] * 18)[int(20 * place)]
            told |= {"sex": known.get(speaker, ""), "split": split}
            lines.append(json.dumps({key: value for key, value in told.items() if value}) + "\n")
    manifest.write_text("".join(lines), "utf-8")
    click.echo(manifest)


if __name__ == "__main__":
    main()
