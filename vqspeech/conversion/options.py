"""How a decoder samples, whoever speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vqspeech.models.vqvae import VQVAE
from vqspeech.sampling.engines import get_engine
from vqspeech.sampling.interface import Sampler


@dataclass(frozen=True)
class SamplingOptions:
    """How codes are turned into sound.

    Attributes
    ----------
    seed : of the random numbers
    temperature : divides the logits; below 1 is calmer, 0 takes the likeliest class; None: the model's own
    engine : "auto", "torch" or "numba"
    precision : of the products, "auto", "float32", "float16" or "bfloat16", see `get_engine`
    split : whether a recording may be cut at pauses into parts that are sampled side by side, see `cuts`
    """

    seed: int = 0
    temperature: float | None = None
    engine: str = "auto"
    precision: str = "auto"
    split: bool = True


DEFAULT_OPTIONS = SamplingOptions()


def draws_of(model: VQVAE, options: SamplingOptions) -> dict[str, Any]:
    """Seed and temperature: what is asked for, else what the model's recipe names."""
    return {"seed": options.seed, "temperature": temperature_of(model, options.temperature)}


def temperature_of(model: VQVAE, asked: float | None) -> float:
    """The temperature that is asked for, else the one that the model's recipe names."""
    return model.recipe.sampling.temperature if asked is None else asked


def load_sampler(model: VQVAE, options: SamplingOptions) -> Sampler:
    """The decoder of a model, laid out for sampling with these options."""
    return get_engine(options.engine, options.precision).load(model.wavenet, model.hop_length)
