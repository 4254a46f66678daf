"""Recipes: TOML files parsed into frozen models that refuse what they do not know."""

from vqspeech.config.reading import load_recipe, parse_recipe, parse_stored_recipe
from vqspeech.config.recipe import (
    BottleneckConfig,
    DataConfig,
    DecoderConfig,
    EncoderConfig,
    LossConfig,
    PerturbationConfig,
    PriorConfig,
    Recipe,
    SamplingConfig,
    TrainConfig,
)

__all__ = [
    "BottleneckConfig",
    "DataConfig",
    "DecoderConfig",
    "EncoderConfig",
    "LossConfig",
    "PerturbationConfig",
    "PriorConfig",
    "Recipe",
    "SamplingConfig",
    "TrainConfig",
    "load_recipe",
    "parse_recipe",
    "parse_stored_recipe",
]
