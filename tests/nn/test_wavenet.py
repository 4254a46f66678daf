"""WaveNet: causal, exactly as far-sighted as published, and the same one position at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.nn.wavenet import WaveNet

CLASSES, OUTPUTS, R, S, C = 11, 7, 6, 10, 3


def make_wavenet(cycles=2, layers=3, dtype=torch.float64, seed=0) -> WaveNet:
    torch.manual_seed(seed)
    return WaveNet(CLASSES, OUTPUTS, R, S, cycles, layers, C).to(dtype).eval()


def make_input(batch, frames, hop, dtype=torch.float64, seed=1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    previous = torch.randint(CLASSES, (batch, frames * hop), generator=generator)
    return previous, torch.randn(batch, frames, C, generator=generator, dtype=dtype)


def naive_logits(wavenet: WaveNet, previous: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """One utterance by the paper's equations, sample by sample and layer by layer: (T,), (N, C) -> (T, Q).

    tanh(W_f * x + V_f h) . sigmoid(W_g * x + V_g h) [WaveNet §2.5]; residual and skip by 1x1 convolutions, fig. 4.
    """
    weights = {name: tensor.numpy() for name, tensor in wavenet.state_dict().items()}
    hop, num_layers = len(previous) // len(condition), len(wavenet.dilations)
    signals = np.zeros((num_layers, len(previous), R))  # each layer's input
    logits = np.zeros((len(previous), OUTPUTS))
    for t, label in enumerate(previous):
        signals[0, t] = weights["embedding.weight"][label]
        biases = weights["condition.weight"] @ condition[t // hop] + weights["condition.bias"]  # (L * 2R,)
        skips = weights["skip.bias"].copy()
        for i in range(num_layers):
            dilation = 2 ** (i % (num_layers // 2))
            now = signals[i, t]
            past = signals[i, t - dilation] if t >= dilation else np.zeros(R)
            z = weights[f"layers.{i}.past.weight"] @ past + weights[f"layers.{i}.present.weight"] @ now
            z += biases[2 * R * i : 2 * R * (i + 1)]
            gated = np.tanh(z[:R]) / (1 + np.exp(-z[R:]))
            if i < num_layers - 1:
                signals[i + 1, t] = (now + weights[f"layers.{i}.residual.weight"] @ gated) / math.sqrt(2)
            skips += weights["skip.weight"][:, R * i : R * (i + 1)] @ gated
        hidden = np.maximum(skips / math.sqrt(num_layers), 0)
        hidden = np.maximum(weights["head_hidden.weight"] @ hidden + weights["head_hidden.bias"], 0)
        logits[t] = weights["head.weight"] @ hidden + weights["head.bias"]
    return logits


def test_forward_equals_a_naive_loop_of_the_equations():
    wavenet = make_wavenet(cycles=2, layers=3)
    previous, condition = make_input(1, 6, 5)
    with torch.no_grad():
        logits = wavenet(previous, condition)[0].numpy()
    np.testing.assert_allclose(logits, naive_logits(wavenet, previous[0].numpy(), condition[0].numpy()), atol=1e-12)


def test_one_step_at_a_time_equals_parallel_forward():
    wavenet = make_wavenet(cycles=2, layers=4, dtype=torch.float32)
    previous, condition = make_input(3, 20, 4, torch.float32)
    with torch.no_grad():
        expected = wavenet(previous, condition)
        biases, state = wavenet.layer_conditions(condition), wavenet.initial_state(3)
        logits = torch.stack([wavenet.step(previous[:, t], biases[:, t // 4], state) for t in range(80)], dim=1)
    assert (logits - expected).abs().max() <= 1e-4


@given(t=st.integers(0, 39), seed=st.integers(0, 100))
def test_future_samples_do_not_change_present_logits(t, seed):
    wavenet = make_wavenet()
    previous, condition = make_input(1, 10, 4, seed=seed)
    changed = previous.clone()
    changed[:, t:] = (changed[:, t:] + 1) % CLASSES  # previous[t] is sample t - 1
    with torch.no_grad():
        before, after = wavenet(previous, condition), wavenet(changed, condition)
    assert torch.equal(before[:, :t], after[:, :t])
    assert not torch.equal(before[:, t], after[:, t])


@pytest.mark.parametrize(("cycles", "layers"), [(1, 1), (1, 4), (2, 3), (3, 2)])
def test_receptive_field_is_exact(cycles, layers):
    wavenet = make_wavenet(cycles, layers)
    field = wavenet.receptive_field
    assert field == 1 + cycles * (2**layers - 1)  # 1 + sum of the dilations
    num = field + 5
    previous, condition = make_input(1, 1, num)
    inputs: list[torch.Tensor] = []

    def keep(module, arguments, output):
        output.retain_grad()
        inputs.append(output)
        return output

    wavenet.embedding.register_forward_hook(keep)
    wavenet(previous, condition)[0, -1].pow(2).sum().backward()
    seen = inputs[0].grad[0].abs().sum(-1) > 0  # previous[i] is sample i - 1, so sample t - 1 is the last entry
    assert seen.tolist() == [False] * (num - field) + [True] * field


@pytest.mark.parametrize(
    ("cycles", "layers", "published"),
    [
        (1, 10, 1024),  # "1, 2, 4, ..., 512 ... has receptive field of size 1024" [WaveNet §2.1]
        (2, 10, 2047),  # 1 + 2 x 1023: two such blocks
        (3, 10, 3070),
    ],
)
def test_receptive_fields_are_the_published_ones(cycles, layers, published):
    assert WaveNet(2, 2, 1, 1, cycles, layers, 1).receptive_field == published


def test_one_conditioning_frame_serves_the_samples_of_its_hop():
    wavenet, hop = make_wavenet(), 4
    previous, condition = make_input(1, 6, hop)
    with torch.no_grad():
        by_frame = wavenet(previous, condition)
        by_sample = wavenet(previous, condition.repeat_interleave(hop, dim=1))
        condition[:, 3] += 1
        changed = wavenet(previous, condition)
    torch.testing.assert_close(by_frame, by_sample, atol=1e-12, rtol=0)
    first = int((changed != by_frame).any(-1)[0].nonzero()[0])
    assert first == 3 * hop


def test_utterances_of_a_batch_do_not_see_each_other():
    wavenet = make_wavenet()
    previous, condition = make_input(3, 5, 4)
    with torch.no_grad():
        together = wavenet(previous, condition)
        alone = torch.cat([wavenet(previous[i : i + 1], condition[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)


def test_the_state_of_incremental_sampling_does_not_grow():
    wavenet = make_wavenet()
    state = wavenet.initial_state(2)
    sizes = [buffer.shape for buffer in state.buffers]
    with torch.no_grad():
        biases = wavenet.layer_conditions(torch.zeros(2, 1, C, dtype=torch.float64))[:, 0]
        for _ in range(30):
            wavenet.step(torch.zeros(2, dtype=torch.long), biases, state)
    assert [buffer.shape for buffer in state.buffers] == sizes == [(2, d, R) for d in (1, 2, 4, 1, 2, 4)]
