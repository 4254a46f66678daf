"""How long a recipe would train on this machine: a few real steps of every stage, timed."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vqspeech.config import PerturbationConfig, Recipe, load_recipe
from vqspeech.data.code_store import CodeStore
from vqspeech.data.preparation import store_folder
from vqspeech.data.processes import num_cores
from vqspeech.data.store import Store
from vqspeech.data.synthetic import make_store
from vqspeech.distributed import local_device
from vqspeech.errors import CorpusError
from vqspeech.likelihood.nats import bits_per_code
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE
from vqspeech.nn.wavenet import WaveNet
from vqspeech.progress import Notify
from vqspeech.sampling.engines import get_engine
from vqspeech.training.acceleration import Acceleration, accelerate, find_acceleration
from vqspeech.training.phases import phase_at
from vqspeech.training.prior import PriorTask, prior_training
from vqspeech.training.schedule import Pace, Schedule, divide
from vqspeech.training.state import new_state
from vqspeech.training.step_cost import StepCost, measure_peak, measure_step, seconds
from vqspeech.training.vqvae import VQVAETask

SAMPLED_S = 1.0  # of sound in each stream, for the speed of sampling
CODED_S = 4.0  # of sound, for the speed of coding


@dataclass(frozen=True)
class StageTime:
    """How long a stage of training takes.

    Attributes
    ----------
    name : "warm start", "decoder" or "prior"
    steps : that it has
    cost : of one
    items_per_s : samples of speech, or codes of the prior's crops, that are trained on in a second
    other_s : seconds in all for what is not a step: validations with their probes, coding the corpus
    """

    name: str
    steps: int
    cost: StepCost
    items_per_s: float
    other_s: float

    @property
    def hours(self) -> float:
        """Steps and the rest."""
        return (self.steps * self.cost.step_s + self.other_s) / 3600

    def to_json(self, peak: float) -> dict[str, Any]:
        """Plain values, the cost's among them, beside a peak in GFLOP/s."""
        own = {name: getattr(self, name) for name in ("name", "steps", "items_per_s", "other_s", "hours")}
        return own | self.cost.to_json(peak)


