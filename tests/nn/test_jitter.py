"""Jitter and dropout of codes while training: shares, neighbours, and nothing of it in inference."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.nn.jitter import DROPPED, apply_jitter, draw_jitter


def draw(mask, jitter, dropout, seed=0):
    return draw_jitter(mask, jitter, dropout, torch.Generator().manual_seed(seed))


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    jitter=st.floats(0, 0.99),
    dropout=st.floats(0, 0.99),
    seed=st.integers(0, 1000),
)
def test_a_frame_inside_takes_its_own_a_neighbours_or_no_vector_and_none_from_outside(lengths, jitter, dropout, seed):
    mask = torch.arange(12) < torch.tensor(lengths)[:, None]
    jittered = draw(mask, jitter, dropout, seed)
    for row, length in zip(jittered.tolist(), lengths, strict=True):
        for n, source in enumerate(row[:length]):
            assert source == DROPPED or (abs(source - n) <= 1 and 0 <= source < length)


def test_shares_are_those_asked_for_and_both_sides_are_alike():
    mask = torch.ones(4, 50_000, dtype=torch.bool)
    jittered = draw(mask, 0.24, 0.1)
    kept = jittered != DROPPED
    moved = (jittered - torch.arange(50_000))[kept]
    # 200,000 draws: a share of 0.12 has a standard deviation of 0.0007.
    assert abs(float((~kept).float().mean()) - 0.1) < 0.004
    assert abs(float((moved == -1).float().mean()) - 0.12) < 0.004
    assert abs(float((moved == 1).float().mean()) - 0.12) < 0.004


def test_the_vectors_are_those_a_loop_would_pick():
    z_q = torch.randn(2, 4, 3)
    jittered = torch.tensor([[0, 0, DROPPED, 2], [1, 2, 3, 3]])
    found = apply_jitter(z_q, jittered)
    for b in range(2):
        for n in range(4):
            source = int(jittered[b, n])
            assert torch.equal(found[b, n], torch.zeros(3) if source == DROPPED else z_q[b, source])


def test_gradients_go_to_the_frame_that_was_taken():
    z_q = torch.randn(1, 3, 2, requires_grad=True)
    apply_jitter(z_q, torch.tensor([[1, 1, DROPPED]])).sum().backward()
    assert z_q.grad[0].tolist() == [[0, 0], [2, 2], [0, 0]]


def test_equal_generators_draw_alike_and_others_differ():
    mask = torch.ones(2, 40, dtype=torch.bool)
    assert torch.equal(draw(mask, 0.5, 0.2, seed=1), draw(mask, 0.5, 0.2, seed=1))
    assert not torch.equal(draw(mask, 0.5, 0.2, seed=1), draw(mask, 0.5, 0.2, seed=2))


def test_the_conditioner_gets_the_jittered_vectors_and_the_adversary_all(model, store):
    from vqspeech.training.acceleration import Acceleration
    from vqspeech.training.vqvae import VQVAETask

    batch = VQVAETask(model, store, Acceleration("cpu", False, False, ())).train_batches.batch(0)
    model.eval()
    dropped = torch.full_like(batch.frame_mask, DROPPED, dtype=torch.long)

    def outputs(jittered):
        return model(batch.wav, batch.classes, batch.frame_mask, batch.speaker, with_decoder=False, jittered=jittered)

    plain, silent = outputs(None), outputs(dropped)
    nothing = torch.zeros_like(plain.quantized.z_q)
    expected = model.spectral_head(model.decoder_condition(nothing, batch.frame_mask, batch.speaker))
    assert torch.equal(silent.spectrum, expected)
    assert not torch.equal(plain.spectrum, expected)
    assert torch.equal(plain.speaker_logits, silent.speaker_logits)
    assert torch.equal(plain.quantized.codes, silent.quantized.codes)
