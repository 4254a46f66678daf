"""The conversions that all measures judge, with their controls; kept on disk, so that an interrupted run goes on."""

# T samples, N code frames.
from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import FULL_SCALE, to_int16
from vqspeech.conversion import Request, SamplingOptions, convert_many
from vqspeech.conversion.options import temperature_of
from vqspeech.data.store import Store
from vqspeech.evaluation.figures.types import NO_PRIOR, Evaluation, Trial, Wav
from vqspeech.evaluation.trials.controls import decode_random, shift_pitch, speakers_f0
from vqspeech.evaluation.trials.pairs import LONGEST_S, Pair
from vqspeech.files import write_whole
from vqspeech.models.prior import Prior
from vqspeech.models.vqvae import VQVAE
from vqspeech.mu_law import mu_law_decode, mu_law_encode
from vqspeech.progress import Advance

FORMAT = 2  # of the kept files; counted up when the same model and seed would give other sound
AT_A_TIME = 48  # conversions between two that are kept


@dataclass(frozen=True)
class Settings:
    """How the conversions are made: random numbers, calmness, precision of the products, threads."""

    seed: int = 0
    temperature: float | None = None  # the model's own
    precision: str = "auto"
    num_threads: int = 1


def make_evaluation(
    model: VQVAE,
    store: Store,
    pairs: Sequence[Pair],
    folder: Path,
    settings: Settings,
    *,
    split: str,
    sexes: dict[str, str],
    trained_on: bool = False,
    common: Sequence[str] = (),
    prior: Prior | None = None,
    prior_missing: str = NO_PRIOR,
    root: Path | None = None,
    language: str = "",
    advance: Advance | None = None,
) -> Evaluation:
    """Reconstruct and convert the chosen utterances free-running, and make the controls.

    Parameters
    ----------
    pairs : from `pairs.choose_pairs`; their ids are looked up in `split` of the store
    folder : keeps one file a conversion; those of the same model, recording, target and seed are read, not made again
    trained_on, common, prior, prior_missing, root, language : see `Evaluation`
    advance : is told the number of conversions that are there
    """
    index_of = {store.utterance_id(index): index for index in store.utterances(split)}
    weights = model.weights_id()
    settings = replace(settings, temperature=temperature_of(model, settings.temperature))
    recordings = {pair.utterance: _source(store, index_of[pair.utterance]) for pair in pairs}
    paths = [folder / f"{_key(weights, recordings[c.utterance], c, settings)}.npz" for c in pairs]
    kept = {path: loaded for path in paths if (loaded := _load(path)) is not None}
    pitches: dict[str, float] = {}
    for start in range(0, len(pairs), AT_A_TIME):
        chosen = slice(start, start + AT_A_TIME)
        wanted = [(c, path) for c, path in zip(pairs[chosen], paths[chosen], strict=True) if path not in kept]
        if wanted:
            pitches = pitches or speakers_f0(store, sorted({n for c in pairs for n in (c.speaker, c.target)}))
            made = _make(model, [c for c, _ in wanted], recordings, pitches, settings)
            for (_, path), waves in zip(wanted, made, strict=True):
                _save(path, waves)
                kept[path] = waves
        if advance:
            advance(min(len(pairs), start + AT_A_TIME))
    for path in set(folder.glob("*.npz")) - set(paths):  # of other pairs
        with suppress(OSError):
            path.unlink()
    trials = []
    for pair, path in zip(pairs, paths, strict=True):
        index, source, waves = index_of[pair.utterance], recordings[pair.utterance], kept[path]
        trials.append(
            Trial(
                pair.utterance,
                pair.speaker,
                pair.target,
                store.text(index),
                source,
                waves.reconstruction,
                waves.conversion,
                pass_mu_law(source),
                waves.shifted,
                waves.random,
                waves.codes,
                is_cut=len(source) < store.length(index),
            )
        )
    return Evaluation(
        model, store, split, tuple(trials), settings.seed, model.sample_rate, model.hop_length, dict(sexes),
        trained_on, tuple(common), prior, prior_missing, root, language,
    )  # fmt: skip


@dataclass(frozen=True)
class _Waves:
    """What is made of one pair."""

    reconstruction: Wav
    conversion: Wav
    shifted: Wav
    random: Wav
    codes: NDArray[np.int32]


