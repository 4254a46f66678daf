"""A small network that reads a class from a sequence of vectors: what it finds is there, what it misses may be too."""

# B batch, N frames, D vector size, C channels.
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.evaluation.judges.augmentation import mask_samples

_CHANNELS = 64
_BATCH = 32
_DROPOUT = 0.3


class SequenceProbe(nn.Module):
    """Two convolutions of five frames, mean and maximum over the sequence's own frames, class scores."""

    def __init__(self, size: int, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(size, _CHANNELS, 5, padding=2)
        self.second = nn.Conv1d(_CHANNELS, _CHANNELS, 5, padding=2)
        self.scores = nn.Linear(2 * _CHANNELS, num_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Scores (B, num_classes) of sequences (B, N, D), zero beyond each length (B,)."""
        inside = mask_samples(lengths, x.shape[1])[:, None]  # (B, 1, N)
        y = x.transpose(1, 2)  # (B, D, N)
        for convolution in (self.first, self.second):
            y = torch.relu(convolution(F.dropout(y, _DROPOUT / 2, self.training))) * inside
        pooled = torch.cat([y.sum(2) / lengths[:, None], y.amax(2)], 1)  # (B, 2C)
        return self.scores(F.dropout(pooled, _DROPOUT, self.training))


def probe_sequences(
    fit: Sequence[NDArray[np.floating]],
    fit_classes: Sequence[int],
    score: Sequence[NDArray[np.floating]],
    num_classes: int,
    *,
    seed: int,
    steps: int = 400,
) -> NDArray[np.float64]:
    """Train on some sequences, read the classes of others.

    Vectors are brought to zero mean and unit variance over the frames that are trained on.

    Parameters
    ----------
    fit, score : sequences of arrays, shape (N_i, D), N_i > 0
    fit_classes : int in [0, num_classes) of each of `fit`
    seed : of weights, order and dropout

    Returns
    -------
    log_probabilities : array, shape (len(score), num_classes), natural logarithms
    """
    frames = np.concatenate(fit)
    mean, spread = frames.mean(0), frames.std(0) + 1e-5
    teaching, asked = ([((x - mean) / spread).astype(np.float32) for x in given] for given in (fit, score))
    targets = torch.tensor(list(fit_classes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SequenceProbe(frames.shape[1], num_classes)
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
        order = torch.randperm(0)
        for _ in range(steps):
            if not len(order):
                order = torch.randperm(len(teaching))
            chosen, order = order[:_BATCH], order[_BATCH:]
            loss = F.cross_entropy(network(*_stack([teaching[i] for i in chosen])), targets[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.inference_mode():
        answers = [
            network(*_stack(asked[start : start + _BATCH])).double().log_softmax(1)
            for start in range(0, len(asked), _BATCH)
        ]
    return torch.cat(answers).numpy() if answers else np.zeros((0, num_classes))


def _stack(sequences: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Pad to (B, N, D), with the lengths (B,)."""
    lengths = torch.tensor([len(x) for x in sequences])
    return nn.utils.rnn.pad_sequence([torch.from_numpy(x) for x in sequences], batch_first=True), lengths
