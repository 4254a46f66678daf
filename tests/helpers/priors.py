"""Small priors over codes, untrained but lively: what they draw depends on their past and on the speaker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vqspeech.config import PriorConfig
from vqspeech.models.prior import Prior
from vqspeech.pretrained.cards import ModelCard, PriorCard
from vqspeech.pretrained.checkpoint import MODEL_FILE, PRIOR_FILE, save_model, save_prior

SIZE = {"residual_channels": 8, "skip_channels": 8, "cycles": 1, "layers_per_cycle": 3, "speaker_dim": 4}


def make_prior(model: Any, seed: int = 0, stop_bias: float = 0.0, **changes: Any) -> Prior:
    """A prior over a model's codes; a larger `stop_bias` ends utterances earlier."""
    recipe = model.recipe.model_copy(update={"prior": PriorConfig(**(SIZE | changes))})
    torch.manual_seed(seed)
    prior = Prior(recipe, model.num_codes, model.speakers).eval()
    with torch.no_grad():
        for parameter in prior.wavenet.parameters():
            parameter.mul_(2)
        prior.wavenet.head.weight.mul_(4)
        prior.wavenet.head.bias[prior.stop] += stop_bias
    return prior.requires_grad_(False)


def make_flat_prior(model: Any, logits: list[float]) -> Prior:
    """A prior whose codes are independent of everything: these logits at every position, the stop symbol's last."""
    prior = make_prior(model)
    with torch.no_grad():
        prior.wavenet.head.weight.zero_()
        prior.wavenet.head.bias.copy_(torch.tensor(logits))
    return prior


def write_run(folder: Path, model: Any, prior: Prior | None) -> Path:
    """A run folder with a model and, if there is one, its prior."""
    save_model(folder / MODEL_FILE, model.state_dict(), ModelCard(model.recipe, model.speakers, version="0.1.0"))
    if prior is not None:
        card = PriorCard(prior.recipe, model.speakers, model.codes_id(), model.num_codes, version="0.1.0")
        save_prior(folder / PRIOR_FILE, prior.state_dict(), card)
    return folder
