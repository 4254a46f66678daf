"""How likely held-out speech is: the bound of [VQ-VAE §3.1] on log p(x), in bits."""

# B utterances, T samples, N codes, F = N + 2 * context frames, Q mu-law classes.

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from vqspeech.data.batches import Batch, Batches
from vqspeech.data.selection import middles
from vqspeech.data.store import Store
from vqspeech.likelihood.nats import code_nats, utterance_nats
from vqspeech.losses import bits
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE
from vqspeech.nn.mode import evaluating

MOST_SAMPLES = 1_200_000  # of held-out speech by default: seconds for a small model, a minute or two for a large one
LONGEST_S = 30.0  # of an utterance that is chosen, where there are such


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

    @property
    def duration_s(self) -> float:
        """Seconds of speech that were measured."""
        return self.num_samples / self.sample_rate

    def as_metrics(self) -> dict[str, float]:
        """For a card or metrics.jsonl: the sums and the four rates."""
        names = ("bits_per_sample", "code_bits_per_sample", "bits_per_second", "code_bits_per_second")
        return asdict(self) | {name: getattr(self, name) for name in names}

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Any]) -> Likelihood:
        """What `as_metrics` was of."""
        return cls(**{field.name: metrics[field.name] for field in fields(cls)})

    @classmethod
    def pool(cls, parts: Iterable[Likelihood]) -> Likelihood:
        """All speech of several, at least one, taken together."""
        first, *others = parts
        sums = {
            name: sum((getattr(part, name) for part in others), getattr(first, name))
            for name in ("sample_bits", "code_bits", "num_samples", "num_codes")
        }
        return cls(**sums, sample_rate=first.sample_rate)

    def describe(self) -> str:
        """One line for people."""
        return (
            f"{self.bits_per_sample:.3f} bits/sample, {self.code_bits_per_sample:.4f} of them for the codes; "
            f"{self.bits_per_second:.0f} bit/s, {self.code_bits_per_second:.0f} of them for the codes"
        )


def measure_likelihood(model: VQVAE, prior: Prior | None, batches: Iterable[Batch]) -> Likelihood:
    """The bound over whole utterances, at least one, with teacher forcing.

    Parameters
    ----------
    model : VQVAE
    prior : Prior; without one the codes are taken as uniform, the prior under which the VQ-VAE is trained
    batches : utterances from their first samples, see `Batches.utterance_batch`; what is cut off at their ends lacks a
        stop symbol, so leave them whole
    """
    return Likelihood.pool(one for batch in batches for one in likelihoods(model, prior, batch))


def held_out_likelihood(
    model: VQVAE, prior: Prior | None, store: Store, split: str, most_samples: int | None = MOST_SAMPLES
) -> Likelihood:
    """The bound over a split's whole utterances, spread over it so that they have about `most_samples` samples.

    None takes them all. Utterances of more than half a minute are left out, unless there are no others.

    Raises
    ------
    CorpusError
        If the split holds no utterance.
    """
    batches = utterance_batches(model, store, split, choose_utterances(store, split, most_samples))
    return measure_likelihood(model, prior, batches)


def choose_utterances(store: Store, split: str, most_samples: int | None) -> list[int]:
    """See `held_out_likelihood`: positions in the store."""
    span = store.utterances(split)
    short = [index for index in span if 0 < store.length(index) <= LONGEST_S * store.sample_rate]
    if most_samples is None or not short:
        return short or sorted(span, key=store.length)[:1]
    share = min(1.0, most_samples / sum(store.length(index) for index in short))
    count = max(1, int(share * len(short)))
    return [short[place] for place in middles(len(short), count)]


def utterance_batches(
    model: VQVAE, store: Store, split: str, utterances: Iterable[int], at_a_time: int = 8
) -> Iterator[Batch]:
    """Whole utterances, those of like length together, where the model is."""
    ordered = sorted(utterances, key=store.length)
    for batch in Batches.for_model(model, store, split).utterance_batches(ordered, at_a_time):
        yield batch.to(model.device)


@torch.no_grad()
def likelihoods(model: VQVAE, prior: Prior | None, batch: Batch) -> list[Likelihood]:
    """The bound of each utterance of a batch; see `measure_likelihood`."""
    context = model.conditioner.context
    with evaluating(model):
        codes = model.bottleneck.encode(model.encoder(batch.wav))  # (B, F)
        sample_nats = utterance_nats(model, batch, codes, batch.speaker)
    inside = slice(context, codes.shape[1] - context)
    num_samples, num_codes = batch.sample_mask.sum(1), batch.frame_mask[:, inside].sum(1)
    prior_nats = (
        code_nats(prior, codes[:, inside], num_codes, batch.speaker).sum(1)
        if prior
        else num_codes * math.log(model.num_codes)
    )
    rows = zip(sample_nats.tolist(), prior_nats.tolist(), num_samples.tolist(), num_codes.tolist(), strict=True)
    return [Likelihood(bits(x), bits(z), samples, codes, model.sample_rate) for x, z, samples, codes in rows]
