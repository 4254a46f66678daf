"""Free-running conversions of a closed corpus, heard by its frozen judges: the right word, the right voice, both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.store import Store
from vqspeech.errors import CorpusError
from vqspeech.evaluation.judges.frozen import FrozenJudges
from vqspeech.evaluation.trials.synthesis import Settings, speak
from vqspeech.models.vqvae import VQVAE
from vqspeech.progress import Advance


@dataclass(frozen=True)
class Shares:
    """Shares of utterances, in [0, 1], and how many were judged.

    Attributes
    ----------
    content : heard as the word that was said
    speaker : heard as the speaker asked for
    both : both at once
    source : heard as the source's speaker (for reconstructions the same as `speaker`)
    count : utterances
    """

    content: float
    speaker: float
    both: float
    source: float
    count: int


def measure_conversions(
    model: VQVAE,
    store: Store,
    judges: FrozenJudges,
    *,
    split: str,
    content_of: Callable[[str], str],
    every: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    precision: str = "auto",
    num_threads: int = 2,
    advance: Advance | None = None,
) -> dict[str, Shares]:
    """Reconstruct and convert a split's utterances free-running, and ask the judges.

    Each utterance is converted to one other speaker, in turn, so that all pairs occur about equally often.

    Parameters
    ----------
    model : VQVAE with the judges' sample rate
    store : prepared corpus
    judges : frozen, trained on real recordings only
    split : "valid" or "test"
    content_of : utterance id to the content judge's class
    every : take every so many utterances
    precision : of sampling, see `get_engine`
    advance : is told the number of reconstructions and conversions done

    Returns
    -------
    shares : "recordings" (the judges' ceiling), "reconstructions" and "conversions"

    Raises
    ------
    CorpusError
        If the store's speakers are not the model's.
    """
    if store.speakers[: store.num_voices] != model.speakers:
        raise CorpusError(
            f"the prepared speech has the voices {', '.join(store.speakers[: store.num_voices][:8])}, the model has "
            f"{', '.join(model.speakers[:8])}: they have to be the same. Give the corpus that the model was trained on"
        )
    if len(model.speakers) < 2:
        raise CorpusError(f"the model has one voice ({model.speakers[0]}): there is nobody else to convert to")
    chosen = list(store.utterances(split))[::every]
    speakers = [store.speaker(index) for index in chosen]
    num_speakers = len(model.speakers)
    targets = [(s + 1 + number % (num_speakers - 1)) % num_speakers for number, s in enumerate(speakers)]
    recordings = {store.utterance_id(index): store.wav(index) for index in chosen}
    own, other = ([(name, model.speakers[v]) for name, v in zip(recordings, of)] for of in (speakers, targets))
    spoken = speak(model, recordings, [*own, *other], Settings(seed, temperature, precision, num_threads), advance)
    said = list(map(content_of, recordings))

    def shares(wavs: list[NDArray[np.float32]], voices: list[int]) -> Shares:
        content = np.array([a == b for a, b in zip(judges.content.predict(wavs), said, strict=True)])
        heard = judges.speaker.predict(wavs)
        speaker = np.array([a == model.speakers[voice] for a, voice in zip(heard, voices, strict=True)])
        source = np.array([a == model.speakers[voice] for a, voice in zip(heard, speakers, strict=True)])
        return Shares(
            content=float(content.mean()),
            speaker=float(speaker.mean()),
            both=float((content & speaker).mean()),
            source=float(source.mean()),
            count=len(wavs),
        )

    return {
        "recordings": shares(list(recordings.values()), speakers),
        "reconstructions": shares([spoken[one] for one in own], speakers),
        "conversions": shares([spoken[one] for one in other], targets),
    }
