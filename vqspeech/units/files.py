"""Unit sequences on disk, as benchmarks and trainers of language models read them.

- text: units.txt, a line a recording, `name|12 5 5 7`, as fairseq's and textlesslib's speech2unit write.
- jsonl: units.jsonl, `{"file": "name", "units": [12, 5, 5, 7]}`, as DiscoPhon and fastabx read.
- npz: NAME.npz for each recording: codes, their times, the model; without `dedup` `vqspeech decode` reads it.
- npy: NAME.npy, float32 (N, D), the codes' vectors, as libri-light's and ZeroSpeech's ABX read.
- zerospeech: NAME.txt, a line a code with the D numbers of its vector, as ZeroSpeech 2019 to 2021 take.
"""

# N codes of one recording, D code dimension.
from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vqspeech.errors import CodesError
from vqspeech.files import write_whole
from vqspeech.units.encoding import Encoded
from vqspeech.units.quality import deduplicate

if TYPE_CHECKING:
    from vqspeech.models.vqvae import VQVAE

FORMATS = ("text", "jsonl", "npz", "npy", "zerospeech")
_TOGETHER = {"text": "units.txt", "jsonl": "units.jsonl"}  # one file for all recordings
_ENDINGS = {"npz": ".npz", "npy": ".npy", "zerospeech": ".txt"}
_PER_FRAME = ("npy", "zerospeech")  # whose readers find a time by counting frames


class UnitsWriter:
    """Writes recordings' units into a folder, one by one; a context manager.

    A file of all recordings appears when the context is left without an error, each other file at once and whole.

    Parameters
    ----------
    folder : made where it is missing
    form : one of `FORMATS`
    dedup : runs of equal codes as one code; npz and jsonl keep how many frames each lasts
    vectors : write codebook entries beside the codes (npz; npy and zerospeech hold nothing else)
    model : that made the codes; npz then says which it was, and `vqspeech decode` can speak it
    force : overwrite

    Raises
    ------
    CodesError
        If the format is not known or cannot be deduplicated, a file exists, or the folder cannot be written.
    """

    def __init__(
        self, folder: str | Path, form: str = "text", *, dedup: bool = False, vectors: bool = False,
        model: VQVAE | None = None, force: bool = False,
    ) -> None:  # fmt: skip
        if form not in FORMATS:
            raise CodesError(f"the format {form!r} is not known. Choose one of {', '.join(FORMATS)}")
        if dedup and form in _PER_FRAME:
            raise CodesError(
                f"what reads the format {form} finds times by counting frames, which deduplicated units do not have. "
                "Leave out dedup, or choose npz"
            )
        self.folder, self.form, self.dedup, self.force = Path(folder), form, dedup, force
        self.needs_vectors = form in _PER_FRAME or (vectors and form == "npz")
        self._facts = {} if model is None else _facts_of(model)
        self._open = ExitStack()
        self._lines: IO[str] | None = None

    def target(self, name: str) -> Path:
        """Where a recording's units go."""
        return self.folder / _TOGETHER.get(self.form, f"{name}{_ENDINGS.get(self.form, '')}")

    def check(self, names: Iterable[str]) -> None:
        """Refuse, before any work, what exists already and names that the format cannot write."""
        for name in names:
            if self.form == "text" and ("|" in name or "\n" in name):
                raise CodesError(f"{name!r} holds a '|', which ends a name in the format text. Choose jsonl, or rename")
            target = self.target(name)
            if target.exists() and not self.force:
                raise CodesError(f"{target} exists. Overwrite it with --force, or choose another --out")

    def __enter__(self) -> UnitsWriter:
        if self.form in _TOGETHER:
            temporary = self._open.enter_context(write_whole(self.folder / _TOGETHER[self.form], CodesError))
            self._lines = self._open.enter_context(
                open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="\n")
            )
        return self

    def __exit__(self, *error: object) -> None:
        self._open.__exit__(*error)  # type: ignore[arg-type]

    def write(self, encoded: Encoded) -> None:
        """Write one recording."""
        codes, lengths = deduplicate(encoded.codes)
        if not self.dedup:
            codes, lengths = encoded.codes, np.ones(len(encoded.codes), np.int64)
        if self._lines is not None:
            self._lines.write(self._line(encoded.name, codes, lengths))
            return
        with write_whole(self.target(encoded.name), CodesError) as temporary, open(temporary, "wb") as file:
            if self.form == "npz":
                np.savez_compressed(file, **self._arrays(encoded, codes, lengths))  # type: ignore[arg-type]
            elif self.form == "npy":
                np.save(file, _vectors_of(encoded))
            else:
                np.savetxt(file, _vectors_of(encoded), fmt="%.6g")

    def _line(self, name: str, codes: NDArray[np.integer], lengths: NDArray[np.int64]) -> str:
        if self.form == "text":
            return f"{name}|{' '.join(map(str, codes.tolist()))}\n"
        written = {"file": name, "units": codes.tolist()}
        return json.dumps(written | ({"durations": lengths.tolist()} if self.dedup else {})) + "\n"

    def _arrays(self, encoded: Encoded, codes: NDArray[np.integer], lengths: NDArray[np.int64]) -> dict[str, NDArray]:
        ends = np.cumsum(lengths)
        arrays: dict[str, NDArray] = {
            "codes": codes.astype(np.int32),
            "durations": lengths.astype(np.int32),  # frames
            "start_s": (ends - lengths) / encoded.code_rate,
            "end_s": np.minimum(ends / encoded.code_rate, encoded.duration_s),
            "code_rate": np.array(encoded.code_rate),
            "num_samples": np.array(encoded.num_samples),
            **self._facts,
        }
        if self.needs_vectors:
            arrays["vectors"] = _vectors_of(encoded)[ends - lengths]  # those of a run are equal
        return arrays


def _vectors_of(encoded: Encoded) -> NDArray[np.float32]:
    if encoded.vectors is None:
        raise CodesError("this format holds vectors, and none were encoded. Encode with vectors=True")
    return encoded.vectors


def _facts_of(model: VQVAE) -> dict[str, NDArray]:
    """What `codes.load_codes` asks of a file, beside the codes and their number of samples."""
    return {
        "model": np.array(model.codes_id()),
        "num_codes": np.array(model.num_codes),
        "sample_rate": np.array(model.sample_rate),
        "hop_length": np.array(model.hop_length),
    }


def write_units(
    folder: str | Path, recordings: Iterable[Encoded], form: str = "text", *, dedup: bool = False,
    vectors: bool = False, model: VQVAE | None = None, force: bool = False,
) -> None:  # fmt: skip
    """Write all recordings; parameters and errors as in `UnitsWriter`."""
    with UnitsWriter(folder, form, dedup=dedup, vectors=vectors, model=model, force=force) as writer:
        for encoded in recordings:
            writer.check([encoded.name])
            writer.write(encoded)


def read_text_units(path: str | Path) -> dict[str, NDArray[np.int64]]:
    """Units of each recording from a file in the format text.

    Raises
    ------
    CodesError
        If a line is not `name|12 5 5 7`.
    """
    found = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        name, bar, units = line.partition("|")
        try:
            found[name] = np.array([int(unit) for unit in units.split()], np.int64)
        except ValueError:
            bar = ""
        if not bar:
            raise CodesError(f"{path}, line {number} is {line[:40]!r}; expected name|12 5 5 7")
    return found
