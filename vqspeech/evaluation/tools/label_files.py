"""Phone times in files: TextGrids of a forced aligner, festival's lab files, align.jsonl as rhasspy's voices have it.

All give the labels' own names of phones; `phone_classes` maps them onto the 41 classes where it can.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from vqspeech.data.phonemes import Label
from vqspeech.errors import CorpusError, DependencyError
from vqspeech.evaluation.tools.phone_classes import class_of
from vqspeech.files import find_files

TEXTGRID, LAB, JSONL = "TextGrids of a forced aligner", "festival's lab files", "align.jsonl"
JSONL_NAME = "align.jsonl"
EXPECTED = f"SPEAKER/UTTERANCE.TextGrid, UTTERANCE.lab or {JSONL_NAME}"
SHORT_OR_LONG = (
    "have labels of another duration than the prepared recording (if it was trimmed, set data.trim_db to 0 and prepare "
    "again)"
)
_TOLERANCE_S = 0.05  # between the labels' end and the recording's


class WrongLengthError(CorpusError):
    """Labels that do not last as long as their recording.

    Attributes
    ----------
    end_s, duration_s : of the labels and of the recording, seconds
    """

    def __init__(self, end_s: float, duration_s: float, name: str) -> None:
        self.end_s, self.duration_s = end_s, duration_s
        super().__init__(f"{SHORT_OR_LONG} ({name} lasts {end_s:.2f} s, the recording {duration_s:.2f} s)")


class LabelFiles:
    """The label files below a folder, found by the utterances' ids; where several kinds are there, in the order above.

    Parameters
    ----------
    folder : searched at any depth
    is_asked_for : whether the user named it: then it is a fault if it holds none

    Attributes
    ----------
    note : what is wrong with the folder, else empty
    """

    def __init__(self, folder: Path, *, is_asked_for: bool = True) -> None:
        self._paths: dict[str, dict[str, Path | None]] = {".textgrid": {}, ".lab": {}}
        self._lines: dict[str, list[Label]] = {}
        self._files = sorted(find_files(folder, (".textgrid", ".lab", ".jsonl"))) if folder.is_dir() else []
        problems = []
        for path in self._files:
            if path.suffix.lower() in self._paths:
                self._paths[path.suffix.lower()][path.relative_to(folder).with_suffix("").as_posix()] = path
            elif path.name == JSONL_NAME:
                try:
                    found, wrong = read_align_jsonl(path)
                except CorpusError as reason:
                    problems.append(f"label files {reason}")
                    continue
                self._lines |= found
                problems += wrong
        for path in self._files:  # by the file's name alone only where that is unique
            own = self._paths.get(path.suffix.lower())
            if own is not None and path.parent != folder:
                own[path.stem] = None if path.stem in own else path
        self.note = "; ".join(problems[:3]) + (f"; {len(problems)} such lines" if len(problems) > 3 else "")
        if is_asked_for and not self:
            self.note = f"no TextGrids or other labels in {folder}: expected {EXPECTED}"

    def __bool__(self) -> bool:
        return bool(self._lines) or any(self._paths.values())

    def fingerprint(self) -> str:
        """Hex digest of names, sizes and times of all files: another one means that labels may have changed."""
        digest = hashlib.sha256()
        for path in self._files:
            digest.update(str(path).encode("utf-8", "surrogateescape"))
            with suppress(OSError):  # a link that leads nowhere has a name alone
                status = path.stat()
                digest.update(repr((status.st_size, status.st_mtime_ns)).encode())
        return digest.hexdigest()

    def read(self, utterance: str, speaker: str, duration_s: float) -> tuple[list[Label], str] | None:
        """Labels of an utterance by their own names, and the kind of file; None where no file is the utterance's.

        An utterance is found by its id, with or without ending, in its speaker's folder, or anywhere.

        Raises
        ------
        CorpusError
            If its file cannot be read, or is not as long as the recording.
        """
        if path := self._find(self._paths[".textgrid"], utterance, speaker):
            return read_textgrid_phones(path, duration_s), TEXTGRID
        if labels := self._find(self._lines, utterance, speaker):
            check_length(labels[-1][1], duration_s, JSONL_NAME)
            return labels, JSONL
        # MFA's corpora have texts in files of this ending: those are no labels.
        if (path := self._find(self._paths[".lab"], utterance, speaker)) and is_lab(path):
            return read_lab(path, duration_s), LAB
        return None

    def _find(self, by_name: dict[str, Any], utterance: str, speaker: str) -> Any:
        plain = utterance.partition("#")[0]
        stem = Path(plain).stem
        for name in (utterance, plain, str(Path(plain).with_suffix("")), f"{speaker}/{stem}", stem):
            if found := by_name.get(name):
                return found
        return None


def check_length(end_s: float, duration_s: float | None, name: str) -> None:
    """A WrongLengthError where labels do not last as long as the recording: no time of theirs could be trusted."""
    if duration_s is not None and abs(end_s - duration_s) > _TOLERANCE_S:
        raise WrongLengthError(end_s, duration_s, name)


def read_textgrid(path: Path, duration_s: float | None = None) -> list[Label]:
    """As `read_textgrid_phones`, by the 41 classes."""
    return [(start_s, end_s, class_of(name)) for start_s, end_s, name in read_textgrid_phones(path, duration_s)]


def read_textgrid_phones(path: Path, duration_s: float | None = None) -> list[Label]:
    """Read the tier of phones, as the Montreal Forced Aligner writes it ("phones", "ann - phones").

    Parameters
    ----------
    path : long or short TextGrid
    duration_s : the recording's; another one means that its ends were trimmed, and the times would not fit

    Returns
    -------
    labels : (start_s, end_s, name), as the tier has them

    Raises
    ------
    CorpusError
        If the file cannot be read, has no such tier, or is not as long as the recording.
    DependencyError
        If praatio is not installed.
    """
    try:
        from praatio import textgrid
        from praatio.data_classes.interval_tier import IntervalTier
    except ImportError:
        raise DependencyError(
            "TextGrids are read by praatio, which is not installed. Install it: pip install 'vqspeech[evaluate]'"
        ) from None
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="silence")
    except Exception as reason:  # noqa: BLE001 - praatio fails in many ways on what is not a TextGrid
        raise CorpusError(f"have a TextGrid that cannot be read ({path.name}: {type(reason).__name__})") from None
    for name in grid.tierNames:
        tier = grid.getTier(name)
        if name.lower().split(" - ")[-1].strip() in ("phones", "phone") and isinstance(tier, IntervalTier):
            break
    else:
        raise CorpusError(f'have a TextGrid without a tier "phones" ({path.name} has {", ".join(grid.tierNames)})')
    check_length(grid.maxTimestamp, duration_s, path.name)
    return [(float(entry.start), float(entry.end), entry.label) for entry in tier.entries]


def is_lab(path: Path) -> bool:
    """Whether a file has xwaves' header, which ends with a line "#"."""
    return any(line.strip() == "#" for line in _lines_of(path))


