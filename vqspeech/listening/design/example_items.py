"""Items from the sentences that come with vqspeech: their speakers are no model's, so there are conversions alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vqspeech.audio import load_audio, resampled
from vqspeech.errors import ListeningTestError
from vqspeech.evaluation.trials.synthesis import Settings, speak
from vqspeech.listening.design.corpus_items import distinct_names
from vqspeech.listening.design.items import Item, ItemSet
from vqspeech.listening.kinds import KINDS
from vqspeech.listening.kinds.base import RECONSTRUCTION, SOURCE, Kind
from vqspeech.pretrained import checkpoint, registry
from vqspeech.pretrained.bundled import read_packed_card
from vqspeech.pretrained.example import MAN, list_recordings
from vqspeech.progress import ProgressCallback


def speak_items(
    given: Sequence[str | Path],
    kind: Kind,
    num: int | None,
    settings: Settings,
    watch: ProgressCallback = lambda what, done, of: None,
) -> ItemSet:
    """Each recording as it came and as every model says it in one voice, which the seed draws and all models have.

    Parameters
    ----------
    given : models, see `registry.resolve`
    num : items, each of another recording; None takes all there are

    Raises
    ------
    ListeningTestError
        If the kind asks for what is not there, the models have no voice in common, or there are fewer recordings.
    """
    if kind.example_lacks:
        possible = " or ".join(one.name for one in KINDS.values() if not one.example_lacks)
        raise ListeningTestError(
            f"a test of kind {kind.name} needs {kind.example_lacks}, and --example has none. Take --kind {possible}, "
            "or give the model's corpus with --data instead of --example"
        )
    files = [registry.resolve(model) for model in given]
    recordings = {file.stem: file for file in list_recordings()}
    num = num or len(recordings)
    if num > len(recordings):
        raise ListeningTestError(
            f"{num} trials asked for, but {len(recordings)} recordings come with vqspeech. Ask for fewer with --trials "
            f"{len(recordings)}, or give a corpus with --data instead of --example"
        )
    models = [checkpoint.read_model(file) for file in files]
    voices = [voice for voice in models[0].speakers if all(voice in model.speakers for model in models)]
    if not voices:
        raise ListeningTestError(
            f"{' and '.join(map(str, given))} have no voice in common: there is nothing to compare them on. Compare "
            "models that share speakers"
        )
    drawn = np.random.default_rng(settings.seed).permutation(len(voices))
    targets = {name: voices[drawn[number % len(voices)]] for number, name in enumerate(recordings)}
    names = distinct_names([_name_of(file) for file in files])
    systems = tuple(system for system in kind.systems(names, True) if system != RECONSTRUCTION)
    rate = max(model.sample_rate for model in models)
    wavs = {name: {SOURCE: load_audio(file, rate)} for name, file in recordings.items()}
    wanted = list(targets.items())[:num]
    for model, system in zip(models, systems[-len(models) :], strict=True):
        heard = {name: load_audio(recordings[name], model.sample_rate) for name, _ in wanted}

        def advance(done: int, system: str = system) -> None:
            watch(system, done, len(wanted))

        for (name, _), wav in speak(model, heard, wanted, settings, advance).items():
            wavs[name][system] = resampled(wav, model.sample_rate, rate)
    speakers = {name: "espeak-ng, man" if name.endswith(MAN) else "espeak-ng, woman" for name in recordings}
    items = tuple(Item(name, wavs[name], source=speakers[name], target=target) for name, target in wanted)
    return ItemSet(kind, systems, items, (), rate)


def _name_of(file: Path) -> str:
    card = read_packed_card(file.parent)
    return card.name if card else file.resolve().parent.name if file.name == checkpoint.MODEL_FILE else file.name
