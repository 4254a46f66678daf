"""Whether the decoder listens: bits a sample with teacher forcing, with the true codes and speaker and with others."""

# B utterances, T samples.
from __future__ import annotations

import math
from collections.abc import Sequence

from vqspeech.data.selection import thin
from vqspeech.evaluation.figures.statistics import Sample, figure
from vqspeech.evaluation.figures.types import Evaluation, Figure, missing

FORCED_S = 24.0  # of speech with teacher forcing
LONGEST_S = 3.0  # of each utterance
BITS, CODE_GAIN, SPEAKER_GAIN = "bits per sample", "code gain", "speaker gain"


def measure_gains(evaluation: Evaluation) -> list[Figure]:
    """Bits a sample with teacher forcing, and how many are lost with shuffled codes and with another speaker."""
    try:
        true, shuffled, swapped = _forced_bits(evaluation)
    except Exception as reason:  # a model that cannot be run leaves its other figures alone
        return [
            missing(name, f"the decoder could not be run: {reason}", unit="bits")
            for name in (BITS, CODE_GAIN, SPEAKER_GAIN)
        ]
    seed = evaluation.seed
    basis = f"samples at {evaluation.sample_rate} Hz"
    any_class = (Figure("256 classes, all as likely", 8.0, unit="bits", note="by definition"),)
    nothing = (Figure("a decoder that does not listen", 0.0, unit="bits", note="by definition"),)

    def gain(of: Sequence[Sample], name: str, note: str) -> Figure:
        # Sums, not means of means: a second of speech weighs the same in a long utterance and in a short one.
        rows = [
            ((worse[0][0] - base[0][0], base[0][1]), base[1], base[2]) for worse, base in zip(of, true, strict=True)
        ]
        return figure(
            name, rows, seed=seed, statistic="ratio", unit="bits", higher_is_better=True, controls=nothing, note=note,
            basis=basis,
        )  # fmt: skip

    bits = figure(
        BITS, true, seed=seed, statistic="ratio", unit="bits", higher_is_better=False, controls=any_class, basis=basis
    )
    figures = [bits, gain(shuffled, CODE_GAIN, "bits a sample lost with shuffled codes")]
    if len(evaluation.model.speakers) < 2:
        return [*figures, missing(SPEAKER_GAIN, "the model has one voice: there is no other to swap in", unit="bits")]
    return [*figures, gain(swapped, SPEAKER_GAIN, "bits a sample lost with another speaker")]


def _forced_bits(evaluation: Evaluation) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """((bits, samples), speaker, utterance) with the true codes and speaker, shuffled codes, another speaker."""
    import torch

    from vqspeech.data.batches import Batches
    from vqspeech.likelihood.gains import shuffle, swap
    from vqspeech.likelihood.nats import sample_nats
    from vqspeech.nn.mode import evaluating

    model, store = evaluation.model, evaluation.store
    wanted = evaluation.utterances
    span = store.utterances(evaluation.split)
    chosen = [index for index in span if store.utterance_id(index) in wanted]
    whole_s = sum(min(LONGEST_S, store.length(index) / store.sample_rate) for index in chosen)
    chosen = list(thin(chosen, whole_s, FORCED_S))
    batches = Batches.for_model(model, store, evaluation.split)
    generator = torch.Generator().manual_seed(evaluation.seed)
    found: tuple[list[Sample], list[Sample], list[Sample]] = ([], [], [])
    with torch.no_grad(), evaluating(model):
        for start in range(0, len(chosen), 8):
            indices = chosen[start : start + 8]
            batch = batches.utterance_batch(indices, int(LONGEST_S * store.sample_rate)).to(model.device)
            codes = model.bottleneck.encode(model.encoder(batch.wav))
            # The speakers of the store, in the order of the model's one-hot.
            names = [store.speakers[store.speaker(index)] for index in indices]
            speaker = torch.tensor([model.speaker_index(name) for name in names], device=model.device)
            lengths = batch.sample_mask.sum(1).cpu().numpy()
            for samples, variant, voice in (
                (found[0], codes, speaker),
                (found[1], shuffle(codes, batch.frame_mask, generator), speaker),
                (found[2], codes, swap(speaker, len(model.speakers), generator)),
            ):
                nats = sample_nats(model, batch, variant, voice).double().sum(1)
                bits = (nats / math.log(2)).cpu().numpy()
                samples += [
                    ((float(b), int(n)), name, store.utterance_id(i))
                    for b, n, name, i in zip(bits, lengths, names, indices, strict=True)
                ]
    return found
