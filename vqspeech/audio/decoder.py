"""What reads a recording's samples: one decoder for each library, all alike to the reader."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Decoder(Protocol):
    """Samples of one file, channels averaged, from its first to its last.

    Attributes
    ----------
    sample_rate : Hz
    num_channels : of the file
    num_samples : by the header, or counted without decoding
    is_estimate : whether `num_samples` may be wrong by a second or 2 %
    reads_on : whether what lies beyond `num_samples` is read too
    """

    sample_rate: int
    num_channels: int
    num_samples: int
    is_estimate: bool
    reads_on: bool

    def skip(self, num_samples: int) -> None:
        """Pass over samples, before the first `read`."""

    def read(self, num_samples: int) -> NDArray[np.float32]:
        """At most so many samples, (n,); none at the end.

        Raises
        ------
        UndecodableError
            If what follows is corrupt or cut off.
        """

    def close(self) -> None:
        """Close the file."""


class UnknownCodecError(Exception):
    """A library does not know what is in a file."""


class UndecodableError(Exception):
    """A file cannot be decoded to its end."""
