"""Which speakers are women and which men, where the corpus tells: conversions across are harder than within."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vqspeech.config import DataConfig
from vqspeech.data.corpora import find_utterances
from vqspeech.errors import VQSpeechError

_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
_VCTK_LINE = re.compile(r"^\s*(?P<speaker>\w+)\s+\d+\s+(?P<sex>[FM])\b")  # p225  23  F  English ...
_LIBRISPEECH_LINE = re.compile(r"^\s*(?P<speaker>\d+)\s*\|\s*(?P<sex>[FM])\s*\|")  # 14 | F | train-clean-360 | ...
_FSDD_ENTRY = re.compile(r"""['"](?P<speaker>\w+)['"]\s*:\s*\{\s*['"]gender['"]\s*:\s*['"](?P<sex>\w+)['"]""")


def find_sexes(data: DataConfig, root: Path, speakers: Sequence[str]) -> dict[str, str]:
    """Speaker to "F" or "M", for those of whom the corpus tells.

    VCTK has speaker-info.txt, LibriSpeech SPEAKERS.TXT, FSDD metadata.py, the embedded corpus its espeak-ng voices, a
    manifest the key "sex" of its lines.
    """
    if data.corpus == "manifest":
        told = {utterance.speaker: utterance.sex for utterance in find_utterances(data, root) if utterance.sex}
        return {name: told[name] for name in speakers if name in told}
    if data.corpus == "embedded":
        found = _sexes_of_espeak()
    else:
        found = {}
        for name, pattern in (
            ("speaker-info.txt", _VCTK_LINE),
            ("SPEAKERS.TXT", _LIBRISPEECH_LINE),
            ("metadata.py", _FSDD_ENTRY),
        ):
            for path in [root / name, *sorted(root.glob(f"*/{name}")), root.parent / name]:
                if path.is_file():
                    found |= _read(path, pattern)
                    break
    # VCTK 0.80 numbers its speakers in the table and writes p225 elsewhere.
    return {name: found.get(name) or found[name[1:]] for name in speakers if name in found or name[1:] in found}


def _read(path: Path, pattern: re.Pattern[str]) -> dict[str, str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    matches = pattern.finditer(text) if pattern is _FSDD_ENTRY else filter(None, map(pattern.match, text.splitlines()))
    return {match["speaker"]: _SEXES[match["sex"].lower()] for match in matches if match["sex"].lower() in _SEXES}


def _sexes_of_espeak() -> dict[str, str]:
    from vqspeech.data.embedded import VOICES
    from vqspeech.data.espeak import find_espeak

    try:
        _, folder = find_espeak()
    except VQSpeechError:  # the corpus was made elsewhere: then nobody tells
        return {}
    found = {}
    for voice in VOICES:
        for path in Path(folder).rglob(f"!v/{voice.variant}"):
            if said := re.search(r"^gender\s+(\w+)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
                found[voice.name] = _SEXES.get(said[1].lower(), "")
    return {name: sex for name, sex in found.items() if sex}
