"""Codes to bytes and back: the range coder of `constriction`, driven by the prior in whole numbers.

constriction's Categorical(perfect=False) gives class i the width of its probability scaled to 2^24 - K, cut to whole
numbers along the cumulative sum, plus 1. The shares of `IntegerPrior` are whole numbers that sum to 2^24 - K already,
and float32 holds whole numbers up to 2^24 exactly: so its tables are shares + 1, and no rounding takes part.
"""

# N codes, K codebook entries.

from __future__ import annotations

import math
import struct
import zlib
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.compression.integers import TABLE_BITS, IntegerPrior
from vqspeech.errors import CodesError, DependencyError
from vqspeech.models.prior import Prior

SEGMENT_CODES = 4096  # each with bytes of its own, so that memory stays constant; the prior's past runs on
LENGTH = struct.Struct("<I")  # bytes of a segment, before each but the last
WORD_BYTES = 4
SLACK_BITS = 64  # a segment may come out this much shorter than its codes' probabilities say, by luck; it never does


@dataclass(frozen=True)
class Bits:
    """The first `count` bits of `data`, most significant first; what is left of its last byte is zero."""

    data: bytes
    count: int


def pack_codes(codes: NDArray[np.integer], prior: Prior, speaker: int | None) -> Bits:
    """Codes (N,), N > 0, in about as many bits as the prior's cross-entropy; see `unpack_codes`.

    Parameters
    ----------
    codes : integer array, in [0, K)
    prior : Prior
    speaker : its number, or None for no speaker
    """
    coder = _load_coder()
    tables = IntegerPrior(prior, speaker)
    previous = np.concatenate([[tables.start], codes[:-1]])
    segments = []
    for start in range(0, len(codes), SEGMENT_CODES):
        part = np.ascontiguousarray(codes[start : start + SEGMENT_CODES], np.int32)
        shares = tables.shares(previous[start : start + SEGMENT_CODES]).astype(np.float32)
        segments.append(_encode(coder, part, shares))
    *earlier, last = segments
    before = b"".join(LENGTH.pack(len(segment.data)) + segment.data for segment in earlier)
    return Bits(before + last.data, 8 * len(before) + last.count)


def unpack_codes(payload: Bits, num_codes: int, prior: Prior, speaker: int | None) -> NDArray[np.int32]:
    """The `num_codes` codes of what `pack_codes` gave for the same prior and speaker.

    Raises
    ------
    CodesError
        If so many codes cannot be in the payload; nothing is allocated for them then. Other damage gives other codes:
        check them with `checksum`.
    """
    segments = _split(payload.data, -(-num_codes // SEGMENT_CODES))
    coder = _load_coder()
    tables = IntegerPrior(prior, speaker)
    family = coder.model.Categorical(perfect=False)
    codes = np.zeros(num_codes, np.int32)
    previous = np.array([tables.start])
    for number, segment in enumerate(segments):
        decoder = coder.queue.RangeDecoder(_words(segment))
        budget = float(8 * len(segment) + SLACK_BITS)
        for position in range(number * SEGMENT_CODES, min(num_codes, (number + 1) * SEGMENT_CODES)):
            shares = tables.shares(previous)
            try:
                previous = decoder.decode(family, shares.astype(np.float32))
            except AssertionError:  # what constriction raises for them
                raise CodesError("these are bytes that no codes could have given") from None
            codes[position] = previous[0]
            budget -= TABLE_BITS - math.log2(shares[0, previous[0]] + 1)
            if budget < 0:
                raise CodesError(f"{len(segment)} bytes cannot hold so many codes")
    return codes


def checksum(codes: NDArray[np.integer]) -> int:
    """CRC-32 of the codes as little-endian int32."""
    return zlib.crc32(np.asarray(codes, "<i4").tobytes())


def _split(payload: bytes, count: int) -> list[bytes]:
    """A payload's segments; every one but the last has a length of four bytes before it."""
    if count > 1 + len(payload) // LENGTH.size:
        raise CodesError(f"{len(payload)} bytes cannot hold {count} segments")
    segments, at = [], 0
    for _ in range(count - 1):
        if at + LENGTH.size > len(payload):
            raise CodesError("a segment begins beyond the end")
        (length,) = LENGTH.unpack_from(payload, at)
        at += LENGTH.size
        segments.append(payload[at : at + length])
        at += length
    if at > len(payload):
        raise CodesError("a segment ends beyond the end")
    return [*segments, payload[at:]]


def _words(segment: bytes) -> NDArray[np.uint32]:
    """The coder's words; what a segment leaves out at its end is zero."""
    padded = segment + bytes(-len(segment) % WORD_BYTES + 2 * WORD_BYTES)
    return np.frombuffer(padded, ">u4").astype(np.uint32)


def _encode(coder: Any, codes: NDArray[np.int32], shares: NDArray[np.float32]) -> Bits:
    """The fewest bits that give these codes (N,) under their tables (N, K), zeros following.

    Any number in the coder's last interval will do, and constriction gives one, p, in whole words. An interval around p
    that holds any number of n bits holds one of p's two neighbours among them, and one of n + 1 bits, too: so the
    smallest n is found by bisection.
    """
    family = coder.model.Categorical(perfect=False)
    encoder = coder.queue.RangeEncoder()
    encoder.encode(codes, family, shares)
    whole = encoder.get_compressed().astype(">u4").tobytes()
    point = int.from_bytes(whole, "big")

    def shortened(count: int) -> Bits | None:
        below = point >> 8 * len(whole) - count
        for candidate in (below, below + 1):
            if candidate >> count:
                continue
            length = -(-count // 8)
            segment = (candidate << 8 * length - count).to_bytes(length, "big")
            decoder = coder.queue.RangeDecoder(_words(segment))
            with suppress(AssertionError):  # what constriction raises for bytes that no codes could have given
                if np.array_equal(decoder.decode(family, shares), codes):
                    return Bits(segment, count)
        return None

    taken = shares[np.arange(len(codes)), codes].astype(np.float64) + 1
    fewest = int(np.sum(TABLE_BITS - np.log2(taken))) - 16  # 2^-16 is the chance of a still shorter one
    lengths = range(max(0, fewest), 8 * len(whole))
    place = bisect_left(lengths, True, key=lambda count: shortened(count) is not None)
    return (shortened(lengths[place]) if place < len(lengths) else None) or Bits(whole, 8 * len(whole))


def _load_coder() -> Any:
    try:
        from constriction import stream
    except ImportError:
        raise DependencyError(
            "compressing needs the range coder of the package constriction. Run: pip install 'vqspeech[compress]'"
        ) from None
    return stream
