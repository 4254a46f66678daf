"""The main job from end to end on the embedded corpus: train, convert, look, measure."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vqspeech.audio import save_audio
from vqspeech.cli.console import Printer, Row, progress_bar
from vqspeech.config import load_recipe
from vqspeech.conversion import convert
from vqspeech.data.preparation import store_folder
from vqspeech.data.store import Store
from vqspeech.evaluation.evaluate import evaluate
from vqspeech.evaluation.figures.types import Figure
from vqspeech.evaluation.report.sections import Report, show
from vqspeech.files import write_whole
from vqspeech.models.vqvae import VQVAE
from vqspeech.pictures import plot_spectrograms, save_picture
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.pretrained.example import speak_example
from vqspeech.progress import Notify
from vqspeech.training.start import train

NUM_CONVERSIONS = 6  # to listen to
MAX_SECONDS = 4.0  # of each recording that is converted
JUDGED = 60  # conversions that the judges hear
MEASURES = ("content", "voice", "code_phonemes")
# What the table shows of the report: a figure there, what it is called here, and which of its controls stand beside.
HEADLINES = (
    (
        "true transcript ranked first, PocketSphinx, in the target's voice",
        "right sentence and target's voice in one conversion",
        ("random codes",),
    ),
    (
        "true transcript ranked first, PocketSphinx: conversions",
        "right sentence among 21",
        ("source unchanged", "random codes"),
    ),
    ("conversions heard as the target", "heard as the target", ("real recordings heard as their speaker",)),
    ("conversions heard as the source", "still heard as the source", ()),
    ("reconstructions heard as their speaker", "reconstructions heard as their speaker", ("source unchanged",)),
    (
        "the same, silence excluded",
        "frames whose phoneme the codes tell, silence excluded",
        ("k-means on MFCCs", "shuffled codes"),
    ),
)


def run_demo(recipe: Path, out: Path, overrides: Sequence[str] = (), notify: Notify = print) -> dict[str, Any] | None:
    """Train `recipe` on the embedded corpus, convert test sentences, write sound and pictures, print a table.

    The table's figures are those of `vqspeech evaluate`, whose report is left in `out`/evaluation. A second call finds
    corpus, training and what was judged done, and only converts again; an interrupted one goes on.

    Returns
    -------
    figures : what the table shows, also written to `out`/demo.json; None if a signal stopped the training
    """
    settled = load_recipe(recipe, overrides)
    started = time.monotonic()
    begun = (out / "state.pt").is_file()  # then `train` refuses other overrides than those it was begun with
    if not begun:
        speak_example(out / "listen", notify)
        minutes = settled.train.max_minutes
        notify(
            "espeak-ng speaks sentences in several voices; then the recipe trains "
            + (f"{minutes:g} minutes" if minutes else "without a time limit")
        )
    result = train(recipe, out=out, overrides=overrides, resume=begun, stage="vqvae", progress=True, notify=notify)
    if not result.finished:
        notify(f"stopped and saved at step {result.step} of {result.total_steps}. Go on with the same command")
        return None
    model = read_model(out)
    store = Store.open(store_folder(settled.name))
    samples_per_s = make_conversions(model, store, out / "listen", notify)
    with progress_bar() as watch:
        report = evaluate(out, pairs=JUDGED, measures=MEASURES, notify=notify, watch=watch)
    rows = headlines(report)
    for label in [label for _, label, _ in HEADLINES if label not in {row[0] for row in rows}]:
        notify(f"not measured: {label}; {report.folder / 'report.html'} says why")
    figures = {
        "minutes": (time.monotonic() - started) / 60,
        "steps": result.step,
        "warm_start_steps": model.recipe.train.warm_start_steps,
        "samples_per_s": samples_per_s,
        "judged": JUDGED,
        "figures": {
            label: {"value": found.value} | {control.name: control.value for control in beside}
            for label, found, beside in rows
        },
    }
    with write_whole(out / "demo.json") as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print_table(model, rows, figures, out)
    return figures


Headline = tuple[str, Figure, list[Figure]]


def headlines(report: Report) -> list[Headline]:
    """What the table shows: each figure's name here, the figure, and the controls beside it; what is missing is not."""
    named = {found.name: found for section in report.sections for found in section.figures}
    rows: list[Headline] = []
    for name, label, beside in HEADLINES:
        if name in named and named[name].is_measured:
            rows.append((label, named[name], [one for one in named[name].controls if one.name in beside]))
    return rows


def make_conversions(model: VQVAE, store: Store, folder: Path, notify: Notify) -> float:
    """Convert test sentences to other voices; write sound and pictures; samples per second and thread."""
    test = store.utterances("test")
    seconds = samples = 0.0
    for number in range(NUM_CONVERSIONS):
        index = test[(2 * number + 1) * len(test) // (2 * NUM_CONVERSIONS)]
        source = store.wav(index, int(MAX_SECONDS * model.sample_rate))
        speaker = store.speaker(index)
        target = (speaker + 1 + number) % len(model.speakers)
        target = (target + (target == speaker)) % len(model.speakers)
        if number == 0:
            convert(model, source[: model.hop_length], model.speakers[target])  # compiles, if nothing did so before
        started = time.monotonic()
        reconstruction, converted = (
            convert(model, source, model.speakers[voice], utterance=number) for voice in (speaker, target)
        )
        seconds += time.monotonic() - started
        samples += 2 * len(source)
        names = model.speakers[speaker], model.speakers[target]
        rows = [
            (f"{number}.source.{names[0]}", source),
            (f"{number}.reconstruction.{names[0]}", reconstruction),
            (f"{number}.conversion.{names[1]}", converted),
        ]
        for name, wav in rows:
            save_audio(folder / f"{name}.wav", wav, model.sample_rate)
        codes = model.encode(source).numpy()
        save_picture(plot_spectrograms(rows, model.sample_rate, codes, model.hop_length), folder / f"{number}.png")
        notify(f"converted {store.utterance_id(index)} to {names[1]}: “{store.text(index)}”")
    return samples / seconds


def print_table(model: VQVAE, rows: Sequence[Headline], figures: dict[str, Any], out: Path) -> None:
    """The figures for people, and what to listen to."""
    printer = Printer()
    warm = figures["warm_start_steps"]
    title = f"{model.recipe.name}: {figures['steps']:,} steps, {warm:,} of them the warm start"
    cells = [
        (label, show(found), "; ".join(f"{one.name} {show(one, interval=False)}" for one in beside))
        for label, found, beside in rows
    ]
    speed = figures["samples_per_s"]
    cells.append(("sampling, one thread", f"{speed:,.0f} samples/s", f"{speed / model.sample_rate:.1f} x real time"))
    printer.table(("test split", "value [95 %]", "beside"), map(Row, cells), title=title)
    took = f"Took {figures['minutes']:.1f} minutes. All that was measured: {out}/evaluation/report.html"
    printer.line(took, soft_wrap=True)
    printer.line(f"Listen to {out}/listen/*.wav, look at {out}/listen/*.png", soft_wrap=True)
