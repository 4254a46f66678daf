"""Speech to codes, and codes on disk: an .npz of plain arrays that says which model its codes belong to."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.audio import open_audio
from vqspeech.conversion.source import Source
from vqspeech.errors import AudioError, CodesError
from vqspeech.files import write_whole
from vqspeech.models.vqvae import VQVAE
from vqspeech.nn.mode import evaluating


def encode(model: VQVAE, wav: NDArray[np.float32] | Tensor) -> NDArray[np.int64]:
    """Turn a waveform into codes, q(z|x) of [VQ-VAE §3.1].

    Parameters
    ----------
    model : VQVAE
    wav : array or Tensor, shape (T,), in [-1, 1], at the model's sample rate
        A last incomplete frame is filled up with zeros.

    Returns
    -------
    codes : int64 array, shape (N,), in [0, K), N = ceil(T / `model.hop_length`)

    Raises
    ------
    AudioError
        If the waveform is empty, not one-dimensional, or not finite.

    Examples
    --------
    >>> encode(model, np.zeros(10 * model.hop_length, np.float32)).shape  # `model`: tiny, from conftest
    (10,)
    """
    return model.encode(wav).cpu().numpy()


def save_codes(path: str | Path, codes: NDArray[np.integer], model: VQVAE, num_samples: int) -> None:
    """Write codes (N,) of a recording of `num_samples` samples.

    Raises
    ------
    CodesError
        If the place cannot be written.
    """
    with write_whole(path, CodesError) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            codes=codes.astype(np.int32),
            model=np.array(model.codes_id()),
            num_codes=np.array(model.num_codes),
            sample_rate=np.array(model.sample_rate),
            hop_length=np.array(model.hop_length),
            num_samples=np.array(num_samples),
        )


def load_codes(path: str | Path, model: VQVAE) -> tuple[NDArray[np.int32], int]:
    """Read codes (N,) and the number of samples they stand for, made by this very model's encoder.

    Pickled content is never loaded.

    Raises
    ------
    CodesError
        If the file is missing, damaged, of another model, or holds codes beyond the codebook.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            codes = arrays["codes"]
            fingerprint = str(arrays["model"])
            num_samples = int(arrays["num_samples"])
    except FileNotFoundError:
        raise CodesError(f"no codes at {path}. Make them with: vqspeech encode in.wav --out in.npz") from None
    except Exception as reason:  # numpy, zipfile and zlib raise many kinds for a file that is not what they expect
        if "pickle" in str(reason):
            raise CodesError(
                f"{path} holds pickled Python objects, which may run code and are never loaded. "
                f"Make it with: vqspeech encode in.wav --out {path.name}"
            ) from None
        raise CodesError(
            f"{path} is not a file of codes, or is damaged ({reason}). "
            f"Make it with: vqspeech encode in.wav --out {path.name}"
        ) from None
    if fingerprint != model.codes_id():
        raise CodesError(
            f"{path} holds codes of another model ({fingerprint[:12]}, this one is {model.codes_id()[:12]}): the "
            "same number means another sound there. Encode the recording again with this model"
        )
    if codes.ndim != 1 or not np.issubdtype(codes.dtype, np.integer) or not len(codes):
        raise CodesError(f"{path} holds no sequence of codes (shape {codes.shape}, {codes.dtype}). Encode again")
    if codes.min() < 0 or codes.max() >= model.num_codes:
        raise CodesError(
            f"{path} holds codes from {codes.min()} to {codes.max()}, but the codebook has {model.num_codes} entries "
            f"(0 to {model.num_codes - 1}). Encode the recording again with this model"
        )
    if not 0 < num_samples <= len(codes) * model.hop_length:
        raise CodesError(f"{path} says {num_samples} samples for {len(codes)} codes, which does not fit. Encode again")
    return codes.astype(np.int32), num_samples


def encode_file(model: VQVAE, source: Path, target: Path) -> int:
    """Encode a recording to a file of codes, in constant memory but for the codes; return their number.

    Raises
    ------
    AudioError
        If the recording cannot be read or is empty.
    CodesError
        If the target cannot be written.
    """
    codes, num_samples = encode_recording(model, source)
    save_codes(target, codes, model, num_samples)
    return len(codes)


def encode_recording(model: VQVAE, source: Path, *, longest_s: float | None = None) -> tuple[NDArray[np.int64], int]:
    """Codes (N,) of a recording and its samples at the model's rate, in constant memory but for the codes.

    Raises
    ------
    AudioError
        If the recording cannot be read, is empty, or lasts longer than `longest_s` seconds.
    """
    longest = math.inf if longest_s is None else longest_s * model.sample_rate
    encoding = model.encoding()
    pieces = []
    with torch.no_grad(), evaluating(model), open_audio(source, model.sample_rate) as reader:
        recording = Source(model, reader, reader.name)
        for samples in recording:
            if recording.received > longest:
                raise AudioError(
                    f"{reader.name} lasts longer than {longest / model.sample_rate / 3600:g} hours. Cut it into "
                    "shorter ones"
                )
            pieces += [codes.cpu() for codes in encoding.push(samples)]
        pieces += [codes.cpu() for codes in encoding.finish()]
    return torch.cat(pieces).numpy(), recording.received
