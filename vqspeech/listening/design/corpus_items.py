"""Items from held-out speech: balanced over speakers and sexes, reconstructed and converted by one or more models."""

# T samples.
from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from vqspeech.audio import resampled
from vqspeech.data.store import SPLITS, Store
from vqspeech.errors import ListeningTestError
from vqspeech.evaluation.trials.pairs import Pair, choose_pairs
from vqspeech.evaluation.trials.real_speech import spoken_by
from vqspeech.evaluation.trials.signals import is_audible
from vqspeech.evaluation.trials.synthesis import Settings, speak
from vqspeech.evaluation.trials.systems import System, common_utterances, common_voices
from vqspeech.listening.design.items import (
    LONGEST_S,
    PAUSE_S,
    RESERVED,
    SHORTEST_S,
    Item,
    ItemSet,
    ReferenceRecording,
    Wav,
    join,
)
from vqspeech.listening.kinds.base import RECONSTRUCTION, SOURCE, TARGET, Kind
from vqspeech.progress import ProgressCallback


@dataclass(frozen=True)
class PlannedItem:
    """Utterances of one speaker, to be spoken in another's voice."""

    utterances: tuple[str, ...]
    speaker: str
    target: str


def plan_items(
    store: Store,
    split: str,
    voices: Sequence[str],
    num: int,
    *,
    sexes: Mapping[str, str],
    seed: int,
    allowed: Collection[str] | None = None,
) -> list[PlannedItem]:
    """At most `num` items of at least a second, balanced as `choose` does it, no utterance in two of them.

    Short utterances of one speaker are joined; they are the same ones for every system.
    """
    length_s = {
        store.utterance_id(index): min(LONGEST_S, store.length(index) / store.sample_rate)
        for index in store.utterances(split)
    }
    pairs = num
    while True:
        choices = choose_pairs(store, split, voices, pairs, sexes=sexes, seed=seed, allowed=allowed)
        plans = _joined(choices, length_s)
        counts = [len(own) for own in plans.values()]
        if len(choices) < pairs or (counts and min(counts) * len(counts) >= num):
            # One of each speaker in turn.
            turns = zip_longest(*(plans[speaker] for speaker in sorted(plans)))
            return [plan for turn in turns for plan in turn if plan][:num]
        pairs *= 2


def _joined(choices: Sequence[Pair], length_s: Mapping[str, float]) -> dict[str, list[PlannedItem]]:
    """Each speaker's items: utterances for one target until they last a second, then what is left for any."""
    plans: dict[str, list[PlannedItem]] = {choice.speaker: [] for choice in choices}
    waiting: dict[tuple[str, str], list[str]] = defaultdict(list)
    seen: set[str] = set()

    def gather(group: list[str], choice: Pair, utterance: str) -> None:
        group.append(utterance)
        if sum(length_s[name] for name in group) + PAUSE_S * (len(group) - 1) >= SHORTEST_S:
            plans[choice.speaker].append(PlannedItem(tuple(group), choice.speaker, choice.target))
            group.clear()

    for choice in choices:
        if choice.utterance not in seen:
            seen.add(choice.utterance)
            gather(waiting[choice.speaker, choice.target], choice, choice.utterance)
    left: dict[str, list[str]] = defaultdict(list)
    first: dict[str, Pair] = {}
    for (speaker, target), group in waiting.items():
        for name in group:
            first[speaker] = first.get(speaker, Pair(name, speaker, target))
            gather(left[speaker], first[speaker], name)
    return plans


