"""What a distribution over classes loses: -log p of what came."""

from __future__ import annotations

from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask`, of the same shape, is true; 0 if it is nowhere."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def cross_entropy(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean -log p(target), nats, over masked positions; logits (..., Q), target and mask (...)."""
    logits = logits.float()
    nats = logits.logsumexp(-1) - logits.gather(-1, target[..., None])[..., 0]
    return masked_mean(nats, mask)
