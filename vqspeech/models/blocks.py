"""Apply a windowed computation to a stream in blocks of one fixed size.

Blocks lie on a fixed grid and are always computed in the same shape, so neither the length of a recording nor the way
it arrives changes a single bit of the result; memory stays constant.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Blocks:
    """Feed items in pieces of any size, get outputs block by block.

    Parameters
    ----------
    compute : function of Tensor (left + block + right, ...) to Tensor (block / rate, ...)
    block : int
        Items per block.
    halo : (int, int)
        Items that `compute` sees before and after a block; zeros beyond the stream's ends.
    rate : int
        Items per output frame.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor], block: int, halo: tuple[int, int], rate: int = 1) -> None:
        self.compute = compute
        self.block = block
        self.left, self.right = halo
        self.rate = rate
        self.pending: Tensor | None = None
        self.received = 0
        self.produced = 0

    def push(self, items: Tensor) -> list[Tensor]:
        """Outputs of all blocks that became complete with these items (n, ...)."""
        if self.pending is None:
            self.pending = items.new_zeros(self.left, *items.shape[1:])
        self.pending = torch.cat([self.pending, items])
        self.received += len(items)
        return self._flush()

    def finish(self) -> list[Tensor]:
        """The remaining outputs: as many in total as ceil(items / rate)."""
        if self.pending is None:
            return []
        total = -(-self.received // self.rate)
        missing = self.left + self.block + self.right  # at least one more block can be cut
        self.pending = torch.cat([self.pending, self.pending.new_zeros(missing, *self.pending.shape[1:])])
        outputs = self._flush(total)
        self.pending = None
        return outputs

    def _flush(self, total: int | None = None) -> list[Tensor]:
        assert self.pending is not None
        outputs = []
        window = self.left + self.block + self.right
        while len(self.pending) >= window and (total is None or self.produced < total):
            output = self.compute(self.pending[:window])
            if total is not None:
                output = output[: total - self.produced]
            self.produced += len(output)
            outputs.append(output)
            self.pending = self.pending[self.block :]
        return outputs
