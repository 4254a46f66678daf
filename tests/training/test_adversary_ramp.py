"""The adversary's scale over the first steps of a training."""

import pytest
import torch

from vqspeech.config import parse_recipe
from vqspeech.models.vqvae import VQVAE
from vqspeech.training.acceleration import Acceleration
from vqspeech.training.vqvae import VQVAETask

EAGER = Acceleration("cpu", bfloat16=False, compile=False, notices=())


def test_the_adversarys_ramp_starts_from_nearly_nothing(store, tiny_values):
    values = tiny_values | {"loss": tiny_values["loss"] | {"adversary_ramp": 4}}
    seen = []
    torch.manual_seed(0)
    task = VQVAETask(VQVAE(parse_recipe(values, "test"), store.speakers), store, EAGER)
    task.vqvae.adversary.register_forward_pre_hook(lambda module, given: seen.append(given[2]))
    for step in range(6):
        task.losses(step)
    assert seen == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])  # quarters of loss.adversary = 0.1
