"""The same test for other tools: webMUSHRA's configuration in YAML, and a flat CSV for crowd platforms.

Both name sounds as the page does, blinded; the key tells what is behind the names in either tool's results.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from vqspeech.errors import DependencyError
from vqspeech.listening.design.questions import QUESTIONS
from vqspeech.listening.key import Key, Trial

SOUNDS = "sounds"
PLACE_OF_TESTS = "configs"  # the folder of webMUSHRA into which the test's folder is copied
WEBMUSHRA_LIMIT = 12  # conditions a page
# webMUSHRA's paired comparison shows one of its pair openly as the reference too, and asks which of A and B it is. We
# ask another question about the same A and B: the column and the question are hidden.
BLIND_PAIR = (
    "<style>#table_ab tr:nth-child(-n+2) td:first-child, #table_ab tr:nth-child(3) {display: none}</style>"
)  # fmt: skip


def write_webmushra(folder: Path, key: Key) -> None:
    """One configuration a listener's place, `webmushra/place-000.yaml`; copy the folder into webMUSHRA's `configs/`.

    "mushra" becomes `mushra` pages, "abx" and "preference" `paired_comparison`, "mos" and "similarity"
    `likert_single_stimulus`, as webMUSHRA's documentation for experimenters describes them. In its results of pairs
    "correct" says that the first of the trial's two `rated` sounds was chosen; of a pair of unequal length it plays the
    longer one only as far as the shorter lasts.

    Raises
    ------
    DependencyError
        If PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise DependencyError(
            "PyYAML is not installed: it writes webMUSHRA's configuration. pip install 'vqspeech[listening]'"
        ) from None
    name = _test_name(folder)
    (folder / "webmushra").mkdir()
    for place in range(len(key.orders)):
        text = yaml.safe_dump(webmushra(key, place, f"{PLACE_OF_TESTS}/{name}"), sort_keys=False, allow_unicode=True)
        (folder / "webmushra" / f"place-{place:03d}.yaml").write_text(text, encoding="utf-8")


def webmushra(key: Key, place: int, root: str) -> dict[str, Any]:
    """webMUSHRA's configuration for one listener's place; `root` is where it finds the test's folder."""
    words = QUESTIONS[key.kind]
    pages: list[dict[str, Any]] = [
        {"type": "generic", "id": "start", "name": words.title, "content": "<br/>".join(words.instructions)}
    ]
    pages += [_page(key, name, root) for name in key.orders[place]]
    pages.append(
        {"type": "finish", "name": "Thank you", "content": "", "showResults": False, "writeResults": True}
    )  # fmt: skip
    return {
        "testname": words.title,
        "testId": f"{key.test}-{place:03d}",
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": pages,
    }


def _page(key: Key, name: str, root: str) -> dict[str, Any]:
    trial, words = key.trials[name], QUESTIONS[key.kind]

    def path(stimulus: str) -> str:
        return f"{root}/{SOUNDS}/{stimulus}.wav"

    page: dict[str, Any] = {"id": name, "name": words.title, "content": words.question}
    if key.kind == "mushra":
        assert trial.reference
        # webMUSHRA adds the hidden reference itself, and calls it "reference" in its results.
        shown = [one for one in trial.rated if not _is_hidden_reference(key, one, trial)]
        return {"type": "mushra", **page, "showWaveform": False, "enableLooping": True, "strict": False,
                "reference": path(trial.reference), "createAnchor35": False, "createAnchor70": False,
                "randomize": True, "showConditionNames": False,
                "stimuli": {one: path(one) for one in shown}}  # fmt: skip
    if key.kind in ("abx", "preference"):
        first, second = trial.rated
        if trial.reference:
            page["content"] += f'<br/>X: <audio controls src="{path(trial.reference)}"></audio>'
        page["content"] += BLIND_PAIR
        pair = {"type": "paired_comparison", **page, "showWaveform": False, "enableLooping": False,
                "reference": path(first), "stimuli": {second: path(second)}}  # fmt: skip
        return {**pair, "unforced": words.labels[-1][1]} if key.kind == "preference" else pair
    if trial.reference:
        page["content"] += f'<br/>1: <audio controls src="{path(trial.reference)}"></audio> 2: play below'
    return {"type": "likert_single_stimulus", **page, "mustRate": True, "mustPlayback": "ended",
            "stimuli": {trial.rated[0]: path(trial.rated[0])},
            "response": [{"value": int(value), "label": label} for value, label in reversed(words.labels)]}  # fmt: skip


def _is_hidden_reference(key: Key, name: str, trial: Trial) -> bool:
    assert trial.reference
    return key.stimuli[name].sha256 == key.stimuli[trial.reference].sha256


def write_csv(folder: Path, key: Key) -> None:
    """`trials.csv`: a row for each page of each listener's place, in order, with the sounds as paths in the folder."""
    words = QUESTIONS[key.kind]
    most = max(len(trial.rated) for trial in key.trials.values())
    header = ["test", "kind", "place", "position", "trial", "question", "answers", "reference"]
    header += [f"stimulus_{number}" for number in range(1, most + 1)]
    with (folder / "trials.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for place, order in enumerate(key.orders):
            for position, name in enumerate(order):
                trial = key.trials[name]
                sounds = [f"{SOUNDS}/{one}.wav" for one in trial.rated]
                reference = f"{SOUNDS}/{trial.reference}.wav" if trial.reference else ""
                row = [key.test, key.kind, place, position, name, words.question, _answers(key), reference, *sounds]
                writer.writerow(row + [""] * (len(header) - len(row)))


def _answers(key: Key) -> str:
    if key.kind == "mushra":
        return "0-100"
    return "|".join(f"{value}={label}" if value != label else value for value, label in QUESTIONS[key.kind].labels)


def _test_name(folder: Path) -> str:
    """The name that the folder will have: it is still being built as .NAME.PID.part."""
    return folder.name.strip(".").rsplit(".", 2)[0] if folder.suffix == ".part" else folder.name
