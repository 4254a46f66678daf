"""The prior over codes as a task for the training loop."""

# B sequences, T positions, N codes, K codebook entries.

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vqspeech.config import Recipe, TrainConfig
from vqspeech.data.code_store import CodeStore
from vqspeech.data.selection import middles
from vqspeech.distributed import rank, share, world_size
from vqspeech.errors import CorpusError
from vqspeech.likelihood.nats import bits_per_code
from vqspeech.likelihood.ngrams import tuned_models, uniform_bits
from vqspeech.models.prior import Prior
from vqspeech.training.acceleration import Acceleration, fuse
from vqspeech.training.state import Task

MOST_VALIDATED = 2000  # utterances, spread over the split
MOST_COUNTED = 200_000  # training sequences from which the n-grams are made, likewise
PATIENCE = 4  # validations after which a prior should have learned the codes' frequencies


def prior_training(recipe: Recipe) -> TrainConfig:
    """What the loop needs to know of the prior's training; what `[prior]` does not say is as in `[train]`.

    Except for the optimiser, which is Adam: the prior has a learning rate of its own, and was not tried with another.
    """
    prior = recipe.prior
    return TrainConfig(
        steps=prior.steps,
        batch_size=prior.batch_size,
        optimizer="adam",
        learning_rate=prior.learning_rate,
        warmup_steps=prior.warmup_steps,
        validate_every=prior.validate_every,
        checkpoint_every=prior.validate_every,
        weight_average=prior.weight_average,
        final_rate=recipe.train.final_rate,
        clip_norm=recipe.train.clip_norm,
        precision=recipe.train.precision,
        compile="off",
        seed=recipe.train.seed,
    )


@dataclass(frozen=True)
class CodeBatch:
    """Sequences, or crops of long ones, filled up to the longest.

    Attributes
    ----------
    previous : int64, (B, T), the class one position earlier: the start symbol, or a code
    target : int64, (B, T), the class to predict: a code, or the stop symbol
    mask : bool, (B, T), true where there is something to predict
    speaker : int64, (B,)
    """

    previous: Tensor
    target: Tensor
    mask: Tensor
    speaker: Tensor

    def to(self, device: torch.device) -> CodeBatch:
        """The same batch on another device."""
        return CodeBatch(*(x.to(device) for x in (self.previous, self.target, self.mask, self.speaker)))


class CodeBatches:
    """Crops of at most `crop_codes` predictions; each step's are a pure function of seed, step and rank.

    A sequence is drawn with probability proportional to the number of crops it takes to cover it, the place of the crop
    uniformly; so a short one comes whole, with its start and its stop.
    """

    def __init__(self, codes: CodeStore, *, crop_codes: int, batch_size: int, seed: int) -> None:
        self.codes = codes
        self.crop, self.batch_size, self.seed = crop_codes, batch_size, seed
        self.numbers = codes.sequences("train")
        if not len(self.numbers):
            raise CorpusError(
                f"the prepared speech in {codes.store.folder} has no utterance to train on. Lower data.valid_share and "
                "data.test_share, or give more recordings"
            )
        lengths = np.diff(codes.ends, prepend=0)[self.numbers]
        self.ends = np.cumsum(-(-(lengths + 1) // crop_codes))

    def batch(self, step: int, rank: int = 0) -> CodeBatch:
        """The crops of one step on one process."""
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=(step,))))
        uniform = random.random(((rank + 1) * self.batch_size, 2))[rank * self.batch_size :]
        drawn = np.searchsorted(self.ends, (uniform[:, 0] * int(self.ends[-1])).astype(np.int64), side="right")
        crops = []
        for number, u in zip(self.numbers[drawn].tolist(), uniform[:, 1].tolist(), strict=True):
            starts = max(0, self.codes.length(number) + 1 - self.crop) + 1
            crops.append((number, int(u * starts)))
        return assemble(self.codes, crops, self.crop)


def assemble(codes: CodeStore, crops: Sequence[tuple[int, int]], most: int | None = None) -> CodeBatch:
    """At most `most` predictions of each sequence, given with its first one's place."""
    end = codes.num_codes  # start and stop symbol
    rows = []
    for number, start in crops:
        symbols = np.concatenate([[end], codes.read(number), [end]])
        rows.append(symbols[start : None if most is None else start + most + 1])
    longest = max(len(row) for row in rows) - 1
    previous, target = (np.zeros((len(rows), longest), np.int64) for _ in range(2))
    mask = np.zeros((len(rows), longest), bool)
    for i, row in enumerate(rows):
        previous[i, : len(row) - 1], target[i, : len(row) - 1], mask[i, : len(row) - 1] = row[:-1], row[1:], True
    speaker = np.array([codes.speaker(number) for number, _ in crops], np.int64)
    return CodeBatch(*(torch.from_numpy(x) for x in (previous, target, mask, speaker)))


