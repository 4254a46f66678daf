"""What do the measures of speakers take, and do they give figures, whatever the number of speakers?

    python benchmarks/corpus_size.py [--sizes 2 30 110 2400] [--quick] [--json FILE]

Each size is measured in a process of its own: made-up speakers (a buzz at a pitch of their own, through resonances of
their own), 20 training utterances and 4 others of each, 2 s at 8 kHz; 60 conversions that are recordings of the target.
Seconds are of one processor, whatever else it does. Megabytes are the most that the process had until then, beyond what
it had before the first measure. `evaluate` draws 40 voices of more. With --pairs all it keeps all of them, and the
measures draw: rows of both. The codes are those of fsdd's encoder, which is bundled. The shares heard right say nothing
about a model, only that the measures work.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.signal import lfilter

from vqspeech.evaluation.figures.types import Evaluation, Trial
from vqspeech.evaluation.judges import probe, speakers
from vqspeech.evaluation.measures import code_speakers
from vqspeech.evaluation.measures.speakers import measure_speakers
from vqspeech.evaluation.trials.pairs import choose_pairs
from vqspeech.evaluation.trials.synthesis import pass_mu_law
from vqspeech.evaluation.trials.systems import heard_voices

RATE = 8000  # Hz
SECONDS = 2.0  # of an utterance
TRAIN, TEST = 20, 4  # utterances of every speaker
PAIRS = 60
SIZES = (2, 30, 110, 2400)
FORMANTS_HZ = ((300, 800), (900, 2000), (2200, 3400))  # lowest and highest of each resonance


def speak(speaker: int, take: int, seconds: float = SECONDS) -> np.ndarray:
    """A buzz with a speaker's own pitch and resonances, moved a little in each take: int16, shape (T,)."""
    own, now = np.random.default_rng([7, speaker]), np.random.default_rng([8, speaker, take])
    pitch = own.uniform(80, 280) * now.uniform(0.95, 1.05)
    phase = np.cumsum(np.full(int(seconds * RATE), pitch) * (1 + 0.1 * np.sin(np.arange(int(seconds * RATE)) / 900)))
    wav = np.diff(np.floor(phase / RATE), prepend=0) + 0.02 * now.standard_normal(len(phase))
    for low, high in FORMANTS_HZ:
        angle = 2 * np.pi * own.uniform(low, high) * now.uniform(0.97, 1.03) / RATE
        wav = lfilter([0.1], [1, -2 * 0.96 * np.cos(angle), 0.96**2], wav)
    return np.round(0.5 * 32767 * wav / np.abs(wav).max()).astype(np.int16)


