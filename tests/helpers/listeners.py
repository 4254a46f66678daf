"""Small listening tests and listeners for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vqspeech.audio import save_audio
from vqspeech.listening import KindName
from vqspeech.listening.answers import Answer
from vqspeech.listening.design.export import Exported, export
from vqspeech.listening.key import Key
from vqspeech.listening.kinds import KINDS


def systems_folder(folder: Path, kind: KindName, items: int = 4, seconds: float = 0.15) -> Path:
    """Folder with the subfolders that a kind asks for, of short tones in noise."""
    names = {"mushra": ("reference", "alpha"), "similarity": ("target", "alpha"), "abx": ("source", "target", "alpha")}
    for number, system in enumerate(names.get(kind, ("alpha", "beta"))):
        for item in range(items):
            t = np.arange(int(8000 * seconds)) / 8000
            noise = np.random.default_rng([number, item]).normal(0, 0.02, len(t))
            wav = 0.1 * np.sin(2 * np.pi * (300 + 100 * item + 30 * number) * t) + noise
            save_audio(folder / system / f"item{item}.wav", wav.astype(np.float32), 8000)
    return folder


def a_test(folder: Path, kind: KindName, *, trials: int = 1, listeners: int = 4) -> Exported:
    """A test in folder/KIND: with one trial a practice page, the trial and an attention check."""
    stimuli = systems_folder(folder / "stimuli", kind)
    return export(None, kind=kind, stimuli=stimuli, out=folder / kind, trials=trials, listeners=listeners)


def answer_to(key: Key, trial: str, comment: str = "") -> Answer:
    """An answer that the page could give."""
    rated = key.trials[trial].rated
    if scale := KINDS[key.kind].scale:
        return Answer(trial=trial, ratings=dict.fromkeys(rated, scale[1] - 1), milliseconds=5, comment=comment)
    return Answer(trial=trial, choice=rated[0], milliseconds=5, comment=comment)
