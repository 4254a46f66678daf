"""How fast is training in each way this machine has: eager, compiled or fused, float32 or bfloat16, Adam or Muon?

    python benchmarks/training.py [--recipe recipes/fsdd] [--set decoder.samples_per_step=4] [--quick] [--json FILE]

The model and batches of a recipe on made-up speech (speed does not depend on what is said): whole steps after the
warm start, with losses, optimiser and weight average. A row is named by what ran; bfloat16 has rows only where the
machine multiplies in it by itself. All ways take turns in one run, and a plain matrix product in float32 with them, so
that what else the machine does falls on all. GFLOP/s are those of the model, forward and backward, over the whole step;
the products of Muon are counted apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vqspeech.config import PerturbationConfig, Recipe, TrainConfig, load_recipe
from vqspeech.data.store import Store
from vqspeech.data.synthetic import make_store
from vqspeech.distributed import local_device
from vqspeech.models.vqvae import VQVAE
from vqspeech.training.acceleration import Acceleration, accelerate, find_acceleration, has_bfloat16
from vqspeech.training.state import new_state
from vqspeech.training.step_cost import StepCost, StepMeter, measure_peak
from vqspeech.training.vqvae import VQVAETask
from vqspeech.vectors import LANES

FSDD = Path(__file__).resolve().parent.parent / "recipes" / "fsdd"


def name_of(acceleration: Acceleration, optimizer: str) -> str:
    """What runs, in words."""
    engine = "fused" if acceleration.fused else "compiled" if acceleration.compile else "eager"
    return f"{engine} {'bfloat16' if acceleration.bfloat16 else 'float32'}, {optimizer}"


def find_ways(recipe: Recipe, device: str) -> dict[str, Recipe]:
    """The recipe in each way that the machine has, by name; the recipe's own optimiser comes first in each pair."""
    precisions = ["float32", "bfloat16"] if has_bfloat16(device) else ["float32"]
    automatic = find_acceleration(changed(recipe, compile="auto"), device)
    engines = ["off", *(["on"] if automatic.compile else []), *(["auto"] if automatic.fused and fits(recipe) else [])]
    optimizers = sorted(("adam", "muon"), key=lambda name: name != recipe.train.optimizer)
    ways = {}
    for compiled in engines:
        for precision in precisions:
            for optimizer in optimizers:
                train = changed(recipe, compile=compiled, precision=precision, optimizer=optimizer)
                way = recipe.model_copy(update={"train": train})
                ways[name_of(find_acceleration(train, device), optimizer)] = way
    return ways


def fits(recipe: Recipe) -> bool:
    """Whether the decoder's step can be fused: channels that fill vectors, one sample a pass, no period ago."""
    decoder = recipe.decoder
    sizes = decoder.residual_channels, decoder.skip_channels
    is_plain = decoder.samples_per_step == 1 and not decoder.pitch_taps
    return is_plain and not any(size % LANES for size in sizes)


def changed(recipe: Recipe, **train: str) -> TrainConfig:
    """The recipe's [train] with other values."""
    return recipe.train.model_copy(update=train)


def make_meter(recipe: Recipe, store: Store, device: str) -> StepMeter:
    """What takes and measures full training steps."""
    torch.manual_seed(0)
    model = VQVAE(recipe, store.speakers).to(device)
    state = new_state(model, recipe.train)
    acceleration = find_acceleration(recipe.train, device)
    accelerate(model.wavenet, acceleration)
    task = VQVAETask(model, store, acceleration)
    task.initialise()
    return StepMeter(task, state, recipe.train, recipe.train.settling_steps + 1)  # the WaveNet takes part


def measure(ways: dict[str, Recipe], device: str, rounds: int) -> tuple[dict[str, StepCost], float]:
    """Each way's cost of a step, and the machine's peak in GFLOP/s."""
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(next(iter(ways.values())), Path(folder))
        meters = {name: make_meter(recipe, store, device) for name, recipe in ways.items()}
        for meter in meters.values():
            meter.warm_up()
        peaks = []
        for _ in range(rounds):
            peaks.append(measure_peak(device, 1))
            for meter in meters.values():
                meter.take()
        for meter in meters.values():
            meter.count()
    return {name: meter.cost() for name, meter in meters.items()}, float(np.median(peaks))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=FSDD)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe", dest="changes"
    )
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rounds, device, threads = 3 if options.quick else 10, local_device(), torch.get_num_threads()
    recipe = load_recipe(options.recipe, options.changes).model_copy(
        update={"perturbation": PerturbationConfig()}
    )  # needs no copies
    train = recipe.train
    automatic = find_acceleration(changed(recipe, precision="auto", compile="auto"), device)
    automatic = replace(automatic, fused=automatic.fused and fits(recipe))
    for notice in automatic.notices:
        print(notice)
    ways = find_ways(recipe, device)
    costs, peak = measure(ways, device, rounds)
    samples = train.batch_size * train.crop_samples
    best = name_of(automatic, train.optimizer)
    plain = name_of(replace(automatic, bfloat16=False, compile=False, fused=False), train.optimizer)
    rows = {
        name: {"samples_per_s": samples / cost.step_s, "ratio": costs[plain].step_s / cost.step_s} | cost.to_json(peak)
        for name, cost in costs.items()
    }
    print(
        f"{options.recipe.name} on {device}, {threads} threads, {train.batch_size} x {train.crop_samples} samples, "
        f"median of {rounds} steps; a plain float32 product makes {peak:,.0f} GFLOP/s"
    )
    print(f"{'':24}{'samples/s':>12}{'ratio':>8}{'optimizer':>11}{'average':>9}{'GFLOP/s':>9}{'of peak':>9}"
          f"{'GFLOP a step: model, optimizer':>33}")  # fmt: skip
    for name, row in rows.items():
        print(
            f"{name:24}{row['samples_per_s']:12,.0f}{row['ratio']:7.2f}x{row['optimizer_share']:11.1%}"
            f"{row['average_share']:9.1%}{row['gflop_per_s']:9.1f}{row['share_of_peak']:9.1%}"
            f"{row['flop'] / 1e9:24.2f}{row['optimizer_flop'] / 1e9:9.2f}"
        )
    headline = {"name": best, "against": plain, "ratio": rows[best]["ratio"]}
    if options.json:
        figures = {
            "benchmark": "training",
            "recipe": recipe.name,
            "device": device,
            "threads": threads,
            "rounds": rounds,
            "peak_gflop_per_s": peak,
            "ways": rows,
            "headline": headline,
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"{best} over {plain}: {headline['ratio']:.2f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
