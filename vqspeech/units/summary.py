"""What a set of unit sequences costs, added up recording by recording."""

from __future__ import annotations

from collections import Counter

import numpy as np

from vqspeech.units.encoding import Encoded
from vqspeech.units.quality import deduplicate, entropy


class UnitsSummary:
    """Recordings, seconds, units a second and bit rates.

    Attributes
    ----------
    num_files, duration_s : of what was added
    """

    def __init__(self) -> None:
        self.num_files, self.duration_s = 0, 0.0
        self._codes: Counter[int] = Counter()
        self._runs: Counter[int] = Counter()

    def add(self, encoded: Encoded) -> None:
        """Count one recording."""
        self.num_files += 1
        self.duration_s += encoded.duration_s
        for counter, codes in ((self._codes, encoded.codes), (self._runs, deduplicate(encoded.codes)[0])):
            values, counts = np.unique(codes, return_counts=True)
            counter.update(dict(zip(values.tolist(), counts.tolist())))

    def describe(self) -> str:
        """One line for people; bit rates as in `quality.bit_rate`."""
        each, runs = (
            (counter.total() / self.duration_s, entropy(list(counter.values())))
            for counter in (self._codes, self._runs)
        )
        return (
            f"{self.num_files} recordings, {self.duration_s:.1f} s, {len(self._codes)} different units; "
            f"{each[0]:.1f} units/s and {each[0] * each[1]:.0f} bits/s, "
            f"deduplicated {runs[0]:.1f} units/s and {runs[0] * runs[1]:.0f} bits/s"
        )
