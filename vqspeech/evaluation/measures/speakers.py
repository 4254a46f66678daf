"""Who is heard in conversions and reconstructions by a classifier of speakers, with its accuracy on real recordings."""

# T samples.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vqspeech.errors import CorpusError
from vqspeech.evaluation.figures.statistics import Sample, figure
from vqspeech.evaluation.figures.together import HEARD_AS_TARGET
from vqspeech.evaluation.figures.types import Evaluation, Figure, Trial, Wav, missing
from vqspeech.evaluation.judges.speakers import SpeakerClassifier, find_speaker_classifier
from vqspeech.evaluation.trials.real_speech import LONGEST_S, real_speech
from vqspeech.evaluation.trials.scoring import beside_signals
from vqspeech.evaluation.trials.signals import (
    CONTROLS,
    CONVERSION,
    MU_LAW,
    RECONSTRUCTION,
    SOURCE,
    Signal,
    between_voices,
    one_per_utterance,
)
from vqspeech.evaluation.trials.synthesis import pass_mu_law

REAL_HEARD_RIGHT = "speaker classifier: real test recordings heard right"
COPIES_HEARD_RIGHT = "speaker classifier: mu-law copies heard right"
HEARD_AS_SOURCE = "conversions heard as the source"
HEARD_AS_SPEAKER = "reconstructions heard as their speaker"
_NAMES = (REAL_HEARD_RIGHT, COPIES_HEARD_RIGHT, HEARD_AS_TARGET, HEARD_AS_SOURCE, HEARD_AS_SPEAKER)
_TEST_RECORDINGS = 300
_RELIABLE = 0.8

Answer = tuple[str, str, str, str]  # who was heard, and the trial: speaker, utterance, target


def measure_speakers(
    evaluation: Evaluation, classifier: SpeakerClassifier | None = None
) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Figures of who is heard in conversions and reconstructions, and notes; `classifier` is found where not given."""
    try:
        found = classifier or find_speaker_classifier(evaluation)
    except CorpusError as reason:
        return tuple(missing(name, "no speaker classifier", unit="%") for name in _NAMES), (str(reason),)
    real = _examine(evaluation, found)
    notes = [
        f"the speaker classifier ({found.judge.sha256[:12]}) is {found.origin}; it has never heard a conversion. "
        "A corpus's speakers are also its microphones. What cannot be heard counts as nobody"
    ]
    if not real[0].is_measured:
        notes.append("nothing was held out: how reliable the speaker classifier is could not be measured")
    elif real[0].value < _RELIABLE:
        notes.append(f"THE SPEAKER CLASSIFIER IS UNRELIABLE: it hears {real[0].value:.0%} of real recordings right")
    return (*real, *_conversions(evaluation, found), _reconstructions(evaluation, found)), tuple(notes)


def _chance(classifier: SpeakerClassifier) -> Figure:
    return Figure("chance", 1 / len(classifier.judge.classes), unit="%")


def _examine(evaluation: Evaluation, classifier: SpeakerClassifier) -> list[Figure]:
    """Accuracy on real recordings that it was not trained on, and on their mu-law copies."""
    store = evaluation.store
    speakers = [name for name in evaluation.voices if name in classifier.judge.classes]
    split = "test" if store.split_sizes["test"] else "valid"
    each = -(-_TEST_RECORDINGS // len(speakers))
    tests: list[tuple[str, str, Wav]] = []
    for name in speakers:
        tests += [(name, who, wav) for who, wav in real_speech(store, name, [split], each * LONGEST_S)[:each]]
    seed = evaluation.seed
    real = [wav for _, _, wav in tests]
    found = []
    for label, wavs in ((REAL_HEARD_RIGHT, real), (COPIES_HEARD_RIGHT, list(map(pass_mu_law, real)))):
        heard = classifier.hear(wavs, evaluation.sample_rate)
        samples: list[Sample] = [(float(a == name), name, who) for a, (name, who, _) in zip(heard, tests, strict=True)]
        found.append(
            figure(
                label,
                samples,
                seed=seed,
                unit="%",
                higher_is_better=True,
                controls=[_chance(classifier)],
                basis=classifier.basis,
            )
        )
    return found


def _listen(
    evaluation: Evaluation, classifier: SpeakerClassifier, trials: Sequence[Trial], signal: Signal
) -> tuple[Answer, ...]:
    """Who is heard in each trial's signal."""
    heard = classifier.hear([signal.of(trial) for trial in trials], evaluation.sample_rate)
    return tuple((who, trial.speaker, trial.utterance, trial.target) for who, trial in zip(heard, trials, strict=True))


def _right(answers: Sequence[Answer], name: str) -> list[Sample]:
    """Whether each trial is heard as the trial's "speaker" or "target"."""
    return [
        (float(who == (target if name == "target" else speaker)), speaker, utterance, target)
        for who, speaker, utterance, target in answers
    ]


def _known(trials: Sequence[Trial], classifier: SpeakerClassifier) -> list[Trial]:
    """Trials between voices that the classifier knows."""
    return [trial for trial in trials if {trial.speaker, trial.target} <= {*classifier.judge.classes}]


def _conversions(evaluation: Evaluation, classifier: SpeakerClassifier) -> list[Figure]:
    trials = _known(between_voices(evaluation), classifier)
    if not trials:
        why = "no conversions to another speaker"
        return [missing(name, why, unit="%") for name in (HEARD_AS_TARGET, HEARD_AS_SOURCE)]
    heard = {signal: _listen(evaluation, classifier, trials, signal) for signal in (CONVERSION, *CONTROLS)}
    right = _right(heard[SOURCE], "speaker")
    real = figure("real recordings heard as their speaker", right, seed=evaluation.seed, unit="%", is_ceiling=True)

    def beside(label: str, name: str, better: bool, others: Sequence[Figure] = ()) -> Figure:
        return beside_signals(
            label, lambda signal: _right(heard[signal], name), CONVERSION, CONTROLS,
            lambda signal: signal.in_target_voice, seed=evaluation.seed, unit="%", higher_is_better=better,
            others=others, basis=classifier.basis,
        )  # fmt: skip

    as_target = beside(HEARD_AS_TARGET, "target", True, [_chance(classifier), real])
    return [replace(as_target, answers=heard[CONVERSION]), beside(HEARD_AS_SOURCE, "speaker", False)]


def _reconstructions(evaluation: Evaluation, classifier: SpeakerClassifier) -> Figure:
    trials = _known(one_per_utterance(evaluation), classifier)
    if not trials:
        return missing(HEARD_AS_SPEAKER, "no recordings of a speaker whom the classifier knows", unit="%")
    copies = _right(_listen(evaluation, classifier, trials, MU_LAW), "speaker")
    real = _right(_listen(evaluation, classifier, trials, SOURCE), "speaker")
    controls = [
        figure(MU_LAW.label, copies, seed=evaluation.seed, unit="%", is_ceiling=True),
        figure(SOURCE.label, real, seed=evaluation.seed, unit="%", is_ceiling=True),
        _chance(classifier),
    ]
    own = _right(_listen(evaluation, classifier, trials, RECONSTRUCTION), "speaker")
    return figure(
        HEARD_AS_SPEAKER,
        own,
        seed=evaluation.seed,
        unit="%",
        higher_is_better=True,
        controls=controls,
        basis=classifier.basis,
    )
