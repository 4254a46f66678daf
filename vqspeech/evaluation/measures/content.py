"""Whether what was said survives: recognisers on conversions, beside sources, reconstructions and controls."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from vqspeech.data.selection import spread
from vqspeech.errors import DependencyError, VQSpeechError
from vqspeech.evaluation.figures.text import listed
from vqspeech.evaluation.figures.types import Evaluation, Figure, Section, Wav, missing
from vqspeech.evaluation.judges.words import find_word_classifier
from vqspeech.evaluation.measures.decoys import NUM_DECOYS, are_sentences, choose_decoys, make_up
from vqspeech.evaluation.tools.ranking import Chain, alignment_costs, make_chain, rank
from vqspeech.evaluation.tools.sphinx import Senones, Sphinx, Words, to_pcm
from vqspeech.evaluation.trials.scoring import Samples, WordedTrial, beside_controls, score_signals
from vqspeech.evaluation.trials.signals import CONVERSION, SIGNALS, inaudible
from vqspeech.evaluation.trials.texts import Texts, find_texts

TITLE = "Conversion: content"
MAX_RANKED = 100  # trials: the cost of all states of the acoustic model is 30 ms for each second of sound
_CHOSEN, _FIRST, _RANK = "right text, PocketSphinx", "true transcript ranked first, PocketSphinx", "its mean rank"


def measure(evaluation: Evaluation) -> Section:
    """Recognise sources, reconstructions, conversions and controls; what cannot be done becomes a note."""
    texts = find_texts(evaluation)
    notes = [*texts.notes, *_faults(evaluation)]
    figures: list[Figure] = []
    retry = False
    if texts.of:
        heard = texts.worded(evaluation.trials)
        for judge in (_by_sphinx, _by_classifier):
            try:
                found, remarks = judge(evaluation, heard, texts)
            except VQSpeechError as reason:
                found, remarks = [], [str(reason)]
                retry |= isinstance(reason, DependencyError) and reason.is_installed
            figures += found
            notes += remarks
    if not figures:
        why = "no text to compare with" if not texts.of else "no recogniser at hand: see the notes"
        figures = [missing("right text", why, unit="%", higher_is_better=True)]
    return Section(TITLE, tuple(figures), tuple(notes), retry=retry)


def _faults(evaluation: Evaluation) -> list[str]:
    """Trials of which there is nothing to hear: they stay in, and count as heard wrong."""
    notes = []
    for signal in SIGNALS:
        if lost := inaudible(evaluation.trials, signal):
            notes.append(
                f"{signal.plural}: {len(lost)} of {len(evaluation.trials)} are silent or not finite and count as heard "
                f"wrong ({listed(lost)})"
            )
    return notes


def _wrong(own: WordedTrial) -> float:
    return 0.0


def _by_sphinx(evaluation: Evaluation, heard: Sequence[WordedTrial], texts: Texts) -> tuple[list[Figure], list[str]]:
    sphinx = Sphinx()
    unknown = sphinx.unknown([word for words in texts.all for word in words])
    notes = []
    if unknown:
        lost = sum(not set(own.words).isdisjoint(unknown) for own in heard)
        notes.append(
            f"{lost} of {len(heard)} trials have words outside PocketSphinx's dictionary and are left out "
            f"({listed(unknown, 5)})"
        )
    spoken = [own for own in heard if set(own.words).isdisjoint(unknown)]
    known = [words for words in texts.all if set(words).isdisjoint(unknown)]
    if len(known) < 2 or not spoken:
        return [missing(_CHOSEN, "needs two different texts of words in the dictionary", unit="%")], notes
    if len(known) > NUM_DECOYS:
        figures, remarks = _rank(evaluation, sphinx, spoken, texts, unknown)
        return figures, notes + remarks
    figures = _choose(evaluation, sphinx, spoken, known)
    if are_sentences(known):
        ranked, remarks = _rank(evaluation, sphinx, spoken, texts, unknown)
        return figures + ranked, notes + remarks
    return figures, notes


def _choose(
    evaluation: Evaluation, sphinx: Sphinx, spoken: Sequence[WordedTrial], known: Sequence[Words]
) -> list[Figure]:
    sphinx.listen_for(known)
    samples = score_signals(
        spoken, lambda own, wav: float(sphinx.choose(to_pcm(wav, evaluation.sample_rate)) == own.words), _wrong
    )
    chance = Figure("chance", 1 / len(known))
    easy = ", an easy test" if are_sentences(known) else ""
    note = f"closed grammar of {len(known)} texts{easy}"
    basis = f"{note} ({hashlib.sha256(repr(sorted(known)).encode()).hexdigest()[:6]})"
    return beside_controls(_CHOSEN, samples, chance, evaluation.seed, unit="%", note=note, basis=basis)


def _rank(
    evaluation: Evaluation, sphinx: Sphinx, spoken: Sequence[WordedTrial], texts: Texts, unknown: Sequence[str]
) -> tuple[list[Figure], list[str]]:
    pause = sphinx.silence_states()
    chains: dict[Words, Chain] = {}
    for words, wav in texts.recordings(evaluation):
        if set(words).isdisjoint(unknown):
            states = sphinx.word_states(words, to_pcm(wav, evaluation.sample_rate))
            if states is not None:
                chains[words] = make_chain(states, pause)
    notes = []
    judged = [own for own in spoken if own.words in chains]
    if len(judged) < len(spoken):
        notes.append(f"{len(spoken) - len(judged)} of {len(spoken)} recordings are too short for their text: left out")
    if len(judged) > MAX_RANKED:
        notes.append(f"{MAX_RANKED} of {len(judged)} trials, evenly spread, were ranked")
        judged = spread(judged, MAX_RANKED)
    made_up = {}
    if len(chains) <= NUM_DECOYS and judged and are_sentences(list(chains)):
        longest = max((own.trial.source for own in judged), key=len)
        made_up = make_up(sphinx, list(chains), longest, evaluation.sample_rate, evaluation.seed)
        notes.append(f"the corpus has {len(chains)} texts: {len(made_up)} made-up sentences are decoys beside them")
    chains |= made_up
    if len(chains) <= NUM_DECOYS:
        return [missing(_FIRST, f"needs {NUM_DECOYS} decoys, has {max(0, len(chains) - 1)}", unit="%")], notes

    def place_of(own: WordedTrial, wav: Wav) -> float:
        decoys = choose_decoys(own.words, chains, evaluation.seed)
        costs = senones.costs(to_pcm(wav, evaluation.sample_rate))
        if costs is None:
            return float(NUM_DECOYS + 1)
        totals = alignment_costs(costs, [chains[own.words], *(chains[words] for words in decoys)])
        return rank(totals[0], totals[1:])

    with Senones() as senones:
        ranks = score_signals(judged, place_of, lambda own: float(NUM_DECOYS + 1))
    first: Samples = {
        signal: [(float(place < 1.5), *trial) for place, *trial in own]  # type: ignore[misc]
        for signal, own in ranks.items()
    }
    chance = Figure("chance", 1 / (NUM_DECOYS + 1))
    middle = Figure("chance", 1 + NUM_DECOYS / 2)
    note = f"an easy test: among {NUM_DECOYS} other texts of about its length, each by its best alignment"
    basis = f"{len(chains)} texts ({hashlib.sha256(repr(sorted(chains)).encode()).hexdigest()[:6]})"
    return [
        *beside_controls(_FIRST, first, chance, evaluation.seed, unit="%", note=note, basis=basis),
        *beside_controls(_RANK, ranks, middle, evaluation.seed, higher_is_better=False, note="1 is best", basis=basis),
    ], notes


def _by_classifier(
    evaluation: Evaluation, heard: Sequence[WordedTrial], texts: Texts
) -> tuple[list[Figure], list[str]]:
    judge, notes = find_word_classifier(evaluation, texts)
    if judge is None:
        return [], notes
    spoken = [own for own in heard if own.words in judge.words]
    heard_as = score_signals(spoken, lambda own, wav: judge.hear(wav, evaluation.sample_rate), lambda own: ())
    samples: Samples = {
        signal: [own.sample(float(words == own.words)) for own, (words, *_) in zip(spoken, answers, strict=True)]
        for signal, answers in heard_as.items()
    }
    chance = Figure("chance", 1 / len(judge.words))
    name = "right word, classifier of this corpus"
    basis = f"judge {judge.judge.sha256[:12]}"
    first, *others = beside_controls(name, samples, chance, evaluation.seed, unit="%", note=judge.note, basis=basis)
    answers = tuple((" ".join(words), *trial) for words, *trial in heard_as[CONVERSION])
    return [replace(first, answers=answers), *others], notes
