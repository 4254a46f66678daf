"""Which settings make codes that carry the word and not the voice, and conversions that are heard so?

    python benchmarks/ablation.py --data ../shared/data/fsdd --table settings.txt --out ablation.jsonl
    python benchmarks/ablation.py --data ../shared/data/fsdd --table settings.txt --out ablation.jsonl --minutes 30
    python benchmarks/ablation.py --data ../shared/data/fsdd --table settings.txt --out ablation.jsonl --whole

A table has one setting a line, a name and what it changes: `jitter: bottleneck.jitter=0.12 loss.adversary=0.3`. Each
setting becomes one line of JSON in the file; what is there already is skipped, so an interrupted table goes on. All is
judged on the validation split. Alone, the recipe's warm start is all that is trained, about two minutes, and

- digit, speaker: what a small network reads from the codes' vectors of words it has not seen
- across: the digit, read by a network that knows one speaker's codes alone from those of the others, as a decoder does
- spectrum: the warm start's own spectrum of the target speaker, made sound by Griffin-Lim, heard by the frozen judges

With `--minutes` the whole recipe is trained for so long, with `--whole` for the steps it says (each setting then learns
from as much, whatever else the machine does), and free-running conversions are judged besides.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judged_conversions import measure_conversions

from vqspeech.config import load_recipe
from vqspeech.data.preparation import prepare_store, store_folder
from vqspeech.data.processes import num_cores
from vqspeech.data.store import Store
from vqspeech.data.variants import make_variants
from vqspeech.errors import RecipeError, VQSpeechError
from vqspeech.evaluation.judges.frozen import FrozenJudges, load_judges
from vqspeech.evaluation.judges.sequence_probe import probe_sequences
from vqspeech.likelihood.gains import compute_gains, held_out_batches
from vqspeech.models.vqvae import VQVAE
from vqspeech.nn.mel import LogMel
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.training.acceleration import find_acceleration
from vqspeech.training.loop import take_step
from vqspeech.training.schedule import learning_rate
from vqspeech.training.start import train
from vqspeech.training.state import new_state
from vqspeech.training.vqvae import VQVAETask

HERE = Path(__file__).resolve().parent.parent
COLUMNS = {
    "perplexity": ("perplexity", "{:.0f}"), "bit_rate": ("bit/s", "{:.0f}"), "bits": ("bits/sample", "{:.3f}"),
    "code_gain": ("code gain", "{:.2f}"), "speaker_gain": ("speaker gain", "{:.2f}"),
    "digit_probe": ("codes: digit", "{:.1%}"), "across_probe": ("across", "{:.1%}"),
    "speaker_probe": ("speaker", "{:.1%}"), "spectrum_digit": ("spectrum: digit", "{:.1%}"),
    "spectrum_target": ("target", "{:.1%}"), "spectrum_both": ("both", "{:.1%}"),
    "digit": ("conversions: digit", "{:.1%}"), "target": ("target", "{:.1%}"), "both": ("both", "{:.1%}"),
    "own_both": ("reconstructions: both", "{:.1%}"), "minutes": ("minutes", "{:.1f}"),
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """A name and what it changes in the recipe."""

    name: str
    overrides: tuple[str, ...]


def read_table(path: Path) -> list[Setting]:
    """Settings of a file, one a line; empty lines and those that begin with # are none."""
    settings = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, colon, changes = line.partition(":")
            if not colon:
                raise RecipeError(f"{path}: {line!r} is not of the form name: section.key=value ...")
            settings.append(Setting(name.strip(), tuple(shlex.split(changes))))
    return settings


def warm_start(recipe_path: Path, overrides: list[str], store: Store) -> tuple[VQVAE, float]:
    """The model as its warm start leaves it (the encoder that is then frozen), and the seconds that took."""
    recipe = load_recipe(recipe_path, [*overrides, "train.compile=off"])
    acceleration = find_acceleration(recipe.train, "cpu")
    perturbation = recipe.perturbation
    variants = make_variants(store, perturbation, num_workers=num_cores()) if perturbation.share else None
    torch.manual_seed(recipe.train.seed)
    model = VQVAE(recipe, store.speakers)
    state, task = new_state(model, recipe.train), VQVAETask(model, store, acceleration, variants)
    started = time.monotonic()
    model.train()
    for step in range(recipe.train.warm_start_steps):
        state.optimizer.learning_rate = learning_rate(step, recipe.train.steps, recipe.train)
        take_step(task, state, recipe.train)
    seconds = time.monotonic() - started
    settled = state.average.module
    assert isinstance(settled, VQVAE)
    return settled.eval(), seconds


