"""The .vqs file: a header that says what was compressed and with which model, the speaker's name, the codes' bits.

    magic 4 bytes, version u8, bytes of the speaker's name u8 (0: no speaker), samples u32, bits of payload
    u32, model 8 bytes, prior 8 bytes, CRC-32 of all other bytes of the file u32; name; payload, to its last bit; at
    once the CRC-32 of the codes, 32 bits, and zeros to the end of its last byte

The header's numbers are little-endian; bits are written most significant first. A word of speech has about a dozen
bytes of payload: rounding each up by itself would cost more than a fiftieth.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from vqspeech.compression.coder import Bits
from vqspeech.errors import CodesError

MAGIC = b"VQSP"
VERSION = 2
HEADER = struct.Struct("<4sBBII8s8s")  # without the file's own CRC, which follows
CRC = struct.Struct("<I")
OVERHEAD = HEADER.size + CRC.size  # bytes, without the speaker's name
CHECKSUM_BITS = 32
MOST_BITS = 2**32 - 1  # of payload
LONGEST_NAME = 255  # bytes of UTF-8
MOST_SAMPLES = 24 * 3600 * 48_000 - 1  # what the header can say, and a store can hold


@dataclass(frozen=True)
class Compressed:
    """What a .vqs file holds.

    Attributes
    ----------
    speaker : name of the speaker that conditions the prior, or None
    num_samples : of the recording, at the model's rate
    model, prior : first 8 bytes of `model.codes_id()` and `prior.weights_id()`
    codes_checksum : CRC-32 of the codes
    payload : the codes
    """

    speaker: str | None
    num_samples: int
    model: bytes
    prior: bytes
    codes_checksum: int
    payload: Bits


def to_bytes(compressed: Compressed) -> bytes:
    """All bytes of a .vqs file.

    Raises
    ------
    CodesError
        If the recording or the speaker's name is too long.
    """
    name = (compressed.speaker or "").encode()
    if len(name) > LONGEST_NAME:
        raise CodesError(f"speaker {compressed.speaker!r} has a name of {len(name)} bytes, at most {LONGEST_NAME} fit")
    if compressed.num_samples > MOST_SAMPLES:
        raise CodesError(f"a recording of {compressed.num_samples} samples is too long, at most {MOST_SAMPLES} fit")
    if compressed.payload.count > MOST_BITS:
        raise CodesError(f"a payload of {compressed.payload.count} bits is too long, at most {MOST_BITS} fit")
    header = HEADER.pack(
        MAGIC, VERSION, len(name), compressed.num_samples, compressed.payload.count, compressed.model, compressed.prior
    )
    body = name + _join(compressed.payload, compressed.codes_checksum)
    return header + CRC.pack(zlib.crc32(body, zlib.crc32(header))) + body


def read_container(source: str | Path | bytes) -> Compressed:
    """What a .vqs file or its bytes hold; no more is read of a file than its header announces.

    Raises
    ------
    CodesError
        If the file is missing, no .vqs file, of another format, truncated or damaged.
    """
    name = name_of(source)
    try:
        with BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            start = file.read(OVERHEAD)
            expected = _announced(name, start, size)
            body = file.read(expected - OVERHEAD)
    except FileNotFoundError:
        raise CodesError(f"no compressed recording at {name}. Make one with: vqspeech compress in.wav") from None
    except OSError as reason:
        raise CodesError(
            f"cannot read {name}: {reason.strerror or reason}. Check the path and its permissions"
        ) from None
    if CRC.unpack(start[HEADER.size :])[0] != zlib.crc32(body, zlib.crc32(start[: HEADER.size])):
        raise CodesError(f"{name} is damaged: its checksum does not agree with its bytes. Copy it again")
    _, _, name_bytes, num_samples, count, model, prior = HEADER.unpack(start[: HEADER.size])
    try:
        speaker = body[:name_bytes].decode()
    except UnicodeDecodeError:
        raise CodesError(f"{name} is damaged: the speaker's name is no text. Compress the recording again") from None
    if not num_samples:
        raise CodesError(f"{name} holds no samples. Compress the recording again")
    payload, codes_checksum = _part(body[name_bytes:], count)
    return Compressed(speaker or None, num_samples, model, prior, codes_checksum, payload)


def name_of(source: str | Path | bytes) -> str:
    """What errors call it."""
    return "the compressed recording" if isinstance(source, bytes) else str(source)


def _announced(name: str, start: bytes, size: int) -> int:
    """Bytes of the whole, by its first `OVERHEAD` ones; an error if it has others than `size`."""
    if start[: len(MAGIC)] != MAGIC:
        raise CodesError(f"{name} is not a .vqs file. Make one with: vqspeech compress in.wav")
    if len(start) < OVERHEAD:
        raise CodesError(f"{name} is truncated: {size} bytes, {OVERHEAD} at least were expected. Copy it again")
    _, version, name_bytes, _, count, _, _ = HEADER.unpack(start[: HEADER.size])
    if version != VERSION:
        raise CodesError(
            f"{name} is of format {version}, this vqspeech reads {VERSION}. Decompress it with the vqspeech that made "
            "it, or copy the file again if it is damaged"
        )
    expected: int = OVERHEAD + name_bytes + _bytes_of(count)
    if size != expected:
        what = "truncated" if size < expected else "damaged"
        raise CodesError(f"{name} is {what}: its header announces {expected} bytes, it has {size}. Copy it again")
    return expected


def _bytes_of(count: int) -> int:
    """Bytes that a payload of so many bits and the checksum behind it take."""
    return -(-(count + CHECKSUM_BITS) // 8)


def _join(payload: Bits, codes_checksum: int) -> bytes:
    """The payload's bits and at once those of the checksum; see `_part`."""
    number = int.from_bytes(payload.data, "big") >> 8 * len(payload.data) - payload.count
    number = number << CHECKSUM_BITS | codes_checksum
    length = _bytes_of(payload.count)
    return (number << 8 * length - payload.count - CHECKSUM_BITS).to_bytes(length, "big")


def _part(joined: bytes, count: int) -> tuple[Bits, int]:
    """What `_join` made one."""
    number = int.from_bytes(joined, "big") >> 8 * len(joined) - count - CHECKSUM_BITS
    length = -(-count // 8)
    data = (number >> CHECKSUM_BITS << 8 * length - count).to_bytes(length, "big")
    return Bits(data, count), number & (1 << CHECKSUM_BITS) - 1
