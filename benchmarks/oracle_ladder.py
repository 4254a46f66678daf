"""What loses what: sound with one part after another replaced by the truth.

    python benchmarks/oracle_ladder.py --model runs/voices --data voices.jsonl [--utterances 12] [--json FILE]

For a model with linear prediction. Test utterances are made again, in their own speakers' voices: from the recording,
from filters of the true and of the predicted spectrum, with the true excitation or with pulses and noise in its stead,
and by the model, with its own codes and with those of another recording. Beside each stand two judges of naturalness,
the distance of its log-mel spectrum from the recording's (mean, nepers), and the height of the autocorrelation's peak
in frames where the recording has a pitch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter

from vqspeech.conversion import CodesRequest, SamplingOptions, decode_many
from vqspeech.data.preparation import prepare_store, store_folder
from vqspeech.data.selection import middles
from vqspeech.data.store import Store
from vqspeech.errors import VQSpeechError
from vqspeech.evaluation.judges.opinion import LONGEST_S, find_opinions
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import mu_law_decode, mu_law_encode
from vqspeech.nn.linear_prediction import EXCITATION_LEVEL, Filters, excite
from vqspeech.nn.mel import LogMel
from vqspeech.nn.pitch import PitchTracker
from vqspeech.nn.synthesis import Synthesis
from vqspeech.pretrained.checkpoint import read_model

Wav = NDArray[np.float32]
PRE_EMPHASIS = 0.85


class Rungs:
    """What is made of one recording (T,), T a multiple of the hop."""

    def __init__(self, model: VQVAE, wav: Wav, speaker: int, seed: int) -> None:
        assert model.prediction is not None
        self.model, self.wav, self.hop = model, wav, model.hop_length
        self.num = len(wav) // self.hop
        self.random = np.random.default_rng(seed)
        self.codes = model.encode(wav)
        log_mel = LogMel(model.sample_rate, self.hop, model.recipe.loss.spectral_bands)
        batch = torch.from_numpy(wav)[None]
        self.true = model.prediction(log_mel.around_frames(batch, 0, self.num))
        self.predicted = model.filters(model.condition(self.codes, speaker)[None])
        tracker = PitchTracker(model.sample_rate, self.hop)
        self.periods = tracker.around_frames(batch, 0, self.num)[0].numpy()

    def through(self, level: NDArray[np.floating], filters: Filters) -> Wav:
        """An excitation (T,) through filters."""
        synthesis = Synthesis(self.model.prediction.order, self.hop)  # type: ignore[union-attr]
        return synthesis.push(level.astype(np.float32), filters.packed()[0].numpy())

    def excitation(self, filters: Filters) -> Wav:
        """What filters leave of the recording."""
        return excite(torch.from_numpy(self.wav)[None], 0, filters, self.hop).level[0].numpy()

    def coded(self, filters: Filters) -> Wav:
        """The recording by way of its excitation's mu-law classes."""
        return self.through(mu_law_decode(mu_law_encode(self.excitation(filters))), filters)

    def noise(self) -> Wav:
        """White noise at the excitation's level."""
        return (EXCITATION_LEVEL * self.random.standard_normal(len(self.wav))).astype(np.float32)

    def pulses(self) -> Wav:
        """Pulses at the true pitch, noise where there is none, both at the excitation's level."""
        level, phase = self.noise(), 0.0
        for t in range(len(level)):
            if period := self.periods[t // self.hop]:
                phase += 1 / period
                level[t] = EXCITATION_LEVEL * np.sqrt(period) if phase >= 1 else 0.0
                phase %= 1
        return level

    def pre_emphasized(self) -> Wav:
        """Mu-law of the recording after pre-emphasis, which is undone afterwards."""
        filtered = lfilter([1, -PRE_EMPHASIS], [1], self.wav)
        return lfilter([1], [1, -PRE_EMPHASIS], mu_law_decode(mu_law_encode(filtered))).astype(np.float32)


LADDER: dict[str, Callable[[Rungs], Wav]] = {
    "recording": lambda r: r.wav,
    "mu-law": lambda r: mu_law_decode(mu_law_encode(r.wav)),
    "mu-law after pre-emphasis": lambda r: r.pre_emphasized(),
    "mu-law of the excitation, true filters": lambda r: r.coded(r.true),
    "mu-law of the excitation, predicted filters": lambda r: r.coded(r.predicted),
    "true filters' excitation, predicted filters": lambda r: r.through(r.excitation(r.true), r.predicted),
    "pulses and noise, true filters": lambda r: r.through(r.pulses(), r.true),
    "pulses and noise, predicted filters": lambda r: r.through(r.pulses(), r.predicted),
    "noise, predicted filters": lambda r: r.through(r.noise(), r.predicted),
}


def figures(model: VQVAE, made: list[Wav], rungs: list[Rungs]) -> dict[str, float]:
    """Mean scores of what was made of each recording."""
    log_mel = LogMel(model.sample_rate, model.hop_length, 80)
    tracker = PitchTracker(model.sample_rate, model.hop_length)
    scores: dict[str, list[float]] = {}
    for wav, rung in zip(made, rungs, strict=True):
        wav = np.clip(wav[: len(rung.wav)], -1, 1).astype(np.float32)
        for opinion in find_opinions()[0]:
            for scale, score in opinion.score(wav, model.sample_rate).items():
                scores.setdefault(scale, []).append(score)
        own, true = (log_mel.around_frames(torch.from_numpy(x)[None], 0, rung.num) for x in (wav, rung.wav))
        scores.setdefault("mel distance", []).append(float((own - true).abs().mean()))
        heights = tracker.heights(torch.from_numpy(wav)[None], 0, rung.num)[0].numpy()
        scores.setdefault("periodicity", []).append(float(heights[rung.periods > 0].mean()))
    return {name: round(float(np.mean(values)), 3) for name, values in scores.items()}


def climb(model: VQVAE, store: Store, count: int, seed: int) -> dict[str, dict[str, float]]:
    """Figures of every rung."""
    span = store.utterances("test")
    known = [index for index in span if store.speaker(index) < len(model.speakers)]
    chosen = [known[place] for place in middles(len(known), count)]
    rungs = []
    for index in chosen:
        wav = store.wav(index, int(LONGEST_S * store.sample_rate))
        whole = len(wav) // model.hop_length * model.hop_length
        rungs.append(Rungs(model, wav[:whole], store.speaker(index), seed + index))
    rows = {name: figures(model, [make(rung) for rung in rungs], rungs) for name, make in LADDER.items()}
    voices = [model.speakers[store.speaker(index)] for index in chosen]
    others = [rungs[(place + 1) % len(rungs)].codes for place in range(len(rungs))]
    for name, codes in (("the model", [rung.codes for rung in rungs]), ("the model, another's codes", others)):
        requests = [CodesRequest(c, voice, place) for place, (c, voice) in enumerate(zip(codes, voices, strict=True))]
        made = decode_many(model, requests, SamplingOptions(seed), num_threads=torch.get_num_threads())
        same = [np.pad(wav, (0, max(0, len(r.wav) - len(wav)))) for wav, r in zip(made, rungs, strict=True)]
        rows[name] = figures(model, same, rungs)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--utterances", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        model = read_model(options.model)
        if model.prediction is None:
            raise VQSpeechError(f"{options.model} has no linear prediction, so it has no filters to replace")
        prepare_store(model.recipe.data, options.data, store_folder(model.recipe.name))
        rows = climb(model, Store.open(store_folder(model.recipe.name)), options.utterances, options.seed)
    except VQSpeechError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    columns = list(next(iter(rows.values())))
    print("| what is heard | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[column]:.2f}" for column in columns) + " |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
