"""Batches of crops from a store: a pure function of seed, step and rank, without any state to save."""

# B batch, N code frames of the crop, T = N * hop samples, F = N + 2 * context frames.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.audio import FULL_SCALE
from vqspeech.data.selection import middles
from vqspeech.data.store import Store
from vqspeech.data.variants import Variants
from vqspeech.errors import CorpusError
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import mu_law_encode


@dataclass(frozen=True)
class Batch:
    """Crops with what surrounds them, padded with zeros outside their utterances.

    Attributes
    ----------
    wav : float32, (B, left + F * hop + right), in [-1, 1]; begins `context_frames * hop + left` before the crop
    classes : int64, (B, T), mu-law classes of the crop
    sample_mask : bool, (B, T), true inside the utterance
    frame_mask : bool, (B, F), true where a frame's first sample lies inside the utterance
    speaker : int64, (B,), position in the store's speakers
    encoder_wav : float32, shape of `wav`: what the encoder is given, `wav` itself or a perturbed copy of some crops
    """

    wav: Tensor
    classes: Tensor
    sample_mask: Tensor
    frame_mask: Tensor
    speaker: Tensor
    encoder_wav: Tensor = None  # type: ignore[assignment]  # never None once made

    def __post_init__(self) -> None:
        if self.encoder_wav is None:
            object.__setattr__(self, "encoder_wav", self.wav)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.encoder_wav is self.wav:
            del tensors["encoder_wav"]  # one copy serves for both
        return Batch(**{name: tensor.to(device, non_blocking=non_blocking) for name, tensor in tensors.items()})


