"""Long-term prediction: a pass of the WaveNet sees the samples around one pitch period ago."""

import pytest
import torch

from vqspeech.nn.wavenet import WaveNet

CLASSES, C, HOP = 11, 3, 8
BUNCHES = (1, 2, 4)


def make_wavenet(bunch=1, taps=6, longest=12) -> WaveNet:
    torch.manual_seed(0)
    return WaveNet(CLASSES, CLASSES, 6, 10, 1, 3, C, bunch, taps, longest).double().eval()


def make_input(frames=6, seed=1) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes one position earlier, and conditioning frames, of which every third has no period."""
    generator = torch.Generator().manual_seed(seed)
    previous = torch.randint(CLASSES, (2, frames * HOP), generator=generator)
    periods = torch.randint(7, 13, (2, frames, 1), generator=generator).double()
    periods[:, ::3] = 0
    return previous, torch.cat([torch.randn(2, frames, C, generator=generator, dtype=torch.float64), periods], 2)


@pytest.mark.parametrize("bunch", BUNCHES)
def test_a_pass_is_told_the_samples_around_one_period_ago(bunch):
    """By hand: the first layer's input, sample by sample and table by table."""
    wavenet = make_wavenet(bunch)
    previous, condition = make_input()
    seen = []
    wavenet.layers[0].forward = lambda x, *others: (seen.append(x), (x, torch.zeros_like(x)))[1]
    wavenet(previous, condition)
    tables = wavenet.period_ago.weight.detach().unflatten(0, (6, CLASSES + 1))
    own = wavenet.embedding.weight.detach().unflatten(0, (bunch, CLASSES))
    first = {1: -2, 2: -2, 4: -1}[bunch]  # six samples with the K of the pass in their middle
    for row in range(2):
        spoken = previous[row, 1:].tolist()  # class of sample t
        for n in range(previous.shape[1] // bunch):
            begin = n * bunch
            before = [spoken[t] if t >= 0 else int(previous[row, 0]) for t in range(begin - bunch, begin)]
            expected = sum(own[place, c] for place, c in enumerate(before))
            period = int(condition[row, begin // HOP, -1])
            for tap in range(6):
                t = begin - period + first + tap
                c = CLASSES if not period else spoken[t] if t >= 0 else int(previous[row, 0])
                expected = expected + tables[tap, c]
            torch.testing.assert_close(seen[0][row, n], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("bunch", BUNCHES)
def test_one_step_at_a_time_equals_parallel_forward(bunch):
    wavenet = make_wavenet(bunch)
    previous, condition = make_input(frames=12)
    with torch.no_grad():
        expected = wavenet(previous, condition)
        frames, periods = wavenet.split(condition)
        biases, state = wavenet.layer_conditions(frames), wavenet.initial_state(2)
        logits = [
            wavenet.step(previous[:, t], biases[:, t // HOP], state, periods[:, t // HOP])
            for t in range(previous.shape[1])
        ]
    torch.testing.assert_close(torch.stack(logits, 1), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("bunch", BUNCHES)
@pytest.mark.parametrize("period", [0.0, 1.0, 5.0, 12.0])
def test_future_samples_do_not_change_present_logits(bunch, period):
    """Not even with a period so short that its taps would reach beyond the present."""
    wavenet = make_wavenet(bunch)
    previous, condition = make_input()
    condition[..., -1] = period
    for t in (0, 13, 40):
        changed = previous.clone()
        changed[:, t:] = (changed[:, t:] + 1) % CLASSES
        with torch.no_grad():
            before, after = wavenet(previous, condition), wavenet(changed, condition)
        assert torch.equal(before[:, :t], after[:, :t])


def test_a_period_reaches_farther_than_the_layers():
    wavenet = WaveNet(CLASSES, CLASSES, 6, 10, 1, 1, C, 1, 3, 30).double().eval()
    # Of this pass 30 samples ago and one more on either side, and the same of the pass before, which the layer sees.
    assert wavenet.receptive_field == 32
    previous = torch.zeros(1, 64, dtype=torch.long)
    condition = torch.randn(1, 1, C + 1, dtype=torch.float64)
    condition[..., -1] = 30
    changed = previous.repeat(64, 1)
    changed.fill_diagonal_(1)
    with torch.no_grad():
        moved = (wavenet(changed, condition.expand(64, -1, -1)) - wavenet(previous, condition))[:, -1].abs().amax(1)
    # previous[i] is sample i - 1; predicted is sample 63, from 62 and 61, 32 to 34 and 31 to 33
    assert (moved > 1e-12).nonzero()[:, 0].tolist() == [32, 33, 34, 35, 62, 63]


def test_without_taps_the_weights_are_those_that_older_models_have():
    names = set(WaveNet(CLASSES, CLASSES, 6, 10, 1, 3, C).state_dict())
    assert set(make_wavenet().state_dict()) - names == {"period_ago.weight"}