def speak(
    model: VQVAE,
    recordings: Mapping[str, Wav],
    wanted: Sequence[tuple[str, str]],
    settings: Settings,
    advance: Advance | None = None,
) -> dict[tuple[str, str], Wav]:
    """Each wanted (utterance, voice), free-running; its random numbers are the same whatever is wanted beside it."""
    requests = [
        Request(recordings[name], voice, zlib.crc32(name.encode("utf-8", "surrogateescape"))) for name, voice in wanted
    ]
    options = SamplingOptions(settings.seed, settings.temperature, precision=settings.precision)
    made = convert_many(model, requests, options, num_threads=settings.num_threads, advance=advance)
    return dict(zip(wanted, made, strict=True))


def pass_mu_law(wav: Wav) -> Wav:
    """Code and decode in the decoder's 256 mu-law classes."""
    return mu_law_decode(mu_law_encode(wav)).astype(np.float32)


def _source(store: Store, index: int) -> Wav:
    return store.wav(index, int(LONGEST_S * store.sample_rate))


def _key(weights: str, source: Wav, pair: Pair, settings: Settings) -> str:
    said = (FORMAT, weights, pair, settings.seed, settings.temperature, settings.precision)
    return hashlib.sha256(repr(said).encode() + source.tobytes()).hexdigest()[:24]


def _make(
    model: VQVAE, pairs: Sequence[Pair], recordings: dict[str, Wav], pitches: dict[str, float], settings: Settings
) -> list[_Waves]:
    numbers = [zlib.crc32(pair.utterance.encode("utf-8", "surrogateescape")) for pair in pairs]
    sources = [recordings[pair.utterance] for pair in pairs]
    # An utterance that comes again, for another target, has one reconstruction; so has one whose target is itself.
    voices = sorted({(c.utterance, voice) for c in pairs for voice in (c.speaker, c.target)})
    spoken = speak(model, recordings, voices, settings)
    codes = {name: model.encode(recordings[name]).cpu().numpy().astype(np.int32) for name, _ in voices}
    jobs = [(len(codes[c.utterance]), c.target, number) for c, number in zip(pairs, numbers, strict=True)]
    noises = decode_random(
        model, jobs, seed=settings.seed, num_threads=settings.num_threads, precision=settings.precision
    )
    return [
        # In the steps in which they are kept, so that a resumed run judges the same samples.
        _Waves(
            reconstruction=_unpack(_pack(spoken[c.utterance, c.speaker])),
            conversion=_unpack(_pack(spoken[c.utterance, c.target])),
            shifted=_unpack(to_int16(shift_pitch(source, model.sample_rate, pitches[c.target] / pitches[c.speaker]))),
            random=_unpack(_pack(noise[: len(source)])),
            codes=codes[c.utterance],
        )
        for c, source, noise in zip(pairs, sources, noises, strict=True)
    ]


def _pack(wav: Wav) -> NDArray[np.integer]:
    """The decoder's own classes, a byte a sample, where decoding them again gives the same floats; else 16 bits."""
    classes = mu_law_encode(wav).astype(np.uint8)
    return classes if np.array_equal(mu_law_decode(classes), wav) else to_int16(wav)


def _unpack(kept: NDArray[np.integer]) -> Wav:
    if kept.dtype == np.int16:
        return kept.astype(np.float32) / np.float32(FULL_SCALE)
    return mu_law_decode(kept).astype(np.float32)


def _save(path: Path, waves: _Waves) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        reconstruction=_pack(waves.reconstruction),
        conversion=_pack(waves.conversion),
        random=_pack(waves.random),
        shifted=to_int16(waves.shifted),
        codes=waves.codes,
    )
    with write_whole(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _load(path: Path) -> _Waves | None:
    """What was kept; None where nothing was, or it cannot be read: then it is made again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            waves = {name: _unpack(arrays[name]) for name in ("reconstruction", "conversion", "random", "shifted")}
            return _Waves(codes=arrays["codes"], **waves)
    except FileNotFoundError:
        return None
    except Exception:  # numpy, zipfile and zlib raise many kinds for a damaged file
        return None
