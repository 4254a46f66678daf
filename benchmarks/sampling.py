"""How fast is sampling, and what binds it?

    python benchmarks/sampling.py [--quick] [--samples-per-step 1 2 4] [--against CHECKOUT] [--json FILE]

Engines side by side in one run: the reference, and the compiled loop in every precision that the processor has, with
one stream and with many, on one thread and on two. Beside each its arithmetic, as a share of what the machine's own
matrix products reach (of float32, beside float16), and for one stream the bytes of weights it reads, as a share of what
a plain sum over as many bytes reaches. `--against`
times `incremental_forward` of a checkout of r9y9/wavenet_vocoder at the same sizes in the same run.

The networks have random weights: speed does not depend on them. 20 layers (2 x 10), kernel 2, 256 classes, conditioned,
a code frame of 64 samples. `--samples-per-step` times networks whose layers serve several samples a pass.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before torch and numpy are loaded

import argparse  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402
from pathlib import Path  # noqa: E402

import numba  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from vqspeech.nn.wavenet import WaveNet  # noqa: E402
from vqspeech.sampling.engines import get_engine  # noqa: E402
from vqspeech.sampling.layout import ELEMENTS, pack_weights  # noqa: E402
from vqspeech.vectors import HAS_BFLOAT16, HAS_FLOAT16  # noqa: E402

SIZES = ((32, 64), (64, 128), (128, 256))  # residual and skip channels
REFERENCE_SIZE = (64, 128)
CYCLES, LAYERS_PER_CYCLE, CLASSES, CONDITION_CHANNELS, HOP_LENGTH = 2, 10, 256, 64, 64
SAMPLE_RATE = 16_000  # Hz, of the real-time factor
PRECISIONS = ("float32", *(["float16"] if HAS_FLOAT16 else []), *(["bfloat16"] if HAS_BFLOAT16 else []))


def multiply_adds(residual: int, skip: int, samples_per_step: int) -> float:
    """Multiply-adds of one sample: its share of a pass through the layers, and the head (conditioning is once per
    frame)."""
    layer = 2 * residual * 2 * residual + residual * (residual + skip)
    return CYCLES * LAYERS_PER_CYCLE * layer / samples_per_step + skip * skip + skip * CLASSES


def seconds_of(action: Callable[[], object], repeats: int) -> tuple[float, float]:
    """The fastest of several runs, as what other processes take is no part of the answer; and the median beside it."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds), float(np.median(seconds))


def matrix_rate(precision: str, threads: int) -> float:
    """GFLOP/s of torch's product of two 2,048 x 2,048 matrices, in what a precision multiplies in."""
    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(2048, 2048, dtype=dtype) for _ in range(2))
    a @ b
    return 2 * 2048**3 / seconds_of(lambda: a @ b, 10)[0] / 1e9


@numba.njit(fastmath=True)
def _total(values: np.ndarray) -> int:
    total = np.int32(0)
    for i in range(len(values)):
        total ^= values[i]
    return total


