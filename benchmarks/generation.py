"""Is what the prior makes up heard as speech, and is it new?

    python benchmarks/generation.py [--model runs/fsdd] [--store prepared/fsdd] [--quick] [--json FILE]
    python benchmarks/generation.py --train recipes/fsdd/rejecting_judge.safetensors
    python benchmarks/generation.py --train recipes/fsdd/rejecting_judge_without_codes.safetensors --without-codes

Two frozen judges hear 200 utterances that the prior drew, as a digit or as nothing, beside real recordings of the test
split, and beside codes drawn by chance and from unigram, bigram and trigram models of the training codes, from start to
stop. One decoder speaks all of them, in the same voices. Temperature and top-p are 1 unless told otherwise. Then the
distance of their codes to the nearest training utterance's is measured.

With --train a judge is trained and frozen: on the training split's real digits against noise, babble of several digits,
and training utterances' codes in random order, spoken by the decoder. It hears nothing that is judged later. Shuffled
codes are close to a unigram's draws, so that judge is not fair to n-grams: the one trained --without-codes is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from digit_judges import FROZEN, DigitSystem, Said, examine, name_of, real_takes, train
from novelty import nearest_codes
from numpy.typing import NDArray
from rejecting_judge import JUDGE, NOTHING, hear

from vqspeech.data.code_store import FOLDER, CodeStore, open_code_store
from vqspeech.data.preparation import store_folder
from vqspeech.data.processes import num_cores
from vqspeech.data.store import Store
from vqspeech.errors import VQSpeechError
from vqspeech.evaluation.figures.statistics import figure
from vqspeech.evaluation.judges.frozen import FrozenJudge, load_judge, save_judge
from vqspeech.generation import CodeSamplingOptions, draw_codes
from vqspeech.likelihood import ngrams
from vqspeech.pretrained.checkpoint import read_model

LONGEST_S = 10.0  # of a drawn utterance, as `vqspeech sample` has it
PRIOR, BIGRAM = "prior, by speaker", "bigram"
WHAT = {
    "chance": "codes drawn evenly and independently, as many as training utterances have",
    "unigram": "codes drawn from how often each occurs in the training codes, start to stop",
    BIGRAM: "codes drawn from smoothed counts of pairs of the training codes, start to stop",
    "trigram": "codes drawn from smoothed counts of triples of the training codes, start to stop",
}


def draw_all(
    system: DigitSystem, num: int, draws: CodeSamplingOptions, temperature: tuple[float, float]
) -> dict[str, list[Said]]:
    """`num` utterances of the prior and of each n-gram, spoken by the same voices in turn."""
    model, codes = system.model, system.codes
    speakers = [model.speakers[number % len(model.speakers)] for number in range(num)]
    longest = max(1, int(LONGEST_S * model.code_rate))

    def draw_prior(by_speaker: bool, settings: CodeSamplingOptions) -> list[NDArray[np.integer]]:
        drawn: dict[int, NDArray[np.integer]] = {}
        for position, name in enumerate(model.speakers):
            places = [number for number, speaker in enumerate(speakers) if speaker == name]
            who = model.speaker_index(name) if by_speaker else None
            own = CodeSamplingOptions(settings.seed + position, settings.temperature, settings.top_p)
            drawn |= {places[i]: each for i, each in draw_codes(system.prior, who, len(places), longest, own)}
        return [drawn[number] for number in range(num)]

    train, valid = ([codes.read(int(number)) for number in codes.sequences(split)] for split in ("train", "valid"))
    models = ngrams.tuned_models(train, valid, model.num_codes)
    made = {PRIOR: draw_prior(True, draws), "prior, no speaker": draw_prior(False, draws)}
    calm = CodeSamplingOptions(draws.seed, *temperature)
    made[f"prior, temperature {calm.temperature:g}, top-p {calm.top_p:g}"] = draw_prior(True, calm)
    for name in reversed(models):
        made[name] = ngrams.draw_codes(models[name], num, longest, draws.seed)
    random = np.random.default_rng([draws.seed, 3])
    lengths = [len(train[place]) for place in random.integers(len(train), size=num)]
    made["chance"] = [random.integers(model.num_codes, size=length) for length in lengths]
    return {name: system.speak(name, each, speakers, draws.seed) for name, each in made.items()}


def score_rows(
    judge: FrozenJudge, rows: dict[str, list[Said]], sample_rate: int, seed: int
) -> dict[str, dict[str, Any]]:
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


def compare(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How many times as often the prior's utterances are heard as a digit as the bigram's."""
    prior, bigram = ([word is not None for word in found[name]["heard"]] for name in (PRIOR, BIGRAM))
    low, high = ratio_interval(np.array(prior, float), np.array(bigram, float))
    ratio = float(np.mean(prior)) / max(1e-9, float(np.mean(bigram)))
    occur = sum(count > 0 for count in found[PRIOR]["digits"].values())
    return {"ratio_to_bigram": [ratio, low, high], "digits_that_occur": occur}


