"""Recordings to a few bytes, in memory or in a .vqs file, and from these back to codes and sound."""

# T samples, N codes, hop samples per code.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.compression.coder import checksum, pack_codes, unpack_codes
from vqspeech.compression.container import Compressed, name_of, read_container, to_bytes
from vqspeech.conversion import decode
from vqspeech.conversion.codes import encode, encode_recording, save_codes
from vqspeech.conversion.files import speak_codes
from vqspeech.conversion.options import SamplingOptions
from vqspeech.errors import CodesError, VQSpeechError
from vqspeech.files import write_whole
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE

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


def compress(
    model: VQVAE, wav: NDArray[np.float32] | Tensor, speaker: str | None = None, *, prior: Prior | None = None
) -> bytes:
    """Write the codes of a waveform in as few bytes as the prior needs, range-coded: the contents of a .vqs file.

    Parameters
    ----------
    model : VQVAE
    wav : array or Tensor, shape (T,), in [-1, 1], at the model's sample rate
    speaker : str or None
        Who speaks, if that is one of the model's: the prior then expects better, and fewer bytes are needed.
    prior : Prior or None
        Over the model's codes; None takes `model.prior`.

    Returns
    -------
    compressed : bytes
        For `decompress`, with the same model and prior, on any machine.

    Raises
    ------
    AudioError
        If the waveform is empty or not finite.
    CheckpointError
        If the model has no prior.
    DependencyError
        If constriction is not installed, whose range coder this is.
    UnknownSpeakerError
        If the model has no such speaker.

    Examples
    --------
    >>> import vqspeech
    >>> fsdd = vqspeech.load_model("fsdd")
    >>> compressed = compress(fsdd, np.zeros(8000, np.float32), "theo")
    >>> decompress(fsdd, compressed, "george").shape
    (8000,)
    """
    return to_bytes(_compress(model, prior or model.prior, encode(model, wav), len(wav), speaker))


def decompress(
    model: VQVAE,
    compressed: bytes,
    speaker: str | None = None,
    *,
    seed: int = 0,
    temperature: float | None = None,
    utterance: int = 0,
    engine: str = "auto",
    precision: str = "auto",
    prior: Prior | None = None,
) -> NDArray[np.float32]:
    """Speak what `compress` wrote.

    Parameters
    ----------
    model : VQVAE
        The one that compressed.
    compressed : bytes
    speaker : str or None
        In whose voice; None takes the one given to `compress`.
    seed, temperature, utterance, engine, precision
        See `vqspeech.decode`.
    prior : Prior or None
        The one that compressed; None takes `model.prior`.

    Returns
    -------
    wav : float32 array, shape (T,), in [-1, 1], at the model's sample rate
        As many samples as were compressed.

    Raises
    ------
    CodesError
        If the bytes are truncated, damaged, or of another model or prior.
    CheckpointError
        If the model has no prior.
    UnknownSpeakerError
        If the model has no such speaker.
    VQSpeechError
        If no speaker was given, here or there.

    Examples
    --------
    >>> import vqspeech
    >>> fsdd = vqspeech.load_model("fsdd")
    >>> compressed = compress(fsdd, vqspeech.load_audio(vqspeech.example_recording(), 8000)[:4000])
    >>> len(compressed) < 150, decompress(fsdd, compressed, "theo").shape
    (True, (4000,))
    """
    prior = prior or model.prior
    chosen = choose_voice(compressed, model, prior, speaker)
    codes, num_samples, _ = read_compressed(compressed, model, prior)
    wav = decode(
        model,
        codes,
        chosen,
        seed=seed,
        temperature=temperature,
        utterance=utterance,
        engine=engine,
        precision=precision,
    )
    return wav[:num_samples]


