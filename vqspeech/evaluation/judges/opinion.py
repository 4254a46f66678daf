"""How natural speech sounds, by networks that were taught people's opinions: DistillMOS and DNSMOS, both offline.

Their weights come inside the packages. They are gauges: how far they agree with people is told beside each figure.
"""

# T samples.
from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech.audio import resampled
from vqspeech.errors import DependencyError
from vqspeech.evaluation.figures.types import Wav
from vqspeech.evaluation.trials.signals import is_audible

RATE = 16000  # Hz, of both
LOWEST = 1.0  # of the scale of mean opinion scores, 1 to 5: what silence gets
LONGEST_S = 9.0  # of a waveform: DNSMOS hears 9.01 s at once, DistillMOS 7.68 s
MOST_OPINIONS = 4  # waveforms of a training's probe: a second of processor time each
DISTILLMOS_SAMPLES = 122_880  # 7.68 s
DNSMOS_SAMPLES = int(9.01 * RATE)
_INSTALL = "Install it: pip install 'vqspeech[naturalness]'"


@dataclass(frozen=True)
class Opinion:
    """A judge of naturalness.

    Attributes
    ----------
    basis : which judge it is: package, version and the weights' hash
    agreement : scale to how far it agrees with people, in words
    hear : waveform (T,) at 16 kHz, finite and in [-1, 1], to one score a scale
    """

    basis: str
    agreement: dict[str, str]
    hear: Callable[[Wav], dict[str, float]]

    def score(self, wav: Wav, sample_rate: int) -> dict[str, float]:
        """Mean opinion scores, 1 to 5, of a waveform (T,); `LOWEST` of what cannot be heard.

        Sound of a lower rate is brought up to 16 kHz, and lacks what lies above.
        """
        if not is_audible(wav):
            return dict.fromkeys(self.agreement, LOWEST)
        heard = resampled(wav[: int(LONGEST_S * sample_rate)], sample_rate, RATE)
        return self.hear(np.clip(heard, -1, 1).astype(np.float32))


def find_opinions() -> tuple[list[Opinion], list[DependencyError]]:
    """The judges that load, and what the others lack."""
    found, lacking = [], []
    for load in (load_distillmos, load_dnsmos):
        try:
            found.append(load())
        except DependencyError as reason:
            lacking.append(reason)
    return found, lacking


def mean_opinions(wavs: Sequence[Wav], sample_rate: int) -> dict[str, float]:
    """Mean scores of the first waveforms (T,), 1 to 5, for a training's curves; empty where no judge is installed.

    Returns
    -------
    figures : "distillmos", "dnsmos_ovrl"
    """
    heard: dict[str, list[float]] = {}
    for opinion in find_opinions()[0] if wavs else ():
        for wav in wavs[:MOST_OPINIONS]:
            for scale, score in opinion.score(wav, sample_rate).items():
                heard.setdefault(scale, []).append(score)
    names = {"DistillMOS": "distillmos", "DNSMOS OVRL": "dnsmos_ovrl"}
    return {name: float(np.mean(heard[scale])) for scale, name in names.items() if scale in heard}


@functools.cache
def load_distillmos() -> Opinion:
    """DistillMOS [Stahl & Gamper 2025], a distilled XLS-R: 7.68 s at once, silence appended to less.

    Raises
    ------
    DependencyError
        If the package is not installed, or does not load.
    """
    import torch

    from vqspeech.nn.torchaudio_remedy import import_torchaudio

    try:
        import_torchaudio()
        distillmos: Any = importlib.import_module("distillmos")
        with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights lie
            model: Any = distillmos.ConvTransformerSQAModel().eval()
    except Exception as reason:  # noqa: BLE001 - a package that does not load is one that is not at hand
        raise DependencyError(f"DistillMOS does not load ({type(reason).__name__}: {reason}). {_INSTALL}") from reason

    def hear(wav: Wav) -> dict[str, float]:
        with torch.inference_mode():
            # One window: of 9 s it would hear three, which overlap by all but a second.
            return {"DistillMOS": float(model(torch.from_numpy(wav[:DISTILLMOS_SAMPLES])[None]))}

    weights = sorted(Path(distillmos.__file__).parent.glob("weights/*"))
    agreement = "against people on ZeroSpeech 2019/2020: r = .78 in English, .36 in Indonesian, 38 systems each"
    return Opinion(_basis("distillmos", weights), {"DistillMOS": agreement}, hear)


@functools.cache
def load_dnsmos() -> Opinion:
    """DNSMOS P.835 and P.808 [Reddy et al. 2022]: 9.01 s at once; less is repeated until it lasts as long.

    Raises
    ------
    DependencyError
        If the package is not installed, or does not load.
    """
    from vqspeech.numba_cache import import_librosa

    try:
        import_librosa()
        dnsmos: Any = importlib.import_module("speechmos.dnsmos")
        folder = Path(dnsmos.__file__).parent / "dnsmos_models"
        weights = [folder / "sig_bak_ovr.onnx", folder / "model_v8.onnx"]
        model: Any = dnsmos.DNSMOS(*map(str, weights))
    except Exception as reason:  # noqa: BLE001 - as above; it needs onnxruntime, which has no wheel everywhere
        raise DependencyError(f"DNSMOS does not load ({type(reason).__name__}: {reason}). {_INSTALL}") from reason

    def hear(wav: Wav) -> dict[str, float]:
        # One window of what it hears at once: left to itself it repeats six seconds to twelve and hears four windows.
        scores = model(np.resize(wav, DNSMOS_SAMPLES), RATE, False)
        names = {"DNSMOS OVRL": "ovrl_mos", "DNSMOS SIG": "sig_mos", "DNSMOS P.808": "p808_mos"}
        return {name: float(scores[key]) for name, key in names.items()}

    on = "against people on ZeroSpeech 2019/2020"
    agreement = {
        "DNSMOS OVRL": f"{on}: r = .68 in English, .54 in Indonesian, 38 systems each",
        "DNSMOS SIG": f"{on}: r = .59 in English, .35 in Indonesian, 38 systems each",
        "DNSMOS P.808": "made for noise in calls; not held against people's scores of conversions",
    }
    return Opinion(_basis("speechmos", weights), agreement, hear)


def _basis(package: str, weights: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in weights:
        digest.update(path.read_bytes())
    return f"{package} {version(package)}, weights {digest.hexdigest()[:12]}"
