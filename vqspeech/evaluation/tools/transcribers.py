"""Recognisers of any words, where they are installed and their weights are here: nothing is downloaded."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech.audio import resampled
from vqspeech.errors import DependencyError
from vqspeech.evaluation.figures.types import Wav
from vqspeech.evaluation.tools.sphinx import RATE, Words, make_decoder, play, to_pcm

_WHISPER_MODELS = ("large-v3-turbo", "medium.en", "small.en", "base.en", "tiny.en", "medium", "small", "base", "tiny")
_PIPELINES = ("WAV2VEC2_ASR_LARGE_960H", "WAV2VEC2_ASR_BASE_960H")


@dataclass(frozen=True)
class Transcriber:
    """A recogniser: its name, and a function of a waveform (T,) and its rate, Hz, to a text."""

    name: str
    hear: Callable[[Wav, int], str]


def find_transcribers() -> tuple[list[Transcriber], list[DependencyError]]:
    """The recognisers that load, and what the others lack."""
    found, lacking = [], []
    for load in (_load_sphinx, _load_whisper, _load_wav2vec2):
        try:
            found.append(load())
        except DependencyError as reason:
            lacking.append(reason)
    return found, lacking


def word_errors(said: Words, heard: Words) -> int:
    """Words to change, leave out or add to make what was heard what was said.

    Raises
    ------
    DependencyError
        If jiwer is not installed.

    Examples
    --------
    >>> word_errors(("the", "cat", "sat"), ("a", "cat", "sat", "down"))
    2
    """
    try:
        import jiwer
    except ImportError:
        raise DependencyError(
            "word errors are counted by jiwer, which is not installed. Install it: pip install 'vqspeech[evaluate]'"
        ) from None
    found = jiwer.process_words(" ".join(said), " ".join(heard))
    return found.substitutions + found.deletions + found.insertions


def _load_sphinx() -> Transcriber:
    """PocketSphinx with its own general language model of US English.

    At most 2,000 states a frame stay in the search, of 30,000 by default: on noise, where all fit alike badly, it is
    four times as fast, and on real recordings not worse (52 against 57 % word errors on seven of VCTK's).
    """
    decoder = make_decoder(maxhmmpf=2000, maxwpf=10)

    def hear(wav: Wav, sample_rate: int) -> str:
        pcm = to_pcm(wav, sample_rate)
        if not pcm:
            return ""
        play(decoder, pcm)
        heard = decoder.hyp()
        return heard.hypstr if heard else ""

    return Transcriber("PocketSphinx", hear)


def _load_whisper() -> Transcriber:
    try:
        whisper: Any = importlib.import_module("whisper")  # has no stubs, and is rarely there
    except Exception as reason:  # noqa: BLE001 - a package that does not load is one that is not at hand
        raise DependencyError("Whisper is not installed; a stronger recogniser: pip install openai-whisper") from reason
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper"
    name = next((name for name in _WHISPER_MODELS if (folder / f"{name}.pt").is_file()), None)
    if name is None:
        raise DependencyError(
            "Whisper is installed without weights, and nothing is downloaded here. Get them once with: "
            "python -c \"import whisper; whisper.load_model('base.en')\""
        )
    model: Any = whisper.load_model(name, device="cpu")

    def hear(wav: Wav, sample_rate: int) -> str:
        return model.transcribe(resampled(wav, sample_rate, RATE), language="en", fp16=False, temperature=0.0)["text"]

    return Transcriber(f"Whisper {name}", hear)


def _load_wav2vec2() -> Transcriber:
    import torch

    from vqspeech.nn.torchaudio_remedy import import_torchaudio

    pipelines: Any = import_torchaudio().pipelines
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    name = next((n for n in _PIPELINES if (folder / str(getattr(pipelines, n)._path)).is_file()), None)
    if name is None:
        raise DependencyError(
            "torchaudio's recognisers have no weights on this machine, and nothing is downloaded here. Get them once "
            f'with: python -c "import torchaudio; torchaudio.pipelines.{_PIPELINES[1]}.get_model()"'
        )
    bundle = getattr(pipelines, name)
    model, labels = bundle.get_model().eval(), bundle.get_labels()

    def hear(wav: Wav, sample_rate: int) -> str:
        with torch.inference_mode():
            scores, _ = model(torch.from_numpy(resampled(wav, sample_rate, RATE))[None])
        return read_ctc(scores[0].argmax(1).numpy(), labels)

    return Transcriber(f"torchaudio {name}", hear)


def read_ctc(classes: np.ndarray, labels: tuple[str, ...]) -> str:
    """Best path of connectionist temporal classification: repeats are one, blanks (class 0) go, "|" is a space.

    Examples
    --------
    >>> read_ctc(np.array([0, 2, 2, 0, 2, 1, 3]), ("-", "|", "A", "B"))
    'AA B'
    """
    kept = [int(c) for n, c in enumerate(classes) if n == 0 or c != classes[n - 1]]
    return "".join(labels[c] for c in kept if c != 0).replace("|", " ").strip()
