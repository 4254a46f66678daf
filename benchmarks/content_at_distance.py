"""Do conversions keep what was said better than a pitch-shifted source that is as far from the source's voice?

    python benchmarks/content_at_distance.py --model runs/english --data english.jsonl [--json FILE]

A pitch shift changes the voice and keeps the words, but the farther it goes the less of them. So each conversion of a
held-out utterance with a text is set beside the source shifted up or down by whatever brings it as far from the source
as the conversion is, by Resemblyzer, of shifts by up to an octave (where none is as far: the farthest), and beside
random codes in the same voice. Each is ranked: the cost of aligning the true transcript, by PocketSphinx, among those
of twenty decoys. Differences of ranks are paired; their intervals draw speakers, then utterances; Wilcoxon's test is on
the means of source recordings.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from vqspeech.conversion import Request, SamplingOptions, convert_many
from vqspeech.data.preparation import prepare_store, store_folder
from vqspeech.data.store import Store
from vqspeech.errors import CorpusError, VQSpeechError
from vqspeech.evaluation.judges.voiceprint import Voiceprints
from vqspeech.evaluation.measures.decoys import NUM_DECOYS, are_sentences, choose_decoys, make_up
from vqspeech.evaluation.tools.ranking import Chain, alignment_costs, make_chain, rank
from vqspeech.evaluation.tools.sphinx import Senones, Sphinx, Words, to_pcm, words_of
from vqspeech.evaluation.trials.controls import decode_random, shift_pitch
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.checkpoint import read_model

Wav = np.ndarray
SHIFTS = (-12, -9, -7, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 7, 9, 12)  # semitones


def texts_of(store: Store, sphinx: Sphinx, indices: list[int], seed: int) -> dict[Words, Chain]:
    """The states of all texts of the corpus that the dictionary knows, and of made-up ones where there are few."""
    pause = sphinx.silence_states()
    chains: dict[Words, Chain] = {}
    for index in range(len(store)):
        words = words_of(store.text(index) or "")
        if words and words not in chains and not sphinx.unknown(words):
            states = sphinx.word_states(words, to_pcm(store.wav(index), store.sample_rate))
            if states is not None:
                chains[words] = make_chain(states, pause)
    if len(chains) <= NUM_DECOYS and are_sentences(list(chains)) and indices:
        longest = max((store.wav(index) for index in indices), key=len)
        chains |= make_up(sphinx, list(chains), longest, store.sample_rate, seed)
    return chains


def shifted_as_far(
    source: Wav, converted: Wav, voiceprints: Voiceprints, rate: int, shifts: dict[int, Any]
) -> tuple[Wav, float]:
    """The shifted source whose likeness to the source is nearest to the conversion's, and its semitones."""
    own = voiceprints.of(source, rate)
    if not shifts:
        for semitones in SHIFTS:
            wav = shift_pitch(source, rate, 2 ** (semitones / 12))
            shifts[semitones] = (wav, float(own @ voiceprints.of(wav, rate)))
    likeness = float(own @ voiceprints.of(converted, rate))
    semitones = min(shifts, key=lambda each: abs(shifts[each][1] - likeness))
    return shifts[semitones][0], semitones