@dataclass(frozen=True)
class Prediction:
    """What this machine would need for a recipe.

    Attributes
    ----------
    recipe : its name
    device, precision, compiled, threads : as a training would have them
    speech : what was trained on: the prepared corpus, or made-up speech
    stages : in order
    peak_gflop_per_s : of a plain matrix product in float32
    sampling : samples per second of one stream on one core, and of many on all cores
    sample_rate : Hz
    notices : sentences for the user
    """

    recipe: str
    device: str
    precision: str
    compiled: bool
    threads: int
    speech: str
    stages: tuple[StageTime, ...]
    peak_gflop_per_s: float
    sampling: dict[str, float]
    sample_rate: int
    notices: tuple[str, ...]

    @property
    def hours(self) -> float:
        """All stages."""
        return sum(stage.hours for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Plain values, the hours among them."""
        stages = [stage.to_json(self.peak_gflop_per_s) for stage in self.stages]
        return asdict(self) | {"stages": stages, "hours": self.hours}

    def describe(self) -> str:
        """A table for people; the last line is the sum."""
        compiled = "compiled" if self.compiled else "not compiled"
        lines = [
            f"{self.recipe} on {self.device}, {self.threads} threads, {self.precision}, {compiled}; timed on "
            f"{self.speech}",
            f"{'stage':12}{'steps':>10}{'steps/s':>10}{'per second':>20}{'optimizer':>13}{'GFLOP/s':>9}{'of peak':>9}"
            f"{'hours':>9}",
        ]
        for stage in self.stages:
            cost, rate = stage.cost, stage.cost.gflop_per_s
            items = f"{stage.items_per_s:,.0f} " + ("codes" if stage.name == "prior" else "samples")
            optimizer = f"{cost.optimizer} {cost.optimizer_share:.0%}"
            lines.append(
                f"{stage.name:12}{stage.steps:>10,}{1 / cost.step_s:>10.2f}{items:>20}{optimizer:>13}{rate:>9,.1f}"
                f"{rate / self.peak_gflop_per_s:>9.0%}{stage.hours:>9.2f}"
            )
        one, many = self.sampling["one_stream"], self.sampling["many_streams"]
        lines += [
            *self.notices,
            f"peak: {self.peak_gflop_per_s:,.0f} GFLOP/s, a plain matrix product in float32",
            f"sampling: {one:,.0f} samples/s in one stream ({one / self.sample_rate:.1f} x real time), {many:,.0f} in "
            f"many ({many / self.sample_rate:.1f} x)",
            f"in all {self.hours:.2f} hours",
        ]
        return "\n".join(lines)


def predict(
    recipe: str | Path, *, overrides: Sequence[str] = (), rounds: int = 10, notify: Notify = lambda line: None
) -> Prediction:
    """Time a few steps of each stage of a recipe's training, with its own settings, and sampling.

    Parameters
    ----------
    recipe : folder with recipe.toml, or a TOML file
    overrides : "section.key=value" each
    rounds : steps that are timed in each stage
    notify : is told what is being timed

    Raises
    ------
    RecipeError
        See `load_recipe`.
    """
    settled = load_recipe(recipe, overrides)
    perturbs = settled.perturbation.share or settled.perturbation.decoder_share
    # Reading perturbed copies takes no longer than reading recordings, and making them is no step.
    settled = settled.model_copy(update={"perturbation": PerturbationConfig()})
    with tempfile.TemporaryDirectory() as folder:
        store, speech = _open_store(settled, Path(folder))
        device = local_device()
        acceleration = find_acceleration(settled.train, device)
        torch.manual_seed(settled.train.seed)
        model = VQVAE(settled, store.speakers).to(device)
        notify("a matrix product")
        peak = measure_peak(device)
        notify("sampling")
        sampling = time_sampling(model.wavenet, settled, num_cores())
        stages, notes = time_vqvae(model, store, acceleration, rounds, notify)
        notify("the prior")
        coded = store if speech.startswith("prepared") else None
        stages.append(time_prior(model, store, coded, device, rounds))
    if coded is None:
        notes.append("coding the corpus for the prior is not counted: how much speech there is, is not known yet")
    if perturbs:
        notes.append("making perturbed copies of the recordings is not counted")
    return Prediction(
        settled.name, device, "bfloat16" if acceleration.bfloat16 else "float32",
        acceleration.compile or model.wavenet.fused, torch.get_num_threads(), speech, tuple(stages), peak, sampling,
        settled.data.sample_rate,
        (*acceleration.notices, *notes),
    )  # fmt: skip


def _open_store(recipe: Recipe, folder: Path) -> tuple[Store, str]:
    try:
        store = Store.open(store_folder(recipe.name))
        if store.sample_rate == recipe.data.sample_rate:
            return store, f"prepared speech, {store.folder}"
    except CorpusError:
        pass  # nothing is prepared yet
    return make_store(recipe, folder), "made-up speech"


def time_vqvae(
    model: VQVAE, store: Store, acceleration: Acceleration, rounds: int, notify: Notify
) -> tuple[list[StageTime], list[str]]:
    """The stages of the VQ-VAE, and what has to be said of their steps; `model` is trained a little."""
    train = model.recipe.train
    state = new_state(model, train)
    notes = list(accelerate(model.wavenet, acceleration))
    task = VQVAETask(model, store, acceleration)
    settling = train.settling_steps
    notify("the decoder")
    full = measure_step(task, state, train, settling + 1, rounds)
    warm, early = full, 0
    if train.warm_start_steps:
        notify("the warm start")
        # Not the step at which k-means makes the codebook.
        early = train.continuous_steps + 1 if train.continuous_steps + 1 < train.warm_start_steps else 0
        warm = measure_step(task, state, train, early, rounds)
    notify("a validation")
    validation_s = seconds(lambda: task.validate(state.average.module, settling + 1))
    schedule = Schedule.of(train)
    if train.max_minutes is not None:
        share_s = validation_s / train.validate_every
        schedule = divide(train, Pace(warm.step_s + share_s, full.step_s + share_s))
        notes.append(
            f"train.max_minutes={train.max_minutes:g} allows about {schedule.total:,} steps of {train.steps:,}"
        )
    counts = schedule.warm_start, schedule.total - schedule.warm_start
    samples = [phase_at(step, train).batch_size * train.crop_samples for step in (early, settling + 1)]
    stages = [
        StageTime(name, count, cost, size / cost.step_s, count / train.validate_every * validation_s)
        for name, count, size, cost in zip(("warm start", "decoder"), counts, samples, (warm, full), strict=True)
        if count
    ]
    return stages, notes


def time_prior(model: VQVAE, store: Store, coded: Store | None, device: str, rounds: int) -> StageTime:
    """The prior's stage, on made-up codes of the store's lengths; coding it counts where `coded` is the corpus."""
    config = model.recipe.prior
    train = prior_training(model.recipe)
    codes = MadeUpCodes(store, model.num_codes, model.hop_length)
    prior = Prior(model.recipe, model.num_codes, model.speakers).to(device)
    task = PriorTask(prior, codes, model.code_rate, find_acceleration(train, device))
    cost = measure_step(task, new_state(prior, train), train, 0, rounds)
    validation_s = 2 * seconds(lambda: bits_per_code(prior, codes, task.valid))  # with the speaker, and without
    coding_s = 0.0
    if coded:
        wav = np.random.default_rng(0).normal(0, 0.1, round(CODED_S * model.sample_rate)).astype(np.float32)
        model.encode(wav)
        speech_s = coded.duration_s("train") * config.shifts + coded.duration_s("valid") + coded.duration_s("test")
        coding_s = seconds(lambda: model.encode(wav)) / CODED_S * speech_s
    batches = [task.batches.batch(step) for step in range(rounds)]
    items = float(np.mean([int(batch.mask.sum()) for batch in batches]))
    validations = math.ceil(config.steps / config.validate_every)
    return StageTime("prior", config.steps, cost, items / cost.step_s, validations * validation_s + coding_s)


def time_sampling(wavenet: WaveNet, recipe: Recipe, threads: int) -> dict[str, float]:
    """Samples per second of one stream on one thread, and of as many as go in step on each of all threads."""
    hop = recipe.encoder.hop_length
    sampler = get_engine("auto", "auto").load(wavenet, hop)
    frames = max(1, round(SAMPLED_S * recipe.code_rate))
    channels = wavenet.condition.in_features

    def rate(streams: int, rooms: int) -> float:
        condition = np.random.default_rng(0).normal(size=(streams, frames, channels)).astype(np.float32)
        made = [sampler.streams(streams, seed=0) for _ in range(rooms)]
        opened = [[room.open(number) for number in range(streams)] for room in made]
        with ThreadPoolExecutor(rooms) as pool:
            took = seconds(lambda: list(pool.map(lambda pair: pair[0].generate(pair[1], condition),
                                                  zip(made, opened, strict=True))))  # fmt: skip
        return rooms * streams * frames * hop / took

    rate(1, 1)  # compiles
    return {"one_stream": rate(1, 1), "many_streams": rate(sampler.width, threads)}


class MadeUpCodes(CodeStore):
    """Random codes, as many for each utterance as its length gives: for timing."""

    def __init__(self, store: Store, num_codes: int, hop_length: int) -> None:
        self.store, self.num_codes, self.shifts = store, num_codes, 1
        self.ends = np.cumsum(-(-store.index["length"].astype(np.int64) // hop_length))

    def read(self, number: int) -> NDArray[np.int64]:
        """Always the same for a number."""
        return np.random.default_rng(number).integers(0, self.num_codes, self.length(number))
