"""Does a decoder learn alike, step by step, by the fused loops and by torch?

    python benchmarks/fused.py --data english.jsonl [--recipe recipes/english] [--steps 500] [--quick] [--json FILE]

Two decoders from the same random weights on the same batches of real speech, behind the same encoder (random, with a
codebook of k-means), in the same precision: one computes its step by the fused loops (`vqspeech.nn.fused`), the other
in eager torch, step about. The curves are bits per sample of the training batches. A difference of rounding grows with
every step, as it does between two processors; beside it stands what one other seed of the weights makes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from vqspeech.config import PerturbationConfig, Recipe, load_recipe
from vqspeech.data.preparation import prepare_store, store_folder
from vqspeech.data.store import Store
from vqspeech.errors import VQSpeechError
from vqspeech.models.vqvae import VQVAE
from vqspeech.training.acceleration import accelerate, find_acceleration
from vqspeech.training.loop import take_step
from vqspeech.training.state import new_state
from vqspeech.training.vqvae import VQVAETask

ENGLISH = Path(__file__).resolve().parent.parent / "recipes" / "english"
POINTS = 10  # of a curve


class Learner:
    """A decoder that takes its steps one way."""

    def __init__(self, recipe: Recipe, store: Store, way: str, seed: int) -> None:
        train = recipe.train.model_copy(update={"compile": way})
        torch.manual_seed(recipe.train.seed)
        model = VQVAE(recipe, store.speakers)
        torch.manual_seed(seed)
        model.wavenet.load_state_dict(VQVAE(recipe, store.speakers).wavenet.state_dict())
        acceleration = find_acceleration(train, "cpu")
        accelerate(model.wavenet, acceleration)
        assert model.wavenet.fused == (way == "auto"), "this network is not fused here"
        self.state, self.train = new_state(model, train), train
        self.task = VQVAETask(model, store, acceleration)
        self.task.initialise()
        model.train()
        self.state.step = train.settling_steps + 1
        self.bits: list[float] = []
        self.seconds = 0.0

    def step(self) -> None:
        begun = time.process_time()
        self.bits.append(float(take_step(self.task, self.state, self.train)["bits"]))
        self.seconds += time.process_time() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ENGLISH)
    parser.add_argument("--data", type=Path, required=True, help="the corpus")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, help="else the recipe's")
    parser.add_argument("--quick", action="store_true", help="20 steps: whether it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        recipe = load_recipe(options.recipe).model_copy(update={"perturbation": PerturbationConfig()})
        prepare_store(recipe.data, options.data, store_folder(recipe.name))
        store = Store.open(store_folder(recipe.name))
    except VQSpeechError as error:
        print(error, file=sys.stderr)
        return 1
    if options.batch_size:
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"batch_size": options.batch_size})})
    seed = recipe.train.seed
    ways = {"torch": ("off", seed), "fused": ("auto", seed), "fused, another seed": ("auto", seed + 1)}
    learners = {name: Learner(recipe, store, *way) for name, way in ways.items()}
    for _ in range(20 if options.quick else options.steps):
        for learner in learners.values():
            learner.step()
    torch_bits = np.array(learners["torch"].bits)
    rows = {}
    print(
        f"{'bits per sample':22}"
        + "".join(f"{f'{end}/{POINTS}':>8}" for end in range(1, POINTS + 1))
        + f"{'farthest':>10}{'mean':>10}"
    )
    for name, learner in learners.items():
        away = np.abs(np.array(learner.bits) - torch_bits)
        curve = [float(np.mean(part)) for part in np.array_split(learner.bits, POINTS)]
        rows[name] = {
            "bits": learner.bits,
            "farthest": float(away.max()),
            "mean_distance": float(away.mean()),
            "seconds": learner.seconds,
        }
        print(f"{name:22}" + "".join(f"{bits:8.3f}" for bits in curve) + f"{away.max():10.4f}{away.mean():10.5f}")
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "fused", "ways": rows}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