class Batches:
    """Crops drawn so that every second of the split is equally likely.

    An utterance is drawn with probability proportional to its length, the crop's start uniformly among the multiples
    of `hop_length` in [0, max(0, length - crop_samples)], so that frames lie on the grid of inference, which starts at
    an utterance's first sample. Shorter utterances are padded at the end.

    Parameters
    ----------
    store : prepared corpus
    split : "train", "valid" or "test"
    crop_samples : T, a multiple of `hop_length`
    hop_length : samples per code frame
    halo : samples that the encoder sees before its first and after its last frame
    context_frames : frames around the crop that the decoder's conditioning sees
    batch_size : crops per process
    seed : any non-negative integer
    variants : perturbed copies of the training split, for `batch`
    num_speakers : crops of the store's first so many speakers alone; None: of all

    Raises
    ------
    CorpusError
        If the split holds no utterance.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        *,
        crop_samples: int,
        hop_length: int,
        halo: tuple[int, int] = (0, 0),
        context_frames: int = 0,
        batch_size: int = 8,
        seed: int = 0,
        variants: Variants | None = None,
        num_speakers: int | None = None,
    ) -> None:
        assert variants is None or split == "train", split
        assert crop_samples % hop_length == 0, (crop_samples, hop_length)
        self.store = store
        self.span = store.utterances(split)
        if not self.span:
            raise CorpusError(
                f"the prepared speech in {store.folder} has no utterance in its {split} split. Give more recordings, "
                f"or a larger data.{split}_share"
                if split != "train"
                else f"the prepared speech in {store.folder} has no utterance to train on. Lower data.valid_share and "
                "data.test_share, or give more recordings"
            )
        self.crop_samples = crop_samples
        self.hop_length = hop_length
        self.halo = halo
        self.context_frames = context_frames
        self.batch_size = batch_size
        self.seed = seed
        self.variants = variants
        self.chosen: NDArray[np.int64] | None = None
        if num_speakers is not None and num_speakers < len(store.speakers):
            own = store.index["speaker"][self.span.start : self.span.stop] < num_speakers
            self.chosen = self.span.start + np.flatnonzero(own)
            if not len(self.chosen):
                raise CorpusError(
                    f"no utterance of the {split} split in {store.folder} is by one of data.voices. Give recordings of "
                    "them, or name others"
                )
            self.chosen_ends = np.cumsum(store.index["length"][self.chosen], dtype=np.int64)

    @classmethod
    def for_model(
        cls, model: VQVAE, store: Store, split: str, *, crop_samples: int | None = None, **options: Any
    ) -> Batches:
        """Batches on a model's grid, with all that its encoder and its conditioning see around a crop.

        Parameters
        ----------
        crop_samples : T; None: one code frame, for whole utterances, which bring their own length
        options : `batch_size`, `seed`, `variants` and `num_speakers` of `Batches`
        """
        return cls(
            store,
            split,
            crop_samples=crop_samples or model.hop_length,
            hop_length=model.hop_length,
            halo=model.encoder.halo,
            context_frames=model.conditioner.context,
            **options,
        )

    def batch(self, step: int, rank: int = 0, world: int = 1, *, perturbed: float = 0.0) -> Batch:
        """The crops of one step on one process; the encoder is given a share `perturbed` of them in another voice.

        The crops of ranks 0 ... world - 1, one after another, are those that a single process draws with a batch
        `world` times as large.
        """
        assert 0 <= rank < world, (rank, world)
        chosen = self.draw_variants(step, rank, perturbed) if perturbed else None
        return self.assemble(*self.draw(step, rank), self.crop_samples, chosen)

    def draw(self, step: int, rank: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Utterances, shape (B,), and the first samples of their crops, shape (B,), of one step."""
        # Counter-based: (seed, step) is the key, so that any step is drawn without those before it.
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=(step,))))
        uniform = random.random(((rank + 1) * self.batch_size, 2))[rank * self.batch_size :]  # (B, 2)
        if self.chosen is None:
            ends = self.store.ends[self.span.start : self.span.stop]
            before = int(self.store.ends[self.span.start - 1]) if self.span.start else 0
        else:
            ends, before = self.chosen_ends, 0
        sample = before + (uniform[:, 0] * (int(ends[-1]) - before)).astype(np.int64)
        # Sample s lies in the first utterance whose end is beyond it: a binary search that touches a few pages.
        place = np.searchsorted(ends, sample, side="right")
        utterances = self.span.start + place if self.chosen is None else self.chosen[place]
        lengths = self.store.index["length"][utterances].astype(np.int64)
        num_starts = np.maximum(0, lengths - self.crop_samples) // self.hop_length + 1
        return utterances, (uniform[:, 1] * num_starts).astype(np.int64) * self.hop_length

    def draw_variants(self, step: int, rank: int, share: float) -> NDArray[np.int64]:
        """The variant of each of (B,) crops of a step; -1, with chance 1 - share: the recording itself."""
        assert self.variants is not None
        key = np.random.SeedSequence(self.seed, spawn_key=(step, 1))  # beside `draw`'s, which stays as it was
        uniform = np.random.Generator(np.random.Philox(key)).random(((rank + 1) * self.batch_size, 2))
        chance, which = uniform[rank * self.batch_size :].T
        return np.where(chance < share, (which * self.variants.count).astype(np.int64), -1)

    def utterance_batch(self, indices: Sequence[int], max_samples: int | None = None) -> Batch:
        """Whole utterances from their first samples, padded to the longest, at most `max_samples`, a multiple of hop.

        `indices` are positions in the store, such as those of `spread`.
        """
        longest = max(self.store.length(index) for index in indices)
        num_frames = -(-longest // self.hop_length)
        if max_samples is not None:
            num_frames = max(1, min(num_frames, max_samples // self.hop_length))
        utterances = np.asarray(indices, np.int64)
        return self.assemble(utterances, np.zeros_like(utterances), num_frames * self.hop_length)

    def utterance_batches(
        self, indices: Sequence[int], at_a_time: int, max_samples: int | None = None
    ) -> Iterator[Batch]:
        """`utterance_batch` of so many utterances after another."""
        for start in range(0, len(indices), at_a_time):
            yield self.utterance_batch(indices[start : start + at_a_time], max_samples)

    def spread(self, count: int) -> list[int]:
        """At most `count` utterances spread evenly over the split, in the order of their ids; always the same."""
        return (self.span.start + middles(len(self.span), count)).tolist()

    def assemble(
        self,
        utterances: NDArray[np.int64],
        starts: NDArray[np.int64],
        num_samples: int,
        chosen: NDArray[np.int64] | None = None,
    ) -> Batch:
        """Crops of `num_samples` samples, a multiple of hop, that begin at `starts`; `chosen`: see `draw_variants`."""
        hop, (left, right) = self.hop_length, self.halo
        lead = self.context_frames * hop + left  # samples of `wav` before the crop
        num_frames = num_samples // hop + 2 * self.context_frames
        wav = np.zeros((len(utterances), left + num_frames * hop + right), np.float32)
        lengths = np.array([self.store.length(int(index)) for index in utterances], np.int64)
        for row, index, start in zip(wav, utterances.tolist(), starts.tolist(), strict=True):
            first = start - lead
            pcm = self.store.read(index, max(0, first), first + len(row) - max(0, first))
            row[max(0, -first) :][: len(pcm)] = pcm
        wav /= FULL_SCALE
        encoder_wav = None
        if chosen is not None and self.variants is not None:
            encoder_wav = wav.copy()
            for row, index, start, variant in zip(
                encoder_wav, *(x.tolist() for x in (utterances, starts, chosen)), strict=True
            ):
                if variant >= 0:
                    first = start - lead
                    pcm = self.variants.read(index, variant, max(0, first), first + len(row) - max(0, first))
                    row[max(0, -first) :][: len(pcm)] = pcm / FULL_SCALE
        sample = starts[:, None] + np.arange(num_samples)  # (B, T)
        frame = starts[:, None] + hop * np.arange(-self.context_frames, num_frames - self.context_frames)  # (B, F)
        return Batch(
            wav=torch.from_numpy(wav),
            classes=torch.from_numpy(mu_law_encode(wav[:, lead : lead + num_samples])),
            sample_mask=torch.from_numpy(sample < lengths[:, None]),
            frame_mask=torch.from_numpy((frame >= 0) & (frame < lengths[:, None])),
            speaker=torch.tensor([self.store.speaker(int(index)) for index in utterances], dtype=torch.int64),
            encoder_wav=None if encoder_wav is None else torch.from_numpy(encoder_wav),  # type: ignore[arg-type]
        )
