"""Which utterances are evaluated, and in whose voice each is said again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vqspeech.data.store import Store
from vqspeech.errors import CorpusError
from vqspeech.evaluation.figures.text import listed

LONGEST_S = 20.0  # longer utterances come last, and are cut
ENOUGH_S = 6.0  # of speech for a pair of speakers: the judge of voices asks for five seconds
# Voices that are evaluated at once. The judges need half a minute of each and some passages in each: of a larger corpus
# so many are drawn, and have enough, where all of them would have too little each.
MOST_VOICES = 40


@dataclass(frozen=True)
class Pair:
    """An utterance, by its id, its speaker, and the voice it is converted to."""

    utterance: str
    speaker: str
    target: str

    def __repr__(self) -> str:
        # The names of kept conversions are hashes of this: it stays as the first version wrote it.
        return f"Choice(utterance={self.utterance!r}, speaker={self.speaker!r}, target={self.target!r})"


def choose_split(store: Store, *, trained: bool) -> tuple[str, str]:
    """The split to evaluate, and a note where it is not the test split.

    Raises
    ------
    CorpusError
        If nothing was held out of the training and training utterances were not asked for.
    """
    if trained:
        return "train", (
            "EVALUATED ON UTTERANCES THAT THE MODEL WAS TRAINED ON, as asked for: the figures say nothing about others"
        )
    if store.split_sizes["test"]:
        return "test", ""
    if store.split_sizes["valid"]:
        return "valid", (
            "the corpus has no test split: evaluated on the validation split, which was looked at during the training"
        )
    raise CorpusError(
        f"all {len(store)} utterances of the corpus were trained on, none was held out. Evaluate on other recordings, "
        "or on these with --trained: the report then says so"
    )


def choose_pairs(
    store: Store,
    split: str,
    voices: Sequence[str],
    pairs: int | None,
    *,
    sexes: Mapping[str, str],
    seed: int,
    allowed: Collection[str] | None = None,
) -> list[Pair]:
    """Utterances and targets, balanced over speakers, and over pairs of the same and of different sex.

    As few pairs of speakers are used as leave each about `ENOUGH_S` of speech, and every speaker is the source of as
    many as any other. Where there are more conversions to make than utterances, an utterance is converted to several
    voices. Of more than `MOST_VOICES` so many are drawn, as sources and as targets.

    Parameters
    ----------
    voices : of the model; utterances of other speakers are left out, since they cannot be reconstructed
    pairs : how many to choose, fewer where the corpus has no more; None for every utterance to every other voice
    sexes : speaker to "F" or "M"
    seed : of the order in which a speaker's utterances are taken
    allowed : ids of utterances to choose from; None allows all

    Raises
    ------
    CorpusError
        If no utterance is by a speaker whom the model knows.
    """
    utterances = _utterances_of(store, split, voices, seed, allowed)
    known = [voice for voice in voices if voice in store.speakers] or list(voices)
    if pairs is None:
        return [
            Pair(name, speaker, target)
            for speaker in sorted(utterances)
            for name, _ in utterances[speaker]
            for target in [voice for voice in known if voice != speaker] or [speaker]
        ]
    known = draw_voices(known, sexes, seed, first=utterances.keys())
    utterances = {speaker: own for speaker, own in utterances.items() if speaker in known}
    speakers = sorted(utterances)
    mean_s = np.mean([length_s for own in utterances.values() for _, length_s in own])
    most = max(1, len(known) - 1)
    rounds = int(np.clip(pairs * mean_s / (ENOUGH_S * len(speakers)), 1, most))
    targets = assign_targets(speakers, known, rounds, sexes)
    everyone = assign_targets(speakers, known, most, sexes)  # for utterances that come again
    chosen: list[Pair] = []
    turn = 0
    while len(chosen) < pairs:
        before = len(chosen)
        for speaker in speakers:
            own = utterances[speaker]
            again, place = divmod(turn, len(own))
            if again < len(everyone[speaker]) and len(chosen) < pairs:
                first = targets[speaker][place % rounds]
                order = [first, *(target for target in everyone[speaker] if target != first)]
                chosen.append(Pair(own[place][0], speaker, order[again]))
        turn += 1
        if len(chosen) == before:
            break
    return chosen


def draw_voices(
    voices: Sequence[str], sexes: Mapping[str, str], seed: int, *, most: int = MOST_VOICES, first: Collection[str] = ()
) -> list[str]:
    """At most so many voices, in their order: all where there are no more, else drawn, of both sexes alike.

    Parameters
    ----------
    sexes : speaker to "F" or "M"
    first : those that go before others: speakers who can be sources too
    """
    if len(voices) <= most:
        return list(voices)
    order = np.random.default_rng(seed).permutation(len(voices))
    drawn: list[str] = []
    used: Counter[str] = Counter()
    waiting = [voices[place] for place in order]
    for some in ([name for name in waiting if name in first], [name for name in waiting if name not in first]):
        queues: dict[str, list[str]] = defaultdict(list)
        for name in some:
            queues[sexes.get(name, "")].append(name)
        while len(drawn) < most and any(queues.values()):
            # In turn from each sex; whoever's is not told counts as a third.
            sex = min((kind for kind, own in queues.items() if own), key=lambda kind: (used[kind], kind))
            used[sex] += 1
            drawn.append(queues[sex].pop(0))
    kept = set(drawn)
    return [voice for voice in voices if voice in kept]


def assign_targets(
    speakers: Sequence[str], voices: Sequence[str], rounds: int, sexes: Mapping[str, str]
) -> dict[str, list[str]]:
    """For each speaker `rounds` other voices, in turn of the other sex and of the same, all about equally often.

    A speaker who is the only voice is their own target.
    """
    used: Counter[str] = Counter()
    given: dict[str, list[str]] = {speaker: [] for speaker in speakers}
    for turn in range(rounds):
        for number, speaker in enumerate(speakers):
            others = [voice for voice in voices if voice != speaker and voice not in given[speaker]]
            if not others:
                given[speaker] = given[speaker] or [speaker]
                continue
            # Half of the speakers begin with the other sex, so that one round alone has both kinds.
            want_other_sex = (turn + number) % 2 == 0

            def rank(voice: str, speaker: str = speaker, want: bool = want_other_sex) -> tuple[bool, int, int]:
                told = speaker in sexes and voice in sexes
                wrong = told and (sexes[speaker] != sexes[voice]) != want
                distance = (voices.index(voice) - voices.index(speaker)) % len(voices) if speaker in voices else 0
                return wrong, used[voice], distance

            best = min(others, key=rank)
            used[best] += 1
            given[speaker].append(best)
    return given


def _utterances_of(
    store: Store, split: str, voices: Sequence[str], seed: int, allowed: Collection[str] | None
) -> dict[str, list[tuple[str, float]]]:
    """Speaker to (id, seconds) of their utterances, shuffled, those of more than LONGEST_S last."""
    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for index in store.utterances(split):
        speaker = store.speakers[store.speaker(index)]
        if speaker in voices:
            name = store.utterance_id(index)
            if allowed is None or name in allowed:
                found[speaker].append((name, store.length(index) / store.sample_rate))
    if not found:
        raise CorpusError(
            f"none of the {store.split_sizes[split]} utterances to evaluate is by a speaker of the model "
            f"({listed(voices, 8)}). Give recordings of those speakers"
        )
    generator = np.random.default_rng(seed)
    shuffled = {}
    for speaker in sorted(found):
        own = [found[speaker][place] for place in generator.permutation(len(found[speaker]))]
        shuffled[speaker] = sorted(own, key=lambda entry: entry[1] > LONGEST_S)
    return shuffled
