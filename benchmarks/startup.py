"""How long do the first things take: `vqspeech --help`, and the first second of converted speech?

    python benchmarks/startup.py
    VQSPEECH_CPU=avx2 python benchmarks/startup.py --quick

Each command runs several times in a fresh interpreter; the median counts. The bare interpreter stands beside them, and
the ratio to it carries over to other machines. `convert` converts one second of sound in one thread: first ever, with
nothing of the sampling loop kept on disk, and later. Processor time (user and system) is told beside wall time: it is
what counts where other work runs beside.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

LIMIT_S = 0.3
FIRST_LIMIT_S, LATER_LIMIT_S = 20.0, 2.5
CODE = "import sys; from vqspeech.cli.main import main; sys.exit(main())"
COMMANDS = {
    "python, nothing imported": [sys.executable, "-c", "0"],
    "import vqspeech": [sys.executable, "-c", "import vqspeech"],
    "vqspeech --help": [sys.executable, "-c", CODE, "--help"],
    "vqspeech convert --help": [sys.executable, "-c", CODE, "convert", "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
}
RATE = 16000  # Hz


class Seconds(NamedTuple):
    """Wall time of a command, and processor time, user and system together."""

    wall: float
    processor: float


def time_once(command: Sequence[str], **environment: str) -> Seconds:
    """Run a command to its end."""
    started = time.perf_counter()
    silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    process = os.posix_spawn(command[0], command, os.environ | environment, file_actions=silent)
    _, status, used = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Seconds(time.perf_counter() - started, used.ru_utime + used.ru_stime)


def time_command(command: Sequence[str], repeats: int, **environment: str) -> Seconds:
    """Medians; one run before the count fills the caches."""
    times = [time_once(command, **environment) for _ in range(repeats + 1)][1:]
    return Seconds(*(statistics.median(column) for column in zip(*times, strict=True)))


def time_convert(speaker: str, repeats: int) -> dict[str, Seconds]:
    """`vqspeech convert` of a second of sound: first ever and later."""
    with tempfile.TemporaryDirectory() as folder:
        t = np.arange(RATE) / RATE
        soundfile.write(f"{folder}/in.wav", 0.3 * np.sin(2 * np.pi * (150 * t + 200 * t * t)), RATE)
        command = [sys.executable, "-c", CODE, "convert", "--speaker", speaker, f"{folder}/in.wav", "--force"]
        command += ["--threads", "1"]
        environment = {"NUMBA_CACHE_DIR": f"{folder}/cache", "OMP_NUM_THREADS": "1"}
        first = time_once(command, **environment)
        return {"convert, first ever": first, "convert, later": time_command(command, repeats, **environment)}


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three runs of each instead of fifteen")
    parser.add_argument("--speaker", default="p225", help="whom convert speaks as [p225]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    repeats = 3 if options.quick else 15
    seconds = {name: time_command(command, repeats) for name, command in COMMANDS.items()}
    seconds |= time_convert(options.speaker, repeats)
    bare = seconds["python, nothing imported"]
    print(f"{'command':<28}{'seconds':>9}{'processor':>11}{'ratio':>8}")
    for name, value in seconds.items():
        print(f"{name:<28}{value.wall:>9.3f}{value.processor:>11.3f}{value.wall / bare.wall:>8.1f}")
    first, later = seconds["convert, first ever"].wall, seconds["convert, later"].wall
    print(f"convert: {first:.1f} s first (limit {FIRST_LIMIT_S:.0f} s), {later:.2f} s later (limit {LATER_LIMIT_S} s)")
    slowest = max(seconds["vqspeech --help"].wall, seconds["vqspeech convert --help"].wall)
    print(f"slowest help: {slowest:.3f} s, {slowest / bare.wall:.1f} times the bare interpreter (limit {LIMIT_S} s)")
    if options.json:
        figures = {
            "headline_s": slowest,
            "limit_s": LIMIT_S,
            "convert_s": {"first": first, "later": later, "limits": [FIRST_LIMIT_S, LATER_LIMIT_S]},
            "seconds": {name: value.wall for name, value in seconds.items()},
            "processor_seconds": {name: value.processor for name, value in seconds.items()},
            "VQSPEECH_CPU": os.environ.get("VQSPEECH_CPU"),
        }
        options.json.write_text(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