def make_items(
    candidates: Sequence[System],
    kind: Kind,
    split: str,
    num: int,
    num_spare: int,
    settings: Settings,
    *,
    sexes: Mapping[str, str],
    watch: ProgressCallback = lambda what, done, of: None,
) -> ItemSet:
    """Choose items and let every model say them.

    Parameters
    ----------
    candidates : models with their corpora; where reconstructions stand beside conversions they are the first one's
    num, num_spare : items of the trials, and of training and attention checks; of the latter as many as there are

    Raises
    ------
    ListeningTestError
        If the corpus has fewer items than trials, or one voice where the kind asks for two.
    """
    voices = common_voices(candidates)
    if len(voices) < 2 and kind.speakers:
        raise ListeningTestError(
            f"one voice only ({voices[0]}): a test of kind {kind.name} asks whose voice it is, and needs two. "
            "Take --kind mos or mushra, or a model of more speakers"
        )
    allowed = common_utterances(candidates, split) if len(candidates) > 1 else None
    # Real recordings are taken from where they are kept at the highest sample rate.
    ground = max(candidates, key=lambda candidate: candidate.model.sample_rate)
    rate = ground.model.sample_rate
    plans = plan_items(ground.store, split, voices, num + num_spare, sexes=sexes, seed=settings.seed, allowed=allowed)
    if len(plans) < num:
        raise ListeningTestError(
            f"{num} trials asked for, but the held-out speech gives {len(plans)} items of a second or more (short "
            f"utterances are joined). Ask for fewer with --trials {max(1, len(plans))}, or give more recordings"
        )
    names = distinct_names([candidate.name for candidate in candidates])
    systems = kind.systems(names, len(voices) > 1)
    real = _recordings(ground, split, plans)
    references = _References(ground.store, split, settings.seed)
    made: dict[str, list[Wav]] = {SOURCE: [join([real[name] for name in plan.utterances], rate) for plan in plans]}
    if RECONSTRUCTION in systems:
        made[RECONSTRUCTION] = _say(candidates[0], split, plans, RECONSTRUCTION, True, settings, rate, watch)
    for candidate, name in zip(candidates, names):
        if name in systems:
            made[name] = _say(candidate, split, plans, name, kind.has_original, settings, rate, watch)
    items = []
    for number, plan in enumerate(plans):
        wavs = {system: wavs[number] for system, wavs in made.items()}
        speakers = {SOURCE: plan.speaker, TARGET: plan.target}
        beside = {title: references.take(speakers[title], plan) for title in kind.speakers}
        if TARGET in systems:
            wavs[TARGET] = references.take(plan.target, plan).wav
        one, other = sexes.get(plan.speaker), sexes.get(plan.target)
        relation = None if None in (one, other) else "same" if one == other else "cross"
        items.append(Item(" + ".join(plan.utterances), wavs, plan.speaker, plan.target, relation, beside))
    return ItemSet(kind, systems, tuple(items[:num]), tuple(items[num:]), rate)


def distinct_names(models: Sequence[str]) -> list[str]:
    """Models' names, changed where two are alike or the test's own sounds are called so."""
    names: list[str] = []
    for name in models:
        taken = {*RESERVED, *names}
        unique = name if not name.startswith("anchor-") else f"model {name}"
        while unique in taken:
            unique += "'"
        names.append(unique)
    return names


def _say(
    candidate: System,
    split: str,
    plans: Sequence[PlannedItem],
    system: str,
    own_voice: bool,
    settings: Settings,
    sample_rate: int,
    watch: ProgressCallback,
) -> list[Wav]:
    """All items as one system says them, at a sample rate."""
    voices = [plan.speaker if own_voice else plan.target for plan in plans]
    wanted = sorted({(name, voice) for plan, voice in zip(plans, voices) for name in plan.utterances})
    recordings = _recordings(candidate, split, plans)
    spoken = speak(candidate.model, recordings, wanted, settings, lambda done: watch(system, done, len(wanted)))
    rate = candidate.model.sample_rate
    joined = [join([spoken[name, voice] for name in plan.utterances], rate) for plan, voice in zip(plans, voices)]
    return [resampled(wav, rate, sample_rate) for wav in joined]


def _recordings(candidate: System, split: str, plans: Sequence[PlannedItem]) -> dict[str, Wav]:
    store = candidate.store
    wanted = {name for plan in plans for name in plan.utterances}
    longest = int(LONGEST_S * store.sample_rate)
    named = ((store.utterance_id(index), index) for index in store.utterances(split))
    return {name: store.wav(index, longest) for name, index in named if name in wanted}


class _References:
    """Real recordings of a speaker, one after the other, held-out ones first: never the item's own utterances, and of
    other words where the corpus has texts and others among them."""

    def __init__(self, store: Store, split: str, seed: int) -> None:
        self._store, self._seed = store, seed
        self._next: dict[str, int] = defaultdict(int)
        self._own: dict[str, list[int]] = {}
        self._text = {store.utterance_id(index): store.text(index) for index in store.utterances(split)}

    def take(self, speaker: str, plan: PlannedItem) -> ReferenceRecording:
        store = self._store
        if speaker not in self._own:
            generator = np.random.default_rng([self._seed, store.speakers.index(speaker)])
            shuffled = [generator.permutation(spoken_by(store, speaker, (split,))) for split in SPLITS[::-1]]
            self._own[speaker] = [int(index) for own in shuffled for index in own]
        own = self._own[speaker]
        words = {self._text.get(name) for name in plan.utterances} - {None}
        for avoided in (words, set()):
            names: list[str] = []
            wavs: list[Wav] = []
            for step in range(len(own)):
                index = own[(self._next[speaker] + step) % len(own)]
                name, wav = store.utterance_id(index), store.wav(index, int(LONGEST_S * store.sample_rate))
                if name in plan.utterances or store.text(index) in avoided or not is_audible(wav):
                    continue
                names.append(name)
                wavs.append(wav)
                if sum(map(len, wavs)) >= SHORTEST_S * store.sample_rate:
                    self._next[speaker] += step + 1
                    return ReferenceRecording(" + ".join(names), join(wavs, store.sample_rate))
        raise ListeningTestError(
            f"speaker {speaker} has less than a second of recordings other than {', '.join(plan.utterances)}: none can "
            "stand beside it as a reference. Give more recordings of this speaker"
        )
