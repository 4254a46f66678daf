"""Are free-running conversions of FSDD heard as the right digit, in the right voice?

    python benchmarks/conversion.py --model runs/fsdd --data ../shared/data/fsdd

The frozen judges of recipes/fsdd were trained on real recordings of takes 10-49. The split is the official test split,
takes 0-4; `--split valid` takes 5-9, for choosing settings.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from judged_conversions import measure_conversions

from vqspeech.data.preparation import prepare_store, store_folder
from vqspeech.data.store import Store
from vqspeech.errors import VQSpeechError
from vqspeech.evaluation.judges.frozen import load_judges
from vqspeech.likelihood.gains import compute_gains, held_out_batches
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.sampling.engines import PRECISIONS

FROZEN = Path(__file__).resolve().parent.parent / "recipes" / "fsdd" / "judges.safetensors"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/fsdd"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--judges", type=Path, default=FROZEN)
    parser.add_argument("--split", choices=["valid", "test"], default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--quick", action="store_true", help="every tenth utterance")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        model, judges = read_model(options.model), load_judges(options.judges)
        prepare_store(model.recipe.data, options.data, store_folder(model.recipe.name))
        store = Store.open(store_folder(model.recipe.name))
        started = time.monotonic()
        shares = measure_conversions(
            model,
            store,
            judges,
            split=options.split,
            content_of=lambda utterance: utterance.split("_")[0],
            every=10 if options.quick else 1,
            seed=options.seed,
            temperature=options.temperature,
            precision=options.precision,
        )
        seconds = time.monotonic() - started
        count = 30 if options.quick else 300
        gains = compute_gains(model, held_out_batches(model, store, options.split, count, at_a_time=10))
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{'':16}{'digit':>8}{'speaker':>9}{'both':>8}{'source':>8}")
    for name, share in shares.items():
        print(f"{name:16}{share.content:8.1%}{share.speaker:9.1%}{share.both:8.1%}{share.source:8.1%}")
    print(
        f"{shares['conversions'].count} utterances, {seconds:.0f} s; {gains.bits:.3f} bits/sample, perplexity "
        f"{gains.perplexity:.1f}, {gains.bit_rate:.0f} bit/s, code gain {gains.code_gain:.3f}, speaker gain "
        f"{gains.speaker_gain:.3f}"
    )
    if options.json:
        figures = {name: asdict(share) for name, share in shares.items()} | {"evidence": asdict(gains)}
        figures["settings"] = {"split": options.split, "seed": options.seed, "temperature": options.temperature}
        figures["settings"]["precision"] = options.precision
        figures["judges"] = {"content": judges.content.sha256, "speaker": judges.speaker.sha256}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    c = shares["conversions"]
    print(f"conversions: digit {c.content:.1%}, target speaker {c.speaker:.1%}, both {c.both:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
