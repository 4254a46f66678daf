"""Which files are converted, and where the results go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vqspeech.audio import EXPECTED, find_recordings
from vqspeech.audio.pipes import check_stdin, check_stdout
from vqspeech.errors import AudioError, VQSpeechError
from vqspeech.files import beside, is_pipe, stem_of


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
    job; results of earlier calls, for any of the model's `speakers`, are no sources. The source "-" is standard input
    and stands alone; `out` "-" is standard output and takes one recording.

    Raises
    ------
    VQSpeechError
        If "-" is given beside other sources or without `out`, or `out` is "-" and there is not one recording alone, or
        standard output is a terminal.
    """
    _check_pipes(sources, out)
    to_stdout = out is not None and is_pipe(out)
    jobs: list[Job] = []
    problems: dict[Path, VQSpeechError] = {}
    taken: dict[str, Path] = {}
    for given in sources:
        is_folder = os.path.isdir(given) and not is_pipe(given)
        found, passed_over = _recordings(given, out, (*speakers, speaker)) if is_folder else ([given], {})
        problems |= passed_over
        if not found and not passed_over:
            problems[given] = AudioError(f"{given} holds no recordings ({EXPECTED}). Give a folder that does, or files")
        for source in found:
            inner = source.relative_to(given).parent if is_folder else Path()
            name = target_name(source, speaker)
            target = out / inner / name if out else beside(source, name)
            if out and to_stdout:
                jobs.append(Job(source, out))
                continue
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
    if to_stdout and (len(jobs) > 1 or (jobs and problems)):
        raise VQSpeechError(
            f"standard output (--out -) takes one recording, not {len(jobs) + len(problems)}. Give a folder with --out"
        )
    return jobs, problems


def _check_pipes(sources: Sequence[Path], out: Path | None) -> None:
    if any(map(is_pipe, sources)):
        if len(sources) > 1:
            raise VQSpeechError("standard input (-) was given beside other recordings. Give it alone")
        check_stdin()
    if out and is_pipe(out):
        check_stdout()


def _recordings(folder: Path, out: Path | None, speakers: Sequence[str]) -> tuple[list[Path], dict[Path, AudioError]]:
    """Recordings in a folder at any depth, sorted, without hidden files and without what earlier calls wrote.

    Beside them errors about those of kinds that cannot be read.
    """
    results = out.absolute() if out and folder.absolute() in out.absolute().parents else None
    recordings = find_recordings(folder)
    found = sorted(recordings.readable)
    if results:
        found = [path for path in found if results not in path.absolute().parents]
    written = {path.parent / target_name(path, speaker) for path in found for speaker in speakers}
    return [path for path in found if path not in written], recordings.problems()


def target_name(source: Path, speaker: str) -> str:
    """`in.theo.wav` for in.wav and theo; what cannot stand in a file name becomes an underscore."""
    return f"{stem_of(source)}.{''.join(c if c.isalnum() or c in '-_' else '_' for c in speaker)}.wav"
