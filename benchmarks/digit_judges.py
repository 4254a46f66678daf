"""The judges that may hear no digit: what they are taught to be none, their training, and what they are worth.

One was taught that training utterances' codes in random order are no digit. Such codes are close to a unigram's draws:
it may refuse those of n-grams for what it was taught, not for what it hears. So there is a second one that was taught
noise and babble alone, and has never heard a decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from judges import with_report
from numpy.typing import NDArray
from rejecting_judge import hear, make_babble, make_noise, shuffle_codes, train_rejecting_judge

from vqspeech.conversion import SamplingOptions
from vqspeech.data.code_store import CodeStore
from vqspeech.data.store import Store
from vqspeech.evaluation.judges.frozen import FrozenJudge
from vqspeech.evaluation.trials.synthesis import pass_mu_law
from vqspeech.generation import speak_many
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "fsdd"
FROZEN = (RECIPE / "rejecting_judge.safetensors", RECIPE / "rejecting_judge_without_codes.safetensors")
NOTHINGS = 600  # of each kind, to train a judge on
SHUFFLED = "shuffled codes"
SEEDS = {"train": 100, "valid": 101, "test": 102}  # of noise, babble and shuffles


@dataclass(frozen=True)
class Said:
    """One utterance: its codes (N,) where it has any, its sound (T,), who speaks."""

    name: str
    speaker: str
    wav: NDArray[np.float32]
    codes: NDArray[np.integer] | None = None


@dataclass(frozen=True)
class DigitSystem:
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
                self.store.wav(index),
                self.codes.read(index),
            )
            for index in chosen
        ]

    def speak(self, what: str, codes: Sequence[NDArray[np.integer]], speakers: Sequence[str], seed: int) -> list[Said]:
        """Codes of utterances, spoken by the decoder."""
        spoken: dict[int, NDArray[np.float32]] = {}
        for name in sorted(set(speakers)):
            own = [(number, codes[number]) for number, speaker in enumerate(speakers) if speaker == name]
            spoken |= speak_many(self.model, own, name, SamplingOptions(seed), num_threads=self.num_threads)
        return [
            Said(f"{what} {number}", speaker, spoken[number], codes[number]) for number, speaker in enumerate(speakers)
        ]


def digit_of(utterance: str) -> str:
    """What is said in FSDD's `{digit}_{speaker}_{take}`."""
    return utterance.split("_")[0]


def make_nothings(system: DigitSystem, split: str, num: int) -> dict[str, list[NDArray[np.float32]]]:
    """Noise, babble and shuffled codes of a split, `num` of each."""
    own, seed = system.recordings(split), SEEDS[split]
    wavs = [said.wav for said in own]
    chosen = [own[(2 * i + 1) * len(own) // (2 * num)] for i in range(num)]
    shuffled = system.speak(
        "shuffled", shuffle_codes([said.codes for said in chosen], seed), [said.speaker for said in chosen], seed
    )
    return {
        "noise": make_noise(wavs, num, system.model.sample_rate, seed),
        "babble": make_babble(wavs, num, seed),
        SHUFFLED: [said.wav for said in shuffled],
    }


def train(system: DigitSystem, *, with_codes: bool, quick: bool) -> FrozenJudge:
    """Train a judge and write what it does on the validation split into its report.

    Parameters
    ----------
    with_codes : whether shuffled codes are among what it is taught to be no digit
    quick : two epochs on a tenth of the nothings
    """
    real = system.recordings("train")
    nothings = make_nothings(system, "train", 60 if quick else NOTHINGS)
    if not with_codes:
        del nothings[SHUFFLED]
    judge = train_rejecting_judge(
        [said.wav for said in real], [digit_of(said.name) for said in real], nothings, system.model.sample_rate,
        epochs=2 if quick else 24, progress=print,
    )  # fmt: skip
    valid = examine(judge, system, "valid", real_takes(system, "valid", 10 if quick else 1))
    facts = {"shuffled_by": system.model.codes_id()} if with_codes else {}
    return with_report(judge, **facts, validation=valid)


def name_of(judge: FrozenJudge) -> str:
    """What a judge was taught to be no digit, by its own report."""
    kinds = [kind for kind in judge.report["trained_on"] if kind != "words"]
    return f"taught {', '.join(kinds[:-1])} and {kinds[-1]}"


def real_takes(system: DigitSystem, split: str, every: int) -> dict[str, list[Said]]:
    """Real recordings of a split, their mu-law copies, and their codes spoken again."""
    real = system.recordings(split, every)
    copies = [Said(said.name, said.speaker, pass_mu_law(said.wav)) for said in real]
    again = system.speak("", [said.codes for said in real], [said.speaker for said in real], SEEDS[split])
    again = [Said(said.name, said.speaker, other.wav) for said, other in zip(real, again, strict=True)]
    return {"real recordings": real, "mu-law copies": copies, "their codes, spoken again": again}


def examine(judge: FrozenJudge, system: DigitSystem, split: str, takes: dict[str, list[Said]]) -> dict[str, float]:
    """Shares of real takes heard right and as any digit, and of what is nothing heard as a digit all the same."""
    found = {}
    for name, own in takes.items():
        heard = hear(judge, [said.wav for said in own])
        right = [word == digit_of(said.name) for word, said in zip(heard, own, strict=True)]
        found[f"{name}: the right digit"] = float(np.mean(right))
        found[f"{name}: a digit"] = share(heard)
    for name, wavs in make_nothings(system, split, len(takes["real recordings"])).items():
        found[f"{name}: a digit"] = share(hear(judge, wavs))
    return found


def share(heard: Sequence[str | None]) -> float:
    """The share that is a word."""
    return float(np.mean([word is not None for word in heard]))
