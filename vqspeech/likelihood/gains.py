"""How much codes and speakers tell the decoder: bits with teacher forcing on held-out speech, true and exchanged."""

# B batch, T samples, N code frames, F = N + 2 * context frames, K codebook entries.

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vqspeech.data.batches import Batch, Batches
from vqspeech.data.store import Store
from vqspeech.likelihood.nats import sample_nats
from vqspeech.losses import bits
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import mu_law_decode
from vqspeech.nn.mode import evaluating

SILENCE_DB = -50.0  # a code frame below this level, dB full scale, counts as silence


@dataclass(frozen=True)
class Gains:
    """Figures over a set of utterances.

    Attributes
    ----------
    bits : -log2 p(x | codes, speaker), bits per sample
    bits_speech, bits_silence : the same over frames above and below -50 dB
    code_gain : bits lost when codes are shuffled among all frames
    speaker_gain : bits lost when every utterance is given another speaker; 0 with a single speaker
    perplexity : 2 to the entropy of the codes' frequencies, 1 ... K
    used : codes that occur
    bit_rate : code rate times the entropy, bits per second
    """

    bits: float
    bits_speech: float
    bits_silence: float
    code_gain: float
    speaker_gain: float
    perplexity: float
    used: int
    bit_rate: float


@torch.no_grad()
def compute_gains(model: VQVAE, batches: Iterable[Batch], seed: int = 0, num_voices: int | None = None) -> Gains:
    """Measure a model on batches of held-out speech.

    Parameters
    ----------
    seed : fixes the shuffles
    num_voices : other speakers are drawn among the model's first so many; None: among all
    """
    generator = torch.Generator().manual_seed(seed)
    sums = dict.fromkeys(("true", "shuffled", "swapped", "silence"), 0.0)
    samples = silent = 0
    counts = torch.zeros(model.num_codes)
    with evaluating(model):
        for batch in batches:
            with torch.autocast(batch.wav.device.type, enabled=False):  # the codes that `convert` will find
                codes = model.bottleneck.encode(model.encoder(batch.wav))
            counts += torch.bincount(codes[batch.frame_mask].cpu(), minlength=model.num_codes)
            true = sample_nats(model, batch, codes, batch.speaker)
            quiet = _silent_samples(batch, model.hop_length)
            sums["true"] += float(true.sum())
            sums["silence"] += float(true[quiet].sum())
            shuffled = shuffle(codes, batch.frame_mask, generator)
            swapped = swap(batch.speaker, num_voices or len(model.speakers), generator)
            sums["shuffled"] += float(sample_nats(model, batch, shuffled, batch.speaker).sum())
            sums["swapped"] += float(sample_nats(model, batch, codes, swapped).sum())
            samples += int(batch.sample_mask.sum())
            silent += int(quiet.sum())
    share = counts / counts.sum()
    entropy = float(-(share * torch.log2(share.clamp(min=1e-12))).sum())
    mean = {name: bits(value / max(1, samples)) for name, value in sums.items()}
    return Gains(
        bits=mean["true"],
        bits_speech=bits((sums["true"] - sums["silence"]) / max(1, samples - silent)),
        bits_silence=bits(sums["silence"] / max(1, silent)),
        code_gain=mean["shuffled"] - mean["true"],
        speaker_gain=mean["swapped"] - mean["true"],
        perplexity=2**entropy,
        used=int((counts > 0).sum()),
        bit_rate=model.code_rate * entropy,
    )


def held_out_batches(
    model: VQVAE, store: Store, split: str, count: int, *, at_a_time: int = 8, max_samples: int | None = None
) -> Iterator[Batch]:
    """Whole utterances spread over a split, `count` in all, for `compute_gains`; always the same."""
    batches = Batches.for_model(model, store, split)
    for batch in batches.utterance_batches(batches.spread(count), at_a_time, max_samples):
        yield batch.to(model.device)


def perplexity(codes: Tensor, num_codes: int) -> Tensor:
    """2 to the entropy of the codes' frequencies, 1 ... K, of any number of codes (M,)."""
    share = torch.bincount(codes, minlength=num_codes) / len(codes)
    return torch.exp2(torch.special.entr(share).sum() / math.log(2))


def shuffle(codes: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """The codes of all masked frames of a batch, in random order among themselves; (B, F) both."""
    real = codes[mask]
    shuffled = codes.clone()
    shuffled[mask] = real[torch.randperm(len(real), generator=generator).to(real.device)]
    return shuffled


def swap(speaker: Tensor, num_speakers: int, generator: torch.Generator) -> Tensor:
    """For each of (B,) speakers another one, uniformly among the others."""
    if num_speakers < 2:
        return speaker
    shift = torch.randint(1, num_speakers, speaker.shape, generator=generator).to(speaker.device)
    return (speaker + shift) % num_speakers


def diagnose(history: list[dict[str, float]], num_speakers: int, patience: int = 3) -> str | None:
    """A sentence on what is wrong, once the last `patience` validations all show it; else None.

    Parameters
    ----------
    history : figures of each validation after the warm start, oldest first
    """
    recent = history[-patience:]
    if len(recent) < patience:
        return None
    if all(figures["perplexity"] < 2 for figures in recent):
        return (
            f"the codebook collapsed: perplexity {recent[-1]['perplexity']:.2f} in {patience} validations. Set "
            "bottleneck.normalize=batch and bottleneck.restart_below=0.1, or lower train.learning_rate"
        )
    if all(figures["code_gain"] < 0.005 for figures in recent):
        return (
            f"the decoder ignores the codes: shuffling them costs {recent[-1]['code_gain']:.4f} bits per sample in "
            f"{patience} validations. Set loss.spectral=1 and train.warm_start_steps=500, or raise the code rate"
        )
    if num_speakers > 1 and len(history) >= 3 * patience and all(f["speaker_gain"] < 0.001 for f in recent):
        return (
            f"the decoder ignores the speaker: another speaker costs {recent[-1]['speaker_gain']:.4f} bits per sample "
            f"in {patience} validations. Set loss.adversary=0.1, or lower the code rate"
        )
    return None


def _silent_samples(batch: Batch, hop_length: int) -> Tensor:
    """Samples inside the utterance whose code frame is below SILENCE_DB, (B, T)."""
    wav = torch.as_tensor(mu_law_decode(batch.classes))
    power = wav.unflatten(1, (-1, hop_length)).pow(2).mean(-1)  # (B, N)
    quiet = 10 * torch.log10(power + 1e-12) < SILENCE_DB
    return quiet.repeat_interleave(hop_length, dim=1) & batch.sample_mask
