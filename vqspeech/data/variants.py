"""Perturbed copies of a store's training utterances: made once, kept beside it, read as slices.

    <contents>/perturbed-<digest>/00000.pcm ...   of GROUP utterances each, all variants of one after another

A file is whole or absent, so an interrupted preparation goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import FULL_SCALE
from vqspeech.config import PerturbationConfig
from vqspeech.data.perturbation import VocodedUtterance, draw_variation, load_world
from vqspeech.data.processes import run_jobs
from vqspeech.data.store import Store
from vqspeech.errors import CorpusError
from vqspeech.files import write_whole

VERSION = 1
GROUP = 64  # utterances to a file


@dataclass(frozen=True)
class Variants:
    """Variants of every utterance of the training split.

    Attributes
    ----------
    store : whose utterances they are
    folder : where they lie
    count : variants of an utterance
    """

    store: Store
    folder: Path
    count: int

    def read(self, index: int, variant: int, start: int = 0, length: int | None = None) -> NDArray[np.int16]:
        """As `Store.read`, of one variant: (T,), as long as the utterance and aligned with it."""
        total = self.store.length(index)
        assert 0 <= variant < self.count and index in self.store.utterances("train"), (index, variant)
        start = min(max(0, start), total)
        stop = total if length is None else min(start + max(0, length), total)
        if start == stop:
            return np.zeros(0, np.int16)
        first = _first_sample(self.store, index // GROUP * GROUP)
        offset = self.count * (_first_sample(self.store, index) - first) + variant * total + start
        path = file_of(self.folder, index)
        try:
            return np.array(np.memmap(path, "<i2", "r", 2 * offset, (stop - start,)))
        except (OSError, ValueError):
            raise CorpusError(
                f"the perturbed speech in {self.folder} is damaged: {path.name} is missing or too short. Delete the "
                "folder and train again"
            ) from None


def make_variants(
    store: Store, config: PerturbationConfig, *, num_workers: int = 1, progress: bool = False
) -> Variants:
    """Perturb every training utterance `config.variants` times, or recognise that it is done.

    How an utterance is changed depends on its id and the variant's number alone.

    Raises
    ------
    CorpusError
        If pyworld is missing or the store's folder cannot be written.
    """
    folder = store.folder / store.contents / f"perturbed-{_digest(config)}"
    variants = Variants(store, folder, config.variants)
    groups = list(range(0, len(store.utterances("train")), GROUP))
    waiting = [first for first in groups if not file_of(folder, first).is_file()]
    if not waiting:
        return variants
    if not draw_variation(config, np.random.default_rng(0)).is_same_voice:
        load_world()  # reports what is missing before work begins
    run_jobs(
        _make_group, [(store.folder, config, folder, first) for first in waiting], num_workers, doing="perturbing",
        of="groups of utterances", total=len(groups), done=len(groups) - len(waiting), progress=progress,
    )  # fmt: skip
    return variants


def file_of(folder: Path, index: int) -> Path:
    """The file that holds an utterance's variants."""
    return folder / f"{index // GROUP:05d}.pcm"


def _make_group(place: Path, config: PerturbationConfig, folder: Path, first: int) -> int:
    store = Store.open(place)
    utterances = range(first, min(first + GROUP, len(store.utterances("train"))))
    with write_whole(file_of(folder, first), CorpusError) as temporary, open(temporary, "wb") as file:
        for index in utterances:
            speech = VocodedUtterance(store.wav(index), store.sample_rate)
            for variant in range(config.variants):
                key = np.random.SeedSequence([zlib.crc32(store.utterance_id(index).encode()), variant])
                random = np.random.Generator(np.random.Philox(key))
                wav = speech.resynthesize(draw_variation(config, random), random)
                file.write(np.clip(np.rint(wav * FULL_SCALE), -32768, 32767).astype("<i2").tobytes())
    return 1


def _first_sample(store: Store, index: int) -> int:
    """Samples of the training split before an utterance; it is the first split of a store."""
    return int(store.ends[index - 1]) if index else 0


def _digest(config: PerturbationConfig) -> str:
    drawn = config.model_dump(mode="json", exclude={"share", "decoder_share"}, exclude_none=True)
    return hashlib.sha256(json.dumps([VERSION, drawn], sort_keys=True).encode()).hexdigest()[:12]
