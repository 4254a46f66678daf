"""How much of the speaker is left in the codes: a probe on quantized vectors, beside chance and the same on MFCCs."""

# N code frames, D code dimension.
from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.store import Store
from vqspeech.errors import CorpusError
from vqspeech.evaluation.figures.statistics import Sample, figure
from vqspeech.evaluation.figures.text import listed
from vqspeech.evaluation.figures.types import Evaluation, Figure, Section, missing
from vqspeech.evaluation.trials.pairs import draw_voices

TITLE = "Codes to speaker"
_NAMES = ("speakers told from the codes", "information about the speaker in the codes, at least")
_FIT_S = 800.0  # of speech of all speakers together, and at most so many utterances
_FIT_UTTERANCES = 1200
_SCORE_S = 250.0
_SCORE_UTTERANCES = 400
_LONGEST_S = 2.5  # of an utterance
_LEAST_FIT = 4  # utterances of every speaker that the probe learns from
_LEAST_SCORED = 2


@dataclass(frozen=True)
class Chosen:
    """What the probe learns from and is asked.

    Attributes
    ----------
    speakers : who can be told apart
    fit, score : utterances as positions in the store, as many of every speaker
    matched : whether all speakers say the same texts
    drawn_of : how many speakers had enough utterances
    """

    speakers: tuple[str, ...]
    fit: tuple[int, ...]
    score: tuple[int, ...]
    matched: bool
    drawn_of: int = 0


def measure(evaluation: Evaluation) -> Section:
    """Train the probe on real training utterances, score it on the evaluated split; never raises for bad content."""
    try:
        chosen = choose_utterances(evaluation)
    except CorpusError as reason:
        return Section(TITLE, tuple(missing(name, str(reason)) for name in _NAMES), (str(reason),))
    store, speakers = evaluation.store, chosen.speakers
    fit, score = list(chosen.fit), list(chosen.score)
    vectors = {index: _vectors(evaluation, index) for index in {*fit, *score}}
    mfccs = {index: _mfccs(evaluation, index, len(vectors[index])) for index in vectors}
    number = {name: place for place, name in enumerate(speakers)}
    owners = {index: number[store.speakers[store.speaker(index)]] for index in vectors}
    names = {index: store.utterance_id(index) for index in score}

    from vqspeech.evaluation.judges.sequence_probe import probe_sequences

    def read(sequences: dict[int, NDArray[np.floating]]) -> tuple[list[Sample], list[Sample]]:
        """Whether each scored utterance's speaker was told, and log2 of what the probe gave them over chance."""
        answers = probe_sequences(
            [sequences[index] for index in fit],
            [owners[index] for index in fit],
            [sequences[index] for index in score],
            len(speakers),
            seed=evaluation.seed,
        )
        right: list[Sample] = []
        bits: list[Sample] = []
        for index, answer in zip(score, answers, strict=True):
            who = speakers[owners[index]]
            right.append((float(answer.argmax() == owners[index]), who, names[index]))
            gained = (float(answer[owners[index]]) + math.log(len(speakers))) / math.log(2)
            bits.append((gained, who, names[index]))
        return right, bits

    figures = []
    texts = "matched texts" if chosen.matched else "any texts"
    basis = f"{texts} of {len(speakers)} speakers ({', '.join(speakers)})"
    found = zip(_NAMES, read(vectors), read(mfccs), ("%", "bits"), (1 / len(speakers), 0.0), strict=True)
    for name, codes, control, unit, chance in found:
        controls = [
            figure("the same probe on MFCCs", control, seed=evaluation.seed, unit=unit),
            Figure("chance", chance, unit=unit, is_ceiling=True),
        ]
        figures.append(
            figure(name, codes, seed=evaluation.seed, unit=unit, higher_is_better=False, controls=controls, basis=basis)
        )
    return Section(TITLE, tuple(figures), _notes(evaluation, chosen))


def _notes(evaluation: Evaluation, chosen: Chosen) -> tuple[str, ...]:
    num = len(chosen.speakers)
    notes = [
        "A lower bound: a network of two convolutions finds this much, a better one may find more. It learned from "
        f"{len(chosen.fit)} real utterances and was scored on {len(chosen.score)} others, {num} speakers, as many of "
        f"each, at most {_LONGEST_S:g} s of an utterance; the most that can be known is {math.log2(num):.2f} bits. "
        "Less is better: what the codes do not tell, the decoder has to take from the target"
    ]
    if chosen.matched:
        notes.append(
            "Texts are matched: every speaker says the same texts equally often, so that none betrays who speaks"
        )
    else:
        notes.append(
            "Texts are not matched (too few are said by every speaker, or the corpus has none): a part of what the "
            "probe finds may be what is said, not who says it"
        )
    if chosen.drawn_of > num:
        notes.append(f"{num} of {chosen.drawn_of} speakers with enough utterances were drawn by the seed")
    elif left_out := [name for name in evaluation.voices if name not in chosen.speakers]:
        notes.append(f"too few utterances, left out: {listed(left_out, 8)}")
    if evaluation.trained_on:
        notes.append("Both halves are utterances that the model was trained on")
    return tuple(notes)