@torch.no_grad()
def probe(model: VQVAE, store: Store, seed: int, step: int) -> dict[str, float]:
    """What small networks read from the quantized vectors of every `step`-th utterance."""
    said, owners, vectors, counts = {}, {}, {}, np.zeros(model.num_codes)
    for split in ("train", "valid"):
        for index in list(store.utterances(split))[::step]:
            codes = model.encode(store.wav(index))
            counts += np.bincount(codes.numpy(), minlength=model.num_codes) * (split == "valid")
            vectors[index] = model.lookup(codes).numpy()
            said[index], owners[index] = int(store.utterance_id(index).split("_")[0]), store.speaker(index)
    fit, score = ([index for index in vectors if index in store.utterances(split)] for split in ("train", "valid"))

    def read(classes: dict[int, int], fit: list[int], score: list[int], num: int, steps: int = 400) -> float:
        with torch.enable_grad():
            answers = probe_sequences(
                [vectors[i] for i in fit], [classes[i] for i in fit], [vectors[i] for i in score], num,
                seed=seed, steps=steps,
            )  # fmt: skip
        return float(np.mean([answer.argmax() == classes[i] for i, answer in zip(score, answers, strict=True)]))

    across = [
        read(said, [i for i in fit if owners[i] == who], [i for i in score if owners[i] != who], 10, 250)
        for who in range(len(store.speakers))
    ]
    shares = counts[counts > 0] / counts.sum()
    entropy = float(-(shares * np.log2(shares)).sum())
    return {
        "perplexity": 2**entropy,
        "bit_rate": entropy * model.code_rate,
        "digit_probe": read(said, fit, score, 10),
        "across_probe": float(np.mean(across)),
        "speaker_probe": read(owners, fit, score, len(store.speakers)),
    }


