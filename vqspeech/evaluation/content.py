"""Whether what was said survives: recognisers on conversions, beside sources, reconstructions and controls."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vqspeech.errors import VQSpeechError
from vqspeech.evaluation.decoys import NUM_DECOYS, are_sentences, choose_decoys, make_up
from vqspeech.evaluation.figures import Figure, Material, Section, Trial, Wav, missing
from vqspeech.evaluation.ranking import Chain, alignment_costs, make_chain, rank
from vqspeech.evaluation.sphinx import Senones, Sphinx, Words, to_pcm, words_of
from vqspeech.evaluation.statistics import Sample, figure
from vqspeech.evaluation.takes import is_heard
from vqspeech.evaluation.texts import Texts, find_texts
from vqspeech.evaluation.transcribers import find_transcribers, word_errors
from vqspeech.evaluation.word_judges import find_word_judge

TITLE = "Conversion: content"
WAYS = ("conversion", "reconstruction", "source", "mu_law", "shifted", "random")
LABELS = {
    "conversion": "conversions",
    "reconstruction": "reconstructions",
    "source": "source unchanged",
    "mu_law": "mu-law copy",
    "shifted": "pitch-shifted source",
    "random": "random codes",
}
MAX_RANKED = 100  # trials: the cost of all states of the acoustic model is 30 ms for each second of sound
MAX_TRANSCRIBED = 40  # trials that a large recogniser hears
_CHOSEN, _FIRST, _RANK = "right text, PocketSphinx", "true transcript ranked first, PocketSphinx", "its mean rank"


@dataclass(frozen=True)
class Heard:
    """A trial whose text can be judged."""

    trial: Trial
    words: Words

    def sample(self, value: object) -> Sample:
        """For `statistics.figure`."""
        return value, self.trial.speaker, self.trial.utterance, self.trial.target


def measure(material: Material) -> Section:
    """Recognise sources, reconstructions, conversions and controls; what cannot be done becomes a note."""
    texts = find_texts(material)
    notes = [*texts.notes, *_faults(material)]
    figures: list[Figure] = []
    if texts.of:
        heard = [Heard(trial, texts.of[trial.utterance]) for trial in material.trials if trial.utterance in texts.of]
        for judge in (_by_sphinx, _by_classifier, _by_transcribers):
            try:
                found, remarks = judge(material, heard, texts)
            except VQSpeechError as reason:
                found, remarks = [], [str(reason)]
            figures += found
            notes += remarks
    if not figures:
        why = "no text to compare with" if not texts.of else "no recogniser at hand: see the notes"
        figures = [missing("right text", why, unit="%", higher_is_better=True)]
    return Section(TITLE, tuple(figures), tuple(notes))


def _faults(material: Material) -> list[str]:
    """Trials of which there is nothing to hear: they stay in, and count as heard wrong."""
    notes = []
    for way in WAYS:
        lost = [trial.utterance for trial in material.trials if not is_heard(getattr(trial, way))]
        if lost:
            names = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
            notes.append(
                f"{LABELS[way]}: {len(lost)} of {len(material.trials)} are silent or not finite and count as heard "
                f"wrong ({names})"
            )
    return notes


def beside_controls(
    name: str,
    samples: dict[str, list[Sample]],
    chance: Figure,
    seed: int,
    *,
    unit: str = "",
    statistic: str = "mean",
    higher_is_better: bool = True,
    note: str = "",
    basis: str = "",
) -> list[Figure]:
    """Figures of conversions and of reconstructions, each beside chance, random codes and what is sure to be better.

    Parameters
    ----------
    samples : for each of `WAYS`, (value, speaker, utterance, target) of each trial
    basis : see `Figure`
    """

    def make(way: str, ceiling: bool = False) -> Figure:
        return figure(
            LABELS[way], samples[way], seed=seed, unit=unit, statistic=statistic,
            higher_is_better=higher_is_better, is_ceiling=ceiling, basis=basis,
        )  # fmt: skip

    # Sources, and sources but for their pitch or their bits, hold all of what was said: no model can do better.
    ceilings = [make(way, True) for way in ("source", "mu_law", "shifted")]
    floors = [make("random"), replace(chance, unit=unit, higher_is_better=higher_is_better)]
    own = {way: make(way) for way in ("conversion", "reconstruction")}
    other = replace(own["reconstruction"], is_ceiling=True)
    return [
        replace(own["conversion"], name=f"{name}: conversions", controls=(other, *ceilings, *floors), note=note),
        replace(own["reconstruction"], name=f"{name}: reconstructions", controls=(*ceilings, *floors)),
    ]


def _each_way(
    heard: Sequence[Heard], judge: Callable[[Heard, Wav], object], nothing: Callable[[Heard], object]
) -> dict[str, list[Sample]]:
    """Judge every trial every way; sound that is silent or not finite gets `nothing`. Equal sound is judged once."""
    known: dict[tuple[Words, bytes], object] = {}
    samples: dict[str, list[Sample]] = {way: [] for way in WAYS}
    for own in heard:
        for way in WAYS:
            wav = getattr(own.trial, way)
            key = (own.words, hashlib.sha256(np.ascontiguousarray(wav).tobytes()).digest())
            if key not in known:
                known[key] = judge(own, wav) if is_heard(wav) else nothing(own)
            samples[way].append(own.sample(known[key]))
    return samples


def _wrong(own: Heard) -> float:
    return 0.0


def _by_sphinx(material: Material, heard: Sequence[Heard], texts: Texts) -> tuple[list[Figure], list[str]]:
    sphinx = Sphinx()
    unknown = sphinx.unknown([word for words in texts.all for word in words])
    notes = []
    if unknown:
        lost = sum(not set(own.words).isdisjoint(unknown) for own in heard)
        notes.append(
            f"{lost} of {len(heard)} trials have words outside PocketSphinx's dictionary and are left out "
            f"({', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''})"
        )
    spoken = [own for own in heard if set(own.words).isdisjoint(unknown)]
    known = [words for words in texts.all if set(words).isdisjoint(unknown)]
    if len(known) < 2 or not spoken:
        return [missing(_CHOSEN, "needs two different texts of words in the dictionary", unit="%")], notes
    if len(known) > NUM_DECOYS:
        figures, remarks = _rank(material, sphinx, spoken, texts, unknown)
        return figures, notes + remarks
    figures = _choose(material, sphinx, spoken, known)
    if are_sentences(known):
        ranked, remarks = _rank(material, sphinx, spoken, texts, unknown)
        return figures + ranked, notes + remarks
    return figures, notes


def _choose(material: Material, sphinx: Sphinx, spoken: Sequence[Heard], known: Sequence[Words]) -> list[Figure]:
    sphinx.listen_for(known)
    samples = _each_way(
        spoken, lambda own, wav: float(sphinx.choose(to_pcm(wav, material.sample_rate)) == own.words), _wrong
    )
    chance = Figure("chance", 1 / len(known))
    note = f"closed grammar of {len(known)} texts"
    basis = f"{note} ({hashlib.sha256(repr(sorted(known)).encode()).hexdigest()[:6]})"
    return beside_controls(_CHOSEN, samples, chance, material.seed, unit="%", note=note, basis=basis)


def _rank(
    material: Material, sphinx: Sphinx, spoken: Sequence[Heard], texts: Texts, unknown: Sequence[str]
) -> tuple[list[Figure], list[str]]:
    pause = sphinx.silence_states()
    chains: dict[Words, Chain] = {}
    for words, wav in texts.recordings(material):
        if set(words).isdisjoint(unknown):
            states = sphinx.word_states(words, to_pcm(wav, material.sample_rate))
            if states is not None:
                chains[words] = make_chain(states, pause)
    notes = []
    judged = [own for own in spoken if own.words in chains]
    if len(judged) < len(spoken):
        notes.append(f"{len(spoken) - len(judged)} of {len(spoken)} recordings are too short for their text: left out")
    if len(judged) > MAX_RANKED:
        every = np.linspace(0, len(judged) - 1, MAX_RANKED).round().astype(int)
        notes.append(f"{MAX_RANKED} of {len(judged)} trials, evenly spread, were ranked")
        judged = [judged[place] for place in every]
    made_up = {}
    if len(chains) <= NUM_DECOYS and judged and are_sentences(list(chains)):
        longest = max((own.trial.source for own in judged), key=len)
        made_up = make_up(sphinx, list(chains), longest, material.sample_rate, material.seed)
        notes.append(f"the corpus has {len(chains)} texts: {len(made_up)} made-up sentences are decoys beside them")
    chains |= made_up
    if len(chains) <= NUM_DECOYS:
        return [missing(_FIRST, f"needs {NUM_DECOYS} decoys, has {max(0, len(chains) - 1)}", unit="%")], notes

    def judge(own: Heard, wav: Wav) -> float:
        decoys = choose_decoys(own.words, chains, material.seed)
        costs = senones.costs(to_pcm(wav, material.sample_rate))
        if costs is None:
            return float(NUM_DECOYS + 1)
        totals = alignment_costs(costs, [chains[own.words], *(chains[words] for words in decoys)])
        return rank(totals[0], totals[1:])

    with Senones() as senones:
        ranks = _each_way(judged, judge, lambda own: float(NUM_DECOYS + 1))
    first: dict[str, list[Sample]] = {
        way: [own.sample(float(place[0] < 1.5)) for own, place in zip(judged, ranks[way], strict=True)] for way in WAYS
    }
    chance = Figure("chance", 1 / (NUM_DECOYS + 1))
    middle = Figure("chance", 1 + NUM_DECOYS / 2)
    note = f"among {NUM_DECOYS} other texts of about its length, each by its best alignment"
    basis = f"{len(chains)} texts ({hashlib.sha256(repr(sorted(chains)).encode()).hexdigest()[:6]})"
    return [
        *beside_controls(_FIRST, first, chance, material.seed, unit="%", note=note, basis=basis),
        *beside_controls(_RANK, ranks, middle, material.seed, higher_is_better=False, note="1 is best", basis=basis),
    ], notes


def _by_classifier(material: Material, heard: Sequence[Heard], texts: Texts) -> tuple[list[Figure], list[str]]:
    judge, notes = find_word_judge(material, texts)
    if judge is None:
        return [], notes
    spoken = [own for own in heard if own.words in judge.words]
    heard_as = _each_way(spoken, lambda own, wav: judge.hear(wav, material.sample_rate), lambda own: ())
    samples: dict[str, list[Sample]] = {
        way: [own.sample(float(words == own.words)) for own, (words, *_) in zip(spoken, answers, strict=True)]
        for way, answers in heard_as.items()
    }
    chance = Figure("chance", 1 / len(judge.words))
    name = "right word, classifier of this corpus"
    basis = f"judge {judge.judge.sha256[:12]}"
    first, *others = beside_controls(name, samples, chance, material.seed, unit="%", note=judge.note, basis=basis)
    answers = tuple((" ".join(words), *trial) for words, *trial in heard_as["conversion"])
    return [replace(first, answers=answers), *others], notes


def _by_transcribers(material: Material, heard: Sequence[Heard], texts: Texts) -> tuple[list[Figure], list[str]]:
    transcribers, notes = find_transcribers()
    places = np.unique(np.linspace(0, len(heard) - 1, min(len(heard), MAX_TRANSCRIBED)).round().astype(int))
    chosen = [heard[place] for place in places]
    figures: list[Figure] = []
    for transcriber in transcribers:

        def errors(own: Heard, wav: Wav, hear: Callable[[Wav, int], str] = transcriber.hear) -> tuple[int, int]:
            return word_errors(own.words, words_of(hear(wav, material.sample_rate))), len(own.words)

        samples = _each_way(chosen, errors, lambda own: (len(own.words), len(own.words)))  # every word is missing
        figures += beside_controls(
            f"word error rate, {transcriber.name}", samples, Figure("nothing heard", 1.0), material.seed,
            unit="%", statistic="ratio", higher_is_better=False, note=f"{len(chosen)} trials",
        )  # fmt: skip
    return figures, notes
