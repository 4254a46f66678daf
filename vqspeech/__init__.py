"""vqspeech: learn speech units from raw audio and swap voices without transcripts.

VQ-VAE with a WaveNet decoder (van den Oord et al. 2017, arXiv 1711.00937).

Examples
--------
>>> import vqspeech
>>> model = vqspeech.load_model("runs/fsdd")  # doctest: +SKIP
>>> wav = vqspeech.load_audio("in.wav", model.sample_rate)  # doctest: +SKIP
>>> vqspeech.save_audio("out.wav", vqspeech.convert(model, wav, "theo"), model.sample_rate)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vqspeech import processor

__version__ = "0.1.0"
processor.limit()  # before torch and numba look at the processor

if TYPE_CHECKING:
    from vqspeech.audio import load_audio as load_audio
    from vqspeech.audio import save_audio as save_audio
    from vqspeech.config import load_recipe as load_recipe
    from vqspeech.conversion import convert as convert
    from vqspeech.conversion import decode as decode
    from vqspeech.enrolment import enroll as enroll
    from vqspeech.pretrained.example import example_recording as example_recording
    from vqspeech.pretrained.registry import load_model as load_model
    from vqspeech.training.start import train as train

# Names and the rooms they live in; a room is entered (and torch imported) when its name is first used.
_HOMES = {
    "load_audio": "vqspeech.audio",
    "save_audio": "vqspeech.audio",
    "load_model": "vqspeech.pretrained.registry",
    "load_recipe": "vqspeech.config",
    "convert": "vqspeech.conversion",
    "decode": "vqspeech.conversion",
    "enroll": "vqspeech.enrolment",
    "example_recording": "vqspeech.pretrained.example",
    "train": "vqspeech.training.start",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vqspeech' has no attribute {name!r}")