def compress_file(model: VQVAE, prior: Prior, source: Path, target: Path, speaker: str | None = None) -> Sizes:
    """Compress a recording of up to a day, in memory for the codes alone; else as `compress`.

    Raises
    ------
    AudioError
        If the recording cannot be read, is empty, or lasts longer than a day.
    CodesError
        If the target cannot be written.
    """
    if speaker is not None:
        model.speaker_index(speaker)  # an unknown one is refused before any work
    codes, num_samples = encode_recording(model, source, longest_s=LONGEST_S)
    compressed = _compress(model, prior, codes, num_samples, speaker)
    data = to_bytes(compressed)
    with write_whole(target, CodesError) as temporary:
        temporary.write_bytes(data)
    return Sizes(len(data), compressed.payload.count, len(codes), num_samples / model.sample_rate)


def _compress(
    model: VQVAE, prior: Prior, codes: NDArray[np.integer], num_samples: int, speaker: str | None
) -> Compressed:
    index = None if speaker is None else model.speaker_index(speaker)
    if index is not None and index >= prior.unconditional:
        index = speaker = None  # an enrolled voice: the prior does not know it, and the reader's model need not
    return Compressed(
        speaker=speaker,
        num_samples=num_samples,
        model=_short(model.codes_id()),
        prior=_short(prior.weights_id()),
        codes_checksum=checksum(codes),
        payload=pack_codes(codes, prior, index),
    )


def open_compressed(source: Path | bytes, model: VQVAE, prior: Prior) -> Compressed:
    """A .vqs file, or its bytes, of this model and prior; the codes are still packed.

    Raises
    ------
    CodesError
        If it is missing, truncated, damaged, of another model or prior, or of an impossible length.
    """
    compressed, name = read_container(source), name_of(source)
    for what, seen, expected in (
        ("model", compressed.model, model.codes_id()),
        ("prior", compressed.prior, prior.weights_id()),
    ):
        if seen != _short(expected):
            raise CodesError(
                f"{name} was compressed with another {what} ({seen.hex()[:12]}, this one is {expected[:12]}). Give the "
                "one it was made with: --model RUN"
            )
    duration_s = compressed.num_samples / model.sample_rate
    if duration_s > LONGEST_S:
        raise CodesError(
            f"{name} says it lasts {duration_s / 3600:.0f} hours, at most {LONGEST_S // 3600} are believed. Compress "
            "the recording again"
        )
    if compressed.speaker is not None and compressed.speaker not in model.speakers:
        raise CodesError(
            f"{name} names the speaker {compressed.speaker!r}, whom this model does not know. Compress again"
        )
    return compressed


def read_compressed(source: Path | bytes, model: VQVAE, prior: Prior) -> tuple[NDArray[np.int32], int, str | None]:
    """Codes (N,) of a .vqs file or its bytes, the number of samples they stand for, and the speaker it names.

    Raises
    ------
    CodesError
        As `open_compressed`, and if the codes do not come out as they went in.
    """
    compressed = open_compressed(source, model, prior)
    index = None if compressed.speaker is None else model.speaker_index(compressed.speaker)
    try:
        codes = unpack_codes(compressed.payload, -(-compressed.num_samples // model.hop_length), prior, index)
        if checksum(codes) != compressed.codes_checksum:
            raise CodesError("the codes do not agree with their checksum")
    except CodesError as reason:
        raise CodesError(f"{name_of(source)} is damaged: {reason}. Compress the recording again") from None
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


def choose_voice(source: Path | bytes, model: VQVAE, prior: Prior, speaker: str | None) -> str:
    """Whose voice a .vqs file or its bytes are spoken in: the one asked for, else the one it names.

    Raises
    ------
    VQSpeechError
        If neither is there, or the model does not know the speaker; and see `open_compressed`.
    """
    chosen = speaker or open_compressed(source, model, prior).speaker
    if chosen is None:
        raise VQSpeechError(
            f"{name_of(source)} names no speaker. Give one of {', '.join(model.speakers[:8])} with --speaker"
        )
    model.speaker_index(chosen)
    return chosen


def _short(digest: str) -> bytes:
    """The part of a hex digest that fits into the header."""
    return bytes.fromhex(digest)[:8]
