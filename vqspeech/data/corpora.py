"""Where each corpus keeps its recordings, speakers and texts."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqspeech.audio import EXPECTED, find_recordings
from vqspeech.config import DataConfig
from vqspeech.errors import CorpusError
from vqspeech.files import find_files

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# The system takes no such character; the surrogates between these ranges stand for bytes of names that are not UTF-8.
_UNSPEAKABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
_FSDD_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_(?P<take>\d+)")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of one speaker's speech.

    Attributes
    ----------
    utterance : id, unique in the corpus and stable: the split depends on it
    speaker : name, as the corpus writes it
    audio : the recording
    text : what is said, where the corpus has it
    offset_s, duration_s : the part of the recording, seconds; all of it by default
    split : where the corpus has official splits
    labels : file of phoneme times, lines of start_s TAB end_s TAB phoneme
    sex : of the speaker, "F" or "M", where a manifest has it; `evaluation.trials.sexes` reads those of other corpora
    """

    utterance: str
    speaker: str
    audio: Path
    text: str | None = None
    offset_s: float = 0.0
    duration_s: float | None = None
    split: str | None = None
    labels: Path | None = None
    sex: str | None = None


def find_root(data: DataConfig, option: Path | None = None) -> Path:
    """The corpus folder: `option` (--data), else the recipe's data.root, else VQSPEECH_DATA.

    Raises
    ------
    CorpusError
        If none is given, or the one given does not exist; the message says how to get the corpus (data.help).
        The embedded corpus need not exist yet: `prepare_store` builds it.
    """
    given = option or data.root or os.environ.get("VQSPEECH_DATA")
    if data.corpus == "embedded" and not (option or data.root):
        given = f"prepared/embedded-{data.sample_rate}"
    if not given:
        raise CorpusError(
            f"no {data.corpus} recordings given: neither --data, nor data.root in the recipe, nor VQSPEECH_DATA. "
            f"{data.help}"
        )
    root = Path(given).expanduser()
    if not root.exists() and data.corpus != "embedded":
        raise CorpusError(f"the data folder {root} does not exist. {data.help}")
    return root


def find_utterances(data: DataConfig, root: Path) -> list[Utterance]:
    """List a corpus, sorted by utterance id.

    Raises
    ------
    CorpusError
        If the folder is missing, empty, or not laid out as the corpus is; the message says what was looked for.
    """
    root = Path(root)
    if not root.exists():
        raise CorpusError(f"the data folder {root} does not exist. {data.help}")
    finders: dict[str, Callable[[DataConfig, Path], Iterator[Utterance]]] = {
        "vctk": _find_vctk, "librispeech": _find_librispeech, "fsdd": _find_fsdd, "folder": _find_folder,
        "manifest": _find_manifest, "embedded": _find_embedded,
    }  # fmt: skip
    try:
        found = sorted(finders[data.corpus](data, root), key=lambda utterance: utterance.utterance)
    except OSError as reason:
        raise CorpusError(f"cannot read {reason.filename or root}: {reason.strerror}. Check its permissions") from None
    if not found and (problems := list_passed_over(data, root)):
        raise CorpusError(" ".join(problems))
    if not found:
        raise CorpusError(f"no recordings in {root}: {_EXPECTED[data.corpus]}")
    speakers = sorted({utterance.speaker for utterance in found})
    for key, names in (("leave_out", data.leave_out), ("voices", data.voices)):
        for name in names:
            if name not in speakers:  # a slip that would go unnoticed
                near = difflib.get_close_matches(name, speakers, n=3) or speakers[:8]
                raise CorpusError(f"data.{key} names {name!r}, but no such speaker is there. Near: {', '.join(near)}")
    kept = [utterance for utterance in found if utterance.speaker not in data.leave_out]
    if not kept:
        raise CorpusError(f"data.leave_out leaves none of the {len(speakers)} speakers. Keep some")
    return kept


