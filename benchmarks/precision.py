"""What do float16 weights and bfloat16 products cost?

    python benchmarks/precision.py --model runs/fsdd --data ../shared/data/fsdd [--json FILE]

Bits per true sample of held-out speech, teacher-forced through the sampling loop. The model, the recordings and the
loop are the same; only the precision of the products differs.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch

from vqspeech.data.preparation import prepare_store, store_folder
from vqspeech.data.store import Store
from vqspeech.errors import VQSpeechError
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import mu_law_encode
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.interface import Sampler
from vqspeech.vectors import HAS_BFLOAT16, HAS_FLOAT16

# float32, beside which the others are read, and those that this processor has.
PRECISIONS = ("float32", *(["float16"] if HAS_FLOAT16 else []), *(["bfloat16"] if HAS_BFLOAT16 else []))
BOOTSTRAPS = 2000


def forced_bits(sampler: Sampler, model: VQVAE, wav: np.ndarray, speaker: int) -> float:
    """-log2 p of all samples of a recording, or of their excitation, in its own speaker's voice."""
    condition = model.condition(model.encode(wav), speaker)
    padded = torch.from_numpy(np.pad(wav, (0, len(condition) * model.hop_length - len(wav))))[None]
    taught = mu_law_encode(padded) if model.prediction is None else model.excitation(padded, condition[None], 0).classes
    classes = taught[0].numpy()
    streams = sampler.streams(1, seed=0)
    logits = streams.force([streams.open(0)], classes[None], condition.numpy()[None])[0]
    likely = torch.log_softmax(torch.from_numpy(logits).double(), -1).numpy()
    return float(-likely[np.arange(len(wav)), classes[: len(wav)]].sum() / math.log(2))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/fsdd"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", choices=["valid", "test"], default="test")
    parser.add_argument("--quick", action="store_true", help="every thirtieth recording, instead of every third")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        model = read_model(options.model)
        samplers = [get_engine("numba", precision).load(model.wavenet, model.hop_length) for precision in PRECISIONS]
        prepare_store(model.recipe.data, options.data, store_folder(model.recipe.name))
        store = Store.open(store_folder(model.recipe.name))
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    bits, samples = [], []
    for index in store.utterances(options.split)[:: 30 if options.quick else 3]:
        wav, speaker = store.wav(index), model.speaker_index(store.speakers[store.speaker(index)])
        bits.append([forced_bits(sampler, model, wav, speaker) for sampler in samplers])
        samples.append(len(wav))
    counts, each = np.array(samples), np.array(bits)
    totals = each.sum(axis=0) / counts.sum()
    more = each - each[:, :1]
    drawn = np.random.default_rng(0).integers(0, len(counts), (BOOTSTRAPS, len(counts)))
    intervals = np.percentile(more[drawn].sum(axis=1) / counts[drawn].sum(axis=1)[:, None], [2.5, 97.5], axis=0).T
    costs = {
        precision: {"more_bits": float(total - totals[0]), "interval": interval.tolist()}
        for precision, total, interval in list(zip(PRECISIONS, totals, intervals, strict=True))[1:]
    }
    figures = {
        "benchmark": "precision",
        "recordings": len(counts),
        "samples": int(counts.sum()),
        "bits_per_sample": dict(zip(PRECISIONS, totals.tolist(), strict=True)),
        "costs": costs,
    }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"{len(counts)} recordings, {counts.sum():,} samples of the {options.split} split")
    for precision, total in zip(PRECISIONS, totals, strict=True):
        print(f"{precision:>9}: {total:.5f} bits per sample")
    for precision, cost in costs.items():
        low, high = cost["interval"]
        print(
            f"{precision} costs {cost['more_bits']:+.5f} bits per sample (95 %: {low:+.5f} to {high:+.5f}; "
            "goal: <= 0.005)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
