"""Muon, with matrices of one shape orthogonalised in one batched product, in a precision that the machine has."""

# n matrices of one shape, of s rows and l columns, s <= l (tall ones are transposed).

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# The quintic's coefficients and the guard against zero gradients [github.com/KellerJordan/Muon, 2024].
A, B, C = 3.4445, -4.7750, 2.0315
ITERATIONS = 5
EPSILON = 1e-7


def orthogonalize(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Lift all singular values of each matrix to about 1 by five Newton-Schulz iterations.

    Parameters
    ----------
    matrices : Tensor, shape (n, rows, columns)
    dtype : of the products; bfloat16 pays where the processor multiplies in it, and is emulated elsewhere

    Returns
    -------
    orthogonal : Tensor, shape (n, rows, columns), of `dtype`, with singular values between about 0.7 and 1.2
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if is_tall else matrices).to(dtype)  # (n, s, l)
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=EPSILON)
    for _ in range(ITERATIONS):
        gram = x @ x.mT  # (n, s, s)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x.mT if is_tall else x


class Muon(torch.optim.Muon):
    """PyTorch's Muon, step for step; it takes one matrix at a time and always multiplies in bfloat16.

    A processor without bfloat16 products emulates them at a tenth of the speed of float32.

    Parameters
    ----------
    matrices : parameters, each (rows, columns)
    lr : learning rate, scaled by sqrt(max(1, rows / columns)) as in the original
    dtype : see `orthogonalize`
    """

    def __init__(self, matrices: Sequence[Tensor], lr: float, dtype: torch.dtype) -> None:
        # No decay, as Adam has none: PyTorch's default would shrink the matrices.
        super().__init__(matrices, lr=lr, weight_decay=0.0)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all matrices that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            params: list[Tensor] = []
            gradients: list[Tensor] = []
            momenta: list[Tensor] = []
            self._init_group(group, params, gradients, momenta)
            if not params:
                continue
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            updates = torch._foreach_lerp(gradients, momenta, group["momentum"])  # Nesterov's look ahead
            by_shape: dict[torch.Size, list[int]] = defaultdict(list)
            for place, param in enumerate(params):
                by_shape[param.shape].append(place)
            for (rows, columns), places in by_shape.items():
                moves = orthogonalize(torch.stack([updates[place] for place in places]), self.dtype)
                rate = group["lr"] * math.sqrt(max(1, rows / columns))
                torch._foreach_add_([params[place] for place in places], list(moves.to(params[0].dtype)), alpha=-rate)
