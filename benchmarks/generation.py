"""Is what the prior makes up heard as speech, and is it new?

    python benchmarks/generation.py [--model runs/fsdd] [--store prepared/fsdd] [--quick] [--json FILE]
    python benchmarks/generation.py --train recipes/fsdd/rejecting_judge.safetensors

A frozen judge hears 200 utterances that the prior drew, as a digit or as nothing, beside real recordings of the test
split, and beside codes drawn from unigram, bigram and trigram models of the training codes, from start to stop. One
decoder speaks all of them, in the same voices. Temperature and top-p are 1 unless told otherwise. Then the distance of
their codes to the nearest training utterance's is measured.

With --train the judge is trained and frozen: on the training split's real digits against noise, babble of several
digits, and training utterances' codes in random order, spoken by the decoder. It hears nothing that is judged later.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vqspeech.checkpoint import load_model, load_prior
from vqspeech.conversion import Voice
from vqspeech.data.code_store import FOLDER, CodeStore, open_code_store
from vqspeech.data.preparation import num_cores, store_folder
from vqspeech.data.store import Store
from vqspeech.errors import VQSpeechError
from vqspeech.evaluation import ngrams
from vqspeech.evaluation.judge_training import with_report
from vqspeech.evaluation.judges import Judge, load_judge, save_judge
from vqspeech.evaluation.material import pass_mu_law
from vqspeech.evaluation.novelty import nearest_codes
from vqspeech.evaluation.probe import store_wav
from vqspeech.evaluation.rejection import (
    JUDGE,
    NOTHING,
    hear,
    make_babble,
    make_noise,
    shuffle_codes,
    train_rejecting_judge,
)
from vqspeech.evaluation.statistics import figure
from vqspeech.generation import Draws, draw_codes, speak_many
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE

FROZEN = Path(__file__).resolve().parent.parent / "recipes" / "fsdd" / "rejecting_judge.safetensors"
LONGEST_S = 10.0  # of a drawn utterance, as `vqspeech sample` has it
NOTHINGS = 600  # of each kind, to train the judge on
SEEDS = {"train": 100, "valid": 101, "test": 102}  # of noise, babble and shuffles


@dataclass(frozen=True)
class Said:
    """One utterance: its codes (N,) where it has any, its sound (T,), who speaks."""

    name: str
    speaker: str
    wav: NDArray[np.float32]
    codes: NDArray[np.integer] | None = None


@dataclass(frozen=True)
class Subject:
    """A model with its prior, and the corpus it learned from."""

    model: VQVAE
    prior: Prior
    store: Store
    codes: CodeStore
    num_threads: int

    def recordings(self, split: str, every: int = 1) -> list[Said]:
        """Real recordings of a split, with their codes."""
        chosen = list(self.store.utterances(split))[::every]
        return [
            Said(
                self.store.utterance_id(index),
                self.store.speakers[self.store.speaker(index)],
                store_wav(self.store, index),
                self.codes.read(index),
            )
            for index in chosen
        ]

    def speak(self, what: str, codes: Sequence[NDArray[np.integer]], speakers: Sequence[str], seed: int) -> list[Said]:
        """Codes of utterances, spoken by the decoder."""
        spoken: dict[int, NDArray[np.float32]] = {}
        for name in sorted(set(speakers)):
            own = [(number, codes[number]) for number, speaker in enumerate(speakers) if speaker == name]
            spoken |= speak_many(self.model, own, Voice(name, seed), num_threads=self.num_threads)
        return [
            Said(f"{what} {number}", speaker, spoken[number], codes[number]) for number, speaker in enumerate(speakers)
        ]


def digit_of(utterance: str) -> str:
    """What is said in FSDD's `{digit}_{speaker}_{take}`."""
    return utterance.split("_")[0]


