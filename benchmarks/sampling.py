"""How fast is sampling? One utterance at a time, one thread, the reference engine and the compiled one in one run.

    python benchmarks/sampling.py [--quick] [--json FILE]

The networks have random weights: speed does not depend on them. 20 layers (2 x 10), kernel 2, 256 classes, a code
frame of 64 samples.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy are loaded

import argparse  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

from vqspeech.nn.wavenet import WaveNet  # noqa: E402
from vqspeech.sampling.engines import get_engine  # noqa: E402

SIZES = ((32, 64), (64, 128))  # residual and skip channels; the last is the headline
CYCLES, LAYERS_PER_CYCLE, CLASSES, CONDITION_CHANNELS, HOP_LENGTH = 2, 10, 256, 64, 64
SAMPLE_RATE = 16_000  # Hz, of the column "x real time"
GOAL = 15_000  # samples/s of the headline


def multiply_adds(residual: int, skip: int) -> int:
    """Multiply-adds of one sample: every layer's gate and outputs, and the head (conditioning is once per frame)."""
    layer = 2 * residual * 2 * residual + residual * (residual + skip)
    return CYCLES * LAYERS_PER_CYCLE * layer + skip * skip + skip * CLASSES


def samples_per_second(name: str, wavenet: WaveNet, frames: int, repeats: int) -> tuple[float, float]:
    """The fastest of several runs, as what other processes take is no part of the answer; and the median beside it."""
    condition = np.random.default_rng(0).normal(size=(frames, CONDITION_CHANNELS)).astype(np.float32)
    session = get_engine(name).open(wavenet, HOP_LENGTH, seed=0, utterance=0)
    session.generate(condition[:1])  # compiles, or loads what was compiled
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        session.generate(condition)
        seconds.append(time.perf_counter() - start)
    return frames * HOP_LENGTH / min(seconds), frames * HOP_LENGTH / float(np.median(seconds))


def run(quick: bool) -> list[dict[str, float]]:
    """One row of figures for each size."""
    torch.set_num_threads(1)
    rows = []
    for residual, skip in SIZES:
        torch.manual_seed(0)
        wavenet = WaveNet(CLASSES, CLASSES, residual, skip, CYCLES, LAYERS_PER_CYCLE, CONDITION_CHANNELS)
        reference, _ = samples_per_second("torch", wavenet, 2, 2 if quick else 10)
        compiled, median = samples_per_second("numba", wavenet, 50, 10 if quick else 100)
        rows.append(
            {
                "residual_channels": residual,
                "skip_channels": skip,
                "torch_samples_per_s": reference,
                "numba_samples_per_s": compiled,
                "numba_samples_per_s_median": median,
                "ratio": compiled / reference,
                "times_real_time": compiled / SAMPLE_RATE,
                "gflops": 2 * multiply_adds(residual, skip) * compiled / 1e9,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Samples per second, one thread, one stream.")
    parser.add_argument("--quick", action="store_true", help="fewer samples and repeats")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    rows = run(arguments.quick)
    print(
        f"{'channels':>10} {'torch /s':>10} {'numba /s':>10} {'(median)':>10} {'ratio':>8} {'x real time':>12} "
        f"{'GFLOP/s':>8}"
    )
    for row in rows:
        channels = f"{row['residual_channels']}/{row['skip_channels']}"
        print(
            f"{channels:>10} {row['torch_samples_per_s']:10,.0f} {row['numba_samples_per_s']:10,.0f} "
            f"{row['numba_samples_per_s_median']:10,.0f} "
            f"{row['ratio']:8.0f} {row['times_real_time']:12.2f} {row['gflops']:8.1f}"
        )
    headline = rows[-1]["numba_samples_per_s"]
    if arguments.json:
        figures = {"benchmark": "sampling", "samples_per_s": headline, "goal": GOAL, "rows": rows}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"64/128 channels, one thread, one stream: {headline:,.0f} samples/s (goal: at least {GOAL:,})")


if __name__ == "__main__":
    main()
