"""Do compressed codes come back in any process, and how near is the payload to the prior's cross-entropy?

    python benchmarks/compression.py [--model runs/fsdd] [--store prepared/fsdd] [--quick] [--json FILE]

Compresses every recording of the test split in this process, and reads each file again in processes of other numbers of
threads and other vector widths, which also compress its codes once more: codes and payload have to be the same to the
last bit. Then all payloads together are held against the prior's cross-entropy of all codes: with the stop symbols, as
`benchmarks/prior.py` has it, and without them, given how long each utterance is, since a file's header says that.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vqspeech.audio import save_audio
from vqspeech.compression import compress_file, read_compressed
from vqspeech.compression.coder import pack_codes
from vqspeech.compression.container import read_container
from vqspeech.compression.integers import TABLE_BITS, IntegerPrior
from vqspeech.data.preparation import store_folder
from vqspeech.data.store import Store
from vqspeech.errors import VQSpeechError
from vqspeech.models.prior import Prior
from vqspeech.pretrained.checkpoint import read_model


def settings() -> dict[str, dict[str, str]]:
    """Environments that change how a machine multiplies and sums, by name."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    extensions = " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    narrow = {
        "NPY_DISABLE_CPU_FEATURES": extensions, "OPENBLAS_CORETYPE": "Prescott", "ATEN_CPU_CAPABILITY": "default",
        "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "",
    }  # fmt: skip
    return {
        "another process, 1 thread": dict.fromkeys(threads, "1"),
        "4 threads": dict.fromkeys(threads, "4"),
        "AVX2 at most": {"ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell"}
        | {"NPY_DISABLE_CPU_FEATURES": " ".join(name for name in extensions.split() if "AVX512" in name)},
        "SSE alone, 2 threads": narrow | dict.fromkeys(threads, "2"),
    }


def expand_all(folder: Path, run: Path) -> None:
    """Print, for each file, a hash of its codes and one of the payload that they give here."""
    model = read_model(run)
    prior = model.prior
    for path in sorted(folder.glob("*.vqs")):
        codes, _, speaker = read_compressed(path, model, prior)
        payload = pack_codes(codes, prior, None if speaker is None else model.speaker_index(speaker))
        print(path.stem, digest(codes.astype("<i4").tobytes()), digest(payload.data), payload.count)


def digest(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


@torch.no_grad()
def cross_entropies(prior: Prior, codes: np.ndarray, speaker: int) -> dict[str, float]:
    """Bits of an utterance's codes (N,): with its end, given its length, and under the coder's tables."""
    number = torch.tensor([speaker])
    logits = prior(torch.from_numpy(codes[None]).long(), number)[0].double()  # (N + 1, K + 1)
    said = torch.from_numpy(np.append(codes, prior.stop)).long()
    log_p = logits.log_softmax(-1).gather(1, said[:, None])
    going_on = logits[:-1, : prior.stop].log_softmax(-1).gather(1, said[:-1, None])
    shares = IntegerPrior(prior, speaker).shares(np.concatenate([[prior.start], codes[:-1]]))
    taken = shares[np.arange(len(codes)), codes] + 1.0
    return {
        "with the stop symbols": float(-log_p.sum() / np.log(2)),
        "given the lengths": float(-going_on.sum() / np.log(2)),
        "of the coder's tables": float((TABLE_BITS - np.log2(taken)).sum()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/fsdd"))
    parser.add_argument("--store", type=Path, help="prepared corpus [prepared/<recipe>]")
    parser.add_argument("--quick", action="store_true", help="every tenth recording, two processes")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--expand", type=Path, help=argparse.SUPPRESS)  # what the other processes do
    options = parser.parse_args()
    if options.expand:
        expand_all(options.expand, options.model)
        return 0
    try:
        with tempfile.TemporaryDirectory() as place:
            return compare(options, Path(place))
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def compare(options: argparse.Namespace, place: Path) -> int:
    """Compress here, expand elsewhere, and print; 1 if anything differs."""
    model = read_model(options.model)
    prior = model.prior
    store = Store.open(options.store or store_folder(model.recipe.name))
    expected: dict[str, list[str]] = {}
    bits: dict[str, float] = {}
    num_codes = payload = file_bytes = 0
    seconds = 0.0
    for index in list(store.utterances("test"))[:: 10 if options.quick else 1]:
        name, speaker = store.utterance_id(index), store.speakers[store.speaker(index)]
        stem = f"{index:06d}"  # ids may hold what no file name may
        wav = place / f"{stem}.wav"
        save_audio(wav, store.wav(index), store.sample_rate)
        sizes = compress_file(model, prior, wav, wav.with_suffix(".vqs"), speaker)
        codes = model.encode(store.wav(index)).cpu().numpy().astype(np.int32)
        assert sizes.num_codes == len(codes), name
        written = read_container(wav.with_suffix(".vqs")).payload
        expected[stem] = [digest(codes.astype("<i4").tobytes()), digest(written.data), str(written.count)]
        for what, value in cross_entropies(prior, codes, model.speaker_index(speaker)).items():
            bits[what] = bits.get(what, 0.0) + value
        num_codes += len(codes)
        payload, file_bytes = payload + sizes.payload_bits, file_bytes + sizes.file_bytes
        seconds += sizes.duration_s

    same = {}
    for name, variables in list(settings().items())[:: 3 if options.quick else 1]:
        started = time.monotonic()
        command = [sys.executable, __file__, "--model", str(options.model), "--expand", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)
        rows = {stem: rest for stem, *rest in map(str.split, done.stdout.splitlines())}
        same[name] = sum(rows.get(stem) == hashes for stem, hashes in expected.items())
        print(f"{name:28}{same[name]:5} of {len(expected)} identical, {time.monotonic() - started:.0f} s")
        if done.returncode:
            print(done.stderr, file=sys.stderr)
    print(
        f"{len(expected)} recordings, {seconds:.0f} s, {num_codes} codes: payloads of {payload} bits, "
        f"{payload / num_codes:.3f} bits/code, {payload / seconds:.0f} bit/s; files of {file_bytes} bytes"
    )
    for what, value in bits.items():
        print(f"cross-entropy {what:24}{value / num_codes:7.3f} bits/code: the payload is {payload / value - 1:+.2%}")
    ending = (payload - bits["of the coder's tables"]) / len(expected)
    print(f"beside the coder's tables: {ending:+.2f} bits a recording, since the header says where a payload ends")
    if options.json:
        found = {"identical": same, "recordings": len(expected), "codes": num_codes, "payload_bits": payload,
                 "file_bytes": file_bytes, "cross_entropy_bits": bits, "ending_bits_each": ending}  # fmt: skip
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    whole = all(count == len(expected) for count in same.values())
    print(
        f"codes and payload identical on {min(same.values())} of {len(expected)} recordings in {len(same)} other "
        f"processes; payload {payload / bits['with the stop symbols'] - 1:+.2%} against the prior's cross-entropy, "
        f"{payload / bits['given the lengths'] - 1:+.2%} against that given the lengths"
    )
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
