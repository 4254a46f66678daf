"""How much faster is training in bfloat16 with torch.compile than in eager float32?

    python benchmarks/training.py [--recipe recipes/fsdd] [--quick] [--json FILE]

The model and batches of a recipe on made-up speech (speed does not depend on what is said): whole steps after the
warm start, with losses, optimiser and weight average. Both ways take turns in one run, so that what else the machine
does falls on both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vqspeech.config import Recipe, load_recipe
from vqspeech.data.store import Store
from vqspeech.data.synthetic import make_store
from vqspeech.models.vqvae import VQVAE
from vqspeech.training.acceleration import compile_model, find_acceleration
from vqspeech.training.fit import new_state, take_step
from vqspeech.training.vqvae import VQVAETask

FSDD = Path(__file__).resolve().parent.parent / "recipes" / "fsdd"


def make_stepper(recipe: Recipe, store: Store) -> object:
    """A function that does one full training step."""
    torch.manual_seed(0)
    model = VQVAE(recipe, store.speakers)
    state = new_state(model, recipe.train)
    acceleration = find_acceleration(recipe.train, "cpu")
    for notice in acceleration.notices:
        print(notice)
    if acceleration.compile:
        compile_model(model)
    task = VQVAETask(model, store, acceleration)
    state.step = max(recipe.train.warm_start_steps, recipe.train.continuous_steps) + 1  # the WaveNet takes part
    task.initialise()
    return lambda: take_step(task, state, recipe.train)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=FSDD)
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rounds = 3 if options.quick else 10
    ways = {
        "eager float32": ["train.precision=float32", "train.compile=off"],
        "eager bfloat16": ["train.precision=bfloat16", "train.compile=off"],
        "compiled bfloat16": ["train.precision=auto", "train.compile=auto"],
    }
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(load_recipe(options.recipe), Path(folder))
        steppers = {name: make_stepper(load_recipe(options.recipe, sets), store) for name, sets in ways.items()}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for step in steppers.values():
            for _ in range(2):  # compile, warm up
                step()
        for _ in range(rounds):
            for name, step in steppers.items():
                started = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - started)
    train = load_recipe(options.recipe).train
    samples = train.batch_size * train.crop_samples
    rates = {name: samples / float(np.median(values)) for name, values in seconds.items()}
    ratio = rates["compiled bfloat16"] / rates["eager float32"]
    threads = torch.get_num_threads()
    print(f"{threads} threads, {train.batch_size} x {train.crop_samples} samples, median of {rounds} steps")
    for name, rate in rates.items():
        print(f"{name:20}{rate:12,.0f} samples/s {rate / rates['eager float32']:6.2f}x")
    if options.json:
        options.json.write_text(json.dumps({"samples_per_s": rates, "ratio": ratio}, indent=2) + "\n", encoding="utf-8")
    print(f"bfloat16 and compile over eager float32: {ratio:.2f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
