"""Batches: crops as a pure function of seed, step and rank."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.config import DataConfig
from vqspeech.data.batches import Batch, Batches
from vqspeech.data.preparation import prepare_store
from vqspeech.data.store import Store
from vqspeech.errors import CorpusError
from vqspeech.mu_law import mu_law_encode

HOP = 40
LENGTHS = (900, 1600, 4000, 13_500)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Utterances of LENGTHS samples of noise, one speaker each, all for training but for one."""
    root = tmp_path_factory.mktemp("batches")
    random = np.random.default_rng(0)
    (root / "corpus").mkdir()
    for speaker, length in zip("abcd", LENGTHS, strict=True):
        soundfile.write(root / "corpus" / f"1_{speaker}_10.wav", random.integers(-9999, 9999, length, np.int16), 8000)
    soundfile.write(root / "corpus" / "1_a_5.wav", random.integers(-9999, 9999, 2000, np.int16), 8000)
    prepare_store(DataConfig(corpus="fsdd", sample_rate=8000), root / "corpus", root / "out", num_workers=1)
    return Store.open(root / "out")


def make(store: Store, **values: Any) -> Batches:
    options: dict[str, Any] = {"crop_samples": 2000, "hop_length": HOP, "halo": (70, 30), "context_frames": 2}
    return Batches(store, "train", **{**options, "batch_size": 4, "seed": 5, **values})


def equal(first: Batch, second: Batch) -> bool:
    return all(torch.equal(getattr(first, field.name), getattr(second, field.name)) for field in fields(Batch))


def test_a_batch_has_the_promised_shapes_and_types(store: Store) -> None:
    batch = make(store).batch(0)
    assert batch.wav.shape == (4, 70 + (50 + 4) * HOP + 30) and batch.wav.dtype == torch.float32
    assert batch.classes.shape == batch.sample_mask.shape == (4, 2000)
    assert batch.frame_mask.shape == (4, 54)
    assert batch.classes.dtype == batch.speaker.dtype == torch.int64
    assert batch.sample_mask.dtype == batch.frame_mask.dtype == torch.bool


@given(
    halo=st.tuples(st.integers(0, 200), st.integers(0, 200)),
    context=st.integers(0, 3),
    num_frames=st.integers(1, 60),
    step=st.integers(0, 10**9),
)
def test_a_crop_is_what_a_sample_by_sample_loop_copies(
    store: Store, halo: tuple[int, int], context: int, num_frames: int, step: int
) -> None:
    batches = make(store, crop_samples=num_frames * HOP, halo=halo, context_frames=context, batch_size=2)
    batch = batches.batch(step)
    for row, (index, start) in enumerate(zip(*batches.draw(step), strict=True)):
        pcm = store.read(int(index))
        assert 0 <= start <= max(0, len(pcm) - num_frames * HOP) and start % HOP == 0
        first = start - context * HOP - halo[0]
        wav = [pcm[s] / 32768 if 0 <= s < len(pcm) else 0 for s in range(first, first + batch.wav.shape[1])]
        assert batch.wav[row].tolist() == pytest.approx(wav, abs=1e-7)
        crop = range(start, start + num_frames * HOP)
        assert batch.sample_mask[row].tolist() == [s < len(pcm) for s in crop]
        padded = np.array([pcm[s] / 32768 if s < len(pcm) else 0 for s in crop], np.float32)
        assert batch.classes[row].tolist() == mu_law_encode(padded).tolist()
        frames = [start + HOP * f for f in range(-context, num_frames + context)]
        assert batch.frame_mask[row].tolist() == [0 <= s < len(pcm) for s in frames]
        assert store.speakers[int(batch.speaker[row])] == store.utterance_id(int(index)).split("_")[1]


