"""Who is heard speaking: a closed corpus's speaker classifier on conversions, with its own accuracy on real recordings.

The recipe's frozen judge where there is one (recipes/<name>/judges.safetensors), else one trained on the spot on
disturbed copies of real training recordings, never on a model's output. A corpus's speakers are also its microphones:
the disturbances are there so that those do not decide, and the accuracy on mu-law copies shows whether 8 bits do.
"""

# T samples.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vqspeech.errors import CheckpointError
from vqspeech.evaluation.figures.statistics import Sample, figure
from vqspeech.evaluation.figures.together import HEARD_AS_TARGET
from vqspeech.evaluation.figures.types import Figure, Material, Trial, Wav, missing
from vqspeech.evaluation.trials.pairs import draw_voices
from vqspeech.evaluation.trials.signals import (
    CONTROLS,
    LONGEST_S,
    REFERENCE,
    Take,
    conversion,
    conversions,
    is_heard,
    real_speech,
    reconstruction,
    resampled,
)

if TYPE_CHECKING:
    from vqspeech.evaluation.judges.frozen import Judge, Judges

RECIPES = Path("recipes")
NAMES = (
    "speaker classifier: real test recordings heard right",
    "speaker classifier: mu-law copies heard right",
    HEARD_AS_TARGET,
    "conversions heard as the source",
    "reconstructions heard as their speaker",
)
_TRAIN_S = 600.0  # of real speech that a classifier of few voices is trained on, the same of every speaker
_EACH_S = 48.0  # of every speaker at least, however many there are: eight recordings, of which six seconds are taken
_LEAST_RECORDINGS = 4  # of every speaker
_MOST_VOICES = 128  # that a classifier tells apart: 128 times 48 s are 400 MB at 16 kHz
_PIECE_S = 1.5  # what a classifier trained here hears at once
_LEAST_PIECE_S = 0.2
_STEPS = 400  # for up to 20 voices; 20 more for each beyond
_BATCH = 32
_TEST_RECORDINGS = 300
_RELIABLE = 0.8


@dataclass(frozen=True)
class Ears:
    """A judge of speakers, what it hears at once (seconds; None: all), and where it comes from, for people."""

    judge: Judge
    piece_s: float | None
    origin: str

    @property
    def basis(self) -> str:
        """Which judge it is: figures by another one are not compared."""
        return f"judge {self.judge.sha256[:12]}"

    def hear(self, wavs: Sequence[Wav], sample_rate: int) -> list[str]:
        """The speaker of each waveform (T,), "" where nothing can be heard: silence and what is not finite."""
        owners: list[int] = []
        pieces: list[Wav] = []
        for number, wav in enumerate(wavs):
            if is_heard(wav):
                wav = resampled(wav, sample_rate, self.judge.sample_rate)
                own = cut(wav, self.judge.sample_rate, self.piece_s) if self.piece_s else [wav]
                owners += [number] * len(own)
                pieces += own
        scores = np.zeros((len(wavs), len(self.judge.classes)))
        np.add.at(scores, owners, np.log(self.judge.probabilities(pieces).astype(float) + 1e-9))
        heard = set(owners)
        return [self.judge.classes[best] if n in heard else "" for n, best in enumerate(scores.argmax(1))]


def cut(wav: Wav, sample_rate: int, piece_s: float = _PIECE_S) -> list[Wav]:
    """Pieces of at most `piece_s` of a waveform (T,) that can be heard; a last one that is very short is left out."""
    size = int(piece_s * sample_rate)
    least = int(_LEAST_PIECE_S * sample_rate)
    pieces = [wav[start : start + size] for start in range(0, len(wav), size)]
    return [piece for piece in pieces if len(piece) >= least and is_heard(piece)] or [wav]


def frozen_judges(material: Material, recipes: Path = RECIPES) -> Judges | None:
    """The frozen judges of the recipe or of its corpus, where they know all voices; else None.

    They hear what a model says at a higher rate than theirs brought down to it; a lower one lacks what they listen for.
    Looked for in the working folder, then beside the package.
    """
    from vqspeech.evaluation.judges.frozen import load_judges

    recipe = material.model.recipe
    for name in dict.fromkeys((recipe.name, recipe.data.corpus)):
        for folder in (recipes, Path(__file__).resolve().parents[3] / "recipes"):
            try:
                judges = load_judges(folder / name / "judges.safetensors")
            except CheckpointError:
                continue
            hears = judges.speaker.sample_rate <= material.sample_rate
            if hears and set(judges.speaker.classes) >= set(material.voices):
                return judges
    return None


