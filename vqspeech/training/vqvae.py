"""The VQ-VAE as a task for the training loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vqspeech.config import Recipe, TrainConfig
from vqspeech.conversion import Request, SamplingOptions, convert_many
from vqspeech.data.batches import Batch, Batches
from vqspeech.data.store import Store
from vqspeech.data.variants import Variants
from vqspeech.distributed import all_reduce_sum, rank, share, world_size
from vqspeech.errors import CorpusError
from vqspeech.evaluation.judges.opinion import mean_opinions
from vqspeech.evaluation.judges.probe import Conversion, VoiceClassifier, can_tell_voices, score_conversions
from vqspeech.likelihood.gains import compute_gains, diagnose, held_out_batches, perplexity
from vqspeech.losses import vqvae_losses
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import MU_LAW_CLASSES, previous_classes
from vqspeech.nn.jitter import draw_jitter
from vqspeech.nn.mel import LogMel
from vqspeech.nn.pitch import PitchTracker
from vqspeech.pretrained.checkpoint import SPEAKER_TABLE
from vqspeech.training.acceleration import Acceleration
from vqspeech.training.phases import Phase, phase_at
from vqspeech.training.state import Task, TrainingState

INITIAL_VECTORS_PER_CODE = 30  # encoder outputs from which k-means makes the first codebook
FREQUENCY_BATCHES = 32  # whose classes are counted before the decoder's first step
GRACE_STEPS = 500  # full steps before figures are held against a training
LEAST_STEPS = 500  # of the warm start, and of the decoder: with fewer it gives noise


class VQVAETask(Task):
    """Losses, gains and diagnosis of a VQ-VAE on a prepared corpus.

    Parameters
    ----------
    model : VQVAE, on its device
    store : prepared corpus with the model's speakers
    acceleration : precision of the forward pass
    variants : perturbed copies of the training split, where the recipe asks for them
    has_codebook : whether the model comes with a codebook that is to be kept, and with a trained decoder
    """

    def __init__(
        self,
        model: VQVAE,
        store: Store,
        acceleration: Acceleration,
        variants: Variants | None = None,
        *,
        has_codebook: bool = False,
    ) -> None:
        self.recipe: Recipe = model.recipe
        self.least_steps = LEAST_STEPS
        self.store = store
        self.variants = variants
        self.acceleration = acceleration
        self.vqvae, self.has_codebook = model, has_codebook
        self.num_voices = store.num_voices
        self.warm_batches = self._batches("train", batch_size=phase_at(0, self.recipe.train).batch_size)
        self.train_batches = self._batches("train")
        self.voice_batches = self._batches("train", self.num_voices)
        self.valid_batches = self._batches("valid")
        self.log_mel = (
            LogMel(model.sample_rate, model.hop_length, self.recipe.loss.spectral_bands).to(model.device)
            if model.spectral_head
            else None
        )
        self.pitch = (
            PitchTracker(model.sample_rate, model.hop_length).to(model.device) if model.pitch_head is not None else None
        )
        self.voices: VoiceClassifier | None = None
        self.conversions: Sequence[Conversion] = ()  # of the last validation, for listening
        self.model: nn.Module = model
        if world_size() > 1:
            from torch.nn.parallel import DistributedDataParallel

            self.model = DistributedDataParallel(
                model, broadcast_buffers=False, find_unused_parameters=self.recipe.train.settling_steps > 0
            )

    def _batches(self, split: str, num_speakers: int | None = None, batch_size: int | None = None) -> Batches:
        train = self.recipe.train
        return Batches.for_model(
            self.vqvae,
            self.store,
            split,
            crop_samples=train.crop_samples,
            batch_size=batch_size or train.batch_size,
            seed=train.seed,
            variants=self.variants if split == "train" else None,
            num_speakers=num_speakers,
        )

    def enter(self, phase: Phase, state: TrainingState) -> None:
        """See `Task.enter`: the decoder joins, at the frequencies of the classes; k-means makes the codebook."""
        if phase.decoder_joins:
            if phase.encoder_frozen:
                # The encoder stays as it is from now on: the mean of its last weights, not where the last step left it.
                state.model.load_state_dict(state.average.module.state_dict())
            # The average starts anew with the decoder: codes of an older encoder would not be those it is taught with.
            state.average.n_averaged.zero_()
        if phase.codes_begin and not (self.has_codebook and phase.first == 0):
            self.initialise(phase.first)
        if phase.decoder_joins and not self.has_codebook:
            self.vqvae.wavenet.set_class_frequencies(self._count_classes(phase.first))

    def _count_classes(self, step: int) -> Tensor:
        """How often the decoder is asked for each class in some training batches of all processes, (Q,)."""
        counts = torch.zeros(MU_LAW_CLASSES, device=self.vqvae.device)
        for ahead in range(FREQUENCY_BATCHES):
            batch = self._batch(step + ahead)
            classes = batch.classes
            if self.vqvae.prediction is not None:
                z_q = self.vqvae.inference_codes(batch.encoder_wav, batch.frame_mask).z_q
                condition = self.vqvae.decoder_condition(z_q, batch.frame_mask, batch.speaker)
                classes = self.vqvae.excitation(batch.wav, condition).classes
            counts += torch.bincount(classes[batch.sample_mask], minlength=MU_LAW_CLASSES)
        return all_reduce_sum(counts)

    def initialise(self, step: int = 0) -> None:
        """Set the codebook from encoder outputs on real speech."""
        if not self.recipe.bottleneck.data_init:
            return
        needed = INITIAL_VECTORS_PER_CODE * self.vqvae.num_codes
        vectors: list[Tensor] = []
        self.vqvae.train()
        with torch.no_grad(), self.acceleration.autocast():
            for ahead in range(1000):
                batch = self._batch(step + ahead)
                vectors.append(self.vqvae.encoder(batch.encoder_wav, batch.frame_mask)[batch.frame_mask].float())
                # All processes leave together: the encoder's statistics are a conversation among them.
                found = torch.tensor(float(sum(len(v) for v in vectors)), device=self.vqvae.device)
                if float(all_reduce_sum(found)) >= needed * world_size():
                    break
        z_e = torch.cat(vectors)
        if len(z_e) < self.vqvae.num_codes:
            raise CorpusError(
                f"the training split gives only {len(z_e)} code frames for {self.vqvae.num_codes} codes. Give more "
                "recordings, or lower bottleneck.num_codes"
            )
        self.vqvae.bottleneck.initialise(z_e, self.recipe.train.seed)

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of one step, see `Task.losses`."""
        train, phase = self.recipe.train, phase_at(step, self.recipe.train)
        batch = self._batch(step)
        bottleneck, loss = self.recipe.bottleneck, self.recipe.loss
        jittered = None
        if bottleneck.jitter or bottleneck.dropout:
            key = np.random.SeedSequence(train.seed, spawn_key=(step, rank())).generate_state(1, np.uint64)
            random = torch.Generator().manual_seed(int(key[0] >> np.uint64(1)))  # a resumed run repeats it
            jittered = draw_jitter(batch.frame_mask, bottleneck.jitter, bottleneck.dropout, random)
        periods = None
        if self.pitch is not None:
            periods = self.pitch.around_frames(batch.wav, self.vqvae.lead, train.crop_samples // self.vqvae.hop_length)
        with self.acceleration.autocast():
            out = self.model(
                batch.encoder_wav,
                previous_classes(batch.classes),
                batch.frame_mask,
                batch.speaker,
                with_decoder=phase.with_decoder,
                quantize=phase.quantized,
                encoder_frozen=phase.encoder_frozen,
                jittered=jittered,
                adversary_scale=loss.adversary * min(1.0, (step + 1) / max(1, loss.adversary_ramp)),
                spoken=batch.wav,
                periods=periods,
                target=(batch.classes, batch.sample_mask),
            )
            losses = vqvae_losses(self.vqvae, out, batch, self.log_mel, periods)
        return {
            "total": losses.total,
            "bits": losses.reconstruction.detach() / math.log(2),
            "perplexity": perplexity(out.quantized.codes[batch.frame_mask], self.vqvae.num_codes),
            "commitment": losses.commitment.detach(),
            "spectral": losses.spectral.detach(),
            "adversary": losses.adversary.detach(),
        }

    def _batch(self, step: int) -> Batch:
        phase, perturbation = phase_at(step, self.recipe.train), self.recipe.perturbation
        batches = self.train_batches if phase.with_decoder else self.warm_batches
        share = perturbation.share
        if phase.encoder_frozen:
            batches, share = self.voice_batches, perturbation.decoder_share
        return batches.batch(step, rank(), world_size(), perturbed=share).to(self.vqvae.device)

    def validate(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Gains on the validation split and, where the recipe asks for it, the free-running probe."""
        assert isinstance(model, VQVAE)
        train = self.recipe.train
        self.conversions = ()
        figures: dict[str, Any] = {"warm_start": not phase_at(step - 1, train).is_settled}
        if rank() == 0:
            with self.acceleration.autocast():
                longest = max(train.crop_samples, 2 * model.sample_rate)
                batches = held_out_batches(model, self.store, "valid", train.validation_utterances, max_samples=longest)
                figures |= asdict(compute_gains(model, batches, train.seed, self.num_voices))
            if train.probe_utterances and not figures["warm_start"]:
                figures["probe"] = self._probe(model)
        return share(figures)  # all processes have to come to the same diagnosis

    def _probe(self, model: VQVAE) -> dict[str, float]:
        train = self.recipe.train
        limit = int(train.probe_seconds * model.sample_rate)
        chosen = self.valid_batches.spread(train.probe_utterances)

        wavs = [self.store.wav(index, limit) for index in chosen]
        speakers = [self.store.speaker(index) for index in chosen]
        # Every other speaker in turn, so that targets are spread whatever the number of probes.
        num = self.num_voices
        targets = [(speaker + 1 + n % max(1, num - 1)) % num for n, speaker in enumerate(speakers)]
        if self.voices is None and can_tell_voices(self.store, num):
            self.voices = VoiceClassifier(self.store, num, {*speakers, *targets})
        requests = [
            Request(wav, model.speakers[voice], n)
            for voices in (speakers, targets)
            for n, (wav, voice) in enumerate(zip(wavs, voices, strict=True))
        ]
        options = SamplingOptions(train.seed)
        spoken = convert_many(model, requests, options, num_threads=max(1, torch.get_num_threads()))
        own, other = spoken[: len(chosen)], spoken[len(chosen) :]
        self.conversions = [Conversion(*each) for each in zip(wavs, speakers, targets, own, other, strict=True)]
        rate = model.sample_rate
        return score_conversions(self.conversions, self.voices, rate) | mean_opinions(other, rate)

    def diagnose(self, history: list[dict[str, Any]]) -> str | None:
        """See `gains.diagnose`; the first steps, in which no model has learned anything, do not count."""
        counted = [figures for figures in history if figures["step"] >= self.recipe.train.settling_steps + GRACE_STEPS]
        return diagnose(counted, self.num_voices)

    def reschedule(self, train: TrainConfig) -> None:
        """See `Task.reschedule`; the model's card then tells the steps that were really taken."""
        self.recipe = self.recipe.model_copy(update={"train": train})

    def finished_weights(self, weights: dict[str, Tensor]) -> tuple[tuple[str, ...], dict[str, Tensor]]:
        """Names and weights of the finished model, of all that `state_dict` gives: its voices alone."""
        num = self.num_voices
        if num == len(self.vqvae.speakers):
            return self.vqvae.speakers, weights
        kept = {name: value for name, value in weights.items() if not name.startswith(self.vqvae.training_parts)}
        return self.vqvae.speakers[:num], kept | {SPEAKER_TABLE: weights[SPEAKER_TABLE][:num]}
