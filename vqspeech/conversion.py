"""Another speaker's voice for a recording: read, encode, sample, write, block by block in constant memory."""

# T samples, N code frames, K codebook entries.

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.audio import AUDIO_SUFFIXES, AudioWriter, mu_law_decode, open_audio
from vqspeech.codes import load_codes
from vqspeech.errors import AudioError, VQSpeechError
from vqspeech.files import find_files
from vqspeech.models.vqvae import VQVAE, evaluating
from vqspeech.sampling.engine import Session, get_engine

FRAMES_AT_A_TIME = 32  # code frames that are sampled before the result is handed on


@dataclass(frozen=True)
class Voice:
    """How codes are turned into sound.

    Attributes
    ----------
    speaker : name
    seed : of the random numbers
    temperature : divides the logits; below 1 is calmer, 0 takes the likeliest class
    engine : "auto", "torch" or "numba"
    """

    speaker: str
    seed: int = 0
    temperature: float = 1.0
    engine: str = "auto"


def convert(
    model: VQVAE,
    wav: NDArray[np.float32] | Tensor,
    speaker: str,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    utterance: int = 0,
    engine: str = "auto",
) -> NDArray[np.float32]:
    """Say a recording in another speaker's voice: encode it, decode its codes as `speaker` [VQ-VAE §4.3].

    Parameters
    ----------
    model : VQVAE
    wav : array, shape (T,), in [-1, 1], at the model's sample rate
    speaker : one of `model.speakers`
    seed, utterance : what determines the random numbers
    temperature : divides the logits

    Returns
    -------
    wav : float32 array, shape (T,)

    Raises
    ------
    UnknownSpeakerError
        If the model has no such speaker.
    AudioError
        If the waveform is empty or not finite.
    """
    samples = torch.as_tensor(wav, dtype=torch.float32)
    voice = Voice(speaker, seed, temperature, engine)
    return np.concatenate(list(convert_stream(model, [samples], voice, utterance)))


def decode(
    model: VQVAE,
    codes: NDArray[np.integer] | Tensor,
    speaker: str,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    utterance: int = 0,
    engine: str = "auto",
) -> NDArray[np.float32]:
    """Sound of codes (N,) in a speaker's voice, shape (N * hop,); see `convert`."""
    voice = Voice(speaker, seed, temperature, engine)
    return np.concatenate(list(decode_stream(model, [model.lookup(codes)], voice, utterance)))


def convert_stream(
    model: VQVAE,
    blocks: Iterable[NDArray[np.float32] | Tensor],
    voice: Voice,
    utterance: int = 0,
    what: str = "the waveform",
) -> Iterator[NDArray[np.float32]]:
    """Converted pieces of a waveform that arrives in pieces of any size; as many samples as went in.

    `what` names it in errors.
    """
    received = 0

    def entries() -> Iterator[Tensor]:
        nonlocal received
        stream = model.encoding()
        for block in blocks:
            samples = torch.as_tensor(block, dtype=torch.float32, device=model.device)
            if samples.dim() != 1:
                raise AudioError(f"{what} has shape {tuple(samples.shape)}, expected (T,). Average its channels first")
            if not bool(samples.isfinite().all()):
                raise AudioError(f"{what} holds values that are not finite. Repair the recording first")
            received += len(samples)
            yield from (model.bottleneck.lookup(codes) for codes in stream.push(samples))
        if not received:
            raise AudioError(
                f"{what} is empty or shorter than one sample at {model.sample_rate} Hz. Give a longer recording"
            )
        yield from (model.bottleneck.lookup(codes) for codes in stream.finish())

    produced = 0
    held: NDArray[np.float32] | None = None  # the last piece waits: its end may have to be cut
    for piece in decode_stream(model, entries(), voice, utterance):
        if held is not None:
            produced += len(held)
            yield held
        held = piece
    if held is not None:
        yield held[: received - produced]


