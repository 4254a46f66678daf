"""`vqspeech evaluate`: choose, convert, measure, report; what is done is kept, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from vqspeech.data.processes import num_cores
from vqspeech.errors import VQSpeechError
from vqspeech.evaluation.figures.together import both_right
from vqspeech.evaluation.figures.types import Evaluation, Section
from vqspeech.evaluation.report.breakdown import break_down
from vqspeech.evaluation.report.html import write_html
from vqspeech.evaluation.report.sections import Report, keep_section, kept_section, to_json, write_json
from vqspeech.evaluation.report.stages import Stages, pace_of
from vqspeech.evaluation.trials.pairs import Pair, choose_split
from vqspeech.evaluation.trials.sexes import find_sexes
from vqspeech.evaluation.trials.synthesis import Settings, make_evaluation
from vqspeech.evaluation.trials.systems import (
    System,
    choose_for,
    facts_of,
    heard_voices,
    names_of,
    notes_on,
    notes_on_two,
    open_system,
    work_ahead,
)
from vqspeech.pretrained.registry import report_folder, resolve
from vqspeech.progress import Notify, ProgressCallback

PAIRS = 200
QUICK_PAIRS = 20
# One module a section, each with measure(evaluation) -> Section, in the report's order; and its heading if it fails.
MEASURES = {
    "naturalness": "Naturalness",
    "words": "Words",
    "content": "Conversion: content",
    "voice": "Conversion: voice",
    "pitch": "Conversion: pitch",
    "code_phonemes": "Codes to phonemes",
    "units": "Units",
    "code_speakers": "Codes to speaker",
    "sound": "Sound",
    "codebook": "Codebook",
}
ALL = "all"  # of --pairs
CONVERSIONS = "conversions"  # the stage that makes what all measures judge
QUICK = ("naturalness", "words", "voice", "units")  # what --quick measures
OPTIONAL = (
    "distillmos", "jiwer", "onnxruntime", "pocketsphinx", "praatio", "resemblyzer", "speechmos", "torchaudio",
    "whisper",
)  # fmt: skip
VERSION = 9  # of the measures: counted up when a kept section would come out differently


def evaluate(
    model: str | Path,
    *,
    data: Path | None = None,
    pairs: int | str | None = None,
    out: Path | None = None,
    against: str | Path | None = None,
    trained: bool = False,
    seed: int = 0,
    num_threads: int | None = None,
    measures: Sequence[str] | None = None,
    quick: bool = False,
    language: str = "",
    notify: Notify = lambda line: None,
    watch: ProgressCallback = lambda what, done, of: None,
) -> Report:
    """Measure whether the codes carry the content and the voice became the target's; write report.json and .html.

    Parameters
    ----------
    model : str or Path
        Run folder, model file, name of a bundled model, or Hub id, as `load_model` takes it.
    data : Path or None
        Folder of the corpus; see `find_root` for what stands in for it.
    pairs : int, `ALL` or None
        Conversions to make, or every utterance to every other voice; None takes `PAIRS`, or `QUICK_PAIRS`.
    out : Path or None
        Folder of the report; None takes `evaluation` beside a run's model, evaluations/NAME for a packed one.
    against : str, Path or None
        A model that is put beside the first, on the same trials.
    trained : bool
        Evaluate on training utterances; the report says so.
    seed : int
        Of the choice, sampling and bootstrap.
    num_threads : int or None
        Of sampling; None takes all cores.
    measures : sequence of str or None
        Names of the modules that measure; None takes all of `MEASURES`, or those of `QUICK`.
    quick : bool
        A rough look: fewer conversions and measures, unless they are given.
    language : str
        Of the corpus's texts, such as "de", for the judges of words; "" lets the texts tell.
    notify, watch : callables
        Are told sentences for the user, and the progress.

    Returns
    -------
    report : Report
        Sections of figures, each with its interval and controls; also written.

    Raises
    ------
    CheckpointError
        If there is no such model.
    CorpusError
        If there is nothing held out to evaluate, or no speaker that the model knows.

    Examples
    --------
    >>> report = evaluate(run, data=corpus, pairs=2, measures=["codebook"], num_threads=1)  # all tiny, from conftest
    >>> [section.title for section in report.sections]
    ['Codebook']
    """
    number = number_of(QUICK_PAIRS if quick else PAIRS) if pairs is None else number_of(pairs)
    measures = measures if measures is not None else [name for name in MEASURES if name in QUICK or not quick]
    file, other_file = resolve(model), resolve(against) if against else None
    out = _folder(Path(out) if out else report_folder(file))
    settings = Settings(seed=seed, num_threads=num_threads or num_cores())
    opened = [open_system(file, data, out, notify)]
    if other_file:
        opened.append(open_system(other_file, data, out / "against", notify))
    first, names = opened[0], names_of(opened)
    split, label = choose_split(first.store, trained=trained)
    sexes = find_sexes(first.model.recipe.data, first.root, first.store.speakers)
    chosen = choose_for(opened, split, number, sexes, seed)
    if number is None:
        notify(work_ahead(first.store, split, chosen))
    voices = heard_voices(opened, chosen)
    common = voices if against or len(voices) < len(first.model.speakers) else ()

    def run(system: System, folder: Path, name: str) -> tuple[Evaluation, tuple[Section, ...]]:
        stages = Stages(folder)
        tell_pace = pace_of(len(chosen), notify)

        def advance(done: int) -> None:
            watch(f"{name}: conversions", done, len(chosen))
            tell_pace(done)

        with stages.time(CONVERSIONS):
            evaluation = make_evaluation(
                system.model, system.store, chosen, folder / "material", settings,
                split=split, sexes=sexes, trained_on=trained, common=common, prior=system.prior,
                prior_missing=system.prior_missing, root=system.root, language=language, advance=advance,
            )  # fmt: skip
        sections = _measure(evaluation, folder, _key(evaluation, chosen), measures, name, notify, watch, stages)
        notify(f"{name}: {stages.describe([CONVERSIONS, *measures])}")
        return evaluation, sections

    evaluation, sections = run(first, out, names[0])
    other, other_sections = run(opened[1], out / "against", names[1]) if against else (None, ())
    facts, *rest = (
        facts_of(each, name, split, chosen, sexes, trained, seed) | {"quick": quick}
        for each, name in zip(opened, names)
    )
    notes = [label, *notes_on(first, chosen, number, sexes, voices), *(notes_on_two(opened, names) if against else [])]
    report = Report(facts, sections, tuple(filter(None, notes)), rest[0] if rest else {}, other_sections, out)
    _write(report, evaluation, other, watch)
    return report


def _folder(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise VQSpeechError(f"{out} is a file. Give a folder with --out")
    return out


def _write(report: Report, evaluation: Evaluation, other: Evaluation | None, watch: ProgressCallback) -> None:
    write_json(report.folder / "report.json", to_json(report))
    watch("report", 0, 1)
    write_html(report.folder / "report.html", report, evaluation, other)
    watch("report", 1, 1)


def number_of(pairs: int | str) -> int | None:
    """How many conversions are asked for; None for all.

    Raises
    ------
    VQSpeechError
        If it is neither a whole number from 1 on nor `ALL`.
    """
    if pairs == ALL:
        return None
    try:
        number = int(pairs)
    except ValueError:
        number = 0
    if number < 1:
        raise VQSpeechError(f"--pairs {pairs}: expected a whole number, at least 1, or {ALL!r}")
    return number


def _key(evaluation: Evaluation, chosen: Sequence[Pair]) -> str:
    """What a kept section depends on; an optional judge that was installed since, or labels, are among it."""
    from vqspeech.evaluation.judges.speakers import frozen_judges
    from vqspeech.evaluation.tools.alignments import find_labels

    labels = find_labels(beside=evaluation.root)
    judges = [name for name in OPTIONAL if importlib.util.find_spec(name)] + [labels.fingerprint() if labels else ""]
    model, store = evaluation.model.weights_id(), evaluation.store.fingerprint
    prior = evaluation.prior.weights_id() if evaluation.prior else evaluation.prior_missing
    frozen = frozen_judges(evaluation)
    hashes = (frozen.content.sha256, frozen.speaker.sha256) if frozen else ()
    said = (
        VERSION, model, store, evaluation.split, evaluation.seed, chosen, judges, hashes, evaluation.common, prior,
        evaluation.language,
    )  # fmt: skip
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _measure(
    evaluation: Evaluation,
    folder: Path,
    key: str,
    measures: Sequence[str],
    name: str,
    notify: Notify,
    watch: ProgressCallback,
    stages: Stages,
) -> tuple[Section, ...]:
    sections = []
    for number, measure in enumerate(measures):
        title = MEASURES.get(measure, measure)
        watch(f"{name}: {title}", number, len(measures))
        path = folder / "sections" / f"{measure}.json"
        section = kept_section(path, key)
        if section is None:
            try:
                with stages.time(measure):
                    section = importlib.import_module(f"vqspeech.evaluation.measures.{measure}").measure(evaluation)
            except Exception as reason:  # one measure that fails takes no other with it, and is not passed over
                what = str(reason) or type(reason).__name__
                notify(f"{title}: could not be measured: {what}")
                section = Section(title, notes=(f"could not be measured: {type(reason).__name__}: {what}",), retry=True)
            if not section.retry:
                keep_section(path, key, section)
        sections.append(section)
    watch(f"{name}: measured", len(measures), len(measures))
    joined = both_right(sections, evaluation.seed)
    every = (joined, *sections) if joined else tuple(sections)
    weak = break_down(every, evaluation)
    return (*every, weak) if weak else every
