"""A speaker's vector fitted by likelihood: the decoder is asked which vector makes the recordings likeliest."""

# B batch, T samples, F = N + 2 * context frames, P speaker dimension.

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from vqspeech.config import TrainConfig
from vqspeech.data.batches import Batch, Batches
from vqspeech.data.store import Store
from vqspeech.likelihood.gains import held_out_batches
from vqspeech.likelihood.nats import condition_nats
from vqspeech.losses import cross_entropy, masked_mean, pitch_loss, spectral_loss
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import previous_classes
from vqspeech.nn.mel import LogMel
from vqspeech.nn.pitch import PitchTracker
from vqspeech.training.acceleration import Acceleration
from vqspeech.training.loop import fit
from vqspeech.training.state import Task, TrainingState, new_state

CROP_SAMPLES = 3072  # about; three receptive fields of a small decoder
PATIENCE = 5  # validations without a gain, after which the fit ends
LEAST_GAIN = 1e-4  # bits per sample that count as one
SCREENED_SAMPLES = 8192  # on which every known voice is tried
FINALISTS = 6  # of them that are tried on all that is held out

FitProgress = Callable[[int, int, float], None]  # steps done, of how many, bits per sample


def fitting(crop_samples: int, seed: int, steps: int, max_minutes: float) -> TrainConfig:
    """What the training loop needs to know; a vector of some dozens of numbers bears a steep descent."""
    return TrainConfig(
        steps=steps, max_minutes=max_minutes, batch_size=8, crop_samples=crop_samples, optimizer="adam",
        learning_rate=0.03, warmup_steps=10, final_rate=0.1, weight_average=0.95, validate_every=20,
        checkpoint_every=10**9, compile="off", seed=seed,
    )  # fmt: skip


