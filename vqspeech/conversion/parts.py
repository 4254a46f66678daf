"""Encode and cut: a recording that arrives becomes parts that can be sampled side by side."""

# N code frames.

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.conversion.cuts import Cuts
from vqspeech.models.vqvae import VQVAE


@dataclass(frozen=True)
class Part:
    """Codes of a stretch of a recording, with those around it that its conditioning sees.

    Attributes
    ----------
    codes : int array, (before + N + after,)
    before, after : codes on either side that give context alone
    first : frame of the recording at which sampling begins
    warm_up : frames that are sampled and thrown away
    """

    codes: NDArray[np.int32]
    before: int
    after: int
    first: int
    warm_up: int

    @property
    def num_frames(self) -> int:
        """Frames that are sampled, the warm-up among them."""
        return len(self.codes) - self.before - self.after


def find_parts(model: VQVAE, source: Iterable[Tensor], *, split: bool) -> Iterator[Part]:
    """Parts of a recording that arrives in pieces (n,); without `split` it is one.

    Codes wait in memory until a part is whole: four bytes a frame, 2 MB for an hour without a pause.
    """
    context = model.conditioner.context
    cuts = Cuts(model.hop_length, model.sample_rate, model.wavenet.receptive_field)
    found: deque[int] = deque()
    waiting = _Waiting(cuts.warm_up, context)
    encoding = model.encoding()

    def encode() -> Iterator[list[Tensor]]:
        for samples in source:
            if split:
                found.extend(cuts.push(samples.cpu().numpy()))
            yield encoding.push(samples)
        yield encoding.finish()

    for pieces in encode():
        waiting.push(pieces)
        while found and waiting.end >= found[0] + context:
            yield waiting.cut(found.popleft(), after=context)
    yield waiting.cut(waiting.end, after=0)


class _Waiting:
    """Codes that the next part needs, from the first of its context to the last that has been encoded."""

    def __init__(self, warm_up: int, context: int) -> None:
        self._warm_up, self._context = warm_up, context
        self._codes: NDArray[np.int32] = np.zeros(0, np.int32)
        self._kept = 0  # frame of the first of them
        self._begin = 0  # frame at which the next part's own sound begins

    @property
    def end(self) -> int:
        """Frames encoded so far."""
        return self._kept + len(self._codes)

    def push(self, pieces: list[Tensor]) -> None:
        if pieces:
            self._codes = np.concatenate([self._codes, *(codes.cpu().numpy().astype(np.int32) for codes in pieces)])

    def cut(self, end: int, after: int) -> Part:
        """The part that ends before frame `end`, with `after` codes of context behind it."""
        warm_up = self._warm_up if self._begin else 0
        first = self._begin - warm_up
        before = min(self._context, first)
        codes = self._codes[first - before - self._kept : end + after - self._kept]
        rest = max(self._kept, end - self._warm_up - self._context)  # where the next part's codes begin
        self._codes, self._kept, self._begin = self._codes[rest - self._kept :], rest, end
        return Part(codes, before, after, first, warm_up)
