"""How fast is preparation? 48 kHz FLAC, resampled to 16 kHz, one core.

    python benchmarks/preparation.py [--quick] [--json FILE]

The recordings are made on the spot: a voice-like buzz with syllables and pauses, so that FLAC works as hard as on
speech. Each stage is timed alone, then all of `prepare_store`: finding, decoding, resampling, writing, merging.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

from vqspeech.audio import load_audio
from vqspeech.config import DataConfig
from vqspeech.data.preparation import prepare_store

SOURCE_RATE, TARGET_RATE = 48_000, 16_000
GOAL = 60  # times real time


def make_recording(duration_s: float, seed: int) -> np.ndarray:
    """A buzz at a wandering pitch through three resonances, four syllables a second, and breath noise."""
    random = np.random.default_rng(seed)
    time_s = np.arange(int(duration_s * SOURCE_RATE)) / SOURCE_RATE
    pitch = 120 * (1 + 0.2 * np.sin(2 * np.pi * 0.7 * time_s + seed))
    phase = np.cumsum(pitch) / SOURCE_RATE
    buzz = np.diff(np.floor(phase), prepend=0) + 0.02 * random.standard_normal(len(time_s))
    for formant in (600, 1500, 2600):
        radius, angle = np.exp(-np.pi * 90 / SOURCE_RATE), 2 * np.pi * formant / SOURCE_RATE
        buzz = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], buzz)
    syllables = np.clip(np.sin(2 * np.pi * 4 * time_s), 0, 1) * (np.sin(2 * np.pi * 0.25 * time_s) > -0.7)
    return (0.5 * buzz / np.abs(buzz).max() * syllables + 1e-4 * random.standard_normal(len(time_s))).astype(np.float32)


def measure(work: Callable[[], object], repeats: int) -> float:
    """Fewest seconds of several runs: what other processes take is no part of the answer."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def run(num_files: int, duration_s: float, repeats: int) -> dict[str, float]:
    """Times real time of each stage, by name."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, out = Path(folder, "corpus"), Path(folder, "out")
        files = [corpus / f"speaker{number % 4}" / f"{number}.flac" for number in range(num_files)]
        for number, file in enumerate(files):
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, make_recording(duration_s, number), SOURCE_RATE, subtype="PCM_16")
        data = DataConfig(corpus="folder", sample_rate=TARGET_RATE)
        stores = iter(range(repeats))

        def consume(results: Iterable[object]) -> None:
            for _ in results:
                continue

        stages: dict[str, Callable[[], object]] = {
            "decode FLAC": lambda: consume(map(load_audio, files)),
            "decode and resample": lambda: consume(load_audio(file, TARGET_RATE) for file in files),
            "prepare": lambda: prepare_store(data, corpus, out / str(next(stores)), num_workers=1),
        }
        return {name: num_files * duration_s / measure(work, repeats) for name, work in stages.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of preparation, one core, in times real time.")
    parser.add_argument("--quick", action="store_true", help="less audio, one repeat")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, whatever the libraries would like
    num_files, duration_s, repeats = (16, 5.0, 1) if options.quick else (60, 10.0, 3)
    speeds = run(num_files, duration_s, repeats)
    print(f"{num_files} recordings of {duration_s:.0f} s, {SOURCE_RATE} Hz FLAC to {TARGET_RATE} Hz, best of {repeats}")
    for name, speed in speeds.items():
        print(f"  {name:<22}{speed:8.0f} x real time")
    headline = speeds["prepare"]
    if options.json:
        result = {"benchmark": "preparation", "times_real_time": speeds, "headline": headline, "goal": GOAL}
        options.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(f"preparation: {headline:.0f} x real time per core (goal {GOAL})")


if __name__ == "__main__":
    main()