def make_nothings(subject: Subject, split: str, num: int) -> dict[str, list[NDArray[np.float32]]]:
    """Noise, babble and shuffled codes of a split, `num` of each."""
    own, seed = subject.recordings(split), SEEDS[split]
    wavs = [said.wav for said in own]
    chosen = [own[(2 * i + 1) * len(own) // (2 * num)] for i in range(num)]
    shuffled = subject.speak(
        "shuffled", shuffle_codes([said.codes for said in chosen], seed), [said.speaker for said in chosen], seed
    )
    return {
        "noise": make_noise(wavs, num, subject.model.sample_rate, seed),
        "babble": make_babble(wavs, num, seed),
        "shuffled codes": [said.wav for said in shuffled],
    }


def train(subject: Subject, quick: bool) -> Judge:
    """Train the judge and write what it does on the validation split into its report."""
    real = subject.recordings("train")
    nothings = make_nothings(subject, "train", 60 if quick else NOTHINGS)
    judge = train_rejecting_judge(
        [said.wav for said in real], [digit_of(said.name) for said in real], nothings, subject.model.sample_rate,
        epochs=2 if quick else 24, progress=print,
    )  # fmt: skip
    valid = examine(judge, subject, "valid", real_takes(subject, "valid", 10 if quick else 1))
    return with_report(judge, shuffled_by=subject.model.fingerprint(), validation=valid)


def real_takes(subject: Subject, split: str, every: int) -> dict[str, list[Said]]:
    """Real recordings of a split, their mu-law copies, and their codes spoken again."""
    real = subject.recordings(split, every)
    copies = [Said(said.name, said.speaker, pass_mu_law(said.wav)) for said in real]
    again = subject.speak("", [said.codes for said in real], [said.speaker for said in real], SEEDS[split])
    again = [Said(said.name, said.speaker, other.wav) for said, other in zip(real, again, strict=True)]
    return {"real recordings": real, "mu-law copies": copies, "their codes, spoken again": again}


def examine(judge: Judge, subject: Subject, split: str, takes: dict[str, list[Said]]) -> dict[str, float]:
    """Shares of real takes heard right and as any digit, and of what is nothing heard as a digit all the same."""
    found = {}
    for name, own in takes.items():
        heard = hear(judge, [said.wav for said in own])
        right = [word == digit_of(said.name) for word, said in zip(heard, own, strict=True)]
        found[f"{name}: the right digit"] = float(np.mean(right))
        found[f"{name}: a digit"] = share(heard)
    for name, wavs in make_nothings(subject, split, len(takes["real recordings"])).items():
        found[f"{name}: a digit"] = share(hear(judge, wavs))
    return found


def share(heard: Sequence[str | None]) -> float:
    """The share that is a word."""
    return float(np.mean([word is not None for word in heard]))


def draw_all(subject: Subject, num: int, draws: Draws, temperature: tuple[float, float]) -> dict[str, list[Said]]:
    """`num` utterances of the prior and of each n-gram, spoken by the same voices in turn."""
    model, codes = subject.model, subject.codes
    speakers = [model.speakers[number % len(model.speakers)] for number in range(num)]
    longest = max(1, int(LONGEST_S * model.code_rate))

    def draw_prior(by_speaker: bool, settings: Draws) -> list[NDArray[np.integer]]:
        drawn: dict[int, NDArray[np.integer]] = {}
        for position, name in enumerate(model.speakers):
            places = [number for number, speaker in enumerate(speakers) if speaker == name]
            who = model.speaker_index(name) if by_speaker else None
            own = Draws(settings.seed + position, settings.temperature, settings.top_p)
            drawn |= {places[i]: each for i, each in draw_codes(subject.prior, who, len(places), longest, own)}
        return [drawn[number] for number in range(num)]

    train, valid = ([codes.read(int(number)) for number in codes.sequences(split)] for split in ("train", "valid"))
    models = ngrams.tuned_models(train, valid, model.num_codes)
    made = {"prior, by speaker": draw_prior(True, draws), "prior, as nobody": draw_prior(False, draws)}
    calm = Draws(draws.seed, *temperature)
    made[f"prior, temperature {calm.temperature:g}, top-p {calm.top_p:g}"] = draw_prior(True, calm)
    for name in reversed(models):
        made[name] = ngrams.draw_codes(models[name], num, longest, draws.seed)
    return {name: subject.speak(name, each, speakers, draws.seed) for name, each in made.items()}


def judge_rows(judge: Judge, rows: dict[str, list[Said]], sample_rate: int, seed: int) -> dict[str, dict[str, Any]]:
    """Of each row: share heard as a digit with its interval, how often each digit, mean length."""
    found: dict[str, dict[str, Any]] = {}
    for name, own in rows.items():
        heard = hear(judge, [said.wav for said in own])
        samples = [(float(word is not None), said.speaker, said.name) for word, said in zip(heard, own, strict=True)]
        one = figure(name, samples, seed=seed, unit="%")
        digits = Counter(word for word in heard if word is not None)
        found[name] = {
            "count": len(own), "share": one.value, "low": one.low, "high": one.high,
            "digits": {digit: digits[digit] for digit in judge.classes if digit != NOTHING},
            "mean_s": float(np.mean([len(said.wav) for said in own])) / sample_rate, "heard": heard,
        }  # fmt: skip
    return found


def measure_novelty(codes: CodeStore, drawn: list[Said], real: list[Said]) -> dict[str, list[float]]:
    """Edit distance of codes to those of the nearest training utterance, of what was drawn and of its rivals."""
    numbers = codes.sequences("train")
    learned = [codes.read(int(number)) for number in numbers]
    found = {
        "drawn": nearest_codes([said.codes for said in drawn], learned),
        "test recordings": nearest_codes([said.codes for said in real], learned),
    }
    if codes.shifts > 1:  # reciting: training utterances in their last coding, among all others
        last = len(numbers) - codes.store.split_sizes["train"]
        places = np.linspace(last, len(numbers) - 1, len(drawn)).round().astype(int)
        recited = [learned[place] for place in places]
        found["training, coded again"] = nearest_codes(recited, learned, leave_out=places.tolist())
    return {name: distances.tolist() for name, distances in found.items()}


def ratio_interval(a: NDArray[np.float64], b: NDArray[np.float64], rounds: int = 4000) -> tuple[float, float]:
    """The 95 % interval of mean(a) / mean(b), bootstrapped over utterances."""
    random = np.random.default_rng(0)
    means = [each[random.integers(0, len(each), (rounds, len(each)))].mean(1) for each in (a, b)]
    low, high = np.quantile(means[0] / np.maximum(means[1], 1e-9), [0.025, 0.975])
    return float(low), float(high)


def print_tables(
    judge: Judge, reliability: dict[str, float], found: dict[str, dict[str, Any]], novelty: dict[str, list[float]]
) -> None:
    """What the judge is worth, what it heard, and how near that is to what was learned."""
    print(f"judge {judge.sha256[:12]}, on the test split:")
    for name, value in reliability.items():
        print(f"  {name:40}{value:8.1%}")
    print(f"{'':38}{'number':>8}{'a digit':>9}{'95 %':>17}{'seconds':>9}  0 to 9")
    for name, row in found.items():
        interval = f"[{row['low']:.1%}, {row['high']:.1%}]"
        digits = " ".join(map(str, row["digits"].values()))
        print(f"{name:38}{row['count']:8}{row['share']:9.1%}{interval:>17}{row['mean_s']:9.2f}  {digits}")
    print("edit distance to the codes of the nearest training utterance, as a share of the length:")
    for name, values in novelty.items():
        low, middle = np.quantile(values, [0.05, 0.5])
        print(f"  {name:36}median {middle:.3f}, 5 % below {low:.3f}, nearest {min(values):.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/fsdd"))
    parser.add_argument("--store", type=Path, help="prepared corpus [prepared/<recipe>]")
    parser.add_argument("--judge", type=Path, default=FROZEN)
    parser.add_argument("--train", type=Path, metavar="FILE", help="train a new judge and write it here")
    parser.add_argument("--num", type=int, default=200, help="utterances to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=num_cores())
    parser.add_argument("--quick", action="store_true", help="24 utterances, every tenth recording; two epochs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    every, num = (10, min(24, options.num)) if options.quick else (1, options.num)
    try:
        model = load_model(options.model)
        subject_prior = load_prior(options.model, model)
        store = Store.open(options.store or store_folder(model.recipe.name))
        codes = open_code_store(options.model / FOLDER, model, store, subject_prior.recipe.prior.shifts)
        subject = Subject(model, subject_prior, store, codes, options.threads)
        if options.train:
            judge = train(subject, options.quick)
            save_judge(options.train, judge)
            for name, value in judge.report["validation"].items():
                print(f"{name:40}{value:8.1%}")
            print(f"judge {judge.sha256[:12]} in {options.train}; validation split above")
            return 0
        judge = load_judge(options.judge, JUDGE, f"Train it with: python benchmarks/generation.py --train {FROZEN}")
        rows = real_takes(subject, "test", every)
        reliability = examine(judge, subject, "test", rows)
        draws = Draws(options.seed, options.temperature, options.top_p)
        rows |= draw_all(subject, num, draws, (0.9, 0.95))
        found = judge_rows(judge, rows, model.sample_rate, options.seed)
        novelty = measure_novelty(codes, rows["prior, by speaker"], rows["real recordings"])
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1

    print_tables(judge, reliability, found, novelty)
    prior, bigram = ([word is not None for word in found[name]["heard"]] for name in ("prior, by speaker", "bigram"))
    low, high = ratio_interval(np.array(prior, float), np.array(bigram, float))
    ratio = float(np.mean(prior)) / max(1e-9, float(np.mean(bigram)))
    occur = sum(count > 0 for count in found["prior, by speaker"]["digits"].values())
    if options.json:
        settings = {"seed": options.seed, "temperature": options.temperature, "top_p": options.top_p, "num": num}
        said = {
            "judge": judge.sha256, "reliability": reliability, "heard": found, "ratio_to_bigram": [ratio, low, high],
            "digits_that_occur": occur, "novelty": novelty, "model": model.fingerprint(), "settings": settings,
        }  # fmt: skip
        options.json.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    print(
        f"{np.mean(prior):.1%} of the prior's utterances are heard as a digit, {np.mean(bigram):.1%} of "
        f"the bigram's: {ratio:.2f} times as many (95 % interval {low:.2f} to {high:.2f}); {occur} digits occur"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
