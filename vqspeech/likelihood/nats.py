"""Teacher-forced nats: -log p of samples under the decoder and of codes under the prior, given the true past.

What a sample costs is always -log p of its own mu-law class, so that models with and without linear prediction, and
codes and speakers whose filters differ, compare. With prediction the WaveNet gives a distribution over classes of the
excitation e[t] = (x[t] - prediction) * scale. Given the past, e is a linear function of x: a class of e is an interval
of x, over which its probability is spread evenly, and a class of x gets what falls into its own interval. That is the
change of variables with the filter's Jacobian (it is monic and causal, so the gains alone), exact also where a class of
e is narrower than one of x. An excitation beyond mu-law's range is clipped to its last class, which stands for all that
lies beyond: that class is spread up to full scale of x. So a filter that fits badly, and clips, pays for it.
"""

# B utterances, T samples, N codes, F = N + 2 * context frames, Q mu-law classes, K codebook entries.

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.data.batches import Batch
from vqspeech.data.code_store import CodeStore
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import class_edges, previous_classes
from vqspeech.nn.linear_prediction import Excitation
from vqspeech.nn.mode import evaluating

WINDOW_SAMPLES = 1 << 16  # of a batch whose logits are in memory at once
PIECE_SAMPLES = 1 << 13  # whose shares of all classes are in memory at once


@torch.no_grad()
def sample_nats(model: VQVAE, batch: Batch, codes: Tensor, speaker: Tensor) -> Tensor:
    """-log p(x_t | x_<t, codes, speaker) of each sample, nats, (B, T); 0 outside utterances.

    Parameters
    ----------
    model : VQVAE, in evaluation mode
    batch : the samples, their past and which of them count
    codes : LongTensor, shape (B, F), the batch's own or others
    speaker : LongTensor, shape (B,), likewise
    """
    return condition_nats(model, batch, _condition(model, batch, codes, speaker))


def condition_nats(model: VQVAE, batch: Batch, condition: Tensor) -> Tensor:
    """`sample_nats` given conditioning frames (B, N, C), with gradients through the WaveNet, not through filters."""
    if model.prediction is None:
        logits = model.wavenet(previous_classes(batch.classes), model.frames(condition))
        return _target_nats(logits.float(), batch.classes) * batch.sample_mask
    excitation = model.excitation(batch.wav, condition)
    logits = model.wavenet(previous_classes(excitation.classes), model.frames(condition))
    return waveform_nats(logits, excitation, _spoken(model, batch), batch.classes) * batch.sample_mask


