"""A corpus of tones in memory: each speaker hums at a pitch of their own, so that voices can be checked by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from vqspeech.evaluation.figures.types import Evaluation, Trial

RATE = 8000  # Hz
PITCHES = {"ann": 110.0, "bob": 165.0, "cat": 275.0}  # Hz; no one's harmonics are another's pitch


def hum(pitch: float, seconds: float, *, level: float = 0.2, phase: float = 0.0) -> np.ndarray:
    """Ten harmonics of a pitch, falling by 6 dB an octave."""
    t = np.arange(int(seconds * RATE)) / RATE
    wav = sum(np.sin(2 * np.pi * pitch * k * t + phase * k) / k for k in range(1, 11))
    return (level * wav).astype(np.float32)


class ToneStore:
    """What the measures use of a store; utterances are (id, speaker, text, seconds), given by split."""

    def __init__(self, splits: dict[str, list[tuple[str, str, str | None, float]]], speakers=tuple(PITCHES)) -> None:
        self.speakers = tuple(speakers)
        self.sample_rate = RATE
        self.fingerprint = "tones"
        self.split_sizes = {split: len(splits.get(split, [])) for split in ("train", "valid", "test")}
        self._entries = [entry for split in ("train", "valid", "test") for entry in splits.get(split, [])]
        self.index = {"speaker": np.array([self.speakers.index(entry[1]) for entry in self._entries], int)}

    def utterances(self, split: str) -> range:
        order = ("train", "valid", "test")
        start = sum(self.split_sizes[earlier] for earlier in order[: order.index(split)])
        return range(start, start + self.split_sizes[split])

    def duration_s(self, split: str) -> float:
        return sum(self._entries[index][3] for index in self.utterances(split))

    def speaker(self, index: int) -> int:
        return int(self.index["speaker"][index])

    def utterance_id(self, index: int) -> str:
        return self._entries[index][0]

    def length(self, index: int) -> int:
        return int(self._entries[index][3] * RATE)

    def text(self, index: int) -> str | None:
        return self._entries[index][2]

    def wav(self, index: int, max_samples: int | None = None) -> np.ndarray:
        """As `Store.wav` gives it."""
        return self.read(index, 0, max_samples).astype(np.float32) * np.float32(1 / 32768)

    def read(self, index: int, start: int = 0, length: int | None = None) -> np.ndarray:
        _, speaker, _, seconds = self._entries[index]
        wav = hum(PITCHES[speaker], seconds, phase=index)[start:][:length]
        return np.round(wav * 32767).astype(np.int16)


def make_store(train: int = 12, test: int = 8, seconds: float = 2.0, speakers=tuple(PITCHES), texts=None) -> ToneStore:
    """As many utterances of every speaker in both splits; texts in turn, by default three that all share."""
    said = texts or (lambda speaker, take: f"text {take % 3}")
    splits: dict[str, list[tuple[str, str, str | None, float]]] = {
        split: [
            (f"{name}-{split}-{take}", name, said(name, take), seconds) for name in speakers for take in range(count)
        ]
        for split, count in (("train", train), ("test", test))
    }
    return ToneStore(splits, speakers)


def voice_of(speaker: str, seconds: float) -> np.ndarray:
    """What a perfect conversion to a speaker sounds like."""
    return hum(PITCHES[speaker], seconds)


def make_evaluation(store: ToneStore, convert=None, *, sexes=None, model: Any = None, **changes: Any) -> Evaluation:
    """Every test utterance converted to the other voices in turn.

    `convert` is a function of (source speaker, target, seconds) that gives the conversion, by default a perfect one.
    """
    convert = convert or (lambda speaker, target, seconds: voice_of(target, seconds))
    trials = []
    for number, index in enumerate(store.utterances("test")):
        speaker = store.speakers[store.speaker(index)]
        source = store.read(index).astype(np.float32) / 32768
        others = [name for name in store.speakers if name != speaker] or [speaker]
        target = others[number % len(others)]
        seconds = len(source) / RATE
        trials.append(
            Trial(
                store.utterance_id(index),
                speaker,
                target,
                store.text(index),
                source,
                reconstruction=voice_of(speaker, seconds),
                conversion=convert(speaker, target, seconds),
                mu_law=source,
                shifted=hum(PITCHES[target], seconds, level=0.1),
                random=voice_of(target, seconds),
                codes=np.zeros(4, np.int32),
            )  # fmt: skip
        )
    model = model or SimpleNamespace(
        speakers=store.speakers, recipe=SimpleNamespace(name="tones", data=SimpleNamespace(corpus="folder"))
    )
    settled: dict[str, Any] = {"split": "test", "seed": 0, "sample_rate": RATE, "hop_length": 64, "sexes": sexes or {}}
    return Evaluation(model, store, trials=tuple(trials), **(settled | changes))  # type: ignore[arg-type]
