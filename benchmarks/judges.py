"""How often are FSDD's judges right on real recordings, also on disturbed ones?

    python benchmarks/judges.py --data ../shared/data/fsdd
    python benchmarks/judges.py --data ../shared/data/fsdd --train recipes/fsdd/judges.safetensors
    python benchmarks/judges.py --data ../shared/data/fsdd --kind recurrent \\
        --train recipes/fsdd/second_judges.safetensors

The first examines the frozen judges, the others train and freeze judges anew: takes 10-49 of every speaker and digit,
one thread, minutes. The second pair has other features and another architecture than the first: it judges, once, what
the first was used to choose. Takes 0-4, the official test split, are only examined. The judges that the recipe's
tables rest on are kept, not retrained.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqspeech.audio import load_audio
from vqspeech.errors import CorpusError, VQSpeechError
from vqspeech.evaluation.judges import augmentation
from vqspeech.evaluation.judges.frozen import FrozenJudge, FrozenJudges, load_judges, save_judge
from vqspeech.evaluation.judges.networks import pad
from vqspeech.evaluation.judges.training import disturb_for_content, disturb_for_speaker, train_judge

SAMPLE_RATE = 8000  # Hz
TEST_TAKES = range(0, 5)
TRAIN_TAKES = range(10, 50)
CHANNELS = {"convolutional": 80, "recurrent": 64}
FROZEN = Path(__file__).resolve().parent.parent / "recipes" / "fsdd" / "judges.safetensors"


def load_takes(data: Path, takes: range) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Waveforms, digits and speakers of FSDD's `{digit}_{speaker}_{take}.wav` for the given takes."""
    found = []
    for path in sorted((data / "recordings").glob("*_*_*.wav")):
        digit, speaker, take = path.stem.split("_")
        if int(take) in takes:
            found.append((load_audio(path, SAMPLE_RATE), digit, speaker))
    if not found:
        raise CorpusError(f"no takes {takes.start}-{takes.stop - 1} under {data / 'recordings'}. Give FSDD with --data")
    wavs, digits, speakers = zip(*found, strict=True)
    return list(wavs), list(digits), list(speakers)


def train_judges(
    wavs: Sequence[np.ndarray], contents: Sequence[str], speakers: Sequence[str], sample_rate: int, **options: Any
) -> FrozenJudges:
    """Train the two judges of a closed corpus on the same recordings; `options` are `train_judge`'s."""
    return FrozenJudges(
        train_judge("content", wavs, contents, sample_rate, disturb_for_content, **options),
        train_judge("speaker", wavs, speakers, sample_rate, disturb_for_speaker, **options),
    )


def examine(
    judge: FrozenJudge, wavs: Sequence[np.ndarray], labels: Sequence[str], *, seed: int = 0
) -> dict[str, float]:
    """Accuracy of a judge on real recordings and on disturbed copies of them: condition -> share heard right."""
    generator = torch.Generator().manual_seed(seed)
    wav, lengths = pad(wavs, judge.network.hop_length)
    filtered = augmentation.equalise(wav, 6.0, generator) * augmentation.mask_samples(lengths, wav.shape[1])
    worst = augmentation.add_noise(filtered, lengths, (20.0, 20.0), generator)
    conditions = {
        "clean": wav,
        "mu-law": augmentation.pass_mu_law(wav, 1.0, generator),
        "20 dB quieter, mu-law": augmentation.pass_mu_law(wav * 0.1, 1.0, generator),
        "noise at 20 dB": augmentation.add_noise(wav, lengths, (20.0, 20.0), generator),
        "noise at 10 dB": augmentation.add_noise(wav, lengths, (10.0, 10.0), generator),
        "random filter, 6 dB": filtered,
        "filter, noise at 20 dB, mu-law": augmentation.pass_mu_law(worst, 1.0, generator),
    }
    heard = {}
    for condition, copies in conditions.items():
        trimmed = [copy[:length].numpy() for copy, length in zip(copies, lengths.tolist(), strict=True)]
        heard[condition] = judge.accuracy(trimmed, labels)
    return heard


def with_report(judge: FrozenJudge, **facts: object) -> FrozenJudge:
    """The same judge with more facts in its report."""
    return replace(judge, report={**judge.report, **facts})


def measure(judges: FrozenJudges, data: Path, step: int) -> dict[str, dict[str, float]]:
    """Accuracies of both judges on every `step`-th test recording."""
    wavs, digits, speakers = load_takes(data, TEST_TAKES)
    return {
        "content": examine(judges.content, wavs[::step], digits[::step]),
        "speaker": examine(judges.speaker, wavs[::step], speakers[::step]),
    }


def train(data: Path, epochs: int, kind: str) -> FrozenJudges:
    """Train both judges and write their test accuracies into their reports."""
    started = time.process_time()  # one thread: its own time, whatever else the machine does
    judges = train_judges(
        *load_takes(data, TRAIN_TAKES), SAMPLE_RATE, epochs=epochs, channels=CHANNELS[kind], kind=kind, progress=print
    )
    seconds = round(time.process_time() - started)
    tested = measure(judges, data, 1)
    facts = {"trained_on": "FSDD takes 10-49", "tested_on": "FSDD takes 0-4", "training_cpu_s": seconds}
    return FrozenJudges(
        with_report(judges.content, accuracy=tested["content"], **facts),
        with_report(judges.speaker, accuracy=tested["speaker"], **facts),
    )


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds FSDD's recordings/")
    parser.add_argument("--judges", type=Path, default=FROZEN, help="file of judges (default: the recipe's)")
    parser.add_argument("--train", type=Path, metavar="FILE", help="train new judges and write them here")
    parser.add_argument("--kind", choices=list(CHANNELS), default="convolutional", help="of --train")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--quick", action="store_true", help="every fifth recording; two epochs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        if options.train:
            new = train(options.data, 2 if options.quick else options.epochs, options.kind)
            save_judge(options.train, new.content, new.speaker)
        judges = load_judges(options.train or options.judges)
        accuracy = measure(judges, options.data, 5 if options.quick else 1)
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{'FSDD test recordings':<36}{'digit':>8}{'speaker':>9}")
    for condition in accuracy["content"]:
        print(f"{condition:<36}{accuracy['content'][condition]:>8.1%}{accuracy['speaker'][condition]:>9.1%}")
    print(f"judges {judges.content.sha256[:12]} (digit), {judges.speaker.sha256[:12]} (speaker)")
    headline = {"digit": accuracy["content"]["clean"], "speaker": accuracy["speaker"]["clean"]}
    print(f"real test recordings heard right: digit {headline['digit']:.1%}, speaker {headline['speaker']:.1%}")
    if options.json:
        hashes = {"content": judges.content.sha256, "speaker": judges.speaker.sha256}
        options.json.write_text(json.dumps({"headline": headline, "accuracy": accuracy, "sha256": hashes}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
