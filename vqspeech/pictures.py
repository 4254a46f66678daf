"""Pictures of what was heard and what was made of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.files import write_whole
from vqspeech.numba_cache import import_librosa

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_spectrograms(
    rows: Sequence[tuple[str, NDArray[np.float32]]],
    sample_rate: int,
    codes: NDArray[np.integer] | None = None,
    hop_length: int = 1,
) -> Figure:
    """Log-mel spectrograms one below the other on one time axis, and the code track beneath.

    Parameters
    ----------
    rows : titles and waveforms, shape (T,)
    codes : shape (N,), drawn as a staircase of code numbers; None leaves the track out
    hop_length : samples per code
    """
    librosa = import_librosa()
    from matplotlib.figure import Figure

    num_rows = len(rows) + (codes is not None)
    figure = Figure(figsize=(9, 1.7 * num_rows + 0.4), layout="constrained")
    axes: Any = figure.subplots(num_rows, 1, sharex=True, squeeze=False)[:, 0]
    num_fft = 2 ** round(np.log2(0.032 * sample_rate))
    highest = librosa.hz_to_mel(sample_rate / 2)
    kilohertz = [f for f in (0, 0.5, 1, 2, 4, 8, 16) if f <= sample_rate / 2000]
    axes[0].set_xlim(0, max((max(len(wav), num_fft) for _, wav in rows), default=1) / sample_rate)
    for axis, (title, wav) in zip(axes, rows, strict=False):
        padded = np.pad(wav, (0, max(0, num_fft - len(wav))))
        mel = librosa.feature.melspectrogram(
            y=padded, sr=sample_rate, n_fft=num_fft, hop_length=num_fft // 4, n_mels=64
        )
        level_db = librosa.power_to_db(mel, ref=np.max, top_db=70)
        extent = (0, len(padded) / sample_rate, 0, highest)
        axis.imshow(level_db, origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
        axis.set_title(title, fontsize=9, loc="left", pad=2)
        axis.set_yticks(librosa.hz_to_mel(np.array(kilohertz) * 1000), [f"{f:g}" for f in kilohertz])
        axis.set_ylabel("kHz", fontsize=7)
        axis.tick_params(labelsize=7)
    if codes is not None:
        axis = axes[-1]
        seconds = np.arange(len(codes) + 1) * hop_length / sample_rate
        axis.stairs(codes, seconds, baseline=None, linewidth=0.8)
        axis.set_title("codes", fontsize=9, loc="left", pad=2)
        axis.tick_params(labelsize=7)
    axes[-1].set_xlabel("seconds", fontsize=8)
    return figure


def to_png(figure: Figure, dpi: int = 100) -> bytes:
    """A figure as the bytes of a PNG."""
    png = io.BytesIO()
    figure.savefig(png, dpi=dpi, format="png")
    return png.getvalue()


def save_picture(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_bytes(to_png(figure))
