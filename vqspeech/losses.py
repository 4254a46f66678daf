"""What training minimises, term by term as the paper writes it; pure functions of a batch and a model's output."""

# B batch, T samples, N code frames of the crop, F = N + 2 * context frames, Q mu-law classes, M mel bands.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vqspeech.data.batches import Batch
from vqspeech.models.vqvae import VQVAE, VQVAEOutput
from vqspeech.nn.cross_entropy import cross_entropy, masked_mean
from vqspeech.nn.mel import LogMel

OCTAVES = 3.0  # weight of a period's distance beside that of voicing


@dataclass(frozen=True)
class Losses:
    """The terms, each a scalar tensor; `total` is what is minimised."""

    reconstruction: Tensor  # -log p(x | z_q, speaker), nats per sample
    codebook: Tensor  # ||sg[z_e] - e||^2
    commitment: Tensor  # beta ||z_e - sg[e]||^2
    spectral: Tensor  # weighted log-mel distance of the warm start and its companion
    pitch: Tensor  # of voicing, nats per frame, and the distance of periods in octaves
    adversary: Tensor  # cross-entropy of the reversed speaker classifier, nats per frame

    @property
    def total(self) -> Tensor:
        """The sum [VQ-VAE eq. 3], with the terms a recipe adds."""
        return self.reconstruction + self.codebook + self.commitment + self.spectral + self.pitch + self.adversary


def bits(nats: float) -> float:
    """Nats to bits."""
    return nats / math.log(2)


def vqvae_losses(
    model: VQVAE, out: VQVAEOutput, batch: Batch, log_mel: LogMel | None, periods: Tensor | None = None
) -> Losses:
    """All terms of [VQ-VAE eq. 3] and those that the recipe adds, for one batch.

    `log_mel` gives the targets of the spectral loss, a frame for each code. `periods` (B, N) are the true pitch
    periods, for a model with long-term prediction.
    """
    recipe = model.recipe
    zero = out.quantized.codebook_loss.new_zeros(())
    reconstruction = zero if out.nats is None else out.nats
    if out.logits is not None:
        target = batch.classes if out.classes is None else out.classes
        reconstruction = cross_entropy(out.logits, target, batch.sample_mask)
    spectral = pitch = adversary = zero
    if out.spectrum is not None and log_mel is not None:
        spectral = spectral_loss(model, out.spectrum, batch, log_mel)
    if out.pitch is not None and periods is not None:
        pitch = pitch_loss(model, out.pitch, periods, batch)
    if out.speaker_logits is not None:
        speaker = batch.speaker[:, None].expand(-1, out.speaker_logits.shape[1])
        adversary = cross_entropy(out.speaker_logits, speaker, batch.frame_mask)
    return Losses(
        reconstruction=reconstruction,
        codebook=out.quantized.codebook_loss,
        commitment=recipe.bottleneck.commitment * out.quantized.commitment_loss,
        spectral=spectral,
        pitch=pitch,
        adversary=adversary,
    )


def pitch_loss(model: VQVAE, told: Tensor, periods: Tensor, batch: Batch) -> Tensor:
    """How far `PitchHead` (B, N, 2) is from the true periods (B, N): voicing, and octaves where there is a pitch."""
    assert model.pitch_head is not None
    context, num_frames = model.conditioner.context, periods.shape[1]
    inside, voiced = batch.frame_mask[:, context : context + num_frames], periods > 0
    voicing = F.binary_cross_entropy_with_logits(told[..., 0].float(), voiced.float(), reduction="none")
    octaves = (told[..., 1].float() - model.pitch_head.octaves(periods)).abs()
    return masked_mean(voicing, inside) + OCTAVES * masked_mean(octaves, inside & voiced)


def spectral_loss(model: VQVAE, spectrum: Tensor, batch: Batch, log_mel: LogMel) -> Tensor:
    """The weighted distance of predicted log-mel frames (B, N, M) from the batch's own."""
    context, num_frames = model.conditioner.context, spectrum.shape[1]
    with torch.no_grad():
        target = log_mel.around_frames(batch.wav, model.lead, num_frames)  # (B, N, M)
    distance = (spectrum.float() - target).abs().mean(-1)  # (B, N)
    return model.recipe.loss.spectral * masked_mean(distance, batch.frame_mask[:, context : context + num_frames])