@torch.no_grad()
def score_spectra(model: VQVAE, store: Store, judges: FrozenJudges, step: int) -> dict[str, float]:
    """Conversions by the warm start's spectral head and Griffin-Lim, heard by the judges."""
    import librosa

    if model.spectral_head is None:
        return {}
    bands = model.recipe.loss.spectral_bands
    window = LogMel(model.sample_rate, model.hop_length, bands).window
    mel = librosa.filters.mel(sr=model.sample_rate, n_fft=window, n_mels=bands, htk=True, norm=None)
    inverse = np.linalg.pinv(mel)
    wavs, said, targets = [], [], []
    num = store.num_voices
    for number, index in enumerate(list(store.utterances("valid"))[::step]):
        target = (store.speaker(index) + 1 + number % (num - 1)) % num  # as measure_conversions does
        condition = model.condition(model.encode(store.wav(index)), target)
        log_mel = model.spectral_head(condition[:, : model.conditioner.channels]).float().numpy()  # (N, M)
        places = np.arange(
            0, len(log_mel), window / 4 / model.hop_length
        )  # four windows overlap, whatever the code rate
        log_mel = np.stack([np.interp(places, np.arange(len(log_mel)), band) for band in log_mel.T])
        magnitude = np.maximum(inverse @ (np.exp(log_mel) - 1e-3), 1e-5)
        wavs.append(librosa.griffinlim(magnitude, n_iter=24, hop_length=window // 4, n_fft=window, random_state=0))
        said.append(store.utterance_id(index).split("_")[0])
        targets.append(model.speakers[target])
    word = np.array([a == b for a, b in zip(judges.content.predict(wavs), said, strict=True)])
    voice = np.array([a == b for a, b in zip(judges.speaker.predict(wavs), targets, strict=True)])
    return {
        "spectrum_digit": float(word.mean()), "spectrum_target": float(voice.mean()),
        "spectrum_both": float((word & voice).mean()),
    }  # fmt: skip


def measure(setting: Setting, seed: int, options: argparse.Namespace, judges: FrozenJudges) -> dict[str, Any]:
    """Train one setting and judge it."""
    overrides = [*setting.overrides, f"train.seed={seed}"]
    recipe = load_recipe(options.recipe, overrides)
    prepare_store(recipe.data, options.data, store_folder(recipe.name))
    store = Store.open(store_folder(recipe.name))
    step = 10 if options.quick else 1
    figures: dict[str, Any] = {}
    if options.minutes is None and not options.whole:
        model, seconds = warm_start(options.recipe, overrides, store)
        figures["minutes"] = seconds / 60
    else:
        budgeted = f"-{options.minutes:g}-minutes" if options.minutes else ""
        out = options.runs / f"{setting.name.replace(' ', '-')}-{seed}{budgeted}"
        budget = [*overrides, f"train.max_minutes={options.minutes}"] if options.minutes else overrides
        resume = (out / "state.pt").is_file()
        result = train(options.recipe, data=options.data, out=out, overrides=budget, resume=resume, stage="vqvae")
        if not result.finished:
            raise KeyboardInterrupt
        model = read_model(out)
        count = 30 if options.quick else 300
        figures |= asdict(compute_gains(model, held_out_batches(model, store, "valid", count, at_a_time=10)))
        figures |= {"steps": result.step, "minutes": model.card.training.get("minutes") if model.card else None}
        shares = measure_conversions(
            model, store, judges, split="valid", content_of=lambda name: name.split("_")[0], every=step, seed=seed
        )
        own, other = shares["reconstructions"], shares["conversions"]
        figures |= {"digit": other.content, "target": other.speaker, "both": other.both, "source": other.source}
        figures |= {"own_digit": own.content, "own_speaker": own.speaker, "own_both": own.both}
    figures |= probe(model, store, seed, step)
    return figures | score_spectra(model, store, judges, step)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, the columns that any row fills."""
    shown = [key for key in COLUMNS if any(row["figures"].get(key) is not None for row in rows)]
    lines = [
        "| " + " | ".join(["setting", "seed", *(COLUMNS[key][0] for key in shown)]) + " |",
        "|" + "---|" * (len(shown) + 2),
    ]
    for row in rows:
        found = [row["figures"].get(key) for key in shown]
        cells = [COLUMNS[key][1].format(v) if v is not None else "" for key, v in zip(shown, found, strict=True)]
        lines.append("| " + " | ".join([row["name"], str(row["seed"]), *cells]) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="FSDD")
    parser.add_argument("--recipe", type=Path, default=HERE / "recipes" / "fsdd")
    parser.add_argument("--table", type=Path, help="file of settings; without it the recipe as it is")
    parser.add_argument("--out", type=Path, default=Path("ablation.jsonl"), help="one line of JSON a setting, added to")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    length = parser.add_mutually_exclusive_group()  # neither: the warm start alone
    length.add_argument("--minutes", type=float, help="train the whole recipe for so long")
    length.add_argument("--whole", action="store_true", help="train the whole recipe for the steps it says")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="run folders of whole trainings")
    parser.add_argument("--judges", type=Path, default=HERE / "recipes" / "fsdd" / "judges.safetensors")
    parser.add_argument("--threads", type=int, default=num_cores())
    parser.add_argument("--quick", action="store_true", help="every tenth utterance")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows of this table here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    try:
        judges = load_judges(options.judges)
        settings = read_table(options.table) if options.table else [Setting("recipe", ())]
        for setting in settings:  # what is misspelt is told before the first training
            load_recipe(options.recipe, setting.overrides)
        known = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.is_file() else []
        for seed in options.seeds:
            for setting in settings:
                key = {
                    "name": setting.name, "overrides": list(setting.overrides), "seed": seed,
                    "minutes": options.minutes, "quick": options.quick,
                    "whole": options.whole,
                }  # fmt: skip
                row = next((row for row in known if key.items() <= ({"whole": False} | row).items()), None)
                if row is None:
                    row = key | {"figures": measure(setting, seed, options, judges)}
                    with open(options.out, "a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
                rows.append(row)
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same call goes on", file=sys.stderr)
        return 130
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    aim = "both" if options.minutes or options.whole else "spectrum_both"
    best = max(rows, key=lambda row: row["figures"].get(aim) or 0.0)
    print(f"best by {aim}: {best['name']}, seed {best['seed']}, {best['figures'].get(aim) or 0.0:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
