"""The main job from end to end on the embedded corpus: train, convert, look, measure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vqspeech.audio import save_audio
from vqspeech.checkpoint import load_model
from vqspeech.config import load_recipe
from vqspeech.conversion import convert
from vqspeech.data.preparation import store_folder
from vqspeech.data.store import Store
from vqspeech.evaluation.phonemes import PhonemeAccuracy, code_phoneme_accuracy
from vqspeech.evaluation.pictures import plot_spectrograms, save_picture
from vqspeech.evaluation.probe import Conversion, VoiceJudge, judge, store_wav
from vqspeech.files import write_whole
from vqspeech.models.vqvae import VQVAE
from vqspeech.training.evidence import Evidence, gather_evidence, held_out_batches
from vqspeech.training.start import train

NUM_CONVERSIONS = 6
EVIDENCE_UTTERANCES = 40
CONTROL_MINUTES = 6  # of training speech that the MFCC control is fitted on
MAX_SECONDS = 4.0  # of each recording that is converted


def run_demo(
    recipe: Path, out: Path, overrides: Sequence[str] = (), notify: Callable[[str], None] = print
) -> dict[str, Any] | None:
    """Train `recipe` on the embedded corpus, convert test sentences, write sound and pictures, print a table.

    A second call finds corpus and training done and only converts and measures again; an interrupted one goes on.

    Returns
    -------
    figures : what the table shows, also written to `out`/demo.json; None if a signal stopped the training
    """
    settled = load_recipe(recipe, overrides)
    started = time.monotonic()
    begun = (out / "state.pt").is_file()  # then `train` refuses other overrides than those it was begun with
    if not begun:
        notify(
            "espeak-ng speaks 40 minutes of sentences in eight voices; then the recipe trains "
            + (f"{settled.train.max_minutes:g} minutes" if settled.train.max_minutes else "without a time limit")
        )
    result = train(recipe, out=out, overrides=overrides, resume=begun, stage="vqvae", progress=True, notify=notify)
    if not result.finished:
        notify(f"stopped and saved at step {result.step} of {result.total_steps}. Go on with the same command")
        return None
    model = load_model(out)
    store = Store.open(store_folder(settled.name))
    longest = 3 * model.sample_rate
    evidence = gather_evidence(
        model, held_out_batches(model, store, "test", EVIDENCE_UTTERANCES, at_a_time=4, max_samples=longest)
    )
    phonemes = measure_phonemes(model, store)
    conversions, samples_per_s = make_conversions(model, store, out / "listen", notify)
    figures = {
        "minutes": (time.monotonic() - started) / 60,
        "steps": result.step,
        "evidence": asdict(evidence),
        "phonemes": phonemes.table() | {"frames": {"speech": phonemes.num_frames_speech}},
        "probe": judge(conversions, VoiceJudge(store), model.sample_rate),
        "samples_per_s": samples_per_s,
    }
    with write_whole(out / "demo.json") as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print_tables(model, evidence, phonemes, figures, out)
    return figures


def measure_phonemes(model: VQVAE, store: Store) -> PhonemeAccuracy:
    """Phoneme accuracy of the codes on the test split, beside its controls."""
    chosen = list(store.utterances("test"))
    wavs = [store_wav(store, index) for index in chosen]
    training = list(store.utterances("train"))
    seconds = store.duration_s("train")
    every = max(1, round(seconds / (60 * CONTROL_MINUTES)))
    return code_phoneme_accuracy(
        [store.utterance_id(index) for index in chosen],
        [model.encode(wav).numpy() for wav in wavs],
        [store.labels(index) or [] for index in chosen],
        num_codes=model.num_codes,
        sample_rate=model.sample_rate,
        hop_length=model.hop_length,
        wavs=wavs,
        training_wavs=[store_wav(store, index) for index in training[::every]],
    )


def make_conversions(
    model: VQVAE, store: Store, folder: Path, notify: Callable[[str], None]
) -> tuple[list[Conversion], float]:
    """Convert test sentences to other voices; write sound and pictures; samples per second and thread."""
    test = store.utterances("test")
    made = []
    seconds = samples = 0.0
    for number in range(NUM_CONVERSIONS):
        index = test[(2 * number + 1) * len(test) // (2 * NUM_CONVERSIONS)]
        source = store_wav(store, index, int(MAX_SECONDS * model.sample_rate))
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
        made.append(Conversion(source, speaker, target, reconstruction, converted))
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
    return made, samples / seconds


def print_tables(
    model: VQVAE, evidence: Evidence, phonemes: PhonemeAccuracy, figures: dict[str, Any], out: Path
) -> None:
    """The figures for people, and what to listen to."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    probe = figures["probe"]
    table = Table("test split", "figure", title=f"{model.recipe.name}: {figures['steps']} steps")
    speed = figures["samples_per_s"]
    for name, value in (
        ("bits per sample", f"{evidence.bits:.3f} (speech alone {evidence.bits_speech:.3f})"),
        ("perplexity of the codes", f"{evidence.perplexity:.1f} of {model.num_codes}, {evidence.used} used"),
        ("bit rate", f"{evidence.bit_rate:.0f} bit/s at {model.code_rate:g} codes per second"),
        ("code gain", f"{evidence.code_gain:.3f} bits per sample lost with shuffled codes"),
        ("speaker gain", f"{evidence.speaker_gain:.3f} bits per sample lost with another speaker"),
        ("free-running content", f"{probe['content']:.2f} (another source: {probe['content_control']:.2f})"),
        ("heard as target / still source", f"{probe['target']:.0%} / {probe['still_source']:.0%}"),
        ("sampling, one thread", f"{speed:,.0f} samples/s, {speed / model.sample_rate:.1f}x real time"),
    ):
        table.add_row(name, value)
    console.print(table)
    title = f"phoneme accuracy, K = {phonemes.num_codes} at {phonemes.code_rate:g} Hz, {phonemes.num_frames} frames"
    rows = phonemes.table()
    second = Table("reading", *next(iter(rows.values())), title=title)
    for name, columns in rows.items():
        second.add_row(name, *(f"{value:.1f}" if value > 1 else f"{value:.3f}" for value in columns.values()))
    console.print(second)
    console.print(f"Took {figures['minutes']:.1f} minutes.", highlight=False)
    console.print(f"Listen to {out}/listen/*.wav, look at {out}/listen/*.png", highlight=False)
