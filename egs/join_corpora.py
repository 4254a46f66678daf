"""One manifest out of LibriSpeech and VCTK, for recipes/english: docs/results/english.md says who is in which split.

python egs/join_corpora.py --librispeech LibriSpeech --vctk VCTK-Corpus-0.92 english.jsonl

Of LibriSpeech's readers with more than four utterances, the last two are the test split, the one before validates. Of
VCTK's, sentences 008 and 016 are the test split: all speakers read them, and nobody says them in training.
"""

from __future__ import annotations

import json
import os
from itertools import groupby
from pathlib import Path

import click

from vqspeech.config import DataConfig
from vqspeech.data.corpora import Utterance, find_utterances
from vqspeech.evaluation.trials.sexes import find_sexes


def split_of(corpus: str, utterance: Utterance, left: int, count: int) -> str:  # `left` follow of the speaker's `count`
    if corpus == "vctk":
        return "test" if utterance.utterance.endswith(("_008", "_016")) else "train"
    return ("test", "test", "valid")[left] if left < 3 and count > 4 else "train"


@click.command()
@click.option("--librispeech", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--vctk", type=click.Path(path_type=Path, exists=True), required=True)
@click.argument("manifest", type=click.Path(path_type=Path))
def main(librispeech: Path, vctk: Path, manifest: Path) -> None:
    """Write MANIFEST (.jsonl), which names recordings by their paths from its own folder."""
    lines = []
    for corpus, root in (("librispeech", librispeech), ("vctk", vctk)):
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
