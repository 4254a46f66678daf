"""The decoder's parts, as a recipe describes them."""

from __future__ import annotations

from vqspeech.config import Recipe
from vqspeech.mu_law import MU_LAW_CLASSES
from vqspeech.nn.conditioning import Conditioner
from vqspeech.nn.pitch import lag_range
from vqspeech.nn.wavenet import WaveNet


def make_conditioner(recipe: Recipe) -> Conditioner:
    """What turns a recipe's codes and speakers into conditioning frames."""
    decoder = recipe.decoder
    return Conditioner(
        recipe.bottleneck.code_dim,
        decoder.speaker_dim,
        decoder.condition_channels,
        decoder.context_frames,
        decoder.condition_blocks,
    )


def make_wavenet(recipe: Recipe, condition_channels: int) -> WaveNet:
    """A recipe's WaveNet over mu-law classes, for conditioning frames of so many channels."""
    decoder = recipe.decoder
    return WaveNet(
        MU_LAW_CLASSES,
        MU_LAW_CLASSES,
        decoder.residual_channels,
        decoder.skip_channels,
        decoder.cycles,
        decoder.layers_per_cycle,
        condition_channels,
        decoder.samples_per_step,
        decoder.pitch_taps,
        lag_range(recipe.data.sample_rate)[1],
    )
