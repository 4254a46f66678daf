"""Training of the judges on disturbed copies of real recordings, and their examination."""

# B batch, T samples.
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vqspeech.evaluation.judges import augmentation
from vqspeech.evaluation.judges.frozen import FrozenJudge, freeze
from vqspeech.evaluation.judges.networks import NETWORKS, pad
from vqspeech.progress import Notify

SMALL_BATCH = 32  # of judges that are trained for one evaluation

Disturbance = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def disturb_for_content(wav: Tensor, lengths: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Whoever says it, however fast and however well recorded: the word stays."""
    wav, lengths = augmentation.change_speed(wav, lengths, 0.15, generator)
    return _disturb_recording(wav, lengths, generator), lengths


def disturb_for_speaker(wav: Tensor, lengths: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Any stretch of the word, over any microphone: the voice stays."""
    wav, lengths = augmentation.crop(wav, lengths, 0.6, generator)
    return _disturb_recording(wav, lengths, generator), lengths


def _disturb_recording(wav: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
    wav = augmentation.equalise(wav, 6.0, generator) * augmentation.mask_samples(lengths, wav.shape[1])
    wav = augmentation.add_noise(wav, lengths, (8.0, 45.0), generator)
    wav = augmentation.scale_peak(wav, (-24.0, -1.0), generator)
    return augmentation.pass_mu_law(wav, 0.5, generator) * augmentation.mask_samples(lengths, wav.shape[1])


def train_judge(
    name: str,
    wavs: Sequence[np.ndarray],
    labels: Sequence[str],
    sample_rate: int,
    disturb: Disturbance,
    *,
    epochs: int = 24,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    seed: int = 0,
    channels: int = 80,
    kind: str = "convolutional",
    progress: Notify | None = None,
) -> FrozenJudge:
    """Train one classifier on disturbed copies of real recordings.

    Parameters
    ----------
    wavs : sequence of arrays, shape (T_i,), in [-1, 1]
    labels : sequence of str, one for each waveform
    kind : which of `NETWORKS`
    disturb : function of (wav (B, T), lengths (B,), generator), which gives disturbed copies and their lengths
    seed : int
        Fixes weights, order and disturbances; the same seed, torch and number of threads give the same judge.

    Returns
    -------
    judge : Judge
        The running average of the weights over the last epochs, rounded to float16.
    """
    classes = sorted(set(labels))
    targets = torch.tensor([classes.index(label) for label in labels])
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[kind](len(classes), sample_rate, channels)
        average = torch.optim.swa_utils.AveragedModel(
            network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
        )
        steps = epochs * (len(wavs) // batch_size)
        optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.15)
        for epoch in range(epochs):
            total = 0.0
            order = torch.randperm(len(wavs), generator=generator)
            batches = order[: len(wavs) // batch_size * batch_size].view(-1, batch_size)
            for chosen in batches:
                wav, lengths = disturb(*pad([wavs[index] for index in chosen], sample_rate // 100), generator)
                loss = F.cross_entropy(network(wav, lengths), targets[chosen], label_smoothing=0.05)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                average.update_parameters(network)
                total += loss.item()
            if progress:
                progress(f"{name} judge, epoch {epoch + 1}/{epochs}: loss {total / len(batches):.3f}")
    return freeze(name, average.module, classes, sample_rate, {"seed": seed, "epochs": epochs}, kind)


def train_for_steps(
    steps: int,
    name: str,
    wavs: Sequence[np.ndarray],
    labels: Sequence[str],
    sample_rate: int,
    disturb: Disturbance,
    *,
    seed: int,
) -> FrozenJudge:
    """Train one classifier for about so many steps, however many recordings there are; see `train_judge`."""
    batch = min(SMALL_BATCH, len(wavs))
    epochs = max(1, round(steps / (len(wavs) // batch)))
    return train_judge(name, wavs, labels, sample_rate, disturb, epochs=epochs, batch_size=batch, seed=seed)
