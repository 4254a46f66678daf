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


def plot_training(rows: Sequence[dict[str, Any]]) -> Figure:
    """Curves of a run over minutes: bits per sample, gains, perplexity, free-running probe.

    Parameters
    ----------
    rows : the lines of a run's metrics.jsonl; the warm start, in which the decoder takes no part, is shaded
    """
    from matplotlib.figure import Figure

    steps = [row for row in rows if row["kind"] == "train"]
    checks = [row for row in rows if row["kind"] == "validation" and not row["warm_start"]]
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    panels: Any = figure.subplots(2, 2, sharex=True).ravel()
    warm_until = max((row["seconds"] / 60 for row in steps if not row["bits"]), default=0.0)

    def minutes(of: Sequence[dict[str, Any]]) -> list[float]:
        return [row["seconds"] / 60 for row in of]

    decoding = [row for row in steps if row["bits"]]
    panels[0].plot(minutes(decoding), [row["bits"] for row in decoding], linewidth=0.5, label="training")
    curves = [
        [("validation", "bits"), ("silence", "bits_silence")],
        [("code gain", "code_gain"), ("speaker gain", "speaker_gain")],
        [("perplexity", "perplexity")],
    ]
    for panel, lines in zip(panels, curves, strict=False):
        for label, key in lines:
            panel.plot(minutes(checks), [row[key] for row in checks], marker=".", label=label)
    probed = [row for row in checks if "probe" in row]
    for key in ("content", "content_control", "target", "still_source", "own"):
        heard = [row for row in probed if key in row["probe"]]  # a single speaker has no figures of voices
        panels[3].plot(minutes(heard), [row["probe"][key] for row in heard], marker=".", label=key.replace("_", " "))
    titles = ("bits per sample", "gains, bits per sample", "codes", "free-running probe")
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, fontsize=9, loc="left")
        panel.axvspan(0, warm_until, color="0.92", zorder=0)
        panel.legend(fontsize=7)
        panel.tick_params(labelsize=7)
    for panel in panels[2:]:
        panel.set_xlabel("minutes", fontsize=8)
    return figure
