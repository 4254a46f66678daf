"""The VQ-VAE of speech: encoder, bottleneck, WaveNet decoder conditioned on codes and speaker [VQ-VAE §4.3]."""

# B batch, T samples, N code frames (T = hop * N), D code dimension, K codebook entries,
# P speaker dimension, C conditioning channels, Q = 256 mu-law classes.

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vqspeech.config import Recipe
from vqspeech.errors import CheckpointError
from vqspeech.models.blocks import Blocks
from vqspeech.models.checks import check_codes, check_waveform, find_speaker
from vqspeech.models.identity import weights_digest
from vqspeech.models.parts import make_conditioner, make_wavenet
from vqspeech.models.prior import Prior
from vqspeech.mu_law import previous_classes
from vqspeech.nn.bottleneck import Quantized, make_bottleneck
from vqspeech.nn.conditioning import PitchHead, SpeakerAdversary, SpectralHead
from vqspeech.nn.encoder import make_encoder
from vqspeech.nn.jitter import apply_jitter
from vqspeech.nn.linear_prediction import Excitation, Filters, excite, make_prediction
from vqspeech.nn.mode import evaluating
from vqspeech.nn.smooth_tables import begin_smoothly

BLOCK_FRAMES = 128  # code frames that are encoded at a time


class VQVAEOutput(NamedTuple):
    """What one pass over a batch gives."""

    logits: Tensor | None  # (B, T, Q); None while the WaveNet waits for its warm start, and where `nats` is asked for
    quantized: Quantized
    spectrum: Tensor | None  # (B, N, M) log-mel of each frame, where the recipe asks for it
    speaker_logits: Tensor | None  # (B, F, speakers) of the adversary, likewise
    classes: Tensor | None = None  # (B, T) that the logits foretell: the excitation's; None: the batch's own
    pitch: Tensor | None = None  # (B, N, 2) what `PitchHead` says, where the WaveNet is told of a period ago
    nats: Tensor | None = None  # mean -log p(target), a scalar


