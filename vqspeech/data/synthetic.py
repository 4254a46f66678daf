"""Made-up speech of a recipe's format, for timing: speed does not depend on what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vqspeech.audio import save_audio
from vqspeech.config import Recipe
from vqspeech.data.preparation import prepare_store
from vqspeech.data.store import Store

DIGIT_S = (0.3, 0.6)  # FSDD's words
SENTENCE_S = (1.5, 5.0)  # of the others


def make_store(recipe: Recipe, folder: Path, speakers: int = 6, utterances: int = 20) -> Store:
    """Prepare tones with noise, of FSDD's lengths or those of sentences, below `folder`.

    Parameters
    ----------
    recipe : whose sample rate and settings of preparation are used
    folder : gets wav/ and store/
    speakers, utterances : how many, and how many of each
    """
    random = np.random.default_rng(0)
    rate = recipe.data.sample_rate
    shortest, longest = DIGIT_S if recipe.data.corpus == "fsdd" else SENTENCE_S
    for speaker in range(speakers):
        for utterance in range(utterances):
            t = np.arange(int(rate * random.uniform(shortest, longest))) / rate
            wav = 0.3 * np.sin(2 * np.pi * (100 + 20 * speaker) * t) + 0.02 * random.standard_normal(len(t))
            save_audio(folder / "wav" / f"speaker{speaker}" / f"{utterance}.wav", wav, rate)
    changes = {"corpus": "folder", "valid_share": 0.4, "test_share": 0.0, "leave_out": (), "voices": (), "trim_db": 0.0}
    prepare_store(recipe.data.model_copy(update=changes), folder / "wav", folder / "store", num_workers=1)
    return Store.open(folder / "store")