def print_tables(found: dict[str, dict[str, Any]], novelty: dict[str, list[float]]) -> None:
    """What each judge is worth, what it heard, and how near that is to what was learned."""
    for name, said in found.items():
        print(f"judge {said['judge'][:12]}, {name}; on the test split:")
        for what, value in said["reliability"].items():
            print(f"  {what:40}{value:8.1%}")
        print(f"{'':38}{'number':>8}{'a digit':>9}{'95 %':>17}{'seconds':>9}  0 to 9")
        for what, row in said["heard"].items():
            interval = f"[{row['low']:.1%}, {row['high']:.1%}]"
            digits = " ".join(map(str, row["digits"].values()))
            print(f"{what:38}{row['count']:8}{row['share']:9.1%}{interval:>17}{row['mean_s']:9.2f}  {digits}")
        ratio, low, high = said["ratio_to_bigram"]
        print(
            f"the prior's are heard as a digit {ratio:.2f} times as often as the bigram's (95 % interval {low:.2f} to "
            f"{high:.2f}); {said['digits_that_occur']} digits occur\n"
        )
    for name, what in WHAT.items():
        print(f"{name}: {what}; the same decoder and voices")
    print("edit distance to the codes of the nearest training utterance, as a share of the length:")
    for name, values in novelty.items():
        low, middle = np.quantile(values, [0.05, 0.5])
        print(f"  {name:36}median {middle:.3f}, 5 % below {low:.3f}, nearest {min(values):.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/fsdd"))
    parser.add_argument("--store", type=Path, help="prepared corpus [prepared/<recipe>]")
    parser.add_argument("--judge", type=Path, action="append", help="file of a judge; repeatable [both frozen ones]")
    parser.add_argument("--train", type=Path, metavar="FILE", help="train a new judge and write it here")
    parser.add_argument("--without-codes", action="store_true", help="with --train: on noise and babble alone")
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
        model = read_model(options.model)
        system_prior = model.prior
        store = Store.open(options.store or store_folder(model.recipe.name))
        codes = open_code_store(options.model / FOLDER, model, store, system_prior.recipe.prior.shifts)
        system = DigitSystem(model, system_prior, store, codes, options.threads)
        if options.train:
            judge = train(system, with_codes=not options.without_codes, quick=options.quick)
            save_judge(options.train, judge)
            for name, value in judge.report["validation"].items():
                print(f"{name:40}{value:8.1%}")
            print(f"judge {judge.sha256[:12]} in {options.train}; validation split above")
            return 0
        judges = [
            load_judge(file, JUDGE, f"Train it with: python benchmarks/generation.py --train {file}")
            for file in options.judge or FROZEN
        ]
        rows = real_takes(system, "test", every)
        reliability = [examine(judge, system, "test", rows) for judge in judges]
        draws = CodeSamplingOptions(options.seed, options.temperature, options.top_p)
        rows |= draw_all(system, num, draws, (0.9, 0.95))
        heard = [score_rows(judge, rows, model.sample_rate, options.seed) for judge in judges]
        novelty = measure_novelty(codes, rows[PRIOR], rows["real recordings"])
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1

    found = {
        name_of(judge): {"judge": judge.sha256, "reliability": worth, "heard": own, **compare(own)}
        for judge, worth, own in zip(judges, reliability, heard, strict=True)
    }
    print_tables(found, novelty)
    if options.json:
        settings = {"seed": options.seed, "temperature": options.temperature, "top_p": options.top_p, "num": num}
        said = {
            "judges": found, "rows": WHAT, "novelty": novelty, "model": model.codes_id(), "settings": settings,
        }  # fmt: skip
        options.json.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