class VQVAE(nn.Module):
    """Waveform to codes, codes and speaker to a distribution over waveforms.

    Parameters
    ----------
    recipe : Recipe
    speakers : sequence of str
        Names, in the order of the one-hot.

    Attributes
    ----------
    card, read_prior : what the model's file says of it, and what reads the prior beside it; None for one made in memory
    """

    card: Any = None
    read_prior: Callable[[VQVAE], Prior] | None = None

    def __init__(self, recipe: Recipe, speakers: Sequence[str]) -> None:
        super().__init__()
        bottleneck, decoder, loss = recipe.bottleneck, recipe.decoder, recipe.loss
        self.recipe = recipe
        self.speakers = tuple(speakers)
        self.encoder = make_encoder(recipe.encoder, bottleneck.code_dim, recipe.data.sample_rate)
        self.bottleneck = make_bottleneck(
            bottleneck.kind, bottleneck.num_codes, bottleneck.code_dim, bottleneck.normalize, bottleneck.ema_decay,
            bottleneck.restart_below,
        )  # fmt: skip
        # The one-hot times a learned matrix: a voice is a vector that can later be fitted by itself.
        self.speaker_vectors = nn.Embedding(len(self.speakers), decoder.speaker_dim)
        self.conditioner = make_conditioner(recipe)
        self.wavenet = make_wavenet(recipe, self.conditioner.channels)
        self.pitch_head = PitchHead(self.conditioner.channels, recipe.data.sample_rate) if decoder.pitch_taps else None
        self.spectral_head = SpectralHead(self.conditioner.channels, loss.spectral_bands) if loss.spectral else None
        # What its spectrum filters, a frame for each code; it has no weights.
        self.prediction = make_prediction(
            decoder.prediction_order, recipe.data.sample_rate, self.hop_length, loss.spectral_bands
        )
        self.adversary = (
            SpeakerAdversary(bottleneck.code_dim, len(self.speakers), loss.adversary_width, loss.adversary_context)
            if loss.adversary
            else None
        )
        begin_smoothly(self.wavenet)  # last, so that all else begins as it did without

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.recipe.data.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per code."""
        return self.encoder.hop_length

    @property
    def lead(self) -> int:
        """Samples that `forward` gets before the first that the decoder speaks."""
        return self.conditioner.context * self.hop_length + self.encoder.halo[0]

    @property
    def training_parts(self) -> tuple[str, ...]:
        """How the names of weights begin that training alone uses; the filters of prediction need the spectrum."""
        return ("adversary.",) if self.prediction else ("spectral_head.", "adversary.")

    @property
    def num_codes(self) -> int:
        """K."""
        return self.bottleneck.num_codes

    @property
    def code_rate(self) -> float:
        """Codes per second, Hz."""
        return self.sample_rate / self.hop_length

    @cached_property  # not in torch's registry of modules: its weights are none of this model's
    def prior(self) -> Prior:
        """The prior over this model's codes, read when it is first used; errors as in `checkpoint.read_prior`."""
        if self.read_prior is None:
            raise CheckpointError("a model that was made in memory has no prior over its codes. Give one as `prior`")
        return self.read_prior(self)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.speaker_vectors.weight.device

    def forward(
        self,
        wav: Tensor,
        previous: Tensor,
        frame_mask: Tensor,
        speaker: Tensor,
        *,
        with_decoder: bool = True,
        quantize: bool = True,
        encoder_frozen: bool = False,
        jittered: Tensor | None = None,
        adversary_scale: float | None = None,
        spoken: Tensor | None = None,
        periods: Tensor | None = None,
        target: tuple[Tensor, Tensor] | None = None,
    ) -> VQVAEOutput:
        """One pass with teacher forcing.

        Parameters
        ----------
        wav : Tensor, shape (B, halo + F * hop + halo), F = context + N + context frames
        previous : LongTensor, shape (B, T), mu-law class one sample earlier; linear prediction takes the excitation's
        frame_mask : BoolTensor, shape (B, F), frames that lie inside the utterance
        speaker : LongTensor, shape (B,)
        with_decoder : whether the WaveNet takes part; in a warm start it does not
        quantize : whether vectors become codes; if not, they are only normalised, see `VectorQuantizer.forward`
        encoder_frozen : encoder and bottleneck give the codes of inference and do not learn
        jittered : LongTensor, shape (B, F), the frame whose vector each frame's conditioning gets, see `draw_jitter`
        adversary_scale : weight of the adversary's reversed gradient; None: the recipe's
        spoken : Tensor, shape of `wav`, what linear prediction starts from; None: `wav`
        periods : Tensor, shape (B, N), true pitch periods, see `frames`
        target : classes (B, T) and where they count (B, T); then the output has their `nats` in place of logits
        """
        if encoder_frozen:
            quantized = self.inference_codes(wav, frame_mask)
        else:
            quantized = self.bottleneck(self.encoder(wav, frame_mask), frame_mask, not quantize)
        z_q = quantized.z_q if jittered is None else apply_jitter(quantized.z_q, jittered)
        condition = self.decoder_condition(z_q, frame_mask, speaker)
        scale = self.recipe.loss.adversary if adversary_scale is None else adversary_scale
        adversary, classes = None if encoder_frozen else self.adversary, None
        if with_decoder and self.prediction is not None:
            excitation = self.excitation(wav if spoken is None else spoken, condition)
            classes = excitation.classes
            previous = previous_classes(classes)
        frames, nats = self.frames(condition, periods) if with_decoder else None, None
        if frames is not None and target is not None:
            nats = self.wavenet.mean_nats(previous, frames, target[0] if classes is None else classes, target[1])
        return VQVAEOutput(
            logits=self.wavenet(previous, frames) if frames is not None and target is None else None,
            quantized=quantized,
            spectrum=self.spectral_head(condition) if self.spectral_head else None,
            speaker_logits=adversary(quantized.z_q, frame_mask, scale) if adversary else None,
            classes=classes,
            pitch=self.pitch_head(condition) if self.pitch_head else None,
            nats=nats,
        )

    @torch.no_grad()
    def inference_codes(self, wav: Tensor, frame_mask: Tensor) -> Quantized:
        """The codes that inference finds, in full precision and without updating anything; shapes as in `forward`."""
        with torch.autocast(wav.device.type, enabled=False), evaluating(self.encoder), evaluating(self.bottleneck):
            return self.bottleneck(self.encoder(wav), frame_mask)

    def decoder_condition(self, z_q: Tensor, frame_mask: Tensor, speaker: Tensor) -> Tensor:
        """Conditioning frames (B, N, C) from z_q (B, F, D), zeroed outside the utterance, and speakers (B,)."""
        return self.conditioner(z_q * frame_mask[..., None], self.speaker_vectors(speaker))

    def frames(self, condition: Tensor, periods: Tensor | None = None) -> Tensor:
        """The WaveNet's frames: conditioning (..., N, C), and with long-term prediction the pitch period beside it.

        `periods` (..., N) are the true ones, in samples, 0 where there is none; None: what codes and speaker tell.
        """
        if self.pitch_head is None:
            return condition
        periods = self.pitch_head.periods(condition) if periods is None else periods
        return torch.cat([condition.float(), periods[..., None]], -1)

    def excitation(self, wav: Tensor, condition: Tensor, lead: int | None = None) -> Excitation:
        """What linear prediction leaves of a waveform by the filters of conditioning frames (B, N, C).

        `wav` (B, lead + T + ...) has `lead` samples before the first of the N hops; None: `self.lead`, as `forward`
        gets it.
        """
        return excite(wav, self.lead if lead is None else lead, self.filters(condition), self.hop_length)

    @torch.no_grad()
    def filters(self, condition: Tensor) -> Filters:
        """The filters of frames (..., N, C or C + 1), in full precision; there are some if `prediction` is."""
        assert self.prediction is not None and self.spectral_head is not None
        with torch.autocast(condition.device.type, enabled=False):
            return self.prediction(self.spectral_head(condition[..., : self.conditioner.channels].float()))

    def drop_training_parts(self) -> None:
        """Leave out what training alone uses, see `training_parts`."""
        self.adversary = None
        if self.prediction is None:
            self.spectral_head = None

    def speaker_index(self, name: str) -> int:
        """Position of a speaker in the one-hot.

        Raises
        ------
        UnknownSpeakerError
            With the nearest names.
        """
        return find_speaker(name, self.speakers)

    def codes_id(self) -> str:
        """Hex digest of what gives codes their meaning, encoder and codebook: codes of one model fit no other."""
        training = ("usage", "updates", "ema_count", "ema_sum")
        return weights_digest(self.encoder, self.bottleneck, leave_out=training)

    def weights_id(self) -> str:
        """Hex digest of all weights and speakers: two models with the same one convert alike."""
        return weights_digest(self, first="\n".join(self.speakers))

    def encoding(self) -> Blocks:
        """A stream that takes samples (n,) and gives codes (N,), whatever the pieces."""

        def compute(wav: Tensor) -> Tensor:
            return self.bottleneck.encode(self.encoder(wav[None]))[0]

        return Blocks(compute, BLOCK_FRAMES * self.hop_length, self.encoder.halo, self.hop_length)

    def conditioning(self, speaker: int, *, with_filters: bool = False) -> Blocks:
        """A stream that takes entries (n, D) and gives the WaveNet's `frames` (N, C), or (N, C + 1).

        With linear prediction and `with_filters` a frame is followed by its filter, (N, C + p + 1) in float64: both
        come out of one block, so that the pieces change neither.
        """
        vector = self.speaker_vectors.weight[speaker][None]

        def compute(z_q: Tensor) -> Tensor:
            frames = self.conditioner(z_q[None], vector)[0]
            spoken = self.frames(frames)
            return torch.cat([spoken.double(), self.filters(frames).packed()], 1) if packs else spoken

        packs = with_filters and self.prediction is not None

        context = self.conditioner.context
        return Blocks(compute, BLOCK_FRAMES, (context, context))

    @torch.no_grad()
    def encode(self, wav: np.ndarray | Tensor) -> Tensor:
        """Quantize a waveform, q(z|x) of [VQ-VAE §3.1].

        Parameters
        ----------
        wav : array or Tensor, shape (T,), in [-1, 1], at the model's sample rate; a last incomplete frame is filled up
            with zeros

        Returns
        -------
        codes : LongTensor, shape (N,), in [0, K), N = ceil(T / hop)

        Examples
        --------
        >>> model.encode(torch.zeros(10 * model.hop_length)).shape  # `model`: tiny, from conftest
        torch.Size([10])
        """
        samples = torch.as_tensor(wav, dtype=torch.float32, device=self.device)
        check_waveform(samples)
        with evaluating(self):
            stream = self.encoding()
            return torch.cat(stream.push(samples) + stream.finish())

    @torch.no_grad()
    def condition(self, codes: np.ndarray | Tensor, speaker: int) -> Tensor:
        """The decoder's conditioning frames (N, C) of codes (N,) as the given speaker.

        Raises
        ------
        CodesError
            If a code is outside [0, K).
        """
        with evaluating(self):
            stream = self.conditioning(speaker)
            return torch.cat(stream.push(self.lookup(codes)) + stream.finish())

    @torch.no_grad()
    def lookup(self, codes: np.ndarray | Tensor) -> Tensor:
        """Codebook entries (N, D) of codes (N,), checked against K."""
        codes = torch.as_tensor(codes, device=self.device).long()
        check_codes(codes, self.num_codes)
        return self.bottleneck.lookup(codes)
