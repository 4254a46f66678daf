"""One manifest out of several corpora, for recipes/english and recipes/voices, whose READMEs say who serves what.

python egs/join_corpora.py --librispeech LibriSpeech --vctk VCTK-Corpus-0.92 english.jsonl

Of LibriSpeech's readers with more than four utterances, the last two are the test split, the one before validates. Of
VCTK's, sentences 008 and 016 are the test split: all speakers read them, and training hears them from nobody.

--voices names a folder with one subfolder a voice, each with recordings and a metadata.csv of lines id|text (as the
rhasspy and LJSpeech voices have it). The text decides the split, 5 % of texts each for test and validation: what one
voice is tested on, no other says in training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import click

from vqspeech.audio import AUDIO_SUFFIXES
from vqspeech.config import DataConfig
from vqspeech.data.corpora import Utterance, find_utterances, stable_share
from vqspeech.evaluation.sexes import find_sexes
from vqspeech.evaluation.sphinx import words_of
from vqspeech.files import find_files


def split_of(corpus: str, utterance: Utterance, left: int, count: int) -> str:  # `left` follow of the speaker's `count`
    if corpus == "vctk":
        return "test" if utterance.utterance.endswith(("_008", "_016")) else "train"
    return ("test", "test", "valid")[left] if left < 3 and count > 4 else "train"


def find_voices(root: Path, sexes: dict[str, str]) -> Iterator[dict[str, str | None]]:
    shares = {"test": 0.05, "valid": 0.1}  # up to which a text's hash belongs to the split
    for table in sorted(root.glob("*/metadata.csv")):
        voice = table.parent
        audio = {path.stem: path for path in find_files(voice, AUDIO_SUFFIXES)}
        for line in table.read_text("utf-8").splitlines():
            name, _, text = line.partition("|")
            if name not in audio:
                raise click.ClickException(f"{table} names {name}, and no recording of that name is in {voice}")
            place = stable_share(" ".join(words_of(text)))
            split = next((split for split, share in shares.items() if place < share), "train")
            yield {"audio": str(audio[name]), "speaker": voice.name, "text": text, "split": split,
                   "sex": sexes.get(voice.name)}  # fmt: skip


@click.command()
@click.option("--librispeech", type=click.Path(path_type=Path, exists=True))
@click.option("--vctk", type=click.Path(path_type=Path, exists=True))
@click.option("--voices", type=click.Path(path_type=Path, exists=True))
@click.option("--sex", "sexes", multiple=True, metavar="VOICE=F|M", help="Of a voice of --voices; repeatable.")
@click.argument("manifest", type=click.Path(path_type=Path))
def main(
    librispeech: Path | None, vctk: Path | None, voices: Path | None, sexes: tuple[str, ...], manifest: Path
) -> None:
    """Write MANIFEST (.jsonl), which names recordings by their paths from its own folder."""
    known = dict(pair.split("=", 1) for pair in sexes)
    found_voices = list(find_voices(voices, known)) if voices else []
    lines = []
    for told in found_voices:
        told["audio"] = os.path.relpath(str(told["audio"]), manifest.parent)
        lines.append(json.dumps({key: value for key, value in told.items() if value}) + "\n")
    for corpus, root in (("librispeech", librispeech), ("vctk", vctk)):
        if root is None:
            continue
        data = DataConfig.model_validate({"corpus": corpus})
        for speaker, found in groupby(find_utterances(data, root), lambda utterance: utterance.speaker):
            own, sex = list(found), find_sexes(data, root, [speaker])
            for number, u in enumerate(own, 1):
                told = {"audio": os.path.relpath(u.audio, manifest.parent), "speaker": speaker, "text": u.text}
                told |= {"sex": sex.get(speaker), "split": split_of(corpus, u, len(own) - number, len(own))}
                lines.append(json.dumps({key: value for key, value in told.items() if value}) + "\n")
    manifest.write_text("".join(lines), "utf-8")
    click.echo(manifest)


if __name__ == "__main__":
    main()
