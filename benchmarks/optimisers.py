"""How much sooner does a decoder learn with Muon than with Adam, and does it matter in which precision Muon multiplies?

    python benchmarks/optimisers.py --model runs/english --data english.jsonl [--steps 600] [--quick] [--json FILE]

Encoder and codebook of a finished model stay as they are; decoders are taught anew from the same random weights, one
for each optimiser, for as many steps, with the recipe's learning rate and its whole descent. Muon has two rows: its
products in float32 and in bfloat16 (emulated, and slow, where the processor has none); all else is the same in both.
The curves are bits per sample of the training batches, averaged over each tenth of the steps. Beside the bits of the
validation split, code gain and speaker gain stand the minutes that it took, all in one process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqspeech.config import Recipe, TrainConfig
from vqspeech.data.preparation import prepare_store, store_folder
from vqspeech.data.store import Store
from vqspeech.errors import VQSpeechError
from vqspeech.likelihood.gains import compute_gains, held_out_batches
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.training.acceleration import accelerate, find_acceleration
from vqspeech.training.loop import take_step
from vqspeech.training.schedule import learning_rate
from vqspeech.training.state import new_state
from vqspeech.training.vqvae import VQVAETask

# The recipe's optimizer, and what Muon multiplies in.
OPTIMISERS: dict[str, tuple[str, torch.dtype | None]] = {
    "adam": ("adam", None),
    "muon, float32": ("muon", torch.float32),
    "muon, bfloat16": ("muon", torch.bfloat16),
}
POINTS = 10  # of a curve
SETTLED = ("encoder.", "bottleneck.")


def teach(base: VQVAE, recipe: Recipe, store: Store, dtype: torch.dtype | None) -> dict[str, Any]:
    """A new decoder for the base's codes, by the recipe's optimiser; its figures. Muon multiplies in `dtype`."""
    train = recipe.train
    torch.manual_seed(train.seed)
    model = VQVAE(recipe, store.speakers)
    settled = {name: value for name, value in base.state_dict().items() if name.startswith(SETTLED)}
    model.load_state_dict(model.state_dict() | settled)
    state, acceleration = new_state(model, train), find_acceleration(train, "cpu")
    if state.optimizer.muon:
        assert dtype
        state.optimizer.muon.dtype = dtype
    accelerate(model.wavenet, acceleration)
    task = VQVAETask(model, store, acceleration)
    state.step = train.warm_start_steps  # as if the warm start were done
    model.train()
    bits = [float(take_step(task, state, train)["bits"])]  # compiles
    started = time.monotonic()
    while state.step < train.steps:
        state.optimizer.learning_rate = learning_rate(state.step, train.steps, train)
        bits.append(float(take_step(task, state, train)["bits"]))
    minutes = (time.monotonic() - started) / 60
    taught = state.average.module
    assert isinstance(taught, VQVAE)
    with torch.no_grad(), acceleration.autocast():
        held_out = held_out_batches(
            taught, store, "valid", train.validation_utterances, max_samples=2 * base.sample_rate
        )
        found = compute_gains(taught, held_out, train.seed, store.num_voices)
    gains = {"code_gain": found.code_gain, "speaker_gain": found.speaker_gain}
    curve = [float(np.mean(part)) for part in np.array_split(bits, POINTS)]
    return {"minutes": minutes, "curve": curve, "bits": found.bits} | gains


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
        base = read_model(options.model)
        prepare_store(base.recipe.data, options.data, store_folder(base.recipe.name))
        store = Store.open(store_folder(base.recipe.name))
        rows = {
            name: teach(base, shortened(base.recipe, optimiser, steps, options.seed), store, dtype)
            for name, (optimiser, dtype) in OPTIMISERS.items()
        }
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{'until step':12}" + "".join(f"{name:>16}" for name in rows))
    for point in range(POINTS):
        until = f"{round((point + 1) * steps / POINTS):,}"
        print(f"{until:>10}  " + "".join(f"{row['curve'][point]:16.3f}" for row in rows.values()))
    print(f"{steps} steps{'':10}minutes   bits/sample   code gain   speaker gain")
    for name, row in rows.items():
        print(f"{name:18}{row['minutes']:9.2f}{row['bits']:14.3f}{row['code_gain']:12.2f}{row['speaker_gain']:15.2f}")
    if options.json:
        told = {"model": str(options.model), "steps": steps, "seed": options.seed, "optimisers": rows}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    single, half = rows["muon, float32"]["bits"], rows["muon, bfloat16"]["bits"]
    print(
        f"bits per sample fewer with Muon: {rows['adam']['bits'] - single:.3f} in float32, "
        f"{rows['adam']['bits'] - half:.3f} in bfloat16"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
