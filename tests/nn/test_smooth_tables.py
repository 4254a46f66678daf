"""Tables begin smooth over mu-law classes, as large as random ones, and random all the same."""

from __future__ import annotations

import math

import pytest
import torch

from vqspeech.nn.smooth_tables import begin_smoothly, input_functions, output_functions
from vqspeech.nn.wavenet import WaveNet

R, S = 24, 40


def begun(bunch: int, seed: int = 0) -> WaveNet:
    torch.manual_seed(seed)
    wavenet = WaveNet(256, 256, R, S, 1, 2, 3, bunch)
    begin_smoothly(wavenet)
    return wavenet


def tables_of(wavenet: WaveNet) -> dict[str, torch.Tensor]:
    """Each (tables, 256, channels)."""
    found = {"embedding": wavenet.embedding, "head": wavenet.head} | ({"drawn": wavenet.drawn} if wavenet.drawn else {})
    return {name: part.weight.detach().unflatten(0, (-1, 256)) for name, part in found.items()}


@pytest.mark.parametrize("bunch", [1, 2, 4])
def test_neighbouring_classes_begin_alike_and_distant_ones_do_not(bunch):
    for name, tables in tables_of(begun(bunch)).items():
        scale = tables.std()
        assert (tables[:, 1:] - tables[:, :-1]).pow(2).mean().sqrt() < 0.2 * scale, name
        assert (tables[:, 128:] - tables[:, :128]).pow(2).mean().sqrt() > 0.8 * scale, name


@pytest.mark.parametrize("bunch", [1, 2, 4])
def test_tables_have_the_scale_of_random_ones(bunch):
    tables = tables_of(begun(bunch))
    assert tables["embedding"].std() * math.sqrt(bunch) == pytest.approx(1)  # all of a pass together: 1
    assert tables["head"].std() == pytest.approx(1 / math.sqrt(3 * S))  # of uniform ones up to 1 / sqrt(S)


def test_channels_and_seeds_differ():
    wavenet, again, other = begun(4), begun(4), begun(4, seed=1)
    for name, tables in tables_of(wavenet).items():
        assert torch.equal(tables, tables_of(again)[name])
        assert not torch.isclose(tables, tables_of(other)[name]).all(1).any(), name
        columns = tables.transpose(1, 2).flatten(0, 1)  # one for each table and channel
        alike = torch.corrcoef(columns).abs().fill_diagonal_(0)
        assert alike.max() < 0.9999, name


def test_all_but_the_tables_and_the_outputs_bias_is_left_alone():
    torch.manual_seed(0)
    usual = dict(WaveNet(256, 256, R, S, 1, 2, 3, 2).named_parameters())
    for name, parameter in begun(2).named_parameters():
        touched = name in ("embedding.weight", "drawn.weight", "head.weight", "head.bias")
        assert touched != torch.equal(parameter, usual[name]), name


def test_the_functions_are_smooth_and_those_of_the_inputs_have_mean_zero():
    assert input_functions().mean(0).abs().max() < 1e-6
    for functions in (input_functions(), output_functions()):
        steps = (functions[1:] - functions[:-1]).abs().amax(0) / functions.std(0)
        assert steps.max() < 23 * math.pi / 256 * math.sqrt(2) * 1.01  # the fastest cosine's steepest step


def test_codes_of_a_prior_have_no_order_and_are_refused():
    with pytest.raises(AssertionError):
        begin_smoothly(WaveNet(9, 9, R, S, 1, 2, 3))
