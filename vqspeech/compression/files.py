"""Recordings to .vqs files, and from these back to codes and sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vqspeech.audio import open_audio
from vqspeech.compression.coder import checksum, compress, expand
from vqspeech.compression.container import MOST_SAMPLES, Compressed, load_compressed, save_compressed
from vqspeech.conversion.codes import save_codes
from vqspeech.conversion.files import speak_codes
from vqspeech.conversion.options import SamplingOptions
from vqspeech.errors import AudioError, CodesError, VQSpeechError
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE, evaluating

LONGEST_S = 24 * 3600  # seconds of a recording: what a header says beyond is not believed


@dataclass(frozen=True)
class Sizes:
    """Bytes of a .vqs file, bits of the codes in it, and what they stand for."""

    file_bytes: int
    payload_bits: int
    num_codes: int
    duration_s: float

    def __str__(self) -> str:
        return (
            f"{self.file_bytes} bytes, {self.payload_bits} bits of them for {self.num_codes} codes "
            f"({self.payload_bits / self.num_codes:.2f} bits/code, {self.payload_bits / self.duration_s:.0f} bit/s)"
        )


def compress_file(model: VQVAE, prior: Prior, source: Path, target: Path, speaker: str | None = None) -> Sizes:
    """Compress a recording.

    Parameters
    ----------
    speaker : who speaks, if that is one of the model's; the prior then expects better, and the file gets smaller

    Raises
    ------
    AudioError
        If the recording cannot be read, is empty, or lasts longer than a day.
    CodesError
        If the target cannot be written.
    """
    index = None if speaker is None else model.speaker_index(speaker)
    if index is not None and index >= prior.nobody:
        index = speaker = None  # an enrolled voice: the prior does not know it, and the reader's model need not
    codes, num_samples = _encode(model, source)
    compressed = Compressed(
        speaker=speaker,
        num_samples=num_samples,
        model=_short(model.codes_id()),
        prior=_short(prior.weights_id()),
        codes_checksum=checksum(codes),
        payload=compress(codes, prior, index),
    )
    save_compressed(target, compressed)
    size = target.stat().st_size
    return Sizes(size, compressed.payload.count, len(codes), num_samples / model.sample_rate)


def open_compressed(path: Path, model: VQVAE, prior: Prior) -> Compressed:
    """A .vqs file of this model and prior, its codes still packed.

    Raises
    ------
    CodesError
        If the file is missing, truncated, damaged, of another model or prior, or of an impossible length.
    """
    compressed = load_compressed(path)
    for what, seen, expected in (
        ("model", compressed.model, model.codes_id()),
        ("prior", compressed.prior, prior.weights_id()),
    ):
        if seen != _short(expected):
            raise CodesError(
                f"{path} was compressed with another {what} ({seen.hex()[:12]}, this one is {expected[:12]}). Give the "
                "one it was made with: --model RUN"
            )
    duration_s = compressed.num_samples / model.sample_rate
    if duration_s > LONGEST_S:
        raise CodesError(
            f"{path} says it lasts {duration_s / 3600:.0f} hours, at most {LONGEST_S // 3600} are believed. Compress "
            "the recording again"
        )
    if compressed.speaker is not None and compressed.speaker not in model.speakers:
        raise CodesError(
            f"{path} names the speaker {compressed.speaker!r}, whom this model does not know. Compress again"
        )
    return compressed


def read_compressed(path: Path, model: VQVAE, prior: Prior) -> tuple[NDArray[np.int32], int, str | None]:
    """Codes (N,) of a .vqs file, the number of samples they stand for, and the speaker it names.

    Raises
    ------
    CodesError
        As `open_compressed`, and if the codes do not come out as they went in.
    """
    compressed = open_compressed(path, model, prior)
    index = None if compressed.speaker is None else model.speaker_index(compressed.speaker)
    try:
        codes = expand(compressed.payload, -(-compressed.num_samples // model.hop_length), prior, index)
        if checksum(codes) != compressed.codes_checksum:
            raise CodesError("the codes do not agree with their checksum")
    except CodesError as reason:
        raise CodesError(f"{path} is damaged: {reason}. Compress the recording again") from None
    return codes, compressed.num_samples, compressed.speaker


def decompress_file(
    model: VQVAE, prior: Prior, source: Path, target: Path, speaker: str, options: SamplingOptions
) -> int:
    """Speak a .vqs file, or write its codes if the target is an .npz; return their number.

    The whole file is checked before anything is written.

    Raises
    ------
    CodesError
        See `read_compressed`.
    AudioError
        If the target cannot be written.
    """
    codes, num_samples, _ = read_compressed(source, model, prior)
    if target.suffix == ".npz":
        save_codes(target, codes, model, num_samples)
        return len(codes)
    speak_codes(model, codes, num_samples, source, target, speaker, options)
    return len(codes)


def choose_voice(source: Path, model: VQVAE, prior: Prior, speaker: str | None) -> str:
    """Whose voice a .vqs file is spoken in: the one asked for, else the one it names.

    Raises
    ------
    VQSpeechError
        If neither is there, or the model does not know the speaker; and see `open_compressed`.
    """
    chosen = speaker or open_compressed(source, model, prior).speaker
    if chosen is None:
        raise VQSpeechError(f"{source} names no speaker. Give one of {', '.join(model.speakers[:8])} with --speaker")
    model.speaker_index(chosen)
    return chosen


def _encode(model: VQVAE, source: Path) -> tuple[NDArray[np.int32], int]:
    """Codes (N,) and samples of a recording, in memory for the codes alone."""
    longest = min(MOST_SAMPLES, LONGEST_S * model.sample_rate)
    stream = model.encoding()
    pieces = []
    with torch.no_grad(), evaluating(model), open_audio(source, model.sample_rate) as reader:
        for block in reader:
            if stream.received + len(block) > longest:
                raise AudioError(f"{reader.name} lasts longer than {LONGEST_S // 3600} hours. Cut it into shorter ones")
            pieces += [codes.cpu() for codes in stream.push(torch.as_tensor(block, device=model.device))]
        num_samples = stream.received
        pieces += [codes.cpu() for codes in stream.finish()]
    if not num_samples:
        raise AudioError(
            f"{reader.name} is empty or shorter than one sample at {model.sample_rate} Hz. Give a longer recording"
        )
    return torch.cat(pieces).numpy().astype(np.int32), num_samples


def _short(fingerprint: str) -> bytes:
    """The part of a fingerprint that fits into the header."""
    return bytes.fromhex(fingerprint)[:8]
