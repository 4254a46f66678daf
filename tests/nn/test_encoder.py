"""Encoder: frames of a known window, the same however a recording is cut."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqspeech.config import parse_recipe
from vqspeech.models.vqvae import BLOCK_FRAMES, VQVAE
from vqspeech.nn.encoder import Encoder
from vqspeech.nn.mel import LogMel


def make_encoder(strides, residual_blocks=0, norm="none", dtype=torch.float64, **options) -> Encoder:
    torch.manual_seed(0)
    return Encoder(strides, 4, 3, residual_blocks, norm, **options).to(dtype).eval()


INPUTS = {
    "raw": {},
    "log-mel": {"input": "log-mel", "mel_hop": 4, "mel_bands": 8, "strides": [4]},
    "normalised by its past": {"norm": "instance", "norm_frames": 40},
    "log-mel normalised by its past": {
        "input": "log-mel", "mel_hop": 4, "mel_bands": 8, "strides": [4], "norm": "instance", "norm_frames": 40,
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=INPUTS)
def vqvae(tiny_values, request) -> VQVAE:
    """Hop 16, halo (14, 14) + one residual block's 16 on either side; distinct codes for distinct sounds."""
    torch.manual_seed(3)
    values = tiny_values | {"encoder": tiny_values["encoder"] | INPUTS[request.param]}
    model = VQVAE(parse_recipe(values, "test"), ("a", "b")).eval()
    if model.encoder.past:
        model.encoder.past.mean.uniform_(-1, 1)
    with torch.no_grad():
        z_e = model.bottleneck.prepare(model.encoder(torch.randn(1, 4096)))[0]
        model.bottleneck.codebook.copy_(z_e[:: len(z_e) // 8][:8])
    return model


@pytest.mark.parametrize(
    ("strides", "hop"),
    [
        ((2, 2, 2, 2, 2, 2), 64),
        ((4, 4, 4), 64),
        ((2,) * 7, 128),
        ((2, 2, 2, 2, 2, 2, 5), 320),
        ((5, 4, 4, 4), 320),
        ((2, 2, 2, 2, 2, 2, 2, 5), 640),
        ((4, 4, 8, 5), 640),
    ],
)
def test_reduction_is_the_product_of_the_strides(strides, hop):
    encoder = make_encoder(strides)
    assert encoder.hop_length == hop
    left, right = encoder.halo
    assert encoder(torch.zeros(2, left + 3 * hop + right, dtype=torch.float64)).shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("strides", "residual_blocks", "halo"),
    [
        # Window 4 and stride 2: the field grows by 3 x 1, 3 x 2, ... 3 x 32: 1 + 189 = 190 samples, 64 of them its own.
        ((2, 2, 2, 2, 2, 2), 0, (63, 63)),
        # Each residual block sees one frame more on either side: 63 + 2 x 64.
        ((2, 2, 2, 2, 2, 2), 2, (191, 191)),
        # Window 8, stride 4: 1 + 7 (1 + 4 + 16) = 148; 148 - 64 = 84.
        ((4, 4, 4), 0, (42, 42)),
        # Window 10, stride 5: 1 + 9 = 10; 10 - 5 = 5, the odd sample goes to the right.
        ((5,), 0, (2, 3)),
        # Six of 2, then 5: 190 + 9 x 64 = 766; 766 - 320 = 446.
        ((2, 2, 2, 2, 2, 2, 5), 0, (223, 223)),
    ],
)
def test_halo_equals_hand_arithmetic(strides, residual_blocks, halo):
    assert make_encoder(strides, residual_blocks).halo == halo


@pytest.mark.parametrize(
    ("options", "residual_blocks", "halo"),
    [
        # 8 kHz: windows of 256 samples (32 ms), 32 apart. Stride 2, window 4: 256 + 3 x 32 = 352, 64 its own; 288 / 2.
        ({"front": LogMel(8000, 32, 8)}, 0, (144, 144)),
        # One residual block: 64 more on either side.
        ({"front": LogMel(8000, 32, 8)}, 1, (208, 208)),
        # The 9 frames before count for the mean and the variance.
        ({"front": LogMel(8000, 32, 8), "norm": "instance", "norm_frames": 10}, 0, (144 + 9 * 64, 144)),
    ],
)
def test_halo_of_mel_frames_and_of_the_past_equals_hand_arithmetic(options, residual_blocks, halo):
    norm = options.get("norm", "none")
    options = {key: value for key, value in options.items() if key != "norm"}
    encoder = make_encoder((2,), residual_blocks, norm, torch.float32, **options)
    assert encoder.hop_length == 64
    assert encoder.halo == halo
    assert encoder(torch.zeros(1, halo[0] + 3 * 64 + halo[1])).shape == (1, 3, 3)


def test_what_lasts_longer_than_the_window_before_a_frame_changes_nothing():
    encoder = make_encoder((4, 4), 1, "instance", torch.float32, norm_frames=6)
    left, right = encoder.halo
    wav = torch.randn(1, left + 20 * 16 + right)
    changed = wav.clone()
    changed[:, : 10 * 16] = 0.5  # frame 10's halo begins at sample 160
    assert torch.equal(encoder(wav)[:, 10:], encoder(changed)[:, 10:])
    assert not torch.equal(encoder(wav)[:, 9], encoder(changed)[:, 9])


def test_digital_silence_before_a_recording_does_not_count_for_its_statistics():
    encoder = make_encoder((4, 4), 0, "instance", torch.float32, norm_frames=6)
    with torch.no_grad():
        for layer in encoder.strided:
            layer.bias.fill_(0.7)  # silence is not nothing to a layer
    heard = []
    encoder.past.register_forward_pre_hook(lambda module, given: heard.append(given[1]))
    left, right = encoder.halo
    encoder(torch.cat([torch.zeros(1, left), torch.randn(1, 3 * 16 + right)], 1))
    # Positions see 1 + 7 (1 + 4) = 36 samples each, 16 apart; five lie before those of the frames.
    first = [any(s >= left for s in range(16 * n, 16 * n + 36)) for n in range(8)]
    assert heard[0][0].tolist() == first
    assert not all(first)


@pytest.mark.parametrize(("strides", "residual_blocks"), [((2, 2, 2), 0), ((2, 2, 2), 2), ((5, 2), 1), ((4, 8), 1)])
def test_a_frame_depends_on_the_samples_of_its_halo_and_no_others(strides, residual_blocks):
    encoder = make_encoder(strides, residual_blocks)
    (left, right), hop = encoder.halo, encoder.hop_length
    touched = torch.zeros(left + 9 * hop + right, dtype=torch.bool)
    for seed in range(20):  # rectifiers hide a sample now and then
        generator = torch.Generator().manual_seed(seed)
        wav = torch.randn(1, len(touched), generator=generator, dtype=torch.float64, requires_grad=True)
        z_e = encoder(wav)
        assert z_e.shape[1] == 9
        (gradient,) = torch.autograd.grad(z_e[0, 4].sum(), wav)
        touched |= gradient[0] != 0
    # Frame 4's own samples begin 4 hops after the left halo.
    expected = torch.zeros_like(touched)
    expected[4 * hop : 4 * hop + left + hop + right] = True
    assert torch.equal(touched, expected)


def test_strided_layers_equal_a_naive_loop():
    encoder = make_encoder((4, 2))
    wav = torch.randn(1, sum(encoder.halo) + 3 * 8, dtype=torch.float64)
    x = wav[:, None].numpy()[0]
    for layer, stride in zip(encoder.strided, (4, 2), strict=True):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        assert weight.shape[2] == 2 * stride  # window = 2 x stride
        num = (x.shape[1] - 2 * stride) // stride + 1
        columns = [np.tensordot(weight, x[:, n * stride : (n + 2) * stride], 2) + bias for n in range(num)]
        x = np.maximum(np.stack(columns, axis=1), 0)
    expected = (encoder.project.weight.detach().numpy()[:, :, 0] @ x).T + encoder.project.bias.detach().numpy()
    np.testing.assert_allclose(encoder(wav)[0].detach().numpy(), expected, atol=1e-12)


block = BLOCK_FRAMES * 16  # samples of the tiny model's blocks


@settings(max_examples=25)
@given(
    length=st.one_of(
        st.integers(1, 40),
        st.integers(-40, 40).map(lambda n: block + n),
        st.integers(-40, 40).map(lambda n: 2 * block + n),
    ),
    cuts=st.lists(st.floats(0, 1), max_size=12),
    seed=st.integers(0, 1000),
)
def test_encoding_in_pieces_equals_encoding_at_once_bit_for_bit(vqvae, length, cuts, seed):
    wav = 0.5 * torch.randn(length, generator=torch.Generator().manual_seed(seed))

    def stream_of(compute_bits):
        stream = vqvae.encoding()
        stream.compute = compute_bits
        return stream

    def vectors(samples: torch.Tensor) -> torch.Tensor:
        return vqvae.encoder(samples[None])[0]

    with torch.no_grad():
        at_once = vqvae.encode(wav)
        stream, outer = vqvae.encoding(), stream_of(vectors)
        ends = [0, *sorted(round(cut * length) for cut in cuts), length]
        codes, z_e = [], []
        for start, end in zip(ends, ends[1:], strict=False):
            codes += stream.push(wav[start:end])
            z_e += outer.push(wav[start:end])
        codes, z_e = torch.cat(codes + stream.finish()), torch.cat(z_e + outer.finish())
        whole = stream_of(vectors)
        expected = torch.cat(whole.push(wav) + whole.finish())
    assert len(at_once) == -(-length // 16)
    assert torch.equal(codes, at_once)
    assert torch.equal(z_e, expected)  # not only the codes: every bit before the argmin


@pytest.mark.parametrize("length", [1, 16, 500, block, block + 1, 3 * block - 7])
def test_blocks_equal_one_convolution_over_the_whole_recording(vqvae, length):
    wav = 0.5 * torch.randn(length)
    num = -(-length // 16)
    left, right = vqvae.encoder.halo
    padded = torch.nn.functional.pad(wav, (left, num * 16 - length + right))
    with torch.no_grad():
        expected = vqvae.bottleneck.encode(vqvae.encoder(padded[None]))[0]
    assert torch.equal(vqvae.encode(wav), expected)
    assert expected.unique().numel() > 1 or num == 1


def test_what_follows_a_recording_does_not_change_earlier_codes(vqvae):
    wav = 0.5 * torch.randn(3000)
    _, right = vqvae.encoder.halo
    codes, shorter = vqvae.encode(wav), vqvae.encode(wav[:2000])
    settled = (2000 - right) // 16  # frames whose halo ends before the cut
    assert torch.equal(codes[:settled], shorter[:settled])


@pytest.mark.parametrize("length", [1, 5, 15, 16])
def test_a_clip_shorter_than_a_frame_gives_one_code(vqvae, length):
    assert vqvae.encode(np.full(length, 0.1, np.float32)).shape == (1,)


def test_conditioning_in_pieces_equals_conditioning_at_once(vqvae):
    codes = torch.randint(8, (BLOCK_FRAMES + 37,))
    expected = vqvae.condition(codes, 1)
    with torch.no_grad():
        stream = vqvae.conditioning(1)
        pieces = []
        for piece in vqvae.lookup(codes).split([1, 90, 50, 24]):
            pieces += stream.push(piece)
        pieces += stream.finish()
    assert len(expected) == len(codes)
    assert torch.equal(torch.cat(pieces), expected)


def test_normalised_layers_count_real_frames_alone():
    encoder = make_encoder((4, 4), norm="batch").train()
    left, right = encoder.halo
    real = torch.randn(1, 10 * 16, dtype=torch.float64)
    mask = torch.arange(30)[None] < 10

    def statistics(num_frames: int) -> list[torch.Tensor]:
        torch.manual_seed(0)
        fresh = make_encoder((4, 4), norm="batch").train()
        wav = torch.nn.functional.pad(real, (left, (num_frames - 10) * 16 + right))
        fresh(wav, mask[:, :num_frames])
        return [value for norm in fresh.norms for value in (norm.mean, norm.variance)]

    for few, many in zip(statistics(12), statistics(30), strict=True):
        torch.testing.assert_close(few, many, atol=1e-12, rtol=0)