def find_ears(material: Material) -> Ears | str:
    """The recipe's frozen judge, else one trained now; a sentence where the corpus is not closed or too small."""
    frozen = None if material.split == "train" else frozen_judges(material)  # its recordings must not be judged
    if frozen:
        return Ears(frozen.speaker, None, f"frozen with the recipe, trained on {_trained_on(frozen.speaker)}")
    return train_ears(material)


def _trained_on(judge: Judge) -> str:
    return str(judge.report.get("trained_on", "real recordings"))


def train_ears(material: Material, *, seconds: float = _TRAIN_S, steps: int | None = None) -> Ears | str:
    """Train a classifier of the voices on real training recordings that are not among the trials.

    A voice with too few recordings is left out. The same corpus, seed, torch and number of threads give the same hash.

    Parameters
    ----------
    seconds : of speech altogether, but at least `_EACH_S` of every voice
    steps : of training; they grow with the number of voices if None
    """
    from vqspeech.evaluation.judges.training import disturb_for_speaker, train_judge

    if len(material.voices) < 2:
        return "no speaker classifier: there is one voice to hear"
    needed = {name for trial in material.trials for name in (trial.speaker, trial.target)}
    asked = draw_voices(material.voices, material.sexes, material.seed, most=_MOST_VOICES, first=needed)
    found, few = _recordings(material, asked, max(_EACH_S, seconds / len(asked)))
    if len(found) < 2:
        name, count = next(iter(few.items()))
        return (
            f"no speaker classifier: {name} has {count} training recordings that are not evaluated, "
            f"{_LEAST_RECORDINGS} of at least two speakers are needed"
        )
    rate = material.sample_rate
    pieces = {name: [piece for wav in own for piece in cut(wav, rate)] for name, own in found.items()}
    wavs = [piece for own in pieces.values() for piece in own]
    labels = [name for name, own in pieces.items() for _ in own]
    batch = min(_BATCH, len(wavs))
    steps = steps or max(_STEPS, 20 * len(found))
    epochs = max(1, round(steps / (len(wavs) // batch)))
    judge = train_judge(
        "speaker", wavs, labels, rate, disturb_for_speaker, epochs=epochs, batch_size=batch, seed=material.seed
    )
    left_out = f"; too few recordings to know {', '.join(list(few)[:8])}{', ...' * (len(few) > 8)}" if few else ""
    if len(asked) < len(material.voices):
        left_out += f"; {len(asked)} of {len(material.voices)} voices were drawn by the seed, others are not judged"
    return Ears(
        judge,
        _PIECE_S,
        f"trained on {len(wavs)} pieces of real training recordings of {len(found)} voices with noise, filters and "
        f"mu-law, {epochs} epochs{left_out}",
    )


def _recordings(
    material: Material, voices: Sequence[str], each_s: float
) -> tuple[dict[str, list[Wav]], dict[str, int]]:
    """Training recordings of each voice that has enough of them, and how many the others have."""
    tried = {trial.utterance for trial in material.trials}
    found: dict[str, list[Wav]] = {}
    few: dict[str, int] = {}
    for name in voices:
        own = real_speech(material.store, name, ["train"], each_s, leave_out=tried)
        if len(own) < _LEAST_RECORDINGS:
            few[name] = len(own)
        else:
            found[name] = [wav for _, wav in own]
    return found, few


def judge_speakers(material: Material, ears: Ears | str | None = None) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Figures of who is heard in conversions and reconstructions, and notes; `ears` are found where not given."""
    found = ears or find_ears(material)
    if isinstance(found, str):
        return tuple(missing(name, "no speaker classifier", unit="%") for name in NAMES), (found,)
    real = _examine(material, found)
    notes = [
        f"the speaker classifier ({found.judge.sha256[:12]}) is {found.origin}; it has never heard a conversion. "
        "A corpus's speakers are also its microphones. What cannot be heard counts as nobody"
    ]
    if not real[0].is_measured:
        notes.append("nothing was held out: how reliable the speaker classifier is could not be measured")
    elif real[0].value < _RELIABLE:
        notes.append(f"THE SPEAKER CLASSIFIER IS UNRELIABLE: it hears {real[0].value:.0%} of real recordings right")
    return (*real, *_conversions(material, found), _reconstructions(material, found)), tuple(notes)


def _chance(ears: Ears) -> Figure:
    return Figure("chance", 1 / len(ears.judge.classes), unit="%")


def _examine(material: Material, ears: Ears) -> list[Figure]:
    """Accuracy on real recordings that it was not trained on, and on their mu-law copies."""
    from vqspeech.mu_law import mu_law_decode, mu_law_encode

    store = material.store
    speakers = [name for name in material.voices if name in ears.judge.classes]
    split = "test" if store.split_sizes["test"] else "valid"
    each = -(-_TEST_RECORDINGS // len(speakers))
    tests: list[tuple[str, str, Wav]] = []
    for name in speakers:
        tests += [(name, who, wav) for who, wav in real_speech(store, name, [split], each * LONGEST_S)[:each]]
    seed = material.seed
    copies = [mu_law_decode(mu_law_encode(wav)).astype(np.float32) for _, _, wav in tests]
    found = []
    for label, wavs in zip(NAMES, ([wav for _, _, wav in tests], copies), strict=False):
        heard = ears.hear(wavs, material.sample_rate)
        samples: list[Sample] = [(float(a == name), name, who) for a, (name, who, _) in zip(heard, tests, strict=True)]
        found.append(
            figure(
                label, samples, seed=seed, unit="%", higher_is_better=True, controls=[_chance(ears)], basis=ears.basis
            )
        )
    return found


Answer = tuple[str, str, str, str]  # who was heard, and the trial: speaker, utterance, target


def _listen(material: Material, ears: Ears, trials: Sequence[Trial], take: Take) -> tuple[Answer, ...]:
    """Who is heard in each take."""
    heard = ears.hear([take(trial) for trial in trials], material.sample_rate)
    return tuple((who, trial.speaker, trial.utterance, trial.target) for who, trial in zip(heard, trials, strict=True))


def _right(answers: Sequence[Answer], name: str) -> list[Sample]:
    """Whether each take is heard as the trial's "speaker" or "target"."""
    return [
        (float(who == (target if name == "target" else speaker)), speaker, utterance, target)
        for who, speaker, utterance, target in answers
    ]


def _known(trials: Sequence[Trial], ears: Ears) -> list[Trial]:
    """Trials between voices that the classifier knows."""
    return [trial for trial in trials if {trial.speaker, trial.target} <= {*ears.judge.classes}]


def _conversions(material: Material, ears: Ears) -> list[Figure]:
    trials = _known(conversions(material), ears)
    if not trials:
        return [missing(name, "no conversions to another speaker", unit="%") for name in NAMES[2:4]]
    own = _listen(material, ears, trials, conversion)
    rivals = {name: _listen(material, ears, trials, take) for name, take in CONTROLS.items()}
    right = _right(rivals["source unchanged"], "speaker")
    figures = []
    for label, name, better in ((NAMES[2], "target", True), (NAMES[3], "speaker", False)):
        controls = [
            figure(control, _right(found, name), seed=material.seed, unit="%", is_ceiling=control == REFERENCE)
            for control, found in rivals.items()
        ]
        if better:
            ceiling = "real recordings heard as their speaker"
            controls += [
                _chance(ears),
                figure(ceiling, right, seed=material.seed, unit="%", is_ceiling=True),
            ]
        found = figure(
            label, _right(own, name), seed=material.seed, unit="%", higher_is_better=better, controls=controls,
            basis=ears.basis,
        )  # fmt: skip
        figures.append(replace(found, answers=own) if better else found)
    return figures


def _reconstructions(material: Material, ears: Ears) -> Figure:
    trials = _known(list({trial.utterance: trial for trial in material.trials}.values()), ears)
    if not trials:
        return missing(NAMES[4], "no recordings of a speaker whom the classifier knows", unit="%")
    copies = _right(_listen(material, ears, trials, CONTROLS["mu-law copy"]), "speaker")
    real = _right(_listen(material, ears, trials, CONTROLS["source unchanged"]), "speaker")
    controls = [
        figure("mu-law copy", copies, seed=material.seed, unit="%", is_ceiling=True),
        figure("source unchanged", real, seed=material.seed, unit="%", is_ceiling=True),
        _chance(ears),
    ]
    own = _right(_listen(material, ears, trials, reconstruction), "speaker")
    return figure(
        NAMES[4], own, seed=material.seed, unit="%", higher_is_better=True, controls=controls, basis=ears.basis
    )