class SpeakerVector(nn.Module):
    """All that learns: the vector (P,)."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.vector = nn.Parameter(start.detach().clone())


class VoiceTask(Task):
    """See `training.state.Task`: bits per sample of the recordings, given their own codes and a vector.

    No fit is futile: the best vector is kept, if need be the first.

    Parameters
    ----------
    vqvae : the base model; its weights are frozen
    store : the new voice's speech, with a train and a valid split
    start : Tensor, shape (P,)
    train : see `fitting`
    acceleration : precision of the forward pass
    """

    def __init__(
        self, vqvae: VQVAE, store: Store, start: Tensor, train: TrainConfig, acceleration: Acceleration
    ) -> None:
        self.vqvae, self.acceleration = vqvae.eval().requires_grad_(False), acceleration
        self.voice = SpeakerVector(start)
        self.least_steps = 1
        self.model: nn.Module = self.voice
        self.batches = Batches.for_model(
            vqvae, store, "train", crop_samples=train.crop_samples, batch_size=train.batch_size, seed=train.seed
        )
        self.log_mel = (
            LogMel(vqvae.sample_rate, vqvae.hop_length, vqvae.recipe.loss.spectral_bands).to(vqvae.device)
            if vqvae.prediction is not None
            else None
        )
        self.pitch = (
            PitchTracker(vqvae.sample_rate, vqvae.hop_length).to(vqvae.device) if vqvae.pitch_head is not None else None
        )
        count = store.split_sizes["valid"]
        self.held_out = list(held_out_batches(vqvae, store, "valid", count, at_a_time=4))

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of one step; nats per sample are minimised, and what gives them no gradient beside them.

        These are the spectrum that linear prediction filters by, and the pitch of long-term prediction.
        """
        batch = self.batches.batch(step).to(self.vqvae.device)
        with self.acceleration.autocast():
            condition = self._condition(batch, self.voice.vector)
            total = nats = self._nats(batch, condition)
            if self.log_mel is not None and self.vqvae.spectral_head is not None:
                total = total + spectral_loss(self.vqvae, self.vqvae.spectral_head(condition), batch, self.log_mel)
            if self.pitch is not None and self.vqvae.pitch_head is not None:
                periods = self.pitch.around_frames(batch.wav, self.vqvae.lead, condition.shape[1])
                total = total + pitch_loss(self.vqvae, self.vqvae.pitch_head(condition), periods, batch)
        return {"total": total, "bits": nats.detach() / math.log(2)}

    def _condition(self, batch: Batch, vector: Tensor) -> Tensor:
        """Conditioning frames (B, N, C) of a batch's own codes and a vector."""
        z_q = self.vqvae.inference_codes(batch.wav, batch.frame_mask).z_q  # (B, F, D)
        return self.vqvae.conditioner(z_q * batch.frame_mask[..., None], vector.expand(len(z_q), -1))

    def _nats(self, batch: Batch, condition: Tensor) -> Tensor:
        """Mean -log p of a batch's samples, nats."""
        if self.vqvae.prediction is not None:
            return masked_mean(condition_nats(self.vqvae, batch, condition), batch.sample_mask)
        logits = self.vqvae.wavenet(previous_classes(batch.classes), self.vqvae.frames(condition))
        return cross_entropy(logits, batch.classes, batch.sample_mask)

    @torch.no_grad()
    def bits(self, vector: Tensor, batches: Sequence[Batch] | None = None) -> float:
        """Bits per sample of what is held out, or of other batches, in a voice."""
        nats = count = 0.0
        for batch in self.held_out if batches is None else batches:
            samples = float(batch.sample_mask.sum())
            with self.acceleration.autocast():
                nats += float(self._nats(batch, self._condition(batch, vector))) * samples
            count += samples
        return nats / max(1.0, count) / math.log(2)

    def validate(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Bits per sample of what is held out."""
        return {"bits": self.bits(cast(SpeakerVector, model).vector)}

    def nearest(self) -> tuple[int, float]:
        """The known voice that makes the speech likeliest, and its bits per sample of what is held out.

        All are tried on a little speech, the best of those on all that is held out.
        """
        vectors = self.vqvae.speaker_vectors.weight
        batch = self.batches.batch(10**6)  # crops that the fit does not come to
        rows = max(1, SCREENED_SAMPLES // batch.classes.shape[1])
        few = Batch(
            batch.wav[:rows], batch.classes[:rows], batch.sample_mask[:rows], batch.frame_mask[:rows],
            batch.speaker[:rows],
        ).to(self.vqvae.device)  # fmt: skip
        tried = sorted((self.bits(vector, [few]), number) for number, vector in enumerate(vectors))
        found = [(self.bits(vectors[number]), number) for _, number in tried[:FINALISTS]]
        bits, number = min(found)
        return number, bits


class BestVector:
    """The observer of a fit: keeps the best vector, ends the fit when it has stopped gaining; see `state.Observer`."""

    def __init__(self, start: Tensor, bits: float, advance: FitProgress) -> None:
        self.vector, self.bits, self.step = start.detach().clone(), bits, 0
        self.advance = advance
        self.gained = 0  # validations up to the last gain that counts

    def started(self, state: TrainingState) -> None:
        """Nothing to open."""

    def stepped(self, state: TrainingState, terms: dict[str, Tensor]) -> None:
        """Tell the progress."""
        self.advance(state.step, state.total_steps, self.bits)

    def validated(self, state: TrainingState, figures: dict[str, Any]) -> None:
        """Keep the vector if it is the best; end the fit if none was for a while."""
        if figures["bits"] < self.bits - LEAST_GAIN:
            self.gained = len(state.history)
        if figures["bits"] < self.bits:
            self.bits, self.step = figures["bits"], state.step
            self.vector = cast(SpeakerVector, state.average.module).vector.detach().clone()
        if len(state.history) - self.gained >= PATIENCE:
            state.schedule = replace(state.schedule, total=state.step)

    def save(self, state: TrainingState) -> None:
        """Nothing is resumed: a fit takes minutes."""


@torch.no_grad()
def mean_vector(vqvae: VQVAE) -> Tensor:
    """The mean of the known voices (P,)."""
    return vqvae.speaker_vectors.weight.mean(0)


def fit_voice(task: VoiceTask, train: TrainConfig, start_bits: float, advance: FitProgress) -> BestVector | None:
    """Fit the task's vector from where it is; None if a signal stopped it."""
    observer = BestVector(task.voice.vector, start_bits, advance)
    state = new_state(task.voice, train)
    return observer if fit(task, state, train, observer) else None


def crop_of(hop_length: int) -> int:
    """Samples of a crop: the multiple of a frame nearest to `CROP_SAMPLES`."""
    return max(1, round(CROP_SAMPLES / hop_length)) * hop_length
