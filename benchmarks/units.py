"""How good are a model's codes as speech units, beside k-means on MFCCs of the same rate and size?

    python benchmarks/units.py english --data ../shared/data/rhasspy/kathleen
    python benchmarks/units.py english --data ../shared/data/vctk --corpus vctk
    python benchmarks/units.py english --data ../shared/data/rhasspy/nathalie --items nathalie.item --json nathalie.json

The section "Units" of `vqspeech evaluate` on any recordings with phone times or English texts: a folder of one speaker
with metadata.csv (`id|text`), or a corpus that recipes know. Whether the model was trained on them is for the caller to
know: `english` never heard the rhasspy voices, and was trained on most of VCTK's p225 to p228. k-means is fitted on the
half of the recordings that is not scored, which for a voice that the model never heard favours it: `--fit-on` names
other recordings. With `--share 1` all are scored, and without `--fit-on` it is fitted on them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from vqspeech.audio import find_recordings, load_audio
from vqspeech.config import DataConfig
from vqspeech.data.preparation import prepare_store
from vqspeech.data.store import Store
from vqspeech.errors import CorpusError, VQSpeechError
from vqspeech.evaluation.measures.units import MAX_MINUTES, choose_utterances, measure
from vqspeech.evaluation.report.sections import section_to_json, show
from vqspeech.evaluation.tools.alignments import align_utterances
from vqspeech.evaluation.trials.coded_speech import CONTROL_MINUTES
from vqspeech.pretrained.registry import load_model
from vqspeech.units import fill_gaps, make_items, write_items

SHARE = 0.5  # of the recordings that are scored


def prepare_corpus(data: Path, corpus: str, sample_rate: int, minutes: float, share: float, folder: Path) -> Store:
    """A store of the recordings, untrimmed, so that label files fit; about `minutes` of them in the test split."""
    options: dict = {"sample_rate": sample_rate, "trim_db": 0, "test_share": min(share, 1 - 1e-9), "valid_share": 0.0}
    root = data
    if corpus == "metadata":
        root = folder / "manifest.jsonl"
        write_manifest(data, root, minutes / share)
        corpus = "manifest"
    prepare_store(DataConfig(corpus=corpus, **options), root, folder / "store")
    return Store.open(folder / "store")


def write_manifest(data: Path, path: Path, minutes: float) -> None:
    """Lines for evenly spread recordings of a folder with metadata.csv, about so many minutes of them."""
    import soundfile

    texts = dict(
        line.split("|", 1) for line in (data / "metadata.csv").read_text(encoding="utf-8").splitlines() if line
    )
    found = [file for file in find_recordings(data).readable if file.stem in texts]
    if not found:
        raise CorpusError(f"no recording in {data} is named in its metadata.csv (id|text)")
    seconds = [soundfile.info(str(file)).duration for file in found]
    every = max(1, round(sum(seconds) / 60 / minutes))
    lines = [
        json.dumps({"audio": str(file.resolve()), "speaker": data.name, "text": texts[file.stem].strip()})
        for file in found[::every]
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_spread(folder: Path, sample_rate: int) -> list[np.ndarray]:
    """Recordings of a folder, drawn by a fixed seed, about as long as the control is fitted on."""
    files = find_recordings(folder).readable
    if not files:
        raise CorpusError(f"no recordings in {folder}. Give a folder that has some with --fit-on")
    wavs, seconds = [], 0.0
    order = np.random.default_rng(0).permutation(len(files))
    for place in order:
        wavs.append(load_audio(files[place], sample_rate))
        seconds += len(wavs[-1]) / sample_rate
        if seconds >= 60 * CONTROL_MINUTES:
            break
    return wavs


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", default="metadata", help="metadata, or a corpus of recipes: vctk, folder, ...")
    parser.add_argument("--labels", type=Path, help="folder of TextGrids, lab files or align.jsonl [--data]")
    parser.add_argument("--minutes", type=float, default=MAX_MINUTES, help="of speech that is scored")
    parser.add_argument(
        "--share", type=float, default=SHARE, help="of the recordings, scored; k-means hears the others"
    )
    parser.add_argument(
        "--fit-on", type=Path, help="folder of recordings that k-means is fitted on, six minutes of them"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--items", type=Path, help="write triphones as a ZeroSpeech item file, for other tools")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        model = load_model(options.model)
        with tempfile.TemporaryDirectory(prefix="vqspeech-units-") as folder:
            minutes = 1.0 if options.quick else options.minutes
            store = prepare_corpus(
                options.data, options.corpus, model.sample_rate, minutes, options.share, Path(folder)
            )
            evaluation = SimpleNamespace(
                model=model, store=store, split="test", seed=options.seed, sample_rate=model.sample_rate,
                hop_length=model.hop_length, root=options.labels or options.data,
            )  # fmt: skip
            training = load_spread(options.fit_on, model.sample_rate) if options.fit_on else None
            start = time.perf_counter()
            section = measure(evaluation, training=training)  # type: ignore[arg-type]
            seconds = time.perf_counter() - start
            if options.items:
                write_items(options.items, items_of(store, options.labels or options.data))
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for figure in section.figures:
        controls = "; ".join(f"{control.name} {show(control)}" for control in figure.controls)
        print(f"{figure.name:44} {show(figure):32} {controls} {figure.note}")
    for note in section.notes:
        print(note)
    print(f"{seconds:.0f} s, the alignment among them")
    if options.json:
        written = section_to_json(replace(section, pictures=()))
        options.json.write_text(json.dumps({"seed": options.seed, "seconds": seconds, **written}, indent=1) + "\n")
    return 0


def items_of(store: Store, labels: Path) -> list:
    """Triphones of what was scored; files are named without folder and ending."""
    found = align_utterances(store, choose_utterances(store, "test"), beside=labels).utterances
    return [
        item
        for one in found
        for item in make_items(
            fill_gaps(one.phones, store.length(one.index) / store.sample_rate),
            Path(store.utterance_id(one.index)).stem,
            store.speakers[store.speaker(one.index)],
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
