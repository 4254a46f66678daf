"""Many listeners at once: does the server of listening tests keep every answer, and how fast does it acknowledge one?

Starts `vqspeech listening-test serve` on this machine's loopback with a test of its own, lets simulated listeners join
at the same moment and answer all their pages as fast as they are acknowledged, then kills the server and compares what
it kept with what was acknowledged. Loopback only; at most 200 listeners, 100 answers each, and two minutes.

    python benchmarks/listening_server.py --json listening_server.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vqspeech.audio import save_audio
from vqspeech.listening.answers import Answer
from vqspeech.listening.design.export import Exported, export
from vqspeech.listening.design.folder import answers_path
from vqspeech.listening.serving.answer_store import AnswerStore

MOST_LISTENERS, MOST_ANSWERS = 200, 100
LONGEST_S = 120.0
RATE = 8000


def make_test(folder: Path, num_answers: int) -> Exported:
    """A test of mean opinion scores with at least so many pages a listener."""
    for system in ("alpha", "beta"):
        for item in range(num_answers):
            wav = np.random.default_rng(item).normal(0, 0.1, RATE // 4)
            save_audio(folder / "stimuli" / system / f"item{item}.wav", wav.astype(np.float32), RATE)
    return export(None, kind="mos", stimuli=folder / "stimuli", out=folder / "test", trials=num_answers)


async def request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: dict
) -> tuple[int, dict]:
    """One POST over a connection that stays open; gives status and JSON."""
    data = json.dumps(body).encode()
    head = f"POST /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    writer.write(head.encode() + b"\r\n\r\n" + data)
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split()[1]), json.loads(await reader.readexactly(int(headers["content-length"])))


async def take_part(test: Exported, port: int, num_answers: int) -> tuple[str, list[Answer], list[float]]:
    """Join, answer; gives the listener's name, what was acknowledged, and the seconds each acknowledgement took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    status, given = await request(reader, writer, "api/join", {"consented": True})
    assert status == 200, given
    acknowledged, seconds = [], []
    for number, trial in enumerate(test.key.orders[given["place"]][:num_answers]):
        answer = Answer(trial=trial, ratings={test.key.trials[trial].rated[0]: 1 + number % 5}, milliseconds=number)
        began = time.perf_counter()
        status, said = await request(
            reader, writer, "api/answers", {"listener": given["listener"], "answer": answer.model_dump()}
        )
        seconds.append(time.perf_counter() - began)
        assert status == 200, said
        acknowledged.append(answer)
    writer.close()
    return given["listener"], acknowledged, seconds


async def crowd(test: Exported, port: int, num_listeners: int, num_answers: int) -> list:
    """All listeners at once."""
    together = asyncio.gather(*(take_part(test, port, num_answers) for _ in range(num_listeners)))
    return await asyncio.wait_for(together, LONGEST_S)


def measure(num_listeners: int, num_answers: int) -> dict:
    """Serve, answer, kill the server, count."""
    with tempfile.TemporaryDirectory() as place:
        test = make_test(Path(place), num_answers)
        command = [sys.executable, "-c", "from vqspeech.cli.main import main; main()", "listening-test", "serve"]
        command += [str(test.folder), "--port", "0", "--rate", "100000"]  # all listeners have one address here
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            port = int(server.stdout.readline().strip().rstrip("/").rpartition(":")[2])
            began = time.perf_counter()
            heard = asyncio.run(crowd(test, port, num_listeners, num_answers))
            wall_s = time.perf_counter() - began
        finally:
            server.kill()  # without a chance to put anything away
            server.wait()
        store = AnswerStore(answers_path(test.folder), test.key)
        kept = {results.listener: list(results.answers) for results in store.results()}
        places = sorted(results.place for results in store.results())
        store.close()
    sent = sum(len(answers) for _, answers, _ in heard)
    lost = sum(answer not in kept.get(name, []) for name, answers, _ in heard for answer in answers)
    ms = 1000 * np.array([s for *_, seconds in heard for s in seconds])
    turns = np.bincount(places, minlength=len(test.key.orders))
    return {
        "listeners": num_listeners,
        "answers_each": num_answers,
        "acknowledged": sent,
        "lost": lost,
        "most_and_fewest_listeners_of_a_place": [int(turns.max()), int(turns.min())],
        "wall_s": round(wall_s, 2),
        "answers_per_s": round(sent / wall_s, 1),
        "median_ms": round(float(np.median(ms)), 1),
        "p95_ms": round(float(np.percentile(ms, 95)), 1),
        "max_ms": round(float(ms.max()), 1),
        "load_average": round(os.getloadavg()[0], 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listeners", type=int, default=100)
    parser.add_argument("--answers", type=int, default=20, help="of each listener")
    parser.add_argument("--quick", action="store_true", help="10 listeners, 5 answers each")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    num_listeners, num_answers = (10, 5) if given.quick else (given.listeners, given.answers)
    if not (1 <= num_listeners <= MOST_LISTENERS and 1 <= num_answers <= MOST_ANSWERS):
        parser.error(f"at most {MOST_LISTENERS} listeners and {MOST_ANSWERS} answers each")
    figures = measure(num_listeners, num_answers)
    for name, value in figures.items():
        print(f"{name:40} {value}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(
        f"{figures['acknowledged']} answers of {num_listeners} listeners at once: {figures['lost']} lost, "
        f"p95 {figures['p95_ms']} ms"
    )
    if figures["lost"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
