"""What a recipe says: frozen models that refuse what they do not know."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(_Section):
    """Where the speech comes from and how it is prepared."""

    corpus: Literal["vctk", "librispeech", "fsdd", "folder", "manifest", "embedded"]
    root: str | None = None  # folder of the corpus; --data and VQSPEECH_DATA stand in for it
    help: str = "Give its folder with --data"  # how to get the corpus, said when it is missing
    sample_rate: Annotated[int, Field(ge=4000, le=48000)] = 16000  # Hz
    mic: Literal["mic1", "mic2"] = "mic1"  # VCTK 0.92 has two microphones
    trim_db: Annotated[float, Field(ge=0, le=120)] = 0.0  # trim ends this far below the peak; 0 leaves them
    level: Literal["none", "speaker"] = "none"  # one fixed gain per speaker, or none
    level_db: Annotated[float, Field(le=0)] = -26.0  # RMS that `level = "speaker"` aims at, dB full scale; `convert`
    # applies no gain, so recordings to convert should be near this level then
    min_duration_s: Annotated[float, Field(ge=0)] = 0.1
    leave_out: tuple[str, ...] = ()  # speakers that are not learned, for example to enroll them later
    voices: tuple[str, ...] = ()  # speakers whose voices are learned, all if empty; the others teach the encoder alone,
    # by all that they say, and the finished model does not know them
    max_minutes_per_speaker: Annotated[float, Field(gt=0)] | None = None
    valid_share: Share = 0.05
    test_share: Share = 0.05


class PerturbationConfig(_Section):
    """Another voice, or noise, for the encoder to hear, the decoder's target left alone [arXiv 2110.14513 §2.2].

    Perturbed copies of all training utterances are made once, beside the prepared speech, and drawn from: they take
    `variants` times its space. Factors are drawn between a limit and its inverse, evenly on a logarithmic scale.
    """

    share: Annotated[float, Field(ge=0, le=1)] = 0.0  # of crops, while the encoder learns
    decoder_share: Annotated[float, Field(ge=0, le=1)] = 0.0  # of crops, once it is frozen: codes of other voices
    variants: Annotated[int, Field(gt=0, le=64)] = 8  # copies of an utterance
    pitch_semitones: Annotated[float, Field(ge=0, le=24)] = 6.0  # farthest up or down
    pitch_range: Annotated[float, Field(ge=1, le=4)] = 1.5  # factor of the pitch's excursions around its median
    formants: Annotated[float, Field(ge=1, le=1.6)] = 1.15  # factor of the spectral envelope's frequencies
    equalizer_db: Annotated[float, Field(ge=0, le=24)] = 6.0  # gain of each octave
    # Noise, white to Brownian, is added at signal-to-noise ratios from this to 50 dB; none is where it is not set.
    noise_snr_db: Annotated[float, Field(ge=-10, le=50)] | None = None


class EncoderConfig(_Section):
    """Strided 1-D convolutions, window = 2 x stride [VQ-VAE §4.3]."""

    input: Literal["raw", "log-mel"] = "raw"  # what the strides stride over: samples, or frames of a log-mel spectrum
    mel_hop: Positive = 32  # samples per mel frame; `hop_length` is this times the strides
    mel_bands: Annotated[int, Field(ge=8, le=128)] = 40
    strides: Annotated[tuple[Literal[2, 4, 5, 8], ...], Field(min_length=1)] = (2, 2, 2, 2, 2, 2)
    channels: Positive = 128
    residual_blocks: Annotated[int, Field(ge=0)] = 2
    # After each strided convolution by fixed statistics ("batch"), or after the last by those of the past ("instance"),
    # a window of `norm_frames` code frames that lengthens the encoder's halo: codes stay independent of chunking.
    norm: Literal["none", "batch", "instance"] = "none"
    norm_frames: Annotated[int, Field(ge=2, le=4096)] = 64

    @property
    def hop_length(self) -> int:
        """Samples per code frame."""
        return math.prod(self.strides) * (self.mel_hop if self.input == "log-mel" else 1)


class BottleneckConfig(_Section):
    """Discretisation of the encoder's output [VQ-VAE §3.1]."""

    kind: Literal["vq", "vq-ema"] = "vq-ema"
    num_codes: Annotated[int, Field(ge=2, le=65536)] = 512
    code_dim: Positive = 64
    normalize: Literal["none", "batch", "sphere"] = "batch"
    commitment: Annotated[float, Field(ge=0)] = 0.25  # beta of [VQ-VAE eq. 3]
    ema_decay: Share = 0.99  # gamma of [VQ-VAE appendix A.1]
    restart_below: Annotated[float, Field(ge=0)] = 0.1  # share of uniform usage under which a code restarts; 0: never
    data_init: bool = True  # codebook from k-means on encoder outputs; otherwise uniform as in the paper
    # While training, so that what follows the codes leans on no single one of them; inference has neither.
    jitter: Share = 0.0  # share of frames that take the code of a neighbour [arXiv 1901.08810 §2.3]
    dropout: Share = 0.0  # share of frames whose vector is zeroed