def read_rate(num_bytes: int) -> float:
    """GB/s at which one core reads an array of this size again and again."""
    values = np.ones(num_bytes // 4, np.int32)
    _total(values)
    return num_bytes / seconds_of(lambda: _total(values), 200)[0] / 1e9


def engine_rate(
    name: str, precision: str, wavenet: WaveNet, streams: int, threads: int, frames: int, repeats: int
) -> tuple[float, float]:
    """Samples/s of all threads together, each with `streams` in step: best and median."""
    torch.set_num_threads(1)
    sampler = get_engine(name, precision).load(wavenet, HOP_LENGTH)
    condition = np.random.default_rng(0).normal(size=(streams, frames, CONDITION_CHANNELS)).astype(np.float32)
    rooms = [sampler.streams(streams, seed=0) for _ in range(threads)]
    opened = [[room.open(number) for number in range(streams)] for room in rooms]
    with ThreadPoolExecutor(threads) as pool:
        best, median = seconds_of(
            lambda: list(pool.map(lambda pair: pair[0].generate(pair[1], condition), zip(rooms, opened, strict=True))),
            repeats,
        )
    samples = threads * streams * frames * HOP_LENGTH
    return samples / best, samples / median


def rival_rate(checkout: Path, fast: bool, residual: int, skip: int, samples: int, repeats: int) -> float:
    """Samples/s of r9y9's `incremental_forward`, one utterance, one thread; `fast` after `make_generation_fast_`."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from wavenet_vocoder.wavenet import WaveNet as Rival

    torch.manual_seed(0)
    torch.set_num_threads(1)
    rival = Rival(
        out_channels=CLASSES,
        layers=CYCLES * LAYERS_PER_CYCLE,
        stacks=CYCLES,
        residual_channels=residual,
        gate_channels=2 * residual,
        skip_out_channels=skip,
        kernel_size=2,
        cin_channels=CONDITION_CHANNELS,
    ).eval()
    if fast:
        rival.make_generation_fast_()
    condition = torch.randn(1, CONDITION_CHANNELS, samples)
    with torch.no_grad():
        return samples / seconds_of(lambda: rival.incremental_forward(c=condition, T=samples), repeats)[0]


def run(quick: bool, bunches: list[int], against: Path | None) -> list[dict[str, object]]:
    """One row of figures for each size and way."""
    products = {(p, threads): matrix_rate(p, threads) for p in PRECISIONS for threads in (1, 2)}
    rows: list[dict[str, object]] = []
    for (residual, skip), bunch in itertools.product(SIZES, bunches):
        torch.manual_seed(0)
        wavenet = WaveNet(CLASSES, CLASSES, residual, skip, CYCLES, LAYERS_PER_CYCLE, CONDITION_CHANNELS, bunch)
        work = 2 * multiply_adds(residual, skip, bunch)

        def row(way: str, precision: str, streams: int, threads: int, best: float, median: float) -> dict[str, object]:
            gflops = work * best / 1e9  # noqa: B023 - called before the next size
            return {
                "residual_channels": residual,  # noqa: B023
                "skip_channels": skip,  # noqa: B023
                "samples_per_step": bunch,  # noqa: B023
                "way": way,
                "precision": precision,
                "streams": streams * threads,
                "threads": threads,
                "samples_per_s": best,
                "samples_per_s_median": median,
                "times_real_time": best / SAMPLE_RATE,
                "gflops": gflops,
                "share_of_products": gflops / products[precision, threads],
            }

        if against and bunch == 1:
            for way, fast in (("r9y9", False), ("r9y9 fast", True)):
                rate = rival_rate(against, fast, residual, skip, 100 if quick else 400, 2 if quick else 5)
                rows.append(row(way, "float32", 1, 1, rate, rate))
        rate, median = engine_rate("torch", "float32", wavenet, 1, 1, 2, 2 if quick else 5)
        rows.append(row("torch", "float32", 1, 1, rate, median))
        for precision in PRECISIONS:
            for streams, threads in ((1, 1), (1, 2), (12, 1), (12, 2)):
                repeats = (5 if quick else 40) if streams == 1 else (2 if quick else 10)
                rate, median = engine_rate("numba", precision, wavenet, streams, threads, 50, repeats)
                rows.append(row("numba", precision, streams, threads, rate, median))
                if streams == threads == 1:
                    num_bytes = pack_weights(wavenet, ELEMENTS[precision]).stream.nbytes
                    reading = num_bytes * rate / bunch / 1e9
                    rows[-1] |= {
                        "weights_mb": num_bytes / 1e6,
                        "weights_gb_per_s": reading,
                        "share_of_reading": reading / read_rate(num_bytes),
                    }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer samples and repeats")
    parser.add_argument(
        "--samples-per-step", type=int, nargs="+", default=[1], metavar="K", help="that one pass of the layers serves"
    )
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="of github.com/r9y9/wavenet_vocoder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    bunches: list[int] = arguments.samples_per_step
    rows = run(arguments.quick, bunches, arguments.against)
    print(
        f"{'channels':>9} {'a pass':>6} {'way':>9} {'precision':>9} {'streams':>7} {'threads':>7} "
        f"{'samples/s':>10} {'(median)':>10} {'x real time':>11} {'GFLOP/s':>8} {'of products':>11} {'of reading':>10}"
    )
    for r in rows:
        reading = f"{r['share_of_reading']:10.0%}" if "share_of_reading" in r else ""
        channels = f"{r['residual_channels']}/{r['skip_channels']}"
        print(
            f"{channels:>9} {r['samples_per_step']:6} {r['way']:>9} {r['precision']:>9} "
            f"{r['streams']:7} {r['threads']:7} {r['samples_per_s']:10,.0f} {r['samples_per_s_median']:10,.0f} "
            f"{r['times_real_time']:11.2f} {r['gflops']:8.1f}"
            f" {r['share_of_products']:11.0%} {reading}"
        )
    if arguments.json:
        figures = {"benchmark": "sampling", "rows": rows}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")

    def rate(way: str, precision: str, streams: int) -> float | None:
        found = [
            float(r["samples_per_s"])  # type: ignore[arg-type]
            for r in rows
            if (r["residual_channels"], r["skip_channels"], r["samples_per_step"]) == (*REFERENCE_SIZE, bunches[0])
            and (r["way"], r["precision"], r["streams"]) == (way, precision, streams)
        ]
        return found[0] if found else None

    one = max(r for p in PRECISIONS if (r := rate("numba", p, 1)))
    print(f"64/128 channels, {bunches[0]} a pass, one stream, one thread: {one:,.0f} samples/s (goal: 40,000)")
    for way in ("r9y9", "r9y9 fast"):
        if rival := rate(way, "float32", 1):
            exact = rate("numba", "float32", 1) or 0.0
            print(f"over {way}: {exact / rival:,.0f}x in float32, {one / rival:,.0f}x in the faster precision (150x)")


if __name__ == "__main__":
    main()
