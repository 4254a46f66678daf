"""Codes of a whole corpus on disk, beside the run whose encoder made them: what the prior is trained on.

A code store is a folder:

    codes.json    of which model and corpus, written last: without it the others are not whole
    codes.u16     uint16, all sequences end to end
    ends.npy      int64 running sum of their lengths

The first sequences are those of the corpus's utterances, in its order. The training split is coded again with the first
samples left out, by a different share of a frame each time: another coding of the same speech, as other speech would
have it. Both files are memory-mapped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vqspeech.audio import FULL_SCALE
from vqspeech.data.store import Store
from vqspeech.errors import CodesError
from vqspeech.files import write_whole
from vqspeech.models.vqvae import VQVAE
from vqspeech.nn.mode import evaluating

FOLDER = "codes"  # in a run folder
VERSION = 1
READ_SAMPLES = 1 << 20  # of an utterance at a time


class CodeStore:
    """Codes of a prepared corpus, read through memory maps.

    Attributes
    ----------
    store : the corpus
    num_codes : K
    shifts : codings of each training utterance
    """

    def __init__(self, folder: Path, store: Store, meta: dict[str, Any]) -> None:
        self.store = store
        self.num_codes: int = meta["num_codes"]
        self.shifts: int = meta["shifts"]
        try:
            self.ends = np.load(folder / "ends.npy", mmap_mode="r")
            self._codes = np.memmap(folder / "codes.u16", "<u2", "r")
            whole = len(self.ends) == num_sequences(store, self.shifts) and self.ends[-1] == len(self._codes)
        except (OSError, ValueError, IndexError):
            whole = False
        if not whole:
            raise CodesError(
                f"the codes in {folder} are damaged or of another corpus. Delete the folder and train again"
            )

    def __len__(self) -> int:
        return len(self.ends)

    def sequences(self, split: str, shifts: int | None = None) -> NDArray[np.int64]:
        """Numbers of a split's sequences; of the training split, with all codings, or the first `shifts` of each."""
        span = self.store.utterances(split)
        numbers = [np.arange(span.start, span.stop)]
        if split == "train":
            training = np.arange(len(span))
            repeats = range((shifts or self.shifts) - 1)
            numbers += [len(self.store) + repeat * len(span) + training for repeat in repeats]
        return np.concatenate(numbers)

    def utterance(self, number: int) -> int:
        """The utterance whose coding a sequence is, as a position in the store."""
        if number < len(self.store):
            return number
        return (number - len(self.store)) % self.store.split_sizes["train"]

    def speaker(self, number: int) -> int:
        """Position of a sequence's speaker in the store's speakers."""
        return self.store.speaker(self.utterance(number))

    def length(self, number: int) -> int:
        """Codes of a sequence."""
        return int(self.ends[number]) - self._begin(number)

    def read(self, number: int) -> NDArray[np.int64]:
        """The codes (N,) of a sequence, in [0, K)."""
        return np.array(self._codes[self._begin(number) : int(self.ends[number])], np.int64)

    def _begin(self, number: int) -> int:
        return int(self.ends[number - 1]) if number else 0


def num_sequences(store: Store, shifts: int) -> int:
    """Sequences of a code store: every utterance, and those of the training split `shifts` times in all."""
    return len(store) + (shifts - 1) * store.split_sizes["train"]


def open_code_store(
    folder: str | Path,
    model: VQVAE,
    store: Store,
    shifts: int = 1,
    advance: Callable[[int], None] = lambda sequences: None,
) -> CodeStore:
    """The codes of a corpus; made first where they are missing, or those there are of another model or corpus.

    Parameters
    ----------
    folder : where they lie
    model : whose encoder and codebook give the codes
    store : prepared corpus at the model's sample rate
    shifts : codings of each training utterance, at most as many as a frame has samples
    advance : called with the number of sequences made since the call before

    Raises
    ------
    CodesError
        If they cannot be written, or are damaged.
    """
    folder = Path(folder)
    meta = {
        "version": VERSION,
        "model": model.codes_id(),
        "data": store.fingerprint,
        "num_codes": model.num_codes,
        "shifts": min(shifts, model.hop_length),
    }
    if _read_meta(folder) != meta:
        _write(folder, model, store, meta, advance)
    return CodeStore(folder, store, meta)


def _read_meta(folder: Path) -> object:
    try:
        return json.loads((folder / "codes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(folder: Path, model: VQVAE, store: Store, meta: dict[str, Any], advance: Callable[[int], None]) -> None:
    shifts: int = meta["shifts"]
    lengths = []
    try:
        (folder / "codes.json").unlink(missing_ok=True)  # what follows makes it untrue
    except OSError as reason:
        raise CodesError(f"cannot write to {folder}: {reason.strerror}. Make it writable") from None
    with write_whole(folder / "codes.u16", CodesError) as temporary, open(temporary, "wb") as file:
        for repeat in range(shifts):
            span = store.utterances("train") if repeat else range(len(store))
            for index in span:
                codes = encode_utterance(model, store, index, repeat * model.hop_length // shifts)
                file.write(codes.astype("<u2").tobytes())
                lengths.append(len(codes))
                advance(1)
    with write_whole(folder / "ends.npy", CodesError) as temporary:
        np.save(temporary, np.cumsum(lengths, dtype=np.int64))
    with write_whole(folder / "codes.json", CodesError) as temporary:
        temporary.write_text(json.dumps(meta), encoding="utf-8")


@torch.no_grad()
def encode_utterance(model: VQVAE, store: Store, index: int, shift: int = 0) -> NDArray[np.int64]:
    """Codes (N,) of an utterance from sample `shift` on, in constant memory; empty if it has no sample there."""
    stream = model.encoding()
    pieces = []
    with evaluating(model):
        for start in range(shift, store.length(index), READ_SAMPLES):
            pcm = store.read(index, start, READ_SAMPLES)
            pieces += stream.push(torch.as_tensor(pcm, dtype=torch.float32, device=model.device) / FULL_SCALE)
        if stream.received:
            pieces += stream.finish()
    return torch.cat(pieces).cpu().numpy() if pieces else np.zeros(0, np.int64)
