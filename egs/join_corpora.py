"""One manifest out of LibriSpeech and VCTK, for recipes/english: who is kept for which split is said there.

    python egs/join_corpora.py --librispeech LibriSpeech --vctk VCTK-Corpus-0.92 --out english.jsonl

Of LibriSpeech, each subset with several utterances of a reader gives voices: the last two utterances of each reader are
the test split and the one before them validates. Of VCTK, the sentences 008 and 016, which all speakers read, are the
test split, so that no sentence that is judged was heard in training. Everything else is trained on. The manifest names
the sex of a speaker where the corpus does, and recordings by their paths from the manifest's folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vqspeech.config import DataConfig
from vqspeech.data.corpora import Utterance, find_utterances
from vqspeech.errors import VQSpeechError
from vqspeech.evaluation.sexes import find_sexes

VCTK_TEST = ("008", "016")


def librispeech_splits(utterances: list[Utterance]) -> Iterator[tuple[Utterance, str]]:
    """Each utterance and its split, in the order of their ids."""
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_speaker[utterance.speaker].append(utterance)
    for own in by_speaker.values():
        kept = len(own) - 3 if len(own) > 4 else len(own)
        yield from zip(own, ["train"] * kept + ["valid", "test", "test"] * (kept < len(own)), strict=True)


def vctk_splits(utterances: list[Utterance]) -> Iterator[tuple[Utterance, str]]:
    """As `librispeech_splits`."""
    for utterance in utterances:
        yield utterance, "test" if utterance.utterance.rpartition("_")[2] in VCTK_TEST else "train"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--librispeech", type=Path, required=True, help="the folder LibriSpeech")
    parser.add_argument("--vctk", type=Path, required=True, help="the folder VCTK-Corpus-0.92")
    parser.add_argument("--out", type=Path, default=Path("english.jsonl"))
    options = parser.parse_args()
    lines: list[dict[str, Any]] = []
    try:
        for corpus, root, splits in (
            ("librispeech", options.librispeech, librispeech_splits),
            ("vctk", options.vctk, vctk_splits),
        ):
            data = DataConfig.model_validate({"corpus": corpus})
            utterances = find_utterances(data, root)
            sexes = find_sexes(data, root, sorted({utterance.speaker for utterance in utterances}))
            for utterance, split in splits(utterances):
                entry = {"audio": os.path.relpath(utterance.audio, options.out.parent), "speaker": utterance.speaker,
                         "sex": sexes.get(utterance.speaker), "text": utterance.text, "split": split}  # fmt: skip
                lines.append({key: value for key, value in entry.items() if value is not None})
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    counts = {split: sum(line["split"] == split for line in lines) for split in ("train", "valid", "test")}
    speakers = len({line["speaker"] for line in lines})
    print(f"{options.out}: {len(lines)} utterances of {speakers} speakers, {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
