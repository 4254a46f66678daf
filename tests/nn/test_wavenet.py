"""WaveNet: causal, exactly as far-sighted as published, and the same one position at a time, one or several a pass."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.nn.wavenet import WaveNet

CLASSES, OUTPUTS, R, S, C = 11, 7, 6, 10, 3
BUNCHES = (1, 2, 4)  # samples a pass


def make_wavenet(cycles=2, layers=3, dtype=torch.float64, seed=0, bunch=1) -> WaveNet:
    torch.manual_seed(seed)
    return WaveNet(CLASSES, OUTPUTS, R, S, cycles, layers, C, bunch).to(dtype).eval()


def make_input(batch, frames, hop, dtype=torch.float64, seed=1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    previous = torch.randint(CLASSES, (batch, frames * hop), generator=generator)
    return previous, torch.randn(batch, frames, C, generator=generator, dtype=dtype)


def naive_logits(wavenet: WaveNet, previous: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """One utterance by the paper's equations, pass by pass and layer by layer: (T,), (N, C) -> (T, Q).

    tanh(W_f * x + V_f h) . sigmoid(W_g * x + V_g h) [WaveNet §2.5]; residual and skip by 1x1 convolutions, fig. 4. A
    pass sees the samples of the pass before, and gives its own one after the other.
    """
    weights = {name: tensor.numpy() for name, tensor in wavenet.state_dict().items()}
    bunch, num_layers = wavenet.samples_per_step, len(wavenet.dilations)
    passes = len(previous) // bunch
    classes = [previous[0]] * bunch + previous[1:].tolist()  # class t at index t + K
    signals = np.zeros((num_layers, passes, R))  # each layer's input
    logits = np.zeros((len(previous), OUTPUTS))
    for t in range(passes):
        for place in range(bunch):
            signals[0, t] += weights["embedding.weight"][place * CLASSES + classes[t * bunch + place]]
        frame = t * len(condition) // passes
        biases = weights["condition.weight"] @ condition[frame] + weights["condition.bias"]  # (L * 2R,)
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
        inner = np.maximum(skips / math.sqrt(num_layers), 0)
        table = 0
        for place in range(bunch):
            own, outputs = slice(place * S, (place + 1) * S), slice(place * OUTPUTS, (place + 1) * OUTPUTS)
            hidden = weights["head_hidden.weight"][own] @ inner + weights["head_hidden.bias"][own]
            for before in range(place):
                hidden += weights["drawn.weight"][table * CLASSES + classes[(t + 1) * bunch + before]]
                table += 1
            hidden = np.maximum(hidden, 0)
            logits[t * bunch + place] = weights["head.weight"][outputs] @ hidden + weights["head.bias"][outputs]
    return logits


@pytest.mark.parametrize("bunch", BUNCHES)
def test_forward_equals_a_naive_loop_of_the_equations(bunch):
    wavenet = make_wavenet(cycles=2, layers=3, bunch=bunch)
    previous, condition = make_input(1, 12, 4)
    with torch.no_grad():
        logits = wavenet(previous, condition)[0].numpy()
    np.testing.assert_allclose(logits, naive_logits(wavenet, previous[0].numpy(), condition[0].numpy()), atol=1e-12)


@pytest.mark.parametrize("bunch", BUNCHES)
def test_one_step_at_a_time_equals_parallel_forward(bunch):
    wavenet = make_wavenet(cycles=2, layers=4, dtype=torch.float32, bunch=bunch)
    previous, condition = make_input(3, 20, 4, torch.float32)
    with torch.no_grad():
        expected = wavenet(previous, condition)
        biases, state = wavenet.layer_conditions(condition), wavenet.initial_state(3)
        logits = torch.stack([wavenet.step(previous[:, t], biases[:, t // 4], state) for t in range(80)], dim=1)
    assert (logits - expected).abs().max() <= 1e-4


@given(t=st.integers(0, 39), seed=st.integers(0, 100), bunch=st.sampled_from(BUNCHES))
def test_future_samples_do_not_change_present_logits(t, seed, bunch):
    wavenet = make_wavenet(bunch=bunch)
    previous, condition = make_input(1, 10, 4, seed=seed)
    changed = previous.clone()
    changed[:, t:] = (changed[:, t:] + 1) % CLASSES  # previous[t] is sample t - 1
    with torch.no_grad():
        before, after = wavenet(previous, condition), wavenet(changed, condition)
    assert torch.equal(before[:, :t], after[:, :t])
    assert not torch.equal(before[:, t], after[:, t])


@pytest.mark.parametrize("bunch", BUNCHES)
@pytest.mark.parametrize(("cycles", "layers"), [(1, 1), (1, 4), (2, 3), (3, 2)])
def test_receptive_field_is_exact(cycles, layers, bunch):
    wavenet = make_wavenet(cycles, layers, bunch=bunch)
    field = wavenet.receptive_field
    passes = 1 + cycles * (2**layers - 1)  # 1 + sum of the dilations
    assert field == passes * bunch + bunch - 1  # the last of a bunch sees the others of it too
    num = (passes + 5) * bunch
    previous, condition = make_input(1, 1, num)
    changed = previous.repeat(num, 1)
    changed.diagonal()[:] = (previous[0] + 1) % CLASSES
    with torch.no_grad():
        changes = wavenet(changed, condition.expand(num, -1, -1))[:, -1] - wavenet(previous, condition)[:, -1]
    seen = changes.abs().amax(-1) > 1e-12
    # previous[i] is sample i - 1, so sample t - 1 is the last entry
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


@pytest.mark.parametrize("bunch", BUNCHES)
def test_one_conditioning_frame_serves_the_samples_of_its_hop(bunch):
    wavenet, hop = make_wavenet(bunch=bunch), 8
    previous, condition = make_input(1, 6, hop)
    with torch.no_grad():
        by_frame = wavenet(previous, condition)
        by_pass = wavenet(previous, condition.repeat_interleave(hop // bunch, dim=1))
        condition[:, 3] += 1
        changed = wavenet(previous, condition)
    torch.testing.assert_close(by_frame, by_pass, atol=1e-12, rtol=0)
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


@pytest.mark.parametrize("bunch", BUNCHES)
def test_a_window_gives_the_logits_of_the_whole_after_a_receptive_field(bunch):
    wavenet, hop = make_wavenet(layers=2, bunch=bunch), 4
    previous, condition = make_input(1, 20, hop)
    with torch.no_grad():
        whole, window = wavenet(previous, condition), wavenet(previous[:, 5 * hop :], condition[:, 5:])
    before = -(-wavenet.receptive_field // hop) * hop
    torch.testing.assert_close(window[:, before:], whole[:, 5 * hop + before :], atol=1e-12, rtol=0)


def test_one_sample_a_pass_has_the_weights_that_older_models_have():
    shapes = {name: tuple(tensor.shape) for name, tensor in make_wavenet(1, 1).state_dict().items()}
    layers = len(make_wavenet(1, 1).dilations)
    assert shapes == {
        "embedding.weight": (CLASSES, R),
        "condition.weight": (layers * 2 * R, C),
        "condition.bias": (layers * 2 * R,),
        "layers.0.past.weight": (2 * R, R),
        "layers.0.present.weight": (2 * R, R),
        "skip.weight": (S, layers * R),
        "skip.bias": (S,),
        "head_hidden.weight": (S, S),
        "head_hidden.bias": (S,),
        "head.weight": (OUTPUTS, S),
        "head.bias": (OUTPUTS,),
    }


@pytest.mark.parametrize("bunch", BUNCHES)
def test_probabilities_of_all_continuations_sum_to_one(bunch):
    """The factorisation is exact: p of a bunch, given what lies before it, is a distribution over its sequences."""
    torch.manual_seed(0)
    wavenet = WaveNet(2, 2, R, S, 1, 2, C, bunch).double()
    sequences = torch.cartesian_prod(*[torch.arange(2)] * 4)  # (16, 4): all that may follow
    previous = torch.cat([torch.zeros(16, 1, dtype=torch.long), sequences[:, :-1]], dim=1)
    with torch.no_grad():
        logits = wavenet(previous, torch.randn(1, 1, C, dtype=torch.float64).expand(16, -1, -1))
    log_p = logits.log_softmax(-1).gather(-1, sequences[..., None])[..., 0].sum(1)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-12)
    assert log_p.std() > 0.01


@pytest.mark.parametrize("bunch", BUNCHES)
def test_class_frequencies_are_what_it_says_before_it_has_learned(bunch):
    wavenet = make_wavenet(bunch=bunch)
    counts = torch.tensor([0, 5, 9, 1, 0, 2, 6])
    wavenet.set_class_frequencies(counts)
    torch.nn.init.zeros_(wavenet.head.weight)
    with torch.no_grad():
        probabilities = wavenet(*make_input(1, 2, 4)).softmax(-1)
    expected = torch.tensor([1, 6, 10, 2, 1, 3, 7]) / 30
    torch.testing.assert_close(probabilities, expected.double().expand(1, 8, -1))
