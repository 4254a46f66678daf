"""How likely held-out speech is: the bound of [VQ-VAE §3.1] on log p(x), in bits."""

# B utterances, T samples, N codes, F = N + 2 * context frames.

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vqspeech.audio import SILENCE_CLASS
from vqspeech.data.batches import Batch
from vqspeech.losses import bits, previous_classes
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE, evaluating


@dataclass(frozen=True)
class Likelihood:
    """Bits of held-out speech: log p(x) >= log p(x | z_q(x), speaker) + log p(z_q(x) | speaker).

    Attributes
    ----------
    sample_bits : of all mu-law samples, given codes and speaker
    code_bits : of all codes and of the utterances' ends under the prior; without a prior log2 K for each code
    num_samples, num_codes : they are the bits of
    sample_rate : Hz
    """

    sample_bits: float
    code_bits: float
    num_samples: int
    num_codes: int
    sample_rate: int

    @property
    def bits_per_sample(self) -> float:
        """The bound: bits of samples and codes together, per mu-law sample; at most 8 says nothing."""
        return (self.sample_bits + self.code_bits) / self.num_samples

    @property
    def code_bits_per_sample(self) -> float:
        """The codes' share of the bound."""
        return self.code_bits / self.num_samples

    @property
    def bits_per_second(self) -> float:
        """The bound, per second of speech."""
        return self.bits_per_sample * self.sample_rate

    @property
    def code_bits_per_second(self) -> float:
        """The codes' share of it."""
        return self.code_bits_per_sample * self.sample_rate

    def as_metrics(self) -> dict[str, float]:
        """For a card or metrics.jsonl: the sums and the four rates."""
        names = ("bits_per_sample", "code_bits_per_sample", "bits_per_second", "code_bits_per_second")
        return asdict(self) | {name: getattr(self, name) for name in names}

    def describe(self) -> str:
        """One line for people."""
        return (
            f"{self.bits_per_sample:.3f} bits/sample, {self.code_bits_per_sample:.4f} of them for the codes; "
            f"{self.bits_per_second:.0f} bit/s, {self.code_bits_per_second:.0f} of them for the codes"
        )


@torch.no_grad()
def measure_likelihood(model: VQVAE, prior: Prior | None, batches: Iterable[Batch]) -> Likelihood:
    """The bound over whole utterances, with teacher forcing.

    Parameters
    ----------
    model : VQVAE
    prior : Prior; without one the codes are taken as uniform, the prior under which the VQ-VAE is trained
    batches : utterances from their first samples, see `Batches.utterance_batch`; what is cut off at their ends lacks a
        stop symbol, so leave them whole
    """
    sample_nats = code_nats = 0.0
    num_samples = num_codes = 0
    context = model.conditioner.context
    with evaluating(model):
        for batch in batches:
            codes = model.bottleneck.encode(model.encoder(batch.wav))  # (B, F)
            condition = model.decoder_condition(model.bottleneck.lookup(codes), batch.frame_mask, batch.speaker)
            logits = model.wavenet(previous_classes(batch.classes, SILENCE_CLASS), condition)
            nats = F.cross_entropy(logits.flatten(0, 1).float(), batch.classes.flatten(), reduction="none")
            sample_nats += float(nats[batch.sample_mask.flatten()].double().sum())
            num_samples += int(batch.sample_mask.sum())
            frames = slice(context, codes.shape[1] - context)
            inside = batch.frame_mask[:, frames]  # (B, N)
            num_codes += int(inside.sum())
            code_nats += (
                float(prior_nats(prior, codes[:, frames], inside.sum(1), batch.speaker).sum())
                if prior
                else int(inside.sum()) * math.log(model.num_codes)
            )
    return Likelihood(bits(sample_nats), bits(code_nats), num_samples, num_codes, model.sample_rate)


@torch.no_grad()
def prior_nats(prior: Prior, codes: Tensor, lengths: Tensor, speaker: Tensor) -> Tensor:
    """-log p(codes, end | speaker) of each utterance, nats, (B,).

    Parameters
    ----------
    codes : LongTensor, shape (B, N), of which the first `lengths` count
    lengths, speaker : LongTensors, shape (B,)
    """
    with evaluating(prior):
        logits = prior(codes, speaker)  # (B, N + 1, K + 1)
    position = torch.arange(codes.shape[1] + 1, device=codes.device)
    target = F.pad(codes, (0, 1)).masked_fill(position == lengths[:, None], prior.stop)
    nats = F.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), reduction="none").view_as(target)
    return (nats.double() * (position <= lengths[:, None])).sum(1)
