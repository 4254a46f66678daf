"""How much sooner does a decoder learn with Muon than with Adam?

    python benchmarks/optimisers.py --model runs/english --data english.jsonl [--steps 600] [--quick] [--json FILE]

Encoder and codebook of a finished model stay as they are; decoders are taught anew from the same random weights, one
for each optimiser, for as many steps, with the recipe's learning rate and its whole descent. Beside the bits per sample
of the validation split, code gain and speaker gain stand the minutes that it took, all in one process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from vqspeech.checkpoint import load_model
from vqspeech.config import Recipe, TrainConfig
from vqspeech.data.preparation import prepare, store_folder
from vqspeech.data.store import Store
from vqspeech.errors import VQSpeechError
from vqspeech.models.vqvae import VQVAE
from vqspeech.training.acceleration import compile_model, find_acceleration
from vqspeech.training.evidence import gather_evidence, held_out_batches
from vqspeech.training.fit import new_state, take_step
from vqspeech.training.schedule import learning_rate
from vqspeech.training.vqvae import VQVAETask

OPTIMISERS = ("adam", "muon")
SETTLED = ("encoder.", "bottleneck.")


def teach(base: VQVAE, recipe: Recipe, store: Store) -> dict[str, Any]:
    """A new decoder for the base's codes, by the recipe's optimiser; its figures."""
    train = recipe.train
    torch.manual_seed(train.seed)
    model = VQVAE(recipe, store.speakers)
    settled = {name: value for name, value in base.state_dict().items() if name.startswith(SETTLED)}
    model.load_state_dict(model.state_dict() | settled)
    state, acceleration = new_state(model, train), find_acceleration(train, "cpu")
    if acceleration.compile:
        compile_model(model)
    task = VQVAETask(model, store, acceleration)
    state.step = train.warm_start_steps  # as if the warm start were done
    model.train()
    take_step(task, state, train)  # compiles
    started = time.monotonic()
    while state.step < train.steps:
        state.descent.learning_rate = learning_rate(state.step, train.steps, train)
        take_step(task, state, train)
    minutes = (time.monotonic() - started) / 60
    taught = state.average.module
    assert isinstance(taught, VQVAE)
    with torch.no_grad(), acceleration.autocast():
        held_out = held_out_batches(
            taught, store, "valid", train.validation_utterances, max_samples=2 * base.sample_rate
        )
        found = gather_evidence(taught, held_out, train.seed, store.num_voices)
    gains = {"code_gain": found.code_gain, "speaker_gain": found.speaker_gain}
    return {"minutes": minutes, "bits": found.bits} | gains


def shortened(recipe: Recipe, optimiser: str, steps: int, seed: int) -> Recipe:
    """The recipe with a decoder's training of so many steps, all of it behind a frozen encoder."""
    changes = {
        "optimizer": optimiser,
        "steps": recipe.train.warm_start_steps + steps,
        "seed": seed,
        "freeze_encoder": True,
    }
    train = TrainConfig.model_validate(recipe.train.model_dump() | changes | {"max_minutes": None})
    return recipe.model_copy(update={"train": train})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a finished run")
    parser.add_argument("--data", type=Path, required=True, help="the corpus that it was trained on")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="20 steps: whether it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    steps = 20 if options.quick else options.steps
    try:
        base = load_model(options.model)
        prepare(base.recipe.data, options.data, store_folder(base.recipe.name))
        store = Store.open(store_folder(base.recipe.name))
        rows = {name: teach(base, shortened(base.recipe, name, steps, options.seed), store) for name in OPTIMISERS}
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{steps} steps{'':10}minutes   bits/sample   code gain   speaker gain")
    for name, row in rows.items():
        print(f"{name:18}{row['minutes']:9.2f}{row['bits']:14.3f}{row['code_gain']:12.2f}{row['speaker_gain']:15.2f}")
    if options.json:
        told = {"model": str(options.model), "steps": steps, "seed": options.seed, "optimisers": rows}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(f"bits per sample fewer with Muon: {rows['adam']['bits'] - rows['muon']['bits']:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
