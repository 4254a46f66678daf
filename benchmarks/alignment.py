"""How far are PocketSphinx's phone boundaries from the embedded corpus's exact ones?

    python benchmarks/alignment.py

espeak-ng speaks sentences whose sounds' times are known; PocketSphinx aligns the texts with the sound. Phones that
both sequences have are matched in order, and their beginnings compared; the recording's own beginning is left out. The
frames' classes, as the evaluation uses them, are compared at 50 Hz.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from vqspeech.audio import load_audio
from vqspeech.data.embedded import build_embedded, read_labels
from vqspeech.data.phonemes import Label
from vqspeech.errors import VQSpeechError
from vqspeech.evaluation.tools.phone_classes import label_frames
from vqspeech.evaluation.tools.sphinx import RATE, Sphinx, to_pcm, words_of

CODE_RATE = 50.0  # Hz


def boundary_errors(exact: list[Label], found: list[Label]) -> list[float]:
    """Signed errors, ms, of the beginnings of the phones that both sequences have in the same order."""
    names = [[phone for _, _, phone in labels] for labels in (exact, found)]
    errors = []
    for block in SequenceMatcher(None, *names, autojunk=False).get_matching_blocks():
        for true, heard in zip(exact[block.a :][: block.size], found[block.b :][: block.size], strict=True):
            if true[0] > 0 and heard[0] > 0:
                errors.append(1000 * (heard[0] - true[0]))
    return errors


def measure(corpus: Path, rate: int) -> dict[str, float]:
    """Align every sentence of an embedded corpus; `rate` is what its recordings are brought to first, Hz."""
    sphinx = Sphinx()
    errors: list[float] = []
    of_voice: dict[str, list[float]] = {}
    same, num_frames, num_exact, num_lost, seconds, started = 0, 0, 0, 0, 0.0, time.process_time()
    for path in sorted((corpus / "text").rglob("*.txt")):
        inside = path.relative_to(corpus / "text")
        wav = load_audio(corpus / "wav" / inside.with_suffix(".wav"), rate)
        exact = read_labels(corpus / "labels" / inside.with_suffix(".tsv"))
        seconds += len(wav) / rate
        num_exact += sum(start_s > 0 for start_s, _, _ in exact)
        found = sphinx.align(words_of(path.read_text(encoding="utf-8")), to_pcm(wav, rate))
        if found is None:
            num_lost += 1
            continue
        own = boundary_errors(exact, found)
        errors += own
        of_voice.setdefault(inside.parts[0], []).extend(own)
        frames = int(len(wav) / rate * CODE_RATE)
        same += int((label_frames(exact, frames, CODE_RATE) == label_frames(found, frames, CODE_RATE)).sum())
        num_frames += frames
    size = np.abs(errors)
    return {
        "median_ms": float(np.median(size)),
        "mean_ms": float(np.mean(size)),
        "bias_ms": float(np.median(errors)),
        "within_20_ms": float(np.mean(size <= 20)),
        "within_50_ms": float(np.mean(size <= 50)),
        "matched": len(errors) / num_exact,
        "frames_of_the_same_class": same / num_frames,
        "boundaries": len(errors),
        "sentences_not_aligned": num_lost,
        "times_real_time": seconds / (time.process_time() - started),
    } | {f"median_ms_{voice}": float(np.median(np.abs(own))) for voice, own in of_voice.items() if own}


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="an embedded corpus at 16 kHz (default: one is made)")
    parser.add_argument("--minutes", type=float, default=6.0, help="of the corpus that is made")
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            minutes = 1.0 if options.quick else options.minutes
            corpus = options.corpus or build_embedded(Path(folder) / "embedded", minutes=minutes, sample_rate=RATE)
            figures = {f"{rate // 1000} kHz": measure(corpus, rate) for rate in (16000, 8000)}
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{'PocketSphinx against exact times':<34}" + "".join(f"{name:>10}" for name in figures))
    for key in next(iter(figures.values())):
        print(f"{key.replace('_', ' '):<34}" + "".join(f"{values[key]:>10.3g}" for values in figures.values()))
    best = figures["16 kHz"]
    print(
        f"median boundary error {best['median_ms']:.1f} ms ({figures['8 kHz']['median_ms']:.1f} ms at 8 kHz), "
        f"{best['within_20_ms']:.0%} within 20 ms"
    )
    if options.json:
        options.json.write_text(json.dumps({"headline": best["median_ms"], "figures": figures}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
