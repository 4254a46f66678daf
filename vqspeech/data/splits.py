"""Which split each utterance of a corpus goes to, and which a limit of minutes keeps: by their ids alone."""

from __future__ import annotations

from vqspeech.audio import open_audio
from vqspeech.config import DataConfig
from vqspeech.data.corpora import Utterance, split_of, stable_share
from vqspeech.errors import AudioError


def assign_splits(data: DataConfig, utterances: list[Utterance]) -> list[str]:
    """Official splits, else those of the hash; a wanted split left empty gets the train utterance next in line.

    Of speakers whose voices are not learned everything is trained on: they cannot be judged.
    """
    splits = [
        "train"
        if data.voices and utterance.speaker not in data.voices
        else utterance.split or split_of(utterance.utterance, data)
        for utterance in utterances
    ]
    if any(utterance.split for utterance in utterances):
        return splits
    for split, share in (("test", data.test_share), ("valid", data.valid_share)):
        train = [
            position
            for position, name in enumerate(splits)
            if name == "train" and (not data.voices or utterances[position].speaker in data.voices)
        ]
        if share and split not in splits and len(train) > 1:
            splits[min(train, key=lambda position: stable_share(utterances[position].utterance))] = split
    return splits


def limit_duration(utterances: list[Utterance], most_s: float) -> list[Utterance]:
    """At most `most_s` seconds a speaker, by the headers, in an order that depends on the ids alone."""
    spent: dict[str, float] = {}
    kept = []
    for utterance in sorted(utterances, key=lambda utterance: stable_share(utterance.utterance)):
        duration_s = utterance.duration_s
        if duration_s is None:
            try:
                with open_audio(utterance.audio) as reader:
                    duration_s = reader.duration_s
            except AudioError:
                duration_s = 0.0  # kept, so that preparation lists it
        total = spent.get(utterance.speaker, 0.0) + duration_s
        if total <= most_s:
            spent[utterance.speaker] = total
            kept.append(utterance)
    return sorted(kept, key=lambda utterance: utterance.utterance)
