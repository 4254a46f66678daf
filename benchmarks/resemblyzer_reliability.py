"""How reliable is the judge of voices? Resemblyzer on real recordings of the same and of different speakers.

    python benchmarks/resemblyzer_reliability.py --data ../shared/data/vctk

Every recording (VCTK layout, with text or without) is compared with every other by the cosine of their voiceprints.
Needs `pip install 'vqspeech[evaluate]'`; takes seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from vqspeech.audio import load_audio
from vqspeech.config import DataConfig
from vqspeech.data.corpora import find_utterances
from vqspeech.errors import CorpusError, VQSpeechError
from vqspeech.evaluation.figures.statistics import equal_error_rate
from vqspeech.evaluation.judges.voiceprint import Voiceprints, raised
from vqspeech.evaluation.trials.sexes import find_sexes

SAMPLE_RATE = 16000  # Hz


def measure(data: Path, each: int | None) -> dict[str, dict[str, float]]:
    """Mean, standard deviation, extremes and number of the similarities of each kind of pair, and the equal error rate.

    Raises
    ------
    CorpusError
        If there are not two speakers with two recordings each.
    """
    config = DataConfig(corpus="vctk", sample_rate=SAMPLE_RATE)
    found = defaultdict(list)
    for utterance in find_utterances(config, data):
        found[utterance.speaker].append(utterance.audio)
    if len(found) < 2 or min(map(len, found.values())) < 2:
        raise CorpusError(f"two speakers with two recordings each are needed; {data} has {len(found)} speakers")
    sexes = find_sexes(config, data, sorted(found))
    voiceprints = Voiceprints()
    heard = [
        (speaker, voiceprints.of(raised(load_audio(path, SAMPLE_RATE)), SAMPLE_RATE))
        for speaker, paths in found.items()
        for path in paths[:each]
    ]
    kinds: dict[str, list[float]] = defaultdict(list)
    for (a, first), (b, second) in itertools.combinations(heard, 2):
        value = float(first @ second)
        kinds["same speaker" if a == b else "different speakers"].append(value)
        if a != b and a in sexes and b in sexes:
            kinds["different, same sex" if sexes[a] == sexes[b] else "different, other sex"].append(value)
    table = {
        kind: {
            "mean": float(np.mean(values)),
            "deviation": float(np.std(values)),
            "least": min(values),
            "most": max(values),
            "pairs": len(values),
        }
        for kind, values in kinds.items()
    }
    rate = equal_error_rate(np.array(kinds["same speaker"]), np.array(kinds["different speakers"]))
    return {**table, "equal error rate": {"share": rate}}


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of VCTK, or the one around it")
    parser.add_argument("--quick", action="store_true", help="two recordings of every speaker")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    try:
        figures = measure(options.data, 2 if options.quick else None)
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{'cosine of voiceprints':<24}{'mean':>7}{'dev.':>7}{'least':>7}{'most':>7}{'pairs':>7}")
    for kind, row in figures.items():
        if "mean" in row:
            values = "".join(f"{row[name]:>7.3f}" for name in ("mean", "deviation", "least", "most"))
            print(f"{kind:<24}{values}{row['pairs']:>7}")
    headline = {kind: figures[kind]["mean"] for kind in ("same speaker", "different speakers")}
    headline["equal error rate"] = figures["equal error rate"]["share"]
    print(
        f"Resemblyzer on real recordings: same speaker {headline['same speaker']:.2f}, different "
        f"{headline['different speakers']:.2f}, equal error rate {headline['equal error rate']:.1%}"
    )
    if options.json:
        options.json.write_text(json.dumps({"headline": headline, "figures": figures}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
