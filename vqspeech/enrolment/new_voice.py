"""`vqspeech enroll`: from recordings of one speaker to a voice file for a trained model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vqspeech.data.processes import num_cores
from vqspeech.enrolment.fitting import FitProgress, VoiceTask, crop_of, fit_voice, fitting, mean_vector
from vqspeech.enrolment.recordings import WANTED_S, Recording, Stretches, read_recordings
from vqspeech.enrolment.similarity import Agreement, Likeness, compare_recordings, measure_likeness
from vqspeech.errors import DependencyError, VQSpeechError
from vqspeech.evaluation.judges.voiceprint import Voiceprints
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained import voices
from vqspeech.pretrained.bundled import sha256_of
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.pretrained.registry import find, owner_of
from vqspeech.pretrained.voices import VoiceCard
from vqspeech.progress import Notify
from vqspeech.training.acceleration import find_acceleration

STEPS = 400
MAX_MINUTES = 4.0


@dataclass(frozen=True)
class Enrolment:
    """What came of it.

    Attributes
    ----------
    file : the voice
    name : of the speaker
    base : the model's file, which was left as it is
    seconds : of speech used, and `held_out_s` of it held out
    nearest : the known speaker that makes the held-out speech likeliest
    bits_nearest, bits : bits per sample of the held-out speech as that speaker, and as the new voice
    steps : of the fit until its best
    likeness : Resemblyzer's, None where it is not installed or too little is held out
    agreement : of the recordings among each other, None without Resemblyzer
    notes : sentences that deserve a look
    """

    file: Path
    name: str
    base: Path
    seconds: float
    held_out_s: float
    nearest: str
    bits_nearest: float
    bits: float
    steps: int
    likeness: Likeness | None
    agreement: Agreement | None
    notes: tuple[str, ...]

    def describe(self) -> str:
        """Several lines for people."""
        lines = [
            f"{self.file}: {self.name}, a voice for {self.base}, from {self.seconds:.0f} s of speech, "
            f"{self.held_out_s:.0f} s of them held out",
            f"bits per sample of what was held out: {self.bits:.3f}; as the nearest known speaker, {self.nearest}, "
            f"{self.bits_nearest:.3f}",
        ]
        if like := self.likeness:
            lines.append(
                f"similarity to the recordings, free-running (Resemblyzer): {like.voice:.2f}; the same said as "
                f"{self.nearest} {like.nearest:.2f}; the held-out recordings themselves {like.recordings:.2f}"
            )
        return "\n".join(lines)


def enroll(
    name: str,
    recordings: Sequence[str | Path],
    model: str | Path | None = None,
    *,
    out: Path | None = None,
    seed: int = 0,
    max_minutes: float = MAX_MINUTES,
    force: bool = False,
    notify: Notify = lambda line: None,
    advance: FitProgress = lambda step, of, bits: None,
) -> Enrolment | None:
    """Fit a new speaker's vector to recordings, with a trained model left as it is, and write it as a voice file.

    Parameters
    ----------
    name : str
        Of the new speaker.
    recordings : sequence of str or Path
        Files and folders, 30 s to 5 minutes of one voice.
    model : str, Path or None
        As `load_model` takes it.
    out : Path or None
        Folder for the voice file; None takes runs/voices.
    seed : int
        Of the crops and of the conversions that are judged.
    max_minutes : float
        For the fit.
    force : bool
        Replace a voice of this name.
    notify : callable
        Is told sentences for the user, as soon as they are known.
    advance : callable
        Is told steps done, steps in all, and bits per sample so far.

    Returns
    -------
    enrolment : Enrolment or None
        The voice's file, and bits per sample of held-out speech beside the nearest known voice's. None if a signal
        stopped the fit; then nothing is written.

    Raises
    ------
    VQSpeechError
        If the name cannot be one or is taken, by a voice or by a model at hand whose speaker it would hide.
    AudioError
        If there is less than 10 s of usable speech.
    CheckpointError
        If there is no such model, or the voice cannot be written.

    Notes
    -----
    The vector starts as the known voice that makes the speech likeliest, or the mean of all where that is better, and
    descends on the bits per sample of random crops, given their own codes. The best vector on what is held out is kept.

    Examples
    --------
    >>> enrolment = enroll("zoe", [recordings], run, max_minutes=0.01)  # 16 s of sounds, a tiny run, from conftest
    >>> enrolment.file.as_posix()
    'runs/voices/zoe.safetensors'
    """
    target = _free_file(name, out, force)
    base = find(model).file
    vqvae = read_model(base)
    _check_new(name, target, base, vqvae)
    started = time.monotonic()
    usable, problems = read_recordings([Path(source) for source in recordings], vqvae.recipe.data)
    store = Stretches(usable, vqvae.sample_rate)
    seconds = store.duration_s("train") + store.duration_s("valid")
    notes = [f"left out: {problem}" for problem in problems]
    if seconds < WANTED_S:
        notes.append(f"only {seconds:.1f} s of speech: a voice wants {WANTED_S:g} s and more. Expect it to be vague")
    if not vqvae.card.is_settled:
        notes.append(f"the model's training is at step {vqvae.card.step}, still in its warm start: expect noise")
    voiceprints, agreement = _compare(usable, vqvae.sample_rate, notes)
    for note in notes:
        notify(note)

    train = fitting(crop_of(vqvae.hop_length), seed, STEPS, max_minutes)
    acceleration = find_acceleration(train, str(vqvae.device))
    task = VoiceTask(vqvae, store, mean_vector(vqvae), train, acceleration)
    number, bits_nearest = task.nearest()
    start = {"nearest": vqvae.speaker_vectors.weight[number], "mean": mean_vector(vqvae)}
    bits_mean = task.bits(start["mean"])
    begin = "mean" if bits_mean < bits_nearest else "nearest"
    task.voice.vector.data.copy_(start[begin])
    found = fit_voice(task, train, min(bits_mean, bits_nearest), advance)
    if found is None:
        return None
    nearest = vqvae.speakers[number]
    voices.add_voice(vqvae, name, found.vector)
    likeness = None
    if voiceprints:
        likeness = measure_likeness(voiceprints, vqvae, store, name, nearest, seed=seed, num_threads=num_cores())
    enrolment = Enrolment(
        target, name, base, seconds, store.duration_s("valid"), nearest, bits_nearest, found.bits, found.step,
        likeness, agreement, tuple(notes),
    )  # fmt: skip
    voices.save_voice(target, found.vector, _card(enrolment, seed, begin, started, len(usable)))
    return enrolment


def _free_file(name: str, out: Path | None, force: bool) -> Path:
    """Where the voice will lie."""
    voices.check_name(name)
    target = voices.voice_file(name, out)
    if target.exists() and not force:
        raise VQSpeechError(f"{target} exists: there is a voice {name!r} already. Replace it with --force, or rename")
    return target


def _check_new(name: str, target: Path, base: Path, vqvae: VQVAE) -> None:
    """Neither the model nor another one that --speaker finds may have a speaker of this name."""
    if name in vqvae.speakers:
        raise VQSpeechError(
            f"{base} knows a speaker {name!r} already, and would not be told apart from the new voice. Choose another "
            "--name"
        )
    if target == voices.voice_file(name) and (owner := owner_of(name)):
        raise VQSpeechError(
            f"{owner} has a speaker {name!r}, whom the new voice would hide from --speaker. Choose another "
            "--name, or keep the voice elsewhere with --out"
        )


def _compare(
    recordings: list[Recording], sample_rate: int, notes: list[str]
) -> tuple[Voiceprints | None, Agreement | None]:
    """Whether they are of one voice; what speaks against it, or that nobody could say, is noted."""
    try:
        voiceprints = Voiceprints()
    except DependencyError as reason:
        notes.append(f"whether this is one voice, and how similar the result is, was not judged: {reason}")
        return None, None
    agreement = compare_recordings(voiceprints, recordings, sample_rate)
    if not agreement.is_one_voice:
        odd = ", ".join(agreement.odd[:3]) + (", ..." if len(agreement.odd) > 3 else "")
        notes.append(
            f"the recordings sound like two different voices: one group ({odd}) and the rest have a similarity of "
            f"{agreement.similarity:.2f} (Resemblyzer; one speaker's usually have 0.89 and more). Leave out those of "
            "the other speaker"
        )
    return voiceprints, agreement


def _card(enrolment: Enrolment, seed: int, begin: str, started: float, count: int) -> VoiceCard:
    figures: dict[str, Any] = {
        "bits": enrolment.bits,
        "bits_nearest": enrolment.bits_nearest,
        "nearest": enrolment.nearest,
        "likeness": asdict(enrolment.likeness) if enrolment.likeness else None,
        "agreement": enrolment.agreement.similarity if enrolment.agreement else None,
    }
    training = {
        "recordings": count,
        "seconds": round(enrolment.seconds, 2),
        "held_out_s": round(enrolment.held_out_s, 2),
        "steps": enrolment.steps,
        "start": begin,
        "seed": seed,
        "minutes": round((time.monotonic() - started) / 60, 2),
    }
    model = sha256_of(enrolment.base)
    return VoiceCard(enrolment.name, model, str(enrolment.base), figures, training, version("vqspeech"))
