"""vqspeech: learn speech units from raw audio and swap voices without transcripts.

VQ-VAE with a WaveNet decoder (van den Oord et al. 2017, arXiv 1711.00937).

Examples
--------
>>> import vqspeech
>>> model = vqspeech.load_model("fsdd")
>>> wav = vqspeech.load_audio(vqspeech.example_recording(), model.sample_rate)
>>> vqspeech.save_audio("out.wav", vqspeech.convert(model, wav, "theo"), model.sample_rate)
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
    from vqspeech.compression import compress as compress
    from vqspeech.compression import decompress as decompress
    from vqspeech.config import load_recipe as load_recipe
    from vqspeech.conversion import convert as convert
    from vqspeech.conversion import convert_stream as convert_stream
    from vqspeech.conversion import decode as decode
    from vqspeech.conversion import encode as encode
    from vqspeech.data.prepare import prepare as prepare
    from vqspeech.enrolment import enroll as enroll
    from vqspeech.evaluation.evaluate import evaluate as evaluate
    from vqspeech.generation import sample as sample
    from vqspeech.pretrained.example import example_recording as example_recording
    from vqspeech.pretrained.registry import load_model as load_model
    from vqspeech.training.start import train as train

# Names and the rooms they live in; a room is entered (and torch imported) when its name is first used.
_HOMES = {
    "load_audio": "vqspeech.audio",
    "save_audio": "vqspeech.audio",
    "load_recipe": "vqspeech.config",
    "load_model": "vqspeech.pretrained.registry",
    "example_recording": "vqspeech.pretrained.example",
    "encode": "vqspeech.conversion",
    "decode": "vqspeech.conversion",
    "convert": "vqspeech.conversion",
    "convert_stream": "vqspeech.conversion",
    "compress": "vqspeech.compression",
    "decompress": "vqspeech.compression",
    "sample": "vqspeech.generation",
    "prepare": "vqspeech.data.prepare",
    "train": "vqspeech.training.start",
    "enroll": "vqspeech.enrolment",
    "evaluate": "vqspeech.evaluation.evaluate",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vqspeech' has no attribute {name!r}")