def run(model: VQVAE, store: Store, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each conversion: who, what, and the rank of each way of saying it."""
    sphinx, voiceprints = Sphinx(), Voiceprints()
    found = [index for index in store.utterances(options.split) if store.text(index)]
    chains = texts_of(store, sphinx, found, options.seed)
    chosen = [index for index in found if words_of(store.text(index) or "") in chains]
    if not chosen or len(chains) <= NUM_DECOYS or len(model.speakers) < 2:
        raise CorpusError(
            f"{len(chosen)} utterances of the {options.split} split have a text of words in PocketSphinx's dictionary, "
            f"{len(chains)} texts are known, and the model has {len(model.speakers)} voices: needed are one, "
            f"{NUM_DECOYS + 1} and two. Give a corpus of sentences with texts"
        )
    jobs = [
        (index, target)
        for index in chosen
        for target in model.speakers
        if target != store.speakers[store.speaker(index)]
    ][:: 10 if options.quick else 1]
    wavs = {index: store.wav(index) for index, _ in jobs}
    requests = [Request(wavs[index], target, number) for number, (index, target) in enumerate(jobs)]
    converted = convert_many(model, requests, SamplingOptions(options.seed), num_threads=options.threads)
    lengths = [-(-len(wavs[index]) // model.hop_length) for index, _ in jobs]
    spoken = [(length, target, number) for number, (length, (_, target)) in enumerate(zip(lengths, jobs, strict=True))]
    random = decode_random(model, spoken, seed=options.seed, num_threads=options.threads)
    shifts: dict[int, dict[int, Any]] = defaultdict(dict)
    rows = []
    with Senones() as senones:

        def ranked(wav: Wav, words: Words) -> float:
            costs = senones.costs(to_pcm(wav, store.sample_rate))
            if costs is None:
                return NUM_DECOYS + 1.0
            decoys = choose_decoys(words, chains, options.seed)
            totals = alignment_costs(costs, [chains[words], *(chains[each] for each in decoys)])
            return float(rank(totals[0], totals[1:]))

        for (index, target), wav, noise in zip(jobs, converted, random, strict=True):
            words = words_of(store.text(index) or "")
            shifted, semitones = shifted_as_far(wavs[index], wav, voiceprints, store.sample_rate, shifts[index])
            own = voiceprints.of(wavs[index], store.sample_rate)
            rows.append({
                "text": " ".join(words), "utterance": store.utterance_id(index),
                "speaker": store.speakers[store.speaker(index)], "target": target, "semitones": semitones,
                "likeness": {name: float(own @ voiceprints.of(each, store.sample_rate))
                             for name, each in (("conversion", wav), ("shifted", shifted))},
                "rank": {"conversion": ranked(wav, words), "shifted": ranked(shifted, words),
                         "random": ranked(noise, words), "source": ranked(wavs[index], words)},
            })  # fmt: skip
            print(f"\r{len(rows)} of {len(jobs)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rows


def difference(rows: list[dict[str, Any]], other: str, rounds: int = 2000) -> dict[str, float]:
    """Mean rank of the other less the conversion's, its 95 % interval, and Wilcoxon's p over source recordings."""
    speakers: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        speakers[row["speaker"]][row["utterance"]].append(row["rank"][other] - row["rank"]["conversion"])
    means = [[float(np.mean(each)) for each in own.values()] for own in speakers.values()]
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(rounds):
        picked = [means[place] for place in random.integers(0, len(means), len(means))]
        drawn.append(np.mean([own[place] for own in picked for place in random.integers(0, len(own), len(own))]))
    flat = [value for own in means for value in own]
    low, high = np.quantile(drawn, [0.025, 0.975])
    p = float(wilcoxon(flat, alternative="greater").pvalue) if any(flat) else 1.0
    return {"difference": float(np.mean(flat)), "low": float(low), "high": float(high), "p": p, "recordings": len(flat)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/english"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", choices=["valid", "test"], default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="every tenth conversion")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        model = read_model(options.model)
        prepare_store(model.recipe.data, options.data, store_folder(model.recipe.name))
        rows = run(model, Store.open(store_folder(model.recipe.name)), options)
    except VQSpeechError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    against = {name: difference(rows, name) for name in ("shifted", "random")}
    names = ("source", "shifted", "conversion", "random")
    means = {name: float(np.mean([row["rank"][name] for row in rows])) for name in names}
    first = {name: float(np.mean([row["rank"][name] < 1.5 for row in rows])) for name in names}
    likeness = {name: float(np.mean([row["likeness"][name] for row in rows])) for name in ("conversion", "shifted")}
    texts = len({row["utterance"] for row in rows})
    sentences = len({row["text"] for row in rows})
    print(
        f"{len(rows)} conversions of {texts} recordings of {sentences} sentences; true transcript among {NUM_DECOYS} "
        "decoys, 1 is best"
    )
    for name in names:
        print(f"{name:12} mean rank {means[name]:6.2f}, first {first[name]:6.1%}")
    print(f"likeness to the source: conversions {likeness['conversion']:.2f}, shifted {likeness['shifted']:.2f}; "
          f"median shift {np.median([abs(row['semitones']) for row in rows]):.0f} semitones")  # fmt: skip
    for name, found in against.items():
        print(
            f"conversions rank {found['difference']:.2f} better than {name} [{found['low']:.2f}, {found['high']:.2f}], "
            f"Wilcoxon p = {found['p']:.2g} over {found['recordings']} recordings"
        )
    if options.json:
        told = {"rows": rows, "mean_rank": means, "first": first, "likeness": likeness, "against": against}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    found = against["shifted"]
    print(f"mean rank {means['conversion']:.2f}; the shifted source as far from the voice: {means['shifted']:.2f} "
          f"(better by {found['difference']:.2f} [{found['low']:.2f}, {found['high']:.2f}])")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
