"""`vqspeech evaluate`: choose, convert, measure, report; what is done is kept, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vqspeech.checkpoint import MODEL_FILE, find_model_file
from vqspeech.data.preparation import num_cores
from vqspeech.errors import VQSpeechError
from vqspeech.evaluation.choice import Choice, choose, choose_split
from vqspeech.evaluation.figures import Material, Section
from vqspeech.evaluation.material import Settings, fingerprint, make_material
from vqspeech.evaluation.report import Report, keep_section, kept_section, to_json, write_json
from vqspeech.evaluation.report_html import write_html
from vqspeech.evaluation.sexes import find_sexes
from vqspeech.evaluation.subject import Notify, Subject, common_utterances, common_voices, open_subject

PAIRS = 200
# One module a section, each with measure(material) -> Section, in the report's order; and its heading if it fails.
MEASURES = {
    "content": "Conversion: content",
    "voice": "Conversion: voice",
    "pitch": "Conversion: pitch",
    "code_phonemes": "Codes to phonemes",
    "code_speakers": "Codes to speaker",
    "sound": "Sound",
    "codebook": "Codebook",
}
OPTIONAL = ("jiwer", "pocketsphinx", "praatio", "resemblyzer", "torchaudio", "whisper")
VERSION = 2  # of the measures: counted up when a kept section would come out differently

Watch = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much


def evaluate(
    model: str | Path,
    *,
    data: Path | None = None,
    pairs: int = PAIRS,
    out: Path | None = None,
    against: str | Path | None = None,
    trained: bool = False,
    seed: int = 0,
    num_threads: int | None = None,
    measures: Sequence[str] = tuple(MEASURES),
    notify: Notify = lambda line: None,
    watch: Watch = lambda what, done, of: None,
) -> Report:
    """Measure whether the codes carry the content and the voice became the target's; write report.json and .html.

    Parameters
    ----------
    model, against : run folder or model file; the second is put beside the first, on the same trials
    data : folder of the corpus; see `find_root` for what stands in for it
    pairs : conversions to make
    out : folder of the report; `evaluation` beside the model file if None
    trained : evaluate on training utterances; the report says so
    seed : of choice, sampling and bootstrap
    num_threads : of sampling; all cores if None
    measures : names of the modules that measure
    notify : is told sentences for the user
    watch : is told the progress

    Returns
    -------
    report : Report, also written

    Raises
    ------
    CheckpointError
        If there is no such model.
    CorpusError
        If there is nothing held out to evaluate, or no speaker that the model knows.
    """
    if pairs < 1:
        raise VQSpeechError(f"{pairs} conversions asked for with --pairs; at least 1 is needed")
    file = find_model_file(model)
    out = Path(out) if out else file.parent / "evaluation"
    if out.exists() and not out.is_dir():
        raise VQSpeechError(f"{out} is a file. Give a folder with --out")
    settings = Settings(seed=seed, num_threads=num_threads or num_cores())
    first = open_subject(file, data, out, notify)
    second = open_subject(find_model_file(against), data, out / "against", notify) if against else None
    subjects = [subject for subject in (first, second) if subject]
    split, label = choose_split(first.store, trained=trained)
    sexes = find_sexes(first.model.recipe.data, first.root, first.store.speakers)
    choices = choose(
        first.store, split, common_voices(subjects), pairs,
        sexes=sexes, seed=seed, allowed=common_utterances(subjects, split) if second else None,
    )  # fmt: skip

    def run(subject: Subject, folder: Path, name: str) -> tuple[Material, tuple[Section, ...]]:
        def advance(done: int) -> None:
            watch(f"{name}: conversions", done, len(choices))

        material = make_material(
            subject.model, subject.store, choices, folder / "material", settings,
            split=split, sexes=sexes, trained_on=trained, advance=advance,
        )  # fmt: skip
        return material, _measure(material, folder, _key(material, choices), measures, name, notify, watch)

    names = [subject.name for subject in subjects]
    material, sections = run(first, out, names[0])
    other, other_sections = run(second, out / "against", names[1]) if second else (None, ())
    facts, other_facts = (
        _facts(subject, split, choices, sexes, trained, seed) if subject else {} for subject in (first, second)
    )
    notes = tuple(filter(None, [label, *_notes(first, choices, pairs, sexes)]))
    report = Report(facts, sections, notes, other_facts, other_sections, out)
    write_json(out / "report.json", to_json(report))
    watch("report", 0, 1)
    write_html(out / "report.html", report, material, other)
    watch("report", 1, 1)
    return report


def _key(material: Material, choices: Sequence[Choice]) -> str:
    """What a kept section depends on; an optional judge that was installed since, or TextGrids, are among it."""
    from vqspeech.evaluation.alignments import FOLDER_VARIABLE

    judges = [name for name in OPTIONAL if importlib.util.find_spec(name)] + [os.environ.get(FOLDER_VARIABLE, "")]
    model, store = fingerprint(material.model), material.store.fingerprint
    said = (VERSION, model, store, material.split, material.seed, choices, judges)
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _measure(
    material: Material,
    folder: Path,
    key: str,
    measures: Sequence[str],
    name: str,
    notify: Notify,
    watch: Watch,
) -> tuple[Section, ...]:
    sections = []
    for number, measure in enumerate(measures):
        title = MEASURES.get(measure, measure)
        watch(f"{name}: {title}", number, len(measures))
        path = folder / "sections" / f"{measure}.json"
        section = kept_section(path, key)
        if section is None:
            try:
                section = importlib.import_module(f"vqspeech.evaluation.{measure}").measure(material)
            except Exception as reason:  # one measure that fails takes no other with it, and is not passed over
                what = str(reason) or type(reason).__name__
                notify(f"{title}: could not be measured: {what}")
                section = Section(title, notes=(f"could not be measured: {type(reason).__name__}: {what}",))
            else:
                if not _lacks_package(section):
                    keep_section(path, key, section)
        sections.append(section)
    watch(f"{name}: measured", len(measures), len(measures))
    return tuple(sections)


def _lacks_package(section: Section) -> bool:
    """Whether a judge is missing or does not load, which may be mended until the next call: then it is asked again."""
    notes = [*section.notes, *(figure.note for figure in section.figures)]
    advice = "vqspeech[evaluate]", "weights", "torchaudio_remedy", "TextGrid"  # what may be followed until then
    return any(each in note for note in notes for each in advice)


def _facts(
    subject: Subject, split: str, choices: Sequence[Choice], sexes: dict[str, str], trained: bool, seed: int
) -> dict[str, Any]:
    model, card = subject.model, subject.model.card
    return {
        "model": subject.file.parent.name if subject.file.name == MODEL_FILE else subject.file.name,
        "weights": fingerprint(model),
        "recipe": model.recipe.name,
        "steps": card.step if card else 0,
        "codes": model.num_codes,
        "code_rate_hz": model.code_rate,
        "sample_rate_hz": model.sample_rate,
        "data": subject.store.fingerprint,
        "split": split,
        "trained_on": trained,
        "conversions": len(choices),
        "utterances": len({choice.utterance for choice in choices}),
        "speakers": {name: sexes.get(name, "") for name in sorted({choice.speaker for choice in choices})},
        "seed": seed,
    }


def _notes(subject: Subject, choices: Sequence[Choice], pairs: int, sexes: dict[str, str]) -> list[str]:
    speakers = {choice.speaker for choice in choices}
    voices = {choice.target for choice in choices}
    notes = []
    if len(choices) < pairs:
        notes.append(f"{len(choices)} conversions made of the {pairs} asked for: the corpus has no more")
    if all(choice.speaker == choice.target for choice in choices):
        notes.append("one voice only: each conversion is to the speaker's own voice, and says nothing about another's")
    if unknown := sorted((speakers | voices) - set(sexes)):
        notes.append(f"the corpus does not tell the sex of {', '.join(unknown[:8])}{', ...' * (len(unknown) > 8)}")
    strangers = [name for name in subject.store.speakers if name not in subject.model.speakers]
    if strangers:
        notes.append(f"{len(strangers)} speakers of the corpus are not the model's and were left out")
    card = subject.model.card
    then = card.training.get("data") if card else None
    if then and then != subject.store.fingerprint:
        notes.append(
            "the recordings are not exactly those of the training; what was held out is told by their names alone"
        )
    return notes
