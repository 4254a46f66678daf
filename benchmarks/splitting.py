"""What does cutting long recordings at pauses cost, and what does it bring?

    python benchmarks/splitting.py --model runs/fsdd --data FOLDER [--json FILE]

The recordings of each folder below FOLDER that holds any are joined, so that each is minutes long. Cost: bits per
sample of the true samples, teacher-forced, with the past that each part really has, against one stream; and the jump of
level at the seams of what is sampled, beside that at the same places when one stream samples them. Gain: seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import wilcoxon

from vqspeech.audio import AUDIO_SUFFIXES, load_audio
from vqspeech.conversion import Request, SamplingOptions, convert_many
from vqspeech.conversion.cuts import Cuts
from vqspeech.conversion.parts import find_parts
from vqspeech.files import find_files
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import mu_law_encode
from vqspeech.nn.mode import evaluating
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.sampling.engines import get_engine

JUMP_S = 0.010  # s on either side of a seam
MOST_SECONDS = 120.0  # of each joined recording


def joined(data: Path, sample_rate: int) -> list[np.ndarray]:
    """One waveform for each folder that holds recordings."""
    files = sorted(find_files(data, AUDIO_SUFFIXES))
    folders = sorted({file.parent for file in files})
    wavs = [np.concatenate([load_audio(f, sample_rate) for f in files if f.parent == folder]) for folder in folders]
    return [wav[: int(MOST_SECONDS * sample_rate)] for wav in wavs]


@torch.no_grad()
def forced_nats(model: VQVAE, wav: np.ndarray, split: bool) -> tuple[float, int]:
    """-log p of the true samples, each part with the past it would have, and the number of parts."""
    hop, length = model.hop_length, len(wav)
    padded = torch.from_numpy(np.pad(wav, (0, -length % hop)))[None]
    streams = get_engine("numba", "float32").load(model.wavenet, hop).streams(1, seed=0)
    nats, number = 0.0, 0
    for part in find_parts(model, [torch.as_tensor(wav)], split=split):
        condition = model.condition(part.codes, 0)[part.before : len(part.codes) - part.after]
        begin = part.first * hop
        end = begin + len(condition) * hop
        if model.prediction is None:
            chosen = mu_law_encode(padded[0, begin:end]).numpy()
        else:
            chosen = model.excitation(padded[:, :end], condition[None], begin).classes[0].numpy()
        stream = streams.open(0)
        logits = streams.force([stream], chosen[None], condition.numpy()[None])[0]
        streams.close(stream)
        likely = torch.log_softmax(torch.from_numpy(logits), -1).numpy()[np.arange(len(chosen)), chosen]
        nats -= float(likely[part.warm_up * hop :][: length - begin - part.warm_up * hop].sum(dtype=np.float64))
        number += 1
    return nats, number


def level_jumps(model: VQVAE, wav: np.ndarray, sampled: np.ndarray) -> list[float]:
    """Jumps of level in dB, from just before to just after each place where `wav` may be cut."""
    width = int(JUMP_S * model.sample_rate)

    def level(samples: np.ndarray) -> float:
        return 10 * float(np.log10(np.mean(np.square(samples)) + 1e-10))

    seams = Cuts(model.hop_length, model.sample_rate, model.wavenet.receptive_field).push(wav)
    places = [frame * model.hop_length for frame in seams]
    return [abs(level(sampled[at : at + width]) - level(sampled[at - width : at])) for at in places]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/fsdd"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = read_model(options.model)
    wavs = joined(options.data, model.sample_rate)
    samples = sum(len(wav) for wav in wavs)
    requests = [Request(wav, model.speakers[0], number) for number, wav in enumerate(wavs)]
    seconds, bits, parts = {}, {}, {}
    jumps: dict[bool, list[float]] = {}
    for split in (False, True):
        sampling = SamplingOptions(options.seed, split=split)
        convert_many(model, [Request(wavs[0][: model.sample_rate], model.speakers[0])], sampling, num_threads=1)
        started = time.perf_counter()
        # One recording after the other: the gain is that of a single long one.
        sampled = [convert_many(model, [request], sampling, num_threads=options.threads)[0] for request in requests]
        seconds[split] = time.perf_counter() - started
        jumps[split] = [
            jump for wav, heard in zip(wavs, sampled, strict=True) for jump in level_jumps(model, wav, heard)
        ]
        with evaluating(model):
            forced = [forced_nats(model, wav, split) for wav in wavs]
        bits[split] = sum(nats for nats, _ in forced) / samples / np.log(2)
        parts[split] = sum(number for _, number in forced)
    figures = {
        "recordings": len(wavs),
        "minutes": samples / model.sample_rate / 60,
        "parts": parts[True],
        "bits_one_stream": bits[False],
        "bits_split": bits[True],
        "bits_lost": bits[True] - bits[False],
        "seams": len(jumps[True]),
        "jump_at_seams_db": [float(np.percentile(jumps[True], p)) for p in (50, 95)],
        "jump_one_stream_db": [float(np.percentile(jumps[False], p)) for p in (50, 95)],
        "p_value": float(wilcoxon(jumps[True], jumps[False]).pvalue),  # paired: the same places
        "seconds_one_stream": seconds[False],
        "seconds_split": seconds[True],
        "times_faster": seconds[False] / seconds[True],
        "times_real_time": samples / model.sample_rate / seconds[True],
    }
    for name, value in figures.items():
        shown = ", ".join(f"{v:.2f}" for v in value) if isinstance(value, list) else f"{value:,.4g}"
        print(f"{name:22}{shown}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
