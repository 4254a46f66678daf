"""Perturbed copies of a store: made once, whole files only, aligned with what they are copies of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vqspeech.audio import FULL_SCALE
from vqspeech.config import PerturbationConfig
from vqspeech.data import variants as module
from vqspeech.data.batches import Batches
from vqspeech.data.perturbation import VocodedUtterance
from vqspeech.data.variants import file_of, make_variants
from vqspeech.errors import CorpusError

pytest.importorskip("pyworld", reason="pyworld is not installed: pip install 'vqspeech[perturb]'")
CONFIG = PerturbationConfig(variants=3)


@pytest.fixture(scope="module")
def small_groups():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUP", 4)
        yield


@pytest.fixture(scope="module")
def made(store, small_groups):
    return make_variants(store, CONFIG)


def test_every_training_utterance_has_its_variants_as_long_as_itself(store, made):
    for index in store.utterances("train"):
        takes = [made.read(index, variant) for variant in range(3)]
        assert {len(take) for take in takes} == {store.length(index)}
        assert not np.array_equal(takes[0], takes[1]) and not np.array_equal(takes[1], takes[2])


def test_a_slice_is_a_part_of_the_whole(store, made):
    index = store.utterances("train")[5]
    whole = made.read(index, 2)
    assert np.array_equal(made.read(index, 2, 100, 50), whole[100:150])
    assert np.array_equal(made.read(index, 2, len(whole) - 7, 50), whole[-7:])
    assert len(made.read(index, 2, len(whole), 5)) == 0


def test_a_file_holds_the_copies_of_its_utterances_one_after_another(store, made):
    # What follows one another in a file of four utterances, cut by hand.
    first = 4
    pcm = np.fromfile(file_of(made.folder, first), "<i2")
    group = [index for index in range(first, first + 4) if index in store.utterances("train")]
    expected = [made.read(index, variant) for index in group for variant in range(3)]
    assert np.array_equal(pcm, np.concatenate(expected))


def test_what_is_made_is_what_was_drawn_for_the_utterance_and_no_other(store, made, monkeypatch):
    index = store.utterances("train")[2]
    drawn = []
    resynthesize = VocodedUtterance.resynthesize
    monkeypatch.setattr(
        VocodedUtterance,
        "resynthesize",
        lambda self, variation, random: (drawn.append(variation), resynthesize(self, variation, random))[1],
    )
    again = module._make_group  # the first group once more, elsewhere
    again(store.folder, CONFIG, made.folder / "again", 0)
    wav = resynthesize(VocodedUtterance(store.read(index) / FULL_SCALE, store.sample_rate), drawn[2 * 3 + 1])
    assert np.array_equal(np.rint(wav * FULL_SCALE).astype(np.int16), made.read(index, 1))
    assert len({variation.pitch for variation in drawn}) == len(drawn)


def test_a_second_call_makes_nothing_and_a_lost_file_alone_is_made_again(store, made, monkeypatch):
    path = file_of(made.folder, 4)
    before = path.read_bytes()
    path.unlink()
    asked = []
    make = module._make_group
    monkeypatch.setattr(module, "_make_group", lambda *given: (asked.append(given[-1]), make(*given))[1])
    make_variants(store, CONFIG)
    make_variants(store, CONFIG)
    assert asked == [4] and path.read_bytes() == before


def test_other_shares_need_no_other_copies_and_other_limits_do(store, made):
    assert make_variants(store, CONFIG.model_copy(update={"share": 0.5})).folder == made.folder
    assert module._digest(CONFIG) != module._digest(CONFIG.model_copy(update={"formants": 1.3}))


def test_a_file_that_is_too_short_is_named(store, made, tmp_path):
    index = store.utterances("train")[0]
    broken = module.Variants(store, tmp_path, 3)
    file_of(tmp_path, index).write_bytes(b"ab")
    with pytest.raises(CorpusError, match=r"perturbed speech in .* is damaged: 00000.pcm"):
        broken.read(index, 2)


def batches(store, made, **values):
    given = {"crop_samples": 640, "hop_length": 16, "halo": (70, 30), "context_frames": 2, "batch_size": 6, "seed": 5}
    return Batches(store, "train", **given | values, variants=made)


def test_the_encoder_hears_a_variant_at_the_very_samples_of_the_target(store, made):
    drawer = batches(store, made)
    batch, plain = drawer.batch(3, perturbed=1.0), drawer.batch(3)
    for name in ("wav", "classes", "sample_mask", "frame_mask", "speaker"):
        assert torch.equal(getattr(batch, name), getattr(plain, name))
    assert plain.encoder_wav is plain.wav
    indices, starts = drawer.draw(3)
    for row, index, start, variant in zip(
        batch.encoder_wav.numpy(),
        indices.tolist(),
        starts.tolist(),
        drawer.draw_variants(3, 0, 1.0).tolist(),
        strict=True,
    ):
        pcm = made.read(index, variant) / np.float32(FULL_SCALE)
        first = start - 2 * 16 - 70
        expected = [pcm[s] if 0 <= s < len(pcm) else 0 for s in range(first, first + len(row))]
        np.testing.assert_array_equal(row, np.array(expected, np.float32))


def test_the_share_of_perturbed_crops_and_the_variants_are_those_asked_for(store, made):
    drawer = batches(store, made, batch_size=20_000)
    chosen = drawer.draw_variants(0, 0, 0.7)
    # 20,000 draws: the standard deviation of a share is below 0.0036.
    shares = [float((chosen == variant).mean()) for variant in (-1, 0, 1, 2)]
    assert shares == pytest.approx([0.3, 0.7 / 3, 0.7 / 3, 0.7 / 3], abs=0.015)


def test_two_processes_draw_what_one_with_a_larger_batch_would(store, made):
    whole = batches(store, made).batch(7, perturbed=0.5)
    halves = [batches(store, made, batch_size=3).batch(7, rank, 2, perturbed=0.5) for rank in (0, 1)]
    assert torch.equal(whole.encoder_wav, torch.cat([half.encoder_wav for half in halves]))
