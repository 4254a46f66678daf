"""How many bits does the prior need for a code of unseen speech, beside n-grams, and model and prior for its samples?

    python benchmarks/prior.py [--model runs/fsdd] [--store prepared/fsdd] [--quick] [--json FILE]

The codes of the test split: uniform, unigram, bigram and trigram models with interpolated Kneser-Ney smoothing, made
from the codes that the prior was trained on and tuned on the validation split, and the prior, with and without the
speaker. Bits of the stop symbols are counted, too. The interval of the saving is a bootstrap's over utterances. Then
the bound on the likelihood of the whole test split [VQ-VAE §3.1]: bits of every mu-law sample given codes and speaker,
with teacher forcing, plus the prior's bits for the codes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.code_store import FOLDER, open_code_store
from vqspeech.data.preparation import store_folder
from vqspeech.data.store import Store
from vqspeech.likelihood.bound import held_out_likelihood
from vqspeech.likelihood.nats import surprisals
from vqspeech.likelihood.ngrams import ngrams, tuned_models, uniform_bits
from vqspeech.pretrained.checkpoint import read_model


def saving_interval(bits: NDArray[np.float64], beside: NDArray[np.float64], rounds: int = 2000) -> tuple[float, float]:
    """The 95 % interval of 1 - sum(bits) / sum(beside), both given for each utterance."""
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(bits), (rounds, len(bits)))
    savings = 1 - bits[drawn].sum(1) / beside[drawn].sum(1)
    return float(np.quantile(savings, 0.025)), float(np.quantile(savings, 0.975))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/fsdd"))
    parser.add_argument("--store", type=Path, help="prepared corpus [prepared/<recipe>]")
    parser.add_argument("--quick", action="store_true", help="the first 30 test utterances")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = read_model(options.model)
    prior = model.prior
    store = Store.open(options.store or store_folder(model.recipe.name))
    codes = open_code_store(options.model / FOLDER, model, store, prior.recipe.prior.shifts)
    test = codes.sequences("test")[: 30 if options.quick else None]
    own = [codes.read(int(number)) for number in test]
    train, valid = ([codes.read(int(number)) for number in codes.sequences(split)] for split in ("train", "valid"))
    count = sum(len(each) for each in own)

    models = tuned_models(train, valid, model.num_codes)
    by_utterance = {
        name: np.array(
            [-np.log2(ngram.probabilities(ngrams(each, model.num_codes, ngram.order))).sum() for each in own]
        )
        for name, ngram in models.items()
    }
    best = min(models, key=lambda name: models[name].bits(valid))  # chosen where it was tuned
    for name, by_speaker in (("prior, no speaker", False), ("prior, by speaker", True)):
        rows = surprisals(prior, codes, test, by_speaker=by_speaker)
        by_utterance[name] = np.array([row.sum() for row in rows])
    bits = {"uniform": uniform_bits(own, model.num_codes)}
    bits |= {name: float(values.sum()) / count for name, values in by_utterance.items()}

    print(f"{len(own)} test utterances, {count} codes, K = {model.num_codes}, {model.code_rate:g} codes per second")
    print(f"the prior sees {prior.wavenet.receptive_field} codes, {prior.receptive_field_s(model.code_rate):.2f} s")
    for name, value in bits.items():
        print(f"{name:20}{value:8.3f} bits/code{value * model.code_rate:8.0f} bit/s{value / bits[best]:8.3f} of {best}")
    saving = 1 - bits["prior, by speaker"] / bits[best]
    low, high = saving_interval(by_utterance["prior, by speaker"], by_utterance[best])
    bound = held_out_likelihood(model, prior, store, "test", 100_000 if options.quick else None)
    print(f"likelihood of {bound.duration_s:.0f} s of the test split: at most {bound.describe()}")
    if options.json:
        found = {"bits_per_code": bits, "best_ngram": best, "saving": saving, "interval": [low, high]}
        found["likelihood"] = bound.as_metrics()
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"the prior needs {saving:.1%} fewer bits than the {best} (95 % interval {low:.1%} to {high:.1%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
