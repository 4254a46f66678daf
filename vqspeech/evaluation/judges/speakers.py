"""The classifier of a closed corpus's speakers: the recipe's frozen one, else one trained on real recordings.

The recipe's frozen judge where there is one (recipes/<name>/judges.safetensors), else one trained on the spot on
disturbed copies of real training recordings, never on a model's output. A corpus's speakers are also its microphones:
the disturbances are there so that those do not decide, and the accuracy on mu-law copies shows whether 8 bits do.
"""

# T samples.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vqspeech.audio import resampled
from vqspeech.errors import CheckpointError, CorpusError
from vqspeech.evaluation.figures.text import listed
from vqspeech.evaluation.figures.types import Evaluation, Wav
from vqspeech.evaluation.trials.pairs import draw_voices
from vqspeech.evaluation.trials.real_speech import real_speech
from vqspeech.evaluation.trials.signals import is_audible

if TYPE_CHECKING:
    from vqspeech.evaluation.judges.frozen import FrozenJudge, FrozenJudges

RECIPES = Path("recipes")
_TRAIN_S = 600.0  # of real speech that a classifier of few voices is trained on, the same of every speaker
_EACH_S = 48.0  # of every speaker at least, however many there are: eight recordings, of which six seconds are taken
_LEAST_RECORDINGS = 4  # of every speaker
_MOST_VOICES = 128  # that a classifier tells apart: 128 times 48 s are 400 MB at 16 kHz
_PIECE_S = 1.5  # what a classifier trained here hears at once
_LEAST_PIECE_S = 0.2
_STEPS = 400  # for up to 20 voices; 20 more for each beyond


@dataclass(frozen=True)
class SpeakerClassifier:
    """A judge of speakers, what it hears at once (seconds; None: all), and where it comes from, for people."""

    judge: FrozenJudge
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
            if is_audible(wav):
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
    return [piece for piece in pieces if len(piece) >= least and is_audible(piece)] or [wav]


def frozen_judges(evaluation: Evaluation, recipes: Path = RECIPES) -> FrozenJudges | None:
    """The frozen judges of the recipe or of its corpus, where they know all voices; else None.

    They hear what a model says at a higher rate than theirs brought down to it; a lower one lacks what they listen for.
    Looked for in the working folder, then beside the package.
    """
    from vqspeech.evaluation.judges.frozen import load_judges

    recipe = evaluation.model.recipe
    for name in dict.fromkeys((recipe.name, recipe.data.corpus)):
        for folder in (recipes, Path(__file__).resolve().parents[3] / "recipes"):
            try:
                judges = load_judges(folder / name / "judges.safetensors")
            except CheckpointError:
                continue
            hears = judges.speaker.sample_rate <= evaluation.sample_rate
            if hears and set(judges.speaker.classes) >= set(evaluation.voices):
                return judges
    return None


def find_speaker_classifier(evaluation: Evaluation) -> SpeakerClassifier:
    """The recipe's frozen judge, else one trained now; errors as in `train_speaker_classifier`."""
    frozen = None if evaluation.split == "train" else frozen_judges(evaluation)  # its recordings must not be judged
    if frozen:
        return SpeakerClassifier(frozen.speaker, None, frozen.speaker.origin)
    return train_speaker_classifier(evaluation)


def train_speaker_classifier(
    evaluation: Evaluation, *, seconds: float = _TRAIN_S, steps: int | None = None
) -> SpeakerClassifier:
    """Train a classifier of the voices on real training recordings that are not among the trials.

    A voice with too few recordings is left out. The same corpus, seed, torch and number of threads give the same hash.

    Parameters
    ----------
    seconds : of speech altogether, but at least `_EACH_S` of every voice
    steps : of training; they grow with the number of voices if None

    Raises
    ------
    CorpusError
        If the corpus has not two voices with enough recordings.
    """
    from vqspeech.evaluation.judges.training import disturb_for_speaker, train_for_steps

    if len(evaluation.voices) < 2:
        raise CorpusError("no speaker classifier: there is one voice to hear")
    asked = draw_voices(
        evaluation.voices, evaluation.sexes, evaluation.seed, most=_MOST_VOICES, first=evaluation.paired_voices
    )
    found, few = _recordings(evaluation, asked, max(_EACH_S, seconds / len(asked)))
    if len(found) < 2:
        name, count = next(iter(few.items()))
        raise CorpusError(
            f"no speaker classifier: {name} has {count} training recordings that are not evaluated, "
            f"{_LEAST_RECORDINGS} of at least two speakers are needed"
        )
    rate = evaluation.sample_rate
    pieces = {name: [piece for wav in own for piece in cut(wav, rate)] for name, own in found.items()}
    wavs = [piece for own in pieces.values() for piece in own]
    labels = [name for name, own in pieces.items() for _ in own]
    steps = steps or max(_STEPS, 20 * len(found))
    judge = train_for_steps(steps, "speaker", wavs, labels, rate, disturb_for_speaker, seed=evaluation.seed)
    left_out = f"; too few recordings to know {listed(list(few), 8)}" if few else ""
    if len(asked) < len(evaluation.voices):
        left_out += f"; {len(asked)} of {len(evaluation.voices)} voices were drawn by the seed, others are not judged"
    return SpeakerClassifier(
        judge,
        _PIECE_S,
        f"trained on {len(wavs)} pieces of real training recordings of {len(found)} voices with noise, filters and "
        f"mu-law, {judge.report['epochs']} epochs{left_out}",
    )


def _recordings(
    evaluation: Evaluation, voices: Sequence[str], each_s: float
) -> tuple[dict[str, list[Wav]], dict[str, int]]:
    """Training recordings of each voice that has enough of them, and how many the others have."""
    tried = evaluation.utterances
    found: dict[str, list[Wav]] = {}
    few: dict[str, int] = {}
    for name in voices:
        own = real_speech(evaluation.store, name, ["train"], each_s, leave_out=tried)
        if len(own) < _LEAST_RECORDINGS:
            few[name] = len(own)
        else:
            found[name] = [wav for _, wav in own]
    return found, few