def list_passed_over(data: DataConfig, root: Path) -> list[str]:
    """Sentences about recordings of a corpus of folders that are of kinds that cannot be read."""
    return [str(problem) for problem in find_recordings(root).problems().values()] if data.corpus == "folder" else []


_EXPECTED = {
    "vctk": "expected VCTK 0.92's wav48_silence_trimmed/SPEAKER/*_mic1.flac or VCTK 0.80's wav48/SPEAKER/*.wav. "
    "Give the folder that holds them, and the microphone with data.mic",
    "librispeech": "expected LibriSpeech's SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac. Give the LibriSpeech "
    "folder or the one around it",
    "fsdd": "expected DIGIT_SPEAKER_TAKE.wav there or in its folder recordings. Give the folder of the Free Spoken "
    "Digit Dataset",
    "folder": f"expected one subfolder per speaker with recordings ({EXPECTED}) at any depth. "
    "Move each speaker's recordings into a folder of that name",
    "manifest": 'expected one line per utterance such as {"audio": "a.wav", "speaker": "ann"}. Add some',
    "embedded": "expected wav/VOICE/UTTERANCE.wav, as the demo builds them. Delete the folder: it is built anew",
}


def split_of(utterance_id: str, data: DataConfig) -> str:
    """Split of an utterance: "train", "valid" or "test".

    A stable hash of the id decides, so that neither the order nor the rest of the corpus matters. FSDD has official
    splits: takes 0-4 are test, 5-9 valid.

    Examples
    --------
    >>> split_of("7_theo_3", DataConfig(corpus="fsdd"))
    'test'
    """
    if data.corpus == "fsdd" and (name := _FSDD_NAME.fullmatch(utterance_id)):
        take = int(name["take"])
        return "test" if take < 5 else "valid" if take < 10 else "train"
    share = stable_share(utterance_id)
    if share < data.test_share:
        return "test"
    return "valid" if share < data.test_share + data.valid_share else "train"


