"""The phases of a training: which parts of the model learn at which step, and on how large a batch."""

from __future__ import annotations

from dataclasses import dataclass

from vqspeech.config import TrainConfig


@dataclass(frozen=True)
class Phase:
    """Steps in which the same parts of a model learn in the same way.

    A recipe that uses all of them has three, each of which may be missing:

    ============================  =========  ============  =====================================
    name                          quantized  with_decoder  steps
    ============================  =========  ============  =====================================
    continuous                    no         no            the first `train.continuous_steps`
    warm start                    yes        no            up to `train.warm_start_steps`
    decoder                       yes        yes           the rest
    ============================  =========  ============  =====================================

    Where `train.continuous_steps` are more than `train.warm_start_steps`, the second is "continuous decoder": the
    WaveNet learns from vectors that are not quantized yet.

    Attributes
    ----------
    name : see above
    first : its first step
    quantized : whether the bottleneck gives codes; it only normalises before k-means has made the codebook
    with_decoder : whether the WaveNet takes part
    encoder_frozen : whether encoder and codebook stay as they are
    codes_begin : whether k-means makes the codebook before its first step
    decoder_joins : whether the WaveNet takes part from its first step on
    batch_size : crops on each process
    """

    name: str
    first: int
    quantized: bool
    with_decoder: bool
    encoder_frozen: bool
    codes_begin: bool
    decoder_joins: bool
    batch_size: int

    @property
    def is_settled(self) -> bool:
        """Whether all parts of the model take part: before, its figures mean nothing."""
        return self.quantized and self.with_decoder


def phase_at(step: int, train: TrainConfig) -> Phase:
    """The phase of a step.

    Parameters
    ----------
    step : from 0
    train : the recipe's section, with the numbers of steps that a time budget allows; see `Schedule.applied`

    Examples
    --------
    >>> train = TrainConfig(continuous_steps=10, warm_start_steps=30)
    >>> [(phase.name, phase.first) for phase in (phase_at(step, train) for step in (9, 10, 400))]
    [('continuous', 0), ('warm start', 10), ('decoder', 30)]
    """
    quantized, with_decoder = step >= train.continuous_steps, step >= train.warm_start_steps
    names = {
        (False, False): "continuous",
        (True, False): "warm start",
        (False, True): "continuous decoder",
        (True, True): "decoder",
    }
    first = max(begin for begin in (0, train.continuous_steps, train.warm_start_steps) if begin <= step)
    return Phase(
        name=names[quantized, with_decoder],
        first=first,
        quantized=quantized,
        with_decoder=with_decoder,
        encoder_frozen=train.freeze_encoder and with_decoder,
        codes_begin=first == train.continuous_steps,
        decoder_joins=first == train.warm_start_steps,
        batch_size=train.batch_size if with_decoder else train.warm_start_batch_size or train.batch_size,
    )


def samples_until(step: int, train: TrainConfig) -> int:
    """Samples of all steps before `step`, on each process."""
    warm = min(step, train.warm_start_steps)
    crops = warm * phase_at(0, train).batch_size + (step - warm) * train.batch_size
    return crops * train.crop_samples
