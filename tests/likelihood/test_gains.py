"""Gains of codes and speakers: hand-made cases, properties of the controls, and diagnoses."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vqspeech.data.batches import Batch, Batches
from vqspeech.likelihood.gains import compute_gains, diagnose, shuffle, swap

HOP, NUM_CODES, SPEAKERS = 4, 8, ("a", "b", "c")
WRONG = -math.log2(0.5 / 255)  # bits for a class that is not the favourite


class Oracle(nn.Module):
    """A decoder that gives probability 1/2 to the class its code names, if the speaker is right; else to its neighbour.

    Its codes are 100 below the class that each frame of the batch repeats.
    """

    num_codes, hop_length, speakers, code_rate = NUM_CODES, HOP, SPEAKERS, 50.0
    prediction = None

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.encoder = nn.Identity()
        codes = batch.classes[:, ::HOP] - 100
        self.bottleneck = SimpleNamespace(encode=lambda wav: codes, lookup=lambda codes: codes)
        self.speaker = batch.speaker

    def decoder_condition(self, codes, mask, speaker):
        return codes + 100 + (speaker != self.speaker).long()[:, None]

    def frames(self, condition):
        return condition

    def wavenet(self, previous, favourite):
        logits = torch.full((*previous.shape, 256), math.log(0.5 / 255))
        return logits.scatter(2, favourite.repeat_interleave(HOP, dim=1)[..., None], math.log(0.5))


def make_batch(codes: list[list[int]], lengths: list[int]) -> Batch:
    frames = torch.tensor(codes)
    num = frames.shape[1]
    return Batch(
        wav=torch.zeros(len(codes), num * HOP),
        classes=(frames + 100).repeat_interleave(HOP, dim=1),
        sample_mask=torch.arange(num * HOP) < torch.tensor(lengths)[:, None],
        frame_mask=torch.arange(0, num * HOP, HOP) < torch.tensor(lengths)[:, None],
        speaker=torch.tensor([0, 2])[: len(codes)],
    )


def test_figures_equal_hand_arithmetic_on_a_made_up_case():
    batch = make_batch([[0, 1, 0, 1], [0, 0, 1, 7]], [16, 12])  # the 7 lies outside: three frames of the second count
    figures = compute_gains(Oracle(batch), [batch], seed=5)
    assert figures.bits == pytest.approx(1.0)  # -log2 1/2
    assert figures.speaker_gain == pytest.approx(WRONG - 1)  # a wrong speaker is always wrong
    assert figures.used == 2
    # Codes 0 and 1 occur four and three times: entropy in bits, its power of two, and 50 codes a second.
    entropy = -(4 / 7 * math.log2(4 / 7) + 3 / 7 * math.log2(3 / 7))
    assert figures.perplexity == pytest.approx(2**entropy, rel=1e-5)
    assert figures.bit_rate == pytest.approx(50 * entropy, rel=1e-5)
    # The share of frames that a shuffle gives another code is known once the shuffle is.
    codes = batch.classes[:, ::HOP] - 100
    moved = shuffle(codes, batch.frame_mask, torch.Generator().manual_seed(5)) != codes
    share = float(moved[batch.frame_mask].float().mean())
    assert 0 < share < 1
    assert figures.code_gain == pytest.approx(share * (WRONG - 1), rel=1e-5)


def test_an_untrained_guess_among_256_classes_costs_eight_bits_and_gains_nothing(model, store):
    nn.init.zeros_(model.wavenet.head.weight)
    nn.init.zeros_(model.wavenet.head.bias)
    batches = Batches.for_model(model, store, "valid", crop_samples=1024, batch_size=2)
    figures = compute_gains(model, [batches.batch(0), batches.batch(1)])
    assert figures.bits == pytest.approx(8.0, abs=1e-5)
    assert figures.bits_speech == pytest.approx(8.0, abs=1e-5)
    assert figures.code_gain == pytest.approx(0, abs=1e-6)
    assert figures.speaker_gain == pytest.approx(0, abs=1e-6)
    assert 1 <= figures.perplexity <= 8
    assert model.training  # left as it was


def test_silence_is_counted_separately():
    batch = make_batch([[28, 28, 90, 90, 28]], [18])  # class 128 is silence, class 190 is loud

    class Half(Oracle):
        num_codes = 128

        def wavenet(self, previous, favourite):
            logits = torch.zeros(*previous.shape, 256)  # eight bits for any class ...
            logits[..., 128] = 30.0  # ... but next to none for silence
            return torch.where((favourite == 128).repeat_interleave(HOP, dim=1)[..., None], logits, torch.zeros(256))

    figures = compute_gains(Half(batch), [batch])
    assert figures.bits_silence == pytest.approx(0, abs=1e-4)
    assert figures.bits_speech == pytest.approx(8, abs=1e-4)
    assert figures.bits == pytest.approx(8 * 8 / 18, abs=1e-4)  # 8 of 18 samples are loud


def test_with_one_speaker_there_is_nothing_to_gain():
    batch = make_batch([[0, 1, 2, 3]], [16])
    oracle = Oracle(batch)
    oracle.speakers = ("a",)
    assert compute_gains(oracle, [batch]).speaker_gain == 0


def test_gains_repeat_with_its_seed():
    batch = make_batch([[0, 1, 2, 3], [4, 5, 6, 7]], [16, 16])
    assert compute_gains(Oracle(batch), [batch], seed=3) == compute_gains(Oracle(batch), [batch], seed=3)


@given(seed=st.integers(0, 1000), num=st.integers(2, 20), batch=st.integers(1, 20))
def test_swap_never_keeps_a_speaker(seed, num, batch):
    generator = torch.Generator().manual_seed(seed)
    speaker = torch.randint(num, (batch,), generator=generator)
    swapped = swap(speaker, num, generator)
    assert (swapped != speaker).all()
    assert ((swapped >= 0) & (swapped < num)).all()


def test_swap_chooses_evenly_among_the_others():
    swapped = swap(torch.zeros(9000, dtype=torch.long), 4, torch.Generator().manual_seed(0))
    counts = torch.bincount(swapped, minlength=4)
    assert counts[0] == 0
    assert (counts[1:] - 3000).abs().max() < 250  # five standard deviations of a binomial


@given(seed=st.integers(0, 1000), rows=st.integers(1, 4), frames=st.integers(1, 20))
def test_shuffle_keeps_the_codes_that_count_and_leaves_padding_alone(seed, rows, frames):
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(100, (rows, frames), generator=generator)
    mask = torch.rand(rows, frames, generator=generator) < 0.6
    before = codes.clone()
    shuffled = shuffle(codes, mask, generator)
    assert torch.equal(codes, before)
    assert sorted(shuffled[mask].tolist()) == sorted(codes[mask].tolist())
    assert torch.equal(shuffled[~mask], codes[~mask])


HEALTHY = {"perplexity": 50.0, "code_gain": 0.5, "speaker_gain": 0.2}


def histories(**figures: float) -> list[dict[str, float]]:
    return [HEALTHY | figures for _ in range(9)]


def test_healthy_training_has_no_diagnosis():
    assert diagnose(histories(), 6) is None
    assert diagnose([], 6) is None


def test_collapse_is_diagnosed_with_a_remedy():
    assert "codebook collapsed: perplexity 1.10" in diagnose(histories(perplexity=1.1), 6)
    assert "bottleneck.normalize=batch" in diagnose(histories(perplexity=1.1), 6)


def test_ignored_codes_are_diagnosed_with_a_remedy():
    said = diagnose(histories(code_gain=0.001), 6)
    assert "ignores the codes: shuffling them costs 0.0010 bits" in said
    assert "loss.spectral=1" in said


def test_an_ignored_speaker_is_diagnosed_late_and_with_a_remedy():
    assert diagnose(histories(speaker_gain=0.0)[:8], 6) is None  # the voice comes after the content
    said = diagnose(histories(speaker_gain=0.0), 6)
    assert "ignores the speaker" in said
    assert "loss.adversary=0.1" in said


def test_a_single_speaker_cannot_be_ignored():
    assert diagnose(histories(speaker_gain=0.0), 1) is None


@pytest.mark.parametrize("trouble", [{"perplexity": 1.0}, {"code_gain": 0.0}, {"speaker_gain": 0.0}])
def test_recovery_is_no_reason_to_stop(trouble):
    assert diagnose([*histories(**trouble), HEALTHY], 6) is None
    assert diagnose([HEALTHY, *histories(**trouble)[:2]], 6) is None  # two in a row are no proof