class PriorTask(Task):
    """Losses, figures and diagnosis of a prior on the codes of a corpus.

    Parameters
    ----------
    prior : Prior, on its device
    codes : of the corpus whose speakers the prior has
    code_rate : codes per second, Hz
    acceleration : precision of the forward pass
    """

    def __init__(self, prior: Prior, codes: CodeStore, code_rate: float, acceleration: Acceleration) -> None:
        self.recipe = prior.recipe
        self.least_steps = 1
        self.prior, self.codes, self.code_rate, self.acceleration = prior, codes, code_rate, acceleration
        fuse(prior.wavenet, acceleration)
        config, self.seed = prior.recipe.prior, prior.recipe.train.seed
        self.batches = CodeBatches(codes, crop_codes=config.crop_codes, batch_size=config.batch_size, seed=self.seed)
        valid = codes.sequences("valid")
        self.valid = valid[middles(len(valid), MOST_VALIDATED)]
        if not len(self.valid):
            raise CorpusError(
                f"the prepared speech in {codes.store.folder} has no utterance in its valid split. Give more "
                "recordings, or a larger data.valid_share"
            )
        self._beside: dict[str, float] = {}
        self.model: nn.Module = prior
        if world_size() > 1:
            from torch.nn.parallel import DistributedDataParallel

            self.model = DistributedDataParallel(prior, broadcast_buffers=False)

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of one step, see `Task.losses`; "bits" are bits for each code."""
        batch = self._disturb(self.batches.batch(step, rank()), step).to(self.prior.speaker_vectors.weight.device)
        with self.acceleration.autocast():
            nats = self.model(batch.previous, batch.speaker, begins=False, target=(batch.target, batch.mask))
        codes = (batch.mask & (batch.target != self.prior.stop)).sum()
        return {"total": nats, "bits": nats.detach() * batch.mask.sum() / codes.clamp(min=1) / math.log(2)}

    def _disturb(self, batch: CodeBatch, step: int) -> CodeBatch:
        """Some previous codes become others of the batch [Xie et al. 2017, arXiv 1703.02573], some speakers none.

        A prior that can never quite trust a single code learns to read several, and one of few utterances does not
        learn them by heart.
        """
        config = self.recipe.prior
        keys = np.random.SeedSequence(self.seed, spawn_key=(step, rank(), 1))
        random = np.random.Generator(np.random.Philox(keys))
        inside = (batch.mask & (batch.previous != self.prior.start)).numpy()
        previous, speaker = batch.previous.numpy().copy(), batch.speaker.numpy().copy()
        chosen = inside & (random.random(inside.shape) < config.dropout)
        if chosen.any():
            previous[chosen] = random.choice(previous[inside], int(chosen.sum()))
        speaker[random.random(len(speaker)) < config.speaker_dropout] = self.prior.unconditional
        return CodeBatch(torch.from_numpy(previous), batch.target, batch.mask, torch.from_numpy(speaker))

    def validate(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Bits per code and per second on the validation split, beside the uniform rate and n-grams."""
        assert isinstance(model, Prior)
        figures: dict[str, Any] = {}
        if rank() == 0:
            self._beside = self._beside or self._measure_ngrams()
            bits = bits_per_code(model, self.codes, self.valid)
            unconditional = bits_per_code(model, self.codes, self.valid, by_speaker=False)
            figures = {"bits": bits, "bit_rate": bits * self.code_rate, "bits_nobody": unconditional} | self._beside
        return share(figures)

    def _measure_ngrams(self) -> dict[str, float]:
        valid = [self.codes.read(number) for number in self.valid]
        numbers = self.batches.numbers
        train = [self.codes.read(number) for number in numbers[middles(len(numbers), MOST_COUNTED)]]
        models = tuned_models(train, valid, self.codes.num_codes)
        uniform = uniform_bits(valid, self.codes.num_codes)
        return {"uniform": uniform} | {name: ngram.bits(valid) for name, ngram in models.items()}

    def diagnose(self, history: list[dict[str, Any]]) -> str | None:
        """A sentence if the prior has not even learned how frequent the codes are."""
        if len(history) < PATIENCE or min(figures["bits"] for figures in history) < history[-1]["unigram"]:
            return None
        return (
            f"the prior needs {history[-1]['bits']:.2f} bits per code, the codes' frequencies alone "
            f"{history[-1]['unigram']:.2f}. Lower prior.learning_rate, or lengthen prior.warmup_steps"
        )