@torch.no_grad()  # as a decorator: between the pieces the caller's own setting holds
def decode_stream(
    model: VQVAE, entries: Iterable[Tensor], voice: Voice, utterance: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Sound of codebook entries (n, D) that arrive in pieces."""
    index = model.speaker_index(voice.speaker)
    session = get_engine(voice.engine).open(
        model.wavenet, model.hop_length, seed=voice.seed, utterance=utterance, temperature=voice.temperature
    )
    with evaluating(model):
        stream = model.conditioning(index)
        for z_q in entries:
            for condition in stream.push(z_q):
                yield from _sample(session, condition)
        for condition in stream.finish():
            yield from _sample(session, condition)


def _sample(session: Session, condition: Tensor) -> Iterator[NDArray[np.float32]]:
    frames = condition.cpu().numpy()
    for start in range(0, len(frames), FRAMES_AT_A_TIME):
        yield mu_law_decode(session.generate(frames[start : start + FRAMES_AT_A_TIME])).astype(np.float32)


@dataclass(frozen=True)
class Job:
    """One file to convert and where the result goes."""

    source: Path
    target: Path


def plan_jobs(
    sources: Sequence[Path],
    speaker: str,
    out: Path | None,
    *,
    force: bool = False,
    speakers: Sequence[str] = (),
) -> tuple[list[Job], dict[Path, VQSpeechError]]:
    """Files named directly or found in folders, each with its target `<stem>.<speaker>.wav`.

    Targets lie beside their sources, or under `out` with the folder's inner structure kept. What cannot be done is
    listed by path: a folder without audio, a target that exists or that two sources share. A file given twice is one
    job; results of earlier calls, for any of the model's `speakers`, are no sources.
    """
    jobs: list[Job] = []
    problems: dict[Path, VQSpeechError] = {}
    taken: dict[Path, Path] = {}
    for given in sources:
        is_folder = os.path.isdir(given)
        found = _recordings(given, out, (*speakers, speaker)) if is_folder else [given]
        if not found:
            problems[given] = AudioError(
                f"{given} holds no recordings ({', '.join(AUDIO_SUFFIXES)}). Give a folder that does, or files"
            )
        for source in found:
            inner = source.relative_to(given).parent if is_folder else Path()
            target = (out / inner if out else source.parent) / target_name(source, speaker)
            if target in taken and os.path.abspath(taken[target]) == os.path.abspath(source):
                continue
            if target in taken:
                problems[source] = AudioError(f"{source} and {taken[target]} would both become {target}. Rename one")
            elif os.path.lexists(target) and not force:
                problems[source] = AudioError(f"{target} exists. Overwrite it with --force, or choose another --out")
            else:
                taken[target] = source
                jobs.append(Job(source, target))
    return jobs, problems


def _recordings(folder: Path, out: Path | None, speakers: Sequence[str]) -> list[Path]:
    """Recordings in a folder at any depth, sorted, without hidden files and without what earlier calls wrote."""
    results = out.absolute() if out and folder.absolute() in out.absolute().parents else None
    found = sorted(find_files(folder, AUDIO_SUFFIXES))
    if results:
        found = [path for path in found if results not in path.absolute().parents]
    written = {path.parent / target_name(path, speaker) for path in found for speaker in speakers}
    return [path for path in found if path not in written]


def target_name(source: Path, speaker: str) -> str:
    """`in.theo.wav` for in.wav and theo; what cannot stand in a file name becomes an underscore."""
    return f"{source.stem}.{''.join(c if c.isalnum() or c in '-_' else '_' for c in speaker)}.wav"


def decode_file(model: VQVAE, source: Path, target: Path, voice: Voice) -> None:
    """Speak a file of codes; the counterpart of `codes.encode_file`.

    Raises
    ------
    CodesError
        If the file is damaged or of another model.
    AudioError
        If the target cannot be written.
    """
    codes, num_samples = load_codes(source, model)
    remaining = num_samples
    with AudioWriter(target, model.sample_rate) as writer:
        for piece in decode_stream(model, [model.lookup(codes)], voice, _utterance_of(source)):
            writer.write(piece[:remaining])
            remaining -= len(piece[:remaining])


def _utterance_of(path: Path) -> int:
    # The file's name, not its place in a list, picks the random numbers: one file more or less changes no other.
    return zlib.crc32(path.stem.encode("utf-8", "surrogateescape"))


def convert_file(model: VQVAE, job: Job, voice: Voice, advance: Callable[[float], None] | None = None) -> None:
    """Convert one file in constant memory; `advance` is told the seconds written so far, piece by piece.

    Raises
    ------
    AudioError
        If the source cannot be read or the target cannot be written; no partial target is left.
    """
    utterance = _utterance_of(job.source)
    with open_audio(job.source, model.sample_rate) as reader, AudioWriter(job.target, model.sample_rate) as writer:
        for piece in convert_stream(model, reader, voice, utterance, str(job.source)):
            writer.write(piece)
            if advance:
                advance(len(piece) / model.sample_rate)


def convert_files(
    model: VQVAE,
    jobs: Sequence[Job],
    voice: Voice,
    *,
    num_threads: int,
    advance: Callable[[float], None] | None = None,
) -> dict[Path, VQSpeechError]:
    """Convert several files, as many at a time as there are threads; a bad one does not stop the rest.

    Returns
    -------
    problems : the error of each source that failed
    """
    problems: dict[Path, VQSpeechError] = {}
    stopping = threading.Event()

    def report(seconds: float) -> None:
        if stopping.is_set():  # an interrupt: leave the file unwritten instead of finishing a long one
            raise KeyboardInterrupt
        if advance:
            advance(seconds)

    # Evaluation mode is set once for all threads: one that ended its own would take it from the others.
    with evaluating(model), ThreadPoolExecutor(num_threads) as pool:
        running = {pool.submit(convert_file, model, job, voice, report): job for job in jobs}
        try:
            for finished in as_completed(running):
                error = finished.exception()
                if isinstance(error, VQSpeechError):
                    problems[running[finished].source] = error
                elif error is not None:
                    raise error
        except BaseException:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return problems
