"""How the codebook is used, what its codes cost in bits, and how long they last; the gains are `gains`'s."""

# R utterances, K codebook entries, N codes.
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vqspeech.evaluation.figures.statistics import Sample, figure
from vqspeech.evaluation.figures.types import Evaluation, Figure, Section, Trial, missing
from vqspeech.evaluation.measures.gains import measure_gains
from vqspeech.evaluation.trials.signals import one_per_utterance
from vqspeech.models.prior import Prior
from vqspeech.units.quality import deduplicate

TITLE = "Codebook"
AT_ONCE = 16  # utterances that the prior reads

Codes = NDArray[np.integer]


def measure(evaluation: Evaluation) -> Section:
    """Perplexity, usage, bit rates, run lengths; code gain and speaker gain."""
    model = evaluation.model
    trials = [trial for trial in one_per_utterance(evaluation) if len(trial.codes)]
    random = np.random.default_rng(evaluation.seed)
    uniform = [random.integers(model.num_codes, size=len(trial.codes)) for trial in trials]
    shuffled = [random.permutation(trial.codes) for trial in trials]
    own, mixed = (
        figure(name, _runs(evaluation, trials, codes), seed=evaluation.seed, unit="ms", statistic="ratio")
        for name, codes in (("run length", [trial.codes for trial in trials]), ("codes in random order", shuffled))
    )
    runs = replace(own, controls=(mixed,), higher_is_better=True)
    figures = (*_use(evaluation, trials, uniform), *_bit_rates(evaluation, trials, shuffled), runs)
    notes = ["Gains: teacher-forced, on real speech; they tell that the decoder listens, not how it sounds."]
    return Section(TITLE, (*figures, *measure_gains(evaluation)), tuple(notes))


def _use(evaluation: Evaluation, trials: Sequence[Trial], uniform: Sequence[Codes]) -> list[Figure]:
    """Perplexity and usage, beside as many codes drawn uniformly: few codes cannot use all entries."""
    num_codes = evaluation.model.num_codes
    num_frames = sum(len(trial.codes) for trial in trials)
    few = f"only {num_frames} codes for K = {num_codes}: too few to see every entry"
    figures = []
    for name, statistic, unit, most in (
        ("perplexity", "perplexity", f"of {num_codes}", float(num_codes)),
        ("codes in use", "usage", "%", 1.0),
    ):

        def make(name: str, codes: Sequence[Codes], statistic: str = statistic, unit: str = unit) -> Figure:
            samples = [(count(own, num_codes), t.speaker, t.utterance) for own, t in zip(codes, trials, strict=True)]
            return figure(name, samples, seed=evaluation.seed, unit=unit, statistic=statistic, centred=True)

        control = replace(limited(make("as many uniform codes", uniform), most), is_ceiling=True)
        made = limited(make(name, [trial.codes for trial in trials]), most)
        note = few if num_frames < 20 * num_codes else made.note
        figures.append(replace(made, controls=(control,), note=note))
    return figures


def _bit_rates(evaluation: Evaluation, trials: Sequence[Trial], shuffled: Sequence[Codes]) -> list[Figure]:
    """Bits a second: of any code, at the codes' frequencies, and by the prior, where there is one."""
    model, seed, unit = evaluation.model, evaluation.seed, "bit/s"
    rate = model.code_rate
    most = rate * math.log2(model.num_codes)
    uniform = Figure("bit rate, uniform", most, unit=unit, note="by definition: no interval")
    rows = [((rate, *count(t.codes, model.num_codes)), t.speaker, t.utterance) for t in trials]
    frequencies = replace(
        limited(
            figure("bit rate, codes' frequencies", rows, seed=seed, statistic="bit rate", unit=unit, centred=True), most
        ),
        controls=(replace(uniform, is_ceiling=True),),
    )
    name = "bit rate, prior"
    if evaluation.prior is None:
        return [uniform, frequencies, missing(name, evaluation.prior_missing, unit=unit)]
    prior = evaluation.prior
    try:
        true, mixed = (
            _prior_bits(evaluation, prior, trials, codes) for codes in ([trial.codes for trial in trials], shuffled)
        )
    except Exception as reason:  # a prior that cannot be run leaves the other figures alone
        return [uniform, frequencies, missing(name, f"the prior could not be run: {reason}", unit=unit)]
    per_code = sum(row[0][0] for row in true) / max(1, sum(row[0][1] for row in true)) / rate
    note = f"{per_code:.3f} bits a code, told who speaks; the end of each utterance counts"
    controls = (
        uniform,
        replace(frequencies, controls=()),
        figure("the prior on codes in random order", mixed, seed=seed, unit=unit, statistic="ratio"),
    )
    own = figure(name, true, seed=seed, unit=unit, statistic="ratio", higher_is_better=False, controls=controls)
    return [uniform, frequencies, replace(own, note="; ".join(filter(None, [note, own.note])))]


def _prior_bits(evaluation: Evaluation, prior: Prior, trials: Sequence[Trial], codes: Sequence[Codes]) -> list[Sample]:
    """((bits a second times codes, codes), speaker, utterance) of each trial under the prior."""
    import torch

    from vqspeech.likelihood.nats import code_nats

    model = evaluation.model
    order = sorted(range(len(trials)), key=lambda place: len(codes[place]))  # of about one length in each batch
    found: dict[int, Sample] = {}
    for start in range(0, len(order), AT_ONCE):
        places = order[start : start + AT_ONCE]
        lengths = torch.tensor([len(codes[place]) for place in places])
        rows = [torch.as_tensor(np.asarray(codes[place], np.int64)) for place in places]
        batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        speaker = torch.tensor([model.speaker_index(trials[place].speaker) for place in places])
        nats = code_nats(prior, *(tensor.to(model.device) for tensor in (batch, lengths, speaker))).sum(1)
        for place, value in zip(places, nats.tolist(), strict=True):
            bits = value / math.log(2) * model.code_rate
            found[place] = (bits, len(codes[place])), trials[place].speaker, trials[place].utterance
    return [found[place] for place in range(len(trials))]


def _runs(evaluation: Evaluation, trials: Sequence[Trial], codes: Sequence[Codes]) -> list[Sample]:
    """((milliseconds, runs), speaker, utterance) of each trial: its codes' mean run length as a ratio."""
    ms = 1000 / evaluation.model.code_rate
    return [
        ((len(own) * ms, len(deduplicate(own)[0])), trial.speaker, trial.utterance)
        for own, trial in zip(codes, trials, strict=True)
    ]


def count(codes: NDArray[np.integer], num_codes: int) -> NDArray[np.int64]:
    """How often each of K codes occurs among codes (N,): shape (K,)."""
    return np.bincount(codes, minlength=num_codes)


def limited(one: Figure, most: float) -> Figure:
    """A figure whose interval does not reach beyond what is possible."""
    return replace(one, high=min(one.high, most)) if math.isfinite(one.high) else one
