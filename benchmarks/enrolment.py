"""Are voices that a model never heard in training heard as themselves, once enrolled from a minute of recordings?

    python egs/invent_voices.py recipes/fsdd DATA many --leave-out theo --leave-out nicolas
    vqspeech train recipes/fsdd --data many/manifest.jsonl --stage vqvae --set name=fsdd-many \\
        --set data.corpus=manifest --set data.level=speaker --set encoder.input=log-mel --set encoder.mel_hop=32 \\
        --set 'encoder.strides=[2]' --set decoder.speaker_dim=64 --set train.optimizer=muon \\
        --set train.warm_start_steps=8000 --set train.continuous_steps=2000 --set train.steps=19500 \\
        --set perturbation.share=0.75 --set perturbation.decoder_share=0.5 --set perturbation.variants=4 \\
        --set perturbation.noise_snr_db=8 --set perturbation.pitch_semitones=0 --set perturbation.pitch_range=1 \\
        --set perturbation.formants=1 --set perturbation.equalizer_db=0
    python benchmarks/enrolment.py --model runs/fsdd-many --data DATA --speakers theo nicolas [--json FILE]

(A base of the four real voices alone: `--data DATA --set 'data.leave_out=["theo", "nicolas"]'` for the training.)

Each speaker of --speakers (or in the model's data.leave_out) is enrolled from that much of their training takes;
recordings of the split by everybody else are then converted to them, free-running, and the frozen judges of
recipes/fsdd, which know all six speakers and were trained on real recordings only, say whom they hear. Beside it the
same conversions to the nearest voice that the model knows, and as the ceiling the new speakers' real recordings.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import save_audio
from vqspeech.conversion import Request, SamplingOptions, convert_many
from vqspeech.data.preparation import prepare_store
from vqspeech.data.selection import golden_order
from vqspeech.data.store import Store
from vqspeech.enrolment import enroll
from vqspeech.errors import VQSpeechError
from vqspeech.evaluation.judges.frozen import FrozenJudges, load_judges
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained import voices
from vqspeech.pretrained.checkpoint import read_model

FROZEN = Path(__file__).resolve().parent.parent / "recipes" / "fsdd" / "judges.safetensors"
EVERY = {True: 11, False: 1}  # of --quick


def recordings_of(store: Store, speaker: str, seconds: float, folder: Path) -> list[Path]:
    """Training takes of a speaker, in the order of their ids spread over all, until they last long enough."""
    number = store.speakers.index(speaker)
    own = [index for index in store.utterances("train") if store.speaker(index) == number]
    paths: list[Path] = []
    length = 0
    for place in golden_order(len(own)):
        if length >= seconds * store.sample_rate:
            break
        wav = store.wav(own[place])
        paths.append(folder / f"{store.utterance_id(own[place])}.wav")
        save_audio(paths[-1], wav, store.sample_rate)
        length += len(wav)
    return paths


def shares(
    judges: FrozenJudges, wavs: list[NDArray[np.float32]], said: list[str], speakers: list[str]
) -> dict[str, float]:
    """How many are heard as their digit, as their speaker, and as both."""
    digit = np.array([heard == word for heard, word in zip(judges.content.predict(wavs), said, strict=True)])
    voice = np.array([heard == name for heard, name in zip(judges.speaker.predict(wavs), speakers, strict=True)])
    return {"digit": float(digit.mean()), "speaker": float(voice.mean()), "both": float((digit & voice).mean())}


def convert_to(model: VQVAE, store: Store, chosen: list[int], speaker: str, seed: int) -> list[NDArray[np.float32]]:
    """Free-running conversions of utterances to one voice."""
    requests = [Request(store.wav(index), speaker, zlib.crc32(store.utterance_id(index).encode())) for index in chosen]
    return convert_many(model, requests, SamplingOptions(seed), num_threads=2)


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Enroll and judge every left-out speaker."""
    base = read_model(options.model)
    judges = load_judges(options.judges)
    data = base.recipe.data.model_copy(update={"corpus": "fsdd", "leave_out": (), "voices": ()})
    prepare_store(data, options.data, folder / "store", num_workers=1)
    store = Store.open(folder / "store")
    new = options.speakers or list(base.recipe.data.leave_out)
    if not new or set(new) & set(base.speakers):
        raise VQSpeechError(
            f"{options.model} knows {', '.join(base.speakers)}: there is nobody new to enroll. Train one with "
            "data.leave_out, and name them with --speakers"
        )
    figures: dict[str, Any] = {}
    for speaker in new:
        paths = recordings_of(store, speaker, options.seconds, folder / "wav" / speaker)
        started = time.monotonic()
        enrolment = enroll(
            speaker, paths, options.model, out=folder / "voices", seed=options.seed, notify=lambda line: print(line)
        )
        if enrolment is None:
            raise KeyboardInterrupt
        minutes = (time.monotonic() - started) / 60
        model = read_model(options.model)
        voices.add_voice(model, speaker, voices.read_voice(enrolment.file)[1])
        span = store.utterances(options.split)
        own = [index for index in span if store.speakers[store.speaker(index)] == speaker]
        others = [index for index in span if index not in own][:: EVERY[options.quick]]
        said = [store.utterance_id(index).split("_")[0] for index in others]
        digits = [store.utterance_id(index).split("_")[0] for index in own]
        aim = [speaker] * len(others)
        figures[speaker] = {
            "seconds": enrolment.seconds,
            "minutes": minutes,
            "bits": enrolment.bits,
            "nearest": enrolment.nearest,
            "bits_nearest": enrolment.bits_nearest,
            "count": len(others),
            "conversions": shares(judges, convert_to(model, store, others, speaker, options.seed), said, aim),
            "nearest known voice": shares(
                judges, convert_to(model, store, others, enrolment.nearest, options.seed), said, aim
            ),
            "real recordings": shares(judges, [store.wav(index) for index in own], digits, [speaker] * len(own)),
        }
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="trained without the speakers to enroll")
    parser.add_argument("--data", type=Path, required=True, help="FSDD with all its speakers")
    parser.add_argument("--speakers", nargs="*", help="to enroll [the model's data.leave_out]")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--judges", type=Path, default=FROZEN)
    parser.add_argument("--split", choices=["valid", "test"], default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="every eleventh utterance")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = run(options, Path(folder))
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{'':34}{'digit':>8}{'speaker':>9}{'both':>8}")
    for speaker, found in figures.items():
        print(
            f"{speaker}: {found['seconds']:.0f} s, {found['minutes']:.1f} minutes, {found['bits']:.3f} bits/sample "
            f"({found['nearest']}: {found['bits_nearest']:.3f}), {found['count']} conversions"
        )
        for name in ("conversions", "nearest known voice", "real recordings"):
            row = found[name]
            print(f"  {name:32}{row['digit']:8.1%}{row['speaker']:9.1%}{row['both']:8.1%}")
    settings = {"seconds": options.seconds, "seed": options.seed, "split": options.split, "quick": options.quick}
    if options.json:
        told = {"speakers": figures, "settings": settings, "model": str(options.model)}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    heard = [found["conversions"]["speaker"] for found in figures.values()]
    print(f"enrolled voices heard as themselves: {np.mean(heard):.1%} ({', '.join(figures)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
