"""Which files are converted, and where the results go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vqspeech.audio import AUDIO_SUFFIXES
from vqspeech.errors import AudioError, VQSpeechError
from vqspeech.files import find_files


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
    taken: dict[str, Path] = {}
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
            place = os.path.realpath(target)
            if place in taken and os.path.realpath(taken[place]) == os.path.realpath(source):
                continue
            if place in taken:
                problems[source] = AudioError(f"{source} and {taken[place]} would both become {target}. Rename one")
            elif os.path.lexists(target) and not force:
                problems[source] = AudioError(f"{target} exists. Overwrite it with --force, or choose another --out")
            else:
                taken[place] = source
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