@torch.no_grad()
def utterance_nats(model: VQVAE, batch: Batch, codes: Tensor, speaker: Tensor) -> Tensor:
    """The sums of `sample_nats` over utterances of any length, (B,), float64.

    The logits come in windows of `WINDOW_SAMPLES`, each after all that the WaveNet sees before it.
    """
    condition = _condition(model, batch, codes, speaker)  # (B, N, C)
    excitation = None if model.prediction is None else model.excitation(batch.wav, condition)
    previous = previous_classes(batch.classes if excitation is None else excitation.classes)  # (B, T)
    hop, num_frames, frames = model.hop_length, condition.shape[1], model.frames(condition)
    before = -(-model.wavenet.receptive_field // hop)
    window = max(1, WINDOW_SAMPLES // (hop * len(condition)))
    nats = torch.zeros(len(condition), dtype=torch.float64, device=condition.device)
    for start in range(0, num_frames, window):
        end, first = min(start + window, num_frames), max(0, start - before)
        logits = model.wavenet(previous[:, first * hop : end * hop], frames[:, first:end])
        logits = logits[:, (start - first) * hop :]  # (B, samples of the window, Q)
        samples = slice(start * hop, end * hop)
        target = batch.classes[:, samples]
        if excitation is None:
            found = _target_nats(logits.float(), target, classes_last=False)
        else:
            here = Excitation(excitation.level[:, samples], excitation.scale[:, samples])
            found = waveform_nats(logits, here, _spoken(model, batch)[:, samples], target)
        nats += (found.double() * batch.sample_mask[:, samples]).sum(1)
    return nats


@torch.no_grad()
def code_nats(
    prior: Prior, codes: Tensor, lengths: Tensor, speaker: Tensor, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """-log p(z_n | z_<n, speaker) of each code and of the end, nats, (B, N + 1), float64; 0 after the end.

    Parameters
    ----------
    codes : LongTensor, shape (B, N), of which the first `lengths` count
    lengths, speaker : LongTensors, shape (B,)
    dtype : in which the softmax is computed
    """
    with evaluating(prior):
        logits = prior(codes, speaker)  # (B, N + 1, K + 1)
    position = torch.arange(codes.shape[1] + 1, device=codes.device)
    target = F.pad(codes, (0, 1)).masked_fill(position == lengths[:, None], prior.stop)
    nats = _target_nats(logits.to(dtype), target, classes_last=dtype == torch.float32)
    return nats.double() * (position <= lengths[:, None])


def surprisals(
    prior: Prior, codes: CodeStore, numbers: NDArray[np.int64], *, by_speaker: bool = True, positions: int = 16384
) -> Iterator[NDArray[np.float64]]:
    """Bits (N + 1,) of every code and of the end, for one sequence after the other; batches of some `positions`."""
    device = prior.speaker_vectors.weight.device
    waiting = list(map(int, numbers))
    while waiting:
        count, longest = 0, 0
        while count < len(waiting) and (
            not count or (count + 1) * max(longest, codes.length(waiting[count]) + 1) <= positions
        ):
            longest = max(longest, codes.length(waiting[count]) + 1)
            count += 1
        own, waiting = waiting[:count], waiting[count:]
        batch = np.zeros((count, longest - 1), np.int64)
        for row, number in zip(batch, own, strict=True):
            row[: codes.length(number)] = codes.read(number)
        lengths = torch.tensor([codes.length(number) for number in own])
        speaker = torch.tensor([codes.speaker(number) if by_speaker else prior.unconditional for number in own])
        tensors = (tensor.to(device) for tensor in (torch.from_numpy(batch), lengths, speaker))
        nats = code_nats(prior, *tensors, dtype=torch.float64).cpu().numpy()
        for row, number in zip(nats, own, strict=True):
            yield row[: codes.length(number) + 1] / math.log(2)


def bits_per_code(prior: Prior, codes: CodeStore, numbers: NDArray[np.int64], *, by_speaker: bool = True) -> float:
    """Bits that the prior needs for each code of whole sequences, those for the stop symbols included."""
    bits = sum(float(row.sum()) for row in surprisals(prior, codes, numbers, by_speaker=by_speaker))
    return bits / max(1, sum(codes.length(int(number)) for number in numbers))


def waveform_nats(logits: Tensor, excitation: Excitation, wav: Tensor, classes: Tensor) -> Tensor:
    """-log p of each sample's mu-law class (B, T) under logits (B, T, Q) over classes of the excitation.

    `wav` (B, T) are the samples themselves, `classes` (B, T) their own; see the module for what is computed.
    """
    rows = (logits.flatten(0, 1), *(each.flatten() for each in (*excitation, wav, classes)))
    pieces = zip(*(each.split(PIECE_SAMPLES) for each in rows), strict=True)
    return torch.cat([_piece_nats(*piece) for piece in pieces]).view_as(wav)


def _piece_nats(logits: Tensor, level: Tensor, scale: Tensor, wav: Tensor, classes: Tensor) -> Tensor:
    """See `waveform_nats`: (M,) of logits (M, Q) and (M,) of each of the others."""
    edges = torch.from_numpy(class_edges()).to(logits.device)  # (Q + 1,)

    def as_level(amplitude: Tensor | float) -> Tensor:
        return level + (amplitude - wav.double()) * scale

    begin, end = (
        edges[:-1].repeat(len(level), 1),
        edges[1:].repeat(len(level), 1),
    )  # (M, Q), of the excitation's classes
    begin[:, 0], end[:, -1] = as_level(-1).minimum(edges[0]), as_level(1).maximum(edges[-1])
    low, high = as_level(edges[classes]), as_level(edges[classes + 1])  # of the sample's own class
    common = (end.minimum(high[:, None]) - begin.maximum(low[:, None])).clamp(min=0)
    # On the logarithmic scale: what is next to impossible has finite nats, and no rounding makes it less than nothing.
    return -(logits.double().log_softmax(-1) + (common / (end - begin)).log()).logsumexp(-1).float()


def _spoken(model: VQVAE, batch: Batch) -> Tensor:
    """The samples (B, T) that a batch's classes are of."""
    return batch.wav[:, model.lead : model.lead + batch.classes.shape[1]]


def _condition(model: VQVAE, batch: Batch, codes: Tensor, speaker: Tensor) -> Tensor:
    return model.decoder_condition(model.bottleneck.lookup(codes), batch.frame_mask, speaker)


def _target_nats(logits: Tensor, target: Tensor, *, classes_last: bool = True) -> Tensor:
    """-log p of each target (B, T) under logits (B, T, Q).

    The two layouts round differently in the last bit. Each figure keeps its own, so that it compares with earlier ones.
    """
    if classes_last:
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view_as(target)
    return F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
