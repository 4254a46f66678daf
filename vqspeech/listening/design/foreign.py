"""The same test for other tools: webMUSHRA's configuration in YAML, and a flat CSV for crowd platforms.

Both name sounds as the page does, blinded; the key tells what is behind the names in either tool's results.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from vqspeech.errors import DependencyError
from vqspeech.listening.design.folder import SOUNDS
from vqspeech.listening.key import Key
from vqspeech.listening.kinds import KINDS

PLACE_OF_TESTS = "configs"  # the folder of webMUSHRA into which the test's folder is copied


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
    kind = KINDS[key.kind]

    def path(stimulus: str) -> str:
        return f"{root}/{SOUNDS}/{stimulus}.wav"

    pages: list[dict[str, Any]] = [
        {"type": "generic", "id": "start", "name": kind.title, "content": "<br/>".join(kind.instructions)}
    ]
    for name in key.orders[place]:
        page = {"id": name, "name": kind.title, "content": kind.question}
        pages.append(kind.webmushra(page, key, key.trials[name], path))
    pages.append(
        {"type": "finish", "name": "Thank you", "content": "", "showResults": False, "writeResults": True}
    )  # fmt: skip
    return {
        "testname": kind.title,
        "testId": f"{key.test}-{place:03d}",
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": pages,
    }


def write_csv(folder: Path, key: Key) -> None:
    """`trials.csv`: a row for each page of each listener's place, in order, with the sounds as paths in the folder."""
    kind = KINDS[key.kind]
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
                row = [key.test, kind.name, place, position, name, kind.question, kind.answer_choices, reference]
                row += sounds + [""] * (most - len(sounds))
                writer.writerow(row)


def _test_name(folder: Path) -> str:
    """The name that the folder will have: it is still being built as .NAME.PID.part."""
    return folder.name.strip(".").rsplit(".", 2)[0] if folder.suffix == ".part" else folder.name