def test_a_batch_hangs_on_seed_step_and_rank_alone(store: Store) -> None:
    batches = make(store)
    late = batches.batch(1000, 1, 2)
    for step in range(3):
        batches.batch(step)
    assert equal(late, make(store).batch(1000, 1, 2))
    others = [make(store).batch(1001, 1, 2), make(store).batch(1000, 0, 2), make(store, seed=6).batch(1000, 1, 2)]
    assert not any(equal(late, other) for other in others)


def test_the_ranks_together_draw_what_one_process_draws(store: Store) -> None:
    ranks = [make(store).batch(3, rank, 3).wav for rank in range(3)]
    assert torch.equal(torch.cat(ranks), make(store, batch_size=12).batch(3).wav)


def test_utterances_are_drawn_in_proportion_to_their_length_and_starts_uniformly(store: Store) -> None:
    batches = make(store, batch_size=20_000)
    utterances, starts = batches.draw(0)
    share = np.bincount(utterances, minlength=4)[:4] / 20_000
    assert share == pytest.approx(np.array(LENGTHS) / sum(LENGTHS), abs=0.015)  # 4 standard deviations
    assert set(starts[utterances < 2]) == {0}  # shorter than the crop
    longest = starts[utterances == 3] // HOP  # 13,500 - 2,000 = 287 frames of 40 and a rest
    assert set(longest) == set(range(288))
    assert longest.mean() == pytest.approx(287 / 2, abs=3)


def test_whole_utterances_are_padded_to_the_longest_in_whole_frames(store: Store) -> None:
    batches = make(store)
    batch = batches.utterance_batch([0, 1])
    assert batch.classes.shape == (2, 1600) and batch.sample_mask.sum(1).tolist() == [900, 1600]
    assert batch.frame_mask.shape == (2, 44) and batch.frame_mask.sum(1).tolist() == [23, 40]  # 900 / 40 = 22.5
    assert not batch.frame_mask[:, :2].any()
    assert torch.equal(batch.wav[0, 150 : 150 + 900], torch.from_numpy(store.read(0) / np.float32(32768)))
    assert not batch.wav[0, :150].any() and not batch.wav[0, 150 + 900 :].any()
    assert batches.utterance_batch([3], max_samples=4010).classes.shape == (1, 4000)
    assert batches.utterance_batch([0]).classes.shape == (1, 920)


def test_utterances_come_some_at_a_time_in_the_order_given(store: Store) -> None:
    first, second = make(store).utterance_batches([2, 0, 1], 2, max_samples=1200)
    assert equal(first, make(store).utterance_batch([2, 0], 1200))
    assert equal(second, make(store).utterance_batch([1], 1200))


def test_a_model_says_its_grid_and_what_it_sees_around_a_crop(store: Store, tiny_model) -> None:
    found = Batches.for_model(tiny_model, store, "train", crop_samples=640, batch_size=4, seed=5).batch(3)
    grid = {"hop_length": 16, "halo": tiny_model.encoder.halo, "context_frames": 1}
    assert equal(found, make(store, crop_samples=640, **grid).batch(3))
    codes = tiny_model.bottleneck.encode(tiny_model.encoder(found.wav))
    assert codes.shape == found.frame_mask.shape == (4, 42)  # 640 / 16 and a frame on either side
    assert Batches.for_model(tiny_model, store, "train").crop_samples == 16


def test_spread_takes_utterances_from_the_whole_split(store: Store) -> None:
    assert make(store).spread(10) == [0, 1, 2, 3]
    assert make(store).spread(2) == [1, 3]
    assert Batches(store, "valid", crop_samples=HOP, hop_length=HOP).spread(3) == [4]


def test_an_empty_split_names_the_remedy(store: Store) -> None:
    with pytest.raises(CorpusError, match="no utterance in its test split.*data.test_share"):
        Batches(store, "test", crop_samples=HOP, hop_length=HOP)


def test_a_batch_moves_to_another_device_whole(store: Store) -> None:
    moved = make(store).batch(0).to("meta")
    assert {getattr(moved, field.name).device.type for field in fields(Batch)} == {"meta"}
