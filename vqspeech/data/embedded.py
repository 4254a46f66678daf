"""The embedded corpus: espeak-ng speaks made-up sentences in eight voices; nothing is downloaded.

Layout, with exact phoneme times beside the recordings::

    wav/<voice>/<utterance>.wav
    text/<voice>/<utterance>.txt
    labels/<voice>/<utterance>.tsv   start_s <tab> end_s <tab> phoneme, of `vqspeech.data.phonemes.PHONEMES`
    corpus.json                      settings, utterances and seconds per voice; written last
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vqspeech.data.espeak import SHARED_EVERY, EspeakVoice, find_espeak, start_job
from vqspeech.data.phonemes import Label
from vqspeech.errors import CorpusError

FORMAT = 1  # of the corpus; counted up when the same settings would give other bytes

# One accent, so that all voices share one inventory of sounds; F0 from 75 to 275 Hz, formants from 75 to 145 %.
# Volumes bring the louder variants near the others and keep them from clipping.
VOICES = (
    EspeakVoice("david", "david", rate=165),
    EspeakVoice("m1", "m1", rate=175),
    EspeakVoice("m7", "m7", pitch=60, volume=80),
    EspeakVoice("nguyen", "Nguyen", pitch=53),
    EspeakVoice("f1", "f1", rate=175, volume=80),
    EspeakVoice("grandma", "grandma", rate=160),
    EspeakVoice("linda", "linda", volume=70),
    EspeakVoice("zac", "zac", pitch=20, rate=180, volume=65),
)


def build_embedded(
    out: Path, *, minutes: float = 40.0, sample_rate: int = 16000, seed: int = 0, progress: bool = False
) -> Path:
    """Build the corpus, or find it already built with the same settings.

    The same settings give the same bytes. The folder appears under its name only when it is whole. Every fifth
    sentence is the same for all voices.

    Parameters
    ----------
    out : Path
        Folder to make.
    minutes : float
        Speech in all, shared equally among the voices.
    sample_rate : int
        Hz
    seed : int
        Chooses the sentences.
    progress : bool
        Show a progress bar.

    Returns
    -------
    out : Path

    Raises
    ------
    DependencyError
        If espeakng-loader is missing or does not load.
    CorpusError
        If `out` holds something else or cannot be written.
    """
    out = Path(out)
    settings: dict[str, Any] = {"format": FORMAT, "minutes": minutes, "sample_rate": sample_rate, "seed": seed}
    settings |= {"shared_every": SHARED_EVERY, "voices": [asdict(voice) for voice in VOICES]}
    if _is_built(out, settings):
        return out
    find_espeak()  # fails here, not once for every voice
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        partial.mkdir(parents=True)
        spoken = _speak_all(partial, minutes * 60 / len(VOICES), sample_rate, seed, progress)
        description = {"settings": settings, "spoken": spoken}
        (partial / "corpus.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        _move(partial, out, settings)
    except OSError as reason:
        raise CorpusError(
            f"cannot write the embedded corpus to {out}: {reason.strerror or reason}. "
            "Free some space or choose another folder"
        ) from reason
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def read_labels(path: Path) -> list[Label]:
    """Read a label file: one `start_s <tab> end_s <tab> phoneme` a line.

    Raises
    ------
    CorpusError
        If a line is not of that form.
    """
    labels = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            start, end, phoneme = line.split("\t")
            labels.append((float(start), float(end), phoneme))
        except ValueError:
            raise CorpusError(
                f"{path}, line {number}: {line!r} is not start_s, end_s and phoneme with tabs between them. "
                "Remove the corpus folder to have it built again"
            ) from None
    return labels


def _speak_all(folder: Path, seconds: float, sample_rate: int, seed: int, progress: bool) -> dict[str, Any]:
    from rich.progress import track

    # The threads only wait: each voice is spoken by a process of its own.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        try:
            jobs = {pool.submit(start_job, folder, voice, seconds, sample_rate, seed): voice.name for voice in VOICES}
            finished = track(as_completed(jobs), "Speaking", total=len(jobs), disable=not progress)
            spoken = {jobs[job]: job.result() for job in finished}
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)  # nothing writes into the folder that is about to go
            raise
    return {voice.name: spoken[voice.name] for voice in VOICES}


def _is_built(out: Path, settings: dict[str, Any]) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        built = json.loads((out / "corpus.json").read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, TypeError, KeyError):
        raise CorpusError(
            f"{out} exists and is no embedded corpus. Choose another folder, or remove this one to have it built there"
        ) from None
    if built != settings:
        differing = sorted(key for key in settings if built.get(key) != settings[key])
        raise CorpusError(
            f"{out} is an embedded corpus built with other settings ({', '.join(differing)}). "
            "Choose another folder, or remove this one to have it built anew"
        )
    return True


def _move(partial: Path, out: Path, settings: dict[str, Any]) -> None:
    try:
        os.replace(partial, out)
    except OSError:
        # Somebody else may have finished the same corpus meanwhile; anything else is an error.
        if not _is_built(out, settings):
            raise