def read_lab(path: Path, duration_s: float | None = None) -> list[Label]:
    """Read xwaves' labels as festival and Edinburgh Speech Tools write them: a header up to "#", then `end_s 26 phone`.

    Each phone begins where the one before it ends, the first at 0.

    Parameters
    ----------
    duration_s : the recording's; see `check_length`

    Returns
    -------
    labels : (start_s, end_s, name)

    Raises
    ------
    CorpusError
        If a line has no time and name, times fall, there is no label, or the recording is of another length.
    """
    labels: list[Label] = []
    lines = _lines_of(path)
    while next(lines, "#").strip() != "#":  # the header
        pass
    for line in lines:
        if not line.strip():
            continue
        end, *rest = line.split(maxsplit=2)
        start_s = labels[-1][1] if labels else 0.0
        try:
            end_s, name = float(end), rest[1].split(";")[0].strip()
        except (ValueError, IndexError):
            raise CorpusError(f"have a lab file with a line that is no label ({path.name}: {line.strip()!r})") from None
        if not start_s <= end_s < math.inf:
            raise CorpusError(f"have a lab file whose times fall ({path.name}: {end_s} s after {start_s} s)")
        labels.append((start_s, end_s, name))
    if not labels:
        raise CorpusError(f"have a lab file without labels ({path.name})")
    check_length(labels[-1][1], duration_s, path.name)
    return labels


def _lines_of(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            yield from lines
    except OSError as reason:
        raise CorpusError(f"have labels that cannot be read ({path.name}: {reason.strerror})") from None


def read_align_jsonl(path: Path) -> tuple[dict[str, list[Label]], list[str]]:
    """Labels of all utterances of a file as rhasspy's voices have it, and sentences on lines that are none.

    A line is `{"id": "a1", "words": [{"word": "een", "phones": [{"start": 0.0, "duration": 0.08, "phone": "e"}]}]}`.

    Returns
    -------
    labels : by id, (start_s, end_s, name) in order
    problems : one sentence a line that was passed over
    """
    found: dict[str, list[Label]] = {}
    problems = []
    for number, line in enumerate(_lines_of(path), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            phones = [phone for word in entry["words"] for phone in word["phones"]]
            labels = [
                (float(phone["start"]), float(phone["start"]) + float(phone["duration"]), str(phone["phone"]))
                for phone in phones
            ]
            name = str(entry["id"])
            if not all(0 <= start_s <= end_s < math.inf for start_s, end_s, _ in labels):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            problems.append(
                f"line {number} of {path.name} holds no id and words with phones and their times: passed over"
            )
            continue
        if labels:
            found[name] = sorted(labels)
    return found, problems