class Crowd:
    """What the measures use of a store, with as many made-up speakers as asked for; nothing is kept in memory.

    Parameters
    ----------
    speakers : how many
    train, test : utterances of every speaker
    single : the last so many speakers have one training utterance alone, and none to be tested on
    """

    def __init__(
        self, speakers: int, *, train: int = TRAIN, test: int = TEST, seconds: float = SECONDS, single: int = 0
    ):
        self.speakers = tuple(f"s{number:04}" for number in range(speakers))
        self.num_voices, self.sample_rate, self.fingerprint, self._seconds = speakers, RATE, "crowd", seconds
        many = speakers - single
        own = [train] * many + [1] * single
        learned = [(speaker, take) for speaker, count in enumerate(own) for take in range(count)]
        asked = [(speaker, train + take) for speaker in range(many) for take in range(test)]
        self._entries = learned + asked
        self.split_sizes = {"train": len(learned), "valid": 0, "test": len(asked)}
        self.index = {"speaker": np.array([speaker for speaker, _ in self._entries], np.uint32)}

    def __len__(self) -> int:
        return len(self._entries)

    def utterances(self, split: str) -> range:
        """Positions of a split's utterances."""
        learned = self.split_sizes["train"]
        return {"train": range(learned), "valid": range(learned, learned), "test": range(learned, len(self))}[split]

    def duration_s(self, split: str) -> float:
        """Seconds of a split."""
        return self.split_sizes[split] * self._seconds

    def speaker(self, index: int) -> int:
        """Position of an utterance's speaker."""
        return self._entries[index][0]

    def length(self, index: int) -> int:
        """Samples."""
        return int(self._seconds * RATE)

    def utterance_id(self, index: int) -> str:
        """Speaker and take."""
        speaker, take = self._entries[index]
        return f"{self.speakers[speaker]}_{take}"

    def text(self, index: int) -> None:
        """Nobody says anything."""

    def speak(self, speaker: str, take: int) -> np.ndarray:
        """One take of a speaker, float32 (T,), recorded or not."""
        return speak(self.speakers.index(speaker), take, self._seconds).astype(np.float32) / 32768

    def wav(self, index: int, max_samples: int | None = None) -> np.ndarray:
        """As `Store.wav` gives it."""
        return self.read(index, 0, max_samples).astype(np.float32) * np.float32(1 / 32768)

    def read(self, index: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Samples (T,), int16."""
        return speak(*self._entries[index], self._seconds)[start:][:length]


def make_evaluation(store: Any, model: Any, *, pairs: int = PAIRS, keep_all: bool = False, seed: int = 0) -> Evaluation:
    """Trials whose conversions are recordings of the target.

    Parameters
    ----------
    model : with `speakers`, `encode` and `lookup`
    keep_all : as --pairs all has it: judges are asked to tell all voices apart
    """
    chosen = choose_pairs(store, "test", store.speakers, pairs, sexes={}, seed=seed)
    where = {store.utterance_id(index): index for index in store.utterances("test")}
    trials = []
    for pair in chosen:
        source = store.wav(where[pair.utterance])
        wanted = store.speak(pair.target, int(pair.utterance.split("_")[1]))
        codes = np.zeros(4, np.int32)
        trials.append(
            Trial(
                pair.utterance, pair.speaker, pair.target, None, source, source, wanted, pass_mu_law(source),
                source, wanted, codes,
            )
        )  # fmt: skip
    common = () if keep_all else heard_voices([SimpleNamespace(model=model)], chosen)
    return Evaluation(model, store, "test", tuple(trials), seed, RATE, 64, {}, common=common)


def make_model(speakers: tuple[str, ...]) -> Any:
    """fsdd's encoder and codebook, with other speakers' names."""
    from vqspeech.pretrained.registry import load_model

    real = load_model("bundled:fsdd")
    recipe = SimpleNamespace(name="crowd", data=SimpleNamespace(corpus="folder"))
    return SimpleNamespace(speakers=speakers, encode=real.encode, lookup=real.lookup, recipe=recipe)


def measure(size: int, keep_all: bool, quick: bool) -> dict[str, Any]:
    """Figures, seconds and megabytes of the measures at one size; in this process."""
    import torch

    torch.set_num_threads(1)
    store = Crowd(size)
    evaluation = make_evaluation(store, make_model(store.speakers), keep_all=keep_all)
    before = megabytes()
    found: dict[str, Any] = {"speakers": size, "voices": len(evaluation.voices), "all": keep_all}

    def score_voices() -> tuple[float, int]:
        classifier = speakers.train_speaker_classifier(evaluation, steps=20 if quick else None)
        figures, _ = measure_speakers(evaluation, classifier)
        return figures[2].value, len(classifier.judge.classes)

    def probe_codes() -> tuple[float, int]:
        section = code_speakers.measure(evaluation)
        return section.figures[0].value, round(1 / section.figures[0].controls[-1].value)

    def probe_training() -> tuple[float, int]:
        voices = probe.VoiceClassifier(store)  # type: ignore[arg-type]
        heard = [index for index in store.utterances("test") if store.speaker(index) in voices.speakers][:100]
        right = np.equal(voices.hear([store.wav(index) for index in heard]), [*map(store.speaker, heard)])
        return float(right.mean()), len(voices.speakers)

    jobs = {"voice classifier": score_voices, "probe of codes": probe_codes, "probe while training": probe_training}
    for name, job in jobs.items():
        begun = time.process_time()
        right, told = job()
        took = time.process_time() - begun
        found[name] = {
            "right": right,
            "told_apart": told,
            "cpu_seconds": round(took, 1),
            "megabytes": megabytes() - before,
        }
    return found


def megabytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--quick", action="store_true", help="20 steps for each voice classifier")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--one", nargs=2, metavar=("N", "ALL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(int(options.one[0]), options.one[1] == "1", options.quick)))
        return 0
    rows = []
    print(f"{'speakers':>8}  {'measure':22}{'told apart':>11}{'right':>8}{'seconds':>9}{'MB':>7}")
    for size in options.sizes:
        for keep_all in (False, True) if size > 40 else (False,):
            command = [sys.executable, __file__, "--one", str(size), str(int(keep_all)), *["--quick"] * options.quick]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(row := json.loads(done.stdout))
            for name, one in row.items():
                if isinstance(one, dict):
                    label = f"{name}{', all' if keep_all else ''}"
                    print(
                        f"{size:8}  {label:22}{one['told_apart']:11}{one['right']:8.1%}{one['cpu_seconds']:9.1f}"
                        f"{one['megabytes']:7}",
                        flush=True,
                    )
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "corpus_size", "rows": rows}, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