class DecoderConfig(_Section):
    """WaveNet over mu-law samples, conditioned on codes and speaker."""

    residual_channels: Positive = 64
    skip_channels: Positive = 128
    cycles: Positive = 2
    layers_per_cycle: Annotated[int, Field(gt=0, le=12)] = 10
    # Samples that one pass of the layers serves [arXiv 2008.04574 §2]; the receptive field grows with them.
    samples_per_step: Literal[1, 2, 4] = 1
    condition_channels: Positive = 64
    context_frames: Annotated[int, Field(ge=0)] = 2  # code frames seen on either side
    condition_blocks: Annotated[int, Field(ge=0, le=7)] = 0  # residual blocks after them; the n-th sees 2^n more frames
    speaker_dim: Positive = 32
    # 0: the WaveNet models the waveform itself. Above: what linear prediction of this order leaves of it, the filters
    # from the spectrum that is predicted from codes and speaker; 1 per kHz of the sample rate is enough.
    prediction_order: Annotated[int, Field(ge=0, le=48)] = 0
    # Samples around one pitch period ago that each pass of the WaveNet is shown; the period is told by codes and
    # speaker. 0: none.
    pitch_taps: Annotated[int, Field(ge=0, le=32)] = 0


class LossConfig(_Section):
    """Terms beside the paper's; 0 leaves a term out."""

    spectral: Annotated[float, Field(ge=0)] = 0.0  # log-mel of the frame predicted from codes and speaker alone
    spectral_bands: Annotated[int, Field(ge=8, le=128)] = 40  # mel bands; few leave pitch out of the codes
    adversary: Annotated[float, Field(ge=0)] = 0.0  # gradient-reversed speaker classifier on the quantized vectors
    adversary_context: Literal["frames", "crop"] = "frames"  # it names the speaker of each frame from its neighbours
    # (9 frames in all), or of the crop, pooled over all its frames
    adversary_width: Positive = 64  # its channels
    adversary_ramp: Annotated[int, Field(ge=0)] = 0  # steps over which reversal grows to full strength


class TrainConfig(_Section):
    """One training run."""

    steps: Positive = 500_000
    max_minutes: Annotated[float, Field(gt=0, le=1e6)] | None = None  # divided into steps; `steps` are the most
    warm_start_share: Annotated[float, Field(gt=0, le=0.5)] = 0.35  # of max_minutes: then the decoder joins
    batch_size: Positive = 8
    warm_start_batch_size: Positive | None = None  # of the warm start, whose steps cost little; batch_size if not set
    crop_samples: Positive = 5120
    optimizer: Literal["adam", "muon"] = "muon"  # muon: the decoder's matrices are its, the rest Adam's
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 4e-4
    muon_rate: Annotated[float, Field(gt=0, le=1)] = 0.02  # of Muon, at the peak
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    final_rate: Annotated[float, Field(ge=0, le=1)] = 0.05  # learning rate at the end, as a share of the peak
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    weight_average: Share = 0.999  # EMA of the weights, used for inference
    warm_start_steps: Annotated[int, Field(ge=0)] = 0  # first steps without the WaveNet (needs loss.spectral)
    continuous_steps: Annotated[int, Field(ge=0)] = 0  # first steps without quantization, before k-means
    freeze_encoder: bool = False  # after the warm start, encoder and codebook stay as they are
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    validate_every: Positive = 1000
    checkpoint_every: Positive = 1000
    keep: Annotated[int, Field(ge=0)] = 0  # last checkpoints kept as model-<step>, with the best as model-best
    validation_utterances: Positive = 64
    probe_utterances: Annotated[int, Field(ge=0)] = 6  # free-running conversions judged at each validation
    probe_seconds: Annotated[float, Field(gt=0)] = 2.0  # at most this much of each

    @property
    def settling_steps(self) -> int:
        """First steps, in which parts of the model wait and its figures mean nothing yet."""
        return max(self.warm_start_steps, self.continuous_steps)


