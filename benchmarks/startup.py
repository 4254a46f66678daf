"""How long does `vqspeech --help` take to answer?

    python benchmarks/startup.py

Each command runs several times in a fresh interpreter; the median counts. The bare interpreter stands beside them, and
the ratio to it carries over to other machines.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

LIMIT_S = 0.3
CODE = "import sys; from vqspeech.cli import main; sys.exit(main())"
COMMANDS = {
    "python, nothing imported": [sys.executable, "-c", "0"],
    "import vqspeech": [sys.executable, "-c", "import vqspeech"],
    "vqspeech --help": [sys.executable, "-c", CODE, "--help"],
    "vqspeech convert --help": [sys.executable, "-c", CODE, "convert", "--help"],
}


def time_command(command: Sequence[str], repeats: int) -> float:
    """Median wall time of a command, seconds; one run before the count fills the caches."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three runs of each instead of fifteen")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    seconds = {name: time_command(command, 3 if options.quick else 15) for name, command in COMMANDS.items()}
    bare = seconds["python, nothing imported"]
    print(f"{'command':<28}{'seconds':>9}{'ratio':>8}")
    for name, value in seconds.items():
        print(f"{name:<28}{value:>9.3f}{value / bare:>8.1f}")
    slowest = max(seconds["vqspeech --help"], seconds["vqspeech convert --help"])
    print(f"slowest help: {slowest:.3f} s, {slowest / bare:.1f} times the bare interpreter (limit {LIMIT_S} s)")
    if options.json:
        options.json.write_text(json.dumps({"headline_s": slowest, "seconds": seconds, "limit_s": LIMIT_S}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