def stable_share(utterance_id: str) -> float:
    """A number in [0, 1) that depends on the id alone, uniform over ids."""
    digest = hashlib.sha256(utterance_id.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except FileNotFoundError:
        return None


def _find_vctk(data: DataConfig, root: Path) -> Iterator[Utterance]:
    """VCTK 0.92 (two microphones, FLAC, silence trimmed), else 0.80 (WAV)."""
    for base in (root, root / "VCTK-Corpus-0.92", root / "VCTK-Corpus"):
        if (base / "wav48_silence_trimmed").is_dir():
            audio, ending = base / "wav48_silence_trimmed", f"_{data.mic}"
        elif (base / "wav48").is_dir():
            audio, ending = base / "wav48", ""
        else:
            continue
        for path in find_files(audio, (".flac", ".wav")):
            if path.parent != audio and path.stem.endswith(ending):
                name = path.stem.removesuffix(ending)
                speaker = path.parent.name
                yield Utterance(name, speaker, path, _text(base / "txt" / speaker / f"{name}.txt"))
        return


def _find_librispeech(data: DataConfig, root: Path) -> Iterator[Utterance]:
    base = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    texts: dict[str, str] = {}
    chapter = None
    for path in find_files(base, (".flac",)):
        speaker, dash, rest = path.stem.partition("-")
        if not (speaker and dash and rest):
            continue
        if path.parent != chapter:
            chapter = path.parent
            lines = (_text(chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt") or "").splitlines()
            texts = {name: text for name, _, text in (line.partition(" ") for line in lines)}
        yield Utterance(path.stem, speaker, path, texts.get(path.stem))


def _find_fsdd(data: DataConfig, root: Path) -> Iterator[Utterance]:
    base = root / "recordings" if (root / "recordings").is_dir() else root
    for path in find_files(base, (".wav",)):
        if name := _FSDD_NAME.fullmatch(path.stem):
            text = DIGITS[int(name["digit"])]
            yield Utterance(path.stem, name["speaker"], path, text, split=split_of(path.stem, data))


def _find_folder(data: DataConfig, root: Path) -> Iterator[Utterance]:
    ids: set[str] = set()
    for path in find_recordings(root).readable:
        inside = path.relative_to(root)
        if len(inside.parts) < 2:
            continue  # beside the speakers' folders: of no speaker
        name = inside.with_suffix("").as_posix()
        if name in ids:  # a.flac beside a.wav
            name = inside.as_posix()
        ids.add(name)
        yield Utterance(name, inside.parts[0], path)


def _find_embedded(data: DataConfig, root: Path) -> Iterator[Utterance]:
    for utterance in _find_folder(data, root / "wav"):
        labels = root / "labels" / f"{utterance.utterance}.tsv"
        yield Utterance(
            utterance.utterance,
            utterance.speaker,
            utterance.audio,
            _text(root / "text" / f"{utterance.utterance}.txt"),
            labels=labels if labels.is_file() else None,
        )


def _find_manifest(data: DataConfig, root: Path) -> Iterator[Utterance]:
    path = root
    if root.is_dir():
        manifests = sorted(root.glob("*.jsonl"))
        if len(manifests) != 1:
            raise CorpusError(f"{root} holds {len(manifests)} .jsonl files; give the one manifest itself with --data")
        path = manifests[0]
    seen: dict[str, int] = {}
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            utterance = _parse_line(line, path.parent, f"{path}, line {number}")
            if utterance.utterance in seen:
                raise CorpusError(
                    f"{path}, line {number} repeats line {seen[utterance.utterance]}: same audio, offset and duration. "
                    "Remove one"
                )
            seen[utterance.utterance] = number
            yield utterance


def _parse_line(line: str, folder: Path, where: str) -> Utterance:
    example = '{"audio": "a.wav", "speaker": "ann", "text": "hello", "offset_s": 0.5, "duration_s": 2.0}'
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as reason:
        raise CorpusError(f"{where} is not JSON ({reason.msg}). Expected a line such as {example}") from None

    def get(key: str, kinds: type | tuple[type, ...], what: str, default: Any = None) -> Any:
        value = entry.get(key, default)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise CorpusError(f"{where}: {key} = {value!r}, expected {what}. A right line is {example}")
        if isinstance(value, str) and _UNSPEAKABLE.search(value):
            raise CorpusError(f"{where}: {key} = {value!r} holds a character that no file's name can. Correct it")
        return value

    if not isinstance(entry, dict):
        raise CorpusError(f"{where} is not an object. Expected a line such as {example}")
    audio, speaker = get("audio", str, "a path"), get("speaker", str, "a name")
    if not audio or not speaker:
        raise CorpusError(f"{where} lacks {'speaker' if audio else 'audio'}. Expected a line such as {example}")
    offset_s = float(get("offset_s", (int, float), "seconds", 0.0) or 0.0)
    duration_s = get("duration_s", (int, float), "seconds")
    if not (offset_s >= 0 and math.isfinite(offset_s)) or not (duration_s is None or 0 < duration_s < math.inf):
        raise CorpusError(f"{where}: offset_s = {offset_s}, duration_s = {duration_s}; expected an offset of 0 or more "
                          "and a duration above 0, seconds")  # fmt: skip
    name = audio
    if offset_s or duration_s is not None:
        name += f"#{offset_s!r}" + ("" if duration_s is None else f"+{float(duration_s)!r}")

    def choose(key: str, allowed: tuple[str, ...]) -> str | None:
        value: str | None = get(key, str, "a name")
        if value is not None and value not in allowed:
            raise CorpusError(f"{where}: {key} = {value!r}, expected one of {', '.join(allowed)}")
        return value

    return Utterance(
        name, speaker, folder / audio, get("text", str, "a string"), offset_s,
        None if duration_s is None else float(duration_s), choose("split", ("train", "valid", "test")),
        sex=choose("sex", ("F", "M")),
    )  # fmt: skip