class PriorConfig(_Section):
    """WaveNet over codes, trained after the VQ-VAE with the encoder frozen [VQ-VAE §4.3]."""

    residual_channels: Positive = 64
    skip_channels: Positive = 128
    cycles: Positive = 2
    layers_per_cycle: Annotated[int, Field(gt=0, le=12)] = 6
    speaker_dim: Positive = 32
    conditional: bool = True  # on the speaker
    steps: Positive = 3000
    batch_size: Positive = 32
    crop_codes: Positive = 320  # longer utterances are trained on in crops [VQ-VAE §4.3]
    shifts: Annotated[int, Field(gt=0, le=8)] = 8  # codings of a training utterance, from first samples within a frame
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    validate_every: Positive = 250
    weight_average: Share = 0.99
    dropout: Share = 0.1  # of previous codes, replaced by others of the batch
    speaker_dropout: Share = 0.1  # of speakers, replaced by none, so that the prior also learns p(z) without a speaker

    @property
    def receptive_field(self) -> int:
        """Previous codes that a prediction sees."""
        return 1 + self.cycles * (2**self.layers_per_cycle - 1)


class SamplingConfig(_Section):
    """How a finished model speaks, where a command does not say otherwise."""

    temperature: Annotated[float, Field(ge=0, le=10)] = 1.0  # divides the logits of samples; below 1 is calmer


class Recipe(_Section):
    """Everything that defines a model and its training."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]*$")]  # also names folders
    data: DataConfig
    perturbation: PerturbationConfig = PerturbationConfig()
    encoder: EncoderConfig = EncoderConfig()
    bottleneck: BottleneckConfig = BottleneckConfig()
    decoder: DecoderConfig = DecoderConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    prior: PriorConfig = PriorConfig()
    sampling: SamplingConfig = SamplingConfig()

    @model_validator(mode="after")
    def _check_together(self) -> Recipe:
        hop = self.encoder.hop_length
        if self.train.crop_samples % hop:
            raise ValueError(
                f"train.crop_samples = {self.train.crop_samples} is not a multiple of the encoder's "
                f"{hop} samples per code; use {max(1, round(self.train.crop_samples / hop)) * hop}"
            )
        if hop % self.decoder.samples_per_step:
            raise ValueError(
                f"decoder.samples_per_step = {self.decoder.samples_per_step} does not divide the encoder's {hop} "
                "samples per code; use 1, or strides whose product is a multiple of it"
            )
        if self.train.warm_start_steps and not self.loss.spectral:
            raise ValueError("train.warm_start_steps needs loss.spectral > 0: without it nothing trains the encoder")
        if self.decoder.prediction_order and not self.loss.spectral:
            raise ValueError(
                "decoder.prediction_order needs loss.spectral > 0: the filters come from the spectrum that it teaches"
            )
        if self.decoder.pitch_taps and not self.loss.spectral:
            raise ValueError(
                "decoder.pitch_taps needs loss.spectral > 0: the pitch is taught beside the spectrum, in the warm start"
            )
        if 0 < self.decoder.pitch_taps < self.decoder.samples_per_step:
            raise ValueError(
                f"decoder.pitch_taps = {self.decoder.pitch_taps} is less than decoder.samples_per_step = "
                f"{self.decoder.samples_per_step}: a pass would not see all its samples of a period ago"
            )
        settling = self.train.settling_steps
        if self.train.steps <= settling:
            raise ValueError(
                f"train.steps = {self.train.steps}, but the decoder joins after {settling} steps "
                "(train.warm_start_steps, train.continuous_steps): give more steps or a shorter start"
            )
        # Without either the encoder is a given model's, see `vqspeech.training.initial`.
        if self.train.freeze_encoder and settling and self.train.continuous_steps >= self.train.warm_start_steps:
            raise ValueError(
                "train.freeze_encoder keeps what the warm start has learned: train.warm_start_steps must exceed "
                "train.continuous_steps. To keep the encoder of a model that is given with --init, set both to 0"
            )
        if len(set(self.data.voices)) < len(self.data.voices) or set(self.data.voices) & set(self.data.leave_out):
            raise ValueError(
                "data.voices names a speaker twice, or one of data.leave_out. Name each once, in one of them"
            )
        if self.data.voices and not self.train.freeze_encoder:
            raise ValueError(
                "data.voices lets other speakers teach the encoder while it learns without the decoder: it needs "
                "train.freeze_encoder = true and train.warm_start_steps"
            )
        if self.data.valid_share + self.data.test_share >= 1:
            raise ValueError("data.valid_share + data.test_share must stay below 1")
        return self

    @property
    def code_rate(self) -> float:
        """Codes per second, Hz."""
        return self.data.sample_rate / self.encoder.hop_length

    @property
    def bit_rate(self) -> float:
        """Bits per second under a uniform prior over codes."""
        return self.code_rate * math.log2(self.bottleneck.num_codes)