def choose_utterances(evaluation: Evaluation) -> Chosen:
    """Training utterances to learn from, others to score, matched in text where every speaker says the same texts.

    Raises
    ------
    CorpusError
        If there are too few.
    """
    store, everyone = evaluation.store, evaluation.voices
    if len(everyone) < 2:
        raise CorpusError("one speaker: there is nobody to tell apart")
    scored = evaluation.utterances if evaluation.split == "train" else set()
    teaching = _by_text(store, "train", everyone)
    asked = _by_text(store, evaluation.split, everyone)
    if evaluation.split == "train":  # the trials are scored, the others teach
        names = {index: store.utterance_id(index) for own in asked.values() for each in own.values() for index in each}
        asked = _only(asked, {index for index, name in names.items() if name in scored})
        teaching = _only(teaching, {index for index, name in names.items() if name not in scored})
    enough = [
        name for name in everyone if _count(teaching[name]) >= _LEAST_FIT and _count(asked[name]) >= _LEAST_SCORED
    ]
    speakers = draw_voices(enough, evaluation.sexes, evaluation.seed, first=evaluation.paired_voices)
    mean_s = min(_LONGEST_S, store.duration_s(evaluation.split) / max(1, store.split_sizes[evaluation.split]))
    for matched in (True, False) if len(speakers) > 1 else ():
        # The budgets are for all together, but what each needs is theirs, however many there are.
        most_fit = max(_LEAST_FIT * len(speakers), min(_FIT_UTTERANCES, round(_FIT_S / mean_s)))
        most_score = max(_LEAST_SCORED * len(speakers), min(_SCORE_UTTERANCES, round(_SCORE_S / mean_s)))
        fit = _balanced(teaching, speakers, most_fit, matched)
        score = _balanced(asked, speakers, most_score, matched)
        if len(fit) >= _LEAST_FIT * len(speakers) and len(score) >= _LEAST_SCORED * len(speakers):
            return Chosen(tuple(speakers), tuple(fit), tuple(score), matched, drawn_of=len(enough))
    raise CorpusError(
        f"too few utterances: at least two speakers with {_LEAST_FIT} to learn from and {_LEAST_SCORED} others to "
        "score are needed; give a larger corpus"
    )


ByText = dict[str, dict[str, list[int]]]  # speaker -> text ("" where the corpus tells none) -> utterances


def _count(texts: dict[str, list[int]]) -> int:
    return sum(map(len, texts.values()))


def _by_text(store: Store, split: str, speakers: Sequence[str]) -> ByText:
    found: ByText = {name: defaultdict(list) for name in speakers}
    for index in store.utterances(split):
        name = store.speakers[store.speaker(index)]
        if name in found:
            found[name][(store.text(index) or "").strip().lower()].append(index)
    return found


def _only(found: ByText, kept: set[int]) -> ByText:
    return {
        name: {text: [index for index in own if index in kept] for text, own in texts.items()}
        for name, texts in found.items()
    }


def _balanced(found: ByText, speakers: Sequence[str], most: int, matched: bool) -> list[int]:
    """As many utterances of every speaker, at most `most` in all; matched: as many of every text, too."""
    each = max(1, most // len(speakers))
    if not matched:
        own = {name: sorted(index for text in found[name].values() for index in text) for name in speakers}
        count = min(each, *(len(of) for of in own.values()))
        return [of[place * len(of) // count] for of in own.values() for place in range(count)] if count else []
    said = Counter(text for name in speakers for text, own in found[name].items() if text and own)
    shared = sorted(text for text, count in said.items() if count == len(speakers))
    times = {text: min(len(found[name][text]) for name in speakers) for text in shared}
    # In rounds over the texts, so that a limit leaves as many of each.
    rounds = [(turn, text) for turn in range(max(times.values(), default=0)) for text in shared if turn < times[text]]
    return [found[name][text][turn] for name in speakers for turn, text in rounds[:each]]


def _wav(evaluation: Evaluation, index: int) -> NDArray[np.float32]:
    return evaluation.store.wav(index, int(_LONGEST_S * evaluation.sample_rate))


def _vectors(evaluation: Evaluation, index: int) -> NDArray[np.float32]:
    """Quantized vectors of an utterance, shape (N, D)."""
    codes = evaluation.model.encode(_wav(evaluation, index))
    return evaluation.model.lookup(codes).detach().cpu().numpy()


def _mfccs(evaluation: Evaluation, index: int, num_frames: int) -> NDArray[np.float32]:
    """MFCCs at the codes' rate, shape (N, 13)."""
    from vqspeech.evaluation.tools.mfcc import mfcc_frames

    return mfcc_frames(_wav(evaluation, index), num_frames, evaluation.sample_rate, evaluation.hop_length)
