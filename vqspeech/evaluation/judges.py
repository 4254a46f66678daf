"""Judges for closed corpora: two small classifiers that say which word was spoken and who spoke it.

They are trained on real recordings only, never on a model's output, and frozen: a file of judges carries the hash of
its weights, so that two tables made with the same hash were judged by the same ears.
"""

# B batch, T samples, M mel bands, N frames, C channels.
from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.errors import CheckpointError
from vqspeech.evaluation.augmentation import mask_samples
from vqspeech.files import write_whole

FORMAT = "vqspeech-judges-1"
NUM_MELS = 40


class Classifier(nn.Module):
    """Log-mel bands, three convolutions over time, pooling over the utterance's own frames, class scores.

    Parameters
    ----------
    num_classes : int
    sample_rate : int
        Hz; the window is 32 ms, the hop 10 ms.
    channels : int
    """

    mel: Tensor
    window: Tensor

    def __init__(self, num_classes: int, sample_rate: int, channels: int = 80) -> None:
        super().__init__()
        self.hop_length = sample_rate // 100
        num_fft = 1 << (sample_rate * 32 // 1000 - 1).bit_length()
        self.register_buffer("mel", torch.from_numpy(mel_filters(sample_rate, num_fft, NUM_MELS)), persistent=False)
        self.register_buffer("window", torch.hann_window(num_fft), persistent=False)
        sizes = [(NUM_MELS, 5, 1), (channels, 5, 2), (channels, 3, 2)]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, channels, width, stride, padding=width // 2, bias=False)
            for inputs, width, stride in sizes
        )
        self.strides = [stride for _, _, stride in sizes]
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in sizes)
        self.scores = nn.Linear(2 * channels, num_classes)

    def forward(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """Score utterances.

        Parameters
        ----------
        wav : Tensor, shape (B, T), zero beyond each length
        lengths : LongTensor, shape (B,), samples

        Returns
        -------
        scores : Tensor, shape (B, num_classes)
        """
        x, num_frames = self.features(wav, lengths)
        for convolution, norm, stride in zip(self.convolutions, self.norms, self.strides, strict=True):
            x = torch.relu(norm(convolution(x)))  # (B, C, N)
            num_frames = (num_frames - 1) // stride + 1
            # Frames beyond the utterance stay zero, so that the padding of a batch changes no score.
            x = x * mask_samples(num_frames, x.shape[2])[:, None]
        mean = x.sum(2) / num_frames[:, None]
        pooled = torch.cat([mean, x.amax(2)], 1)  # (B, 2C)
        return self.scores(F.dropout(pooled, 0.3, self.training))

    def features(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel bands, each utterance's own mean level taken off: (B, M, N) and the number of frames (B,)."""
        spectrum = torch.stft(
            wav, len(self.window), self.hop_length, window=self.window, pad_mode="constant", return_complex=True
        )
        num_frames = lengths // self.hop_length + 1
        inside = mask_samples(num_frames, spectrum.shape[2])[:, None]  # (B, 1, N)
        power = self.mel @ spectrum.abs().square()  # (B, M, N)
        # A floor 50 dB below the utterance's mean band: how silent its silence is says which microphone it was.
        mean_power = (power * inside).sum((1, 2), keepdim=True) / (num_frames[:, None, None] * NUM_MELS)
        bands = torch.log(power + 1e-5 * mean_power + 1e-10)
        level = (bands * inside).sum((1, 2), keepdim=True) / (num_frames[:, None, None] * NUM_MELS)
        return (bands - level) * inside / 3.0, num_frames


def mel_filters(sample_rate: int, num_fft: int, num_mels: int) -> np.ndarray:
    """Triangular filters on the HTK mel scale, peak 1, from 0 Hz to half the rate: (num_mels, num_fft // 2 + 1)."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, num_mels + 2) / 2595) - 1)  # Hz
    frequencies = np.linspace(0, sample_rate / 2, num_fft // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def pad(wavs: Sequence[np.ndarray], shortest: int) -> tuple[Tensor, Tensor]:
    """Stack waveforms: (B, T) zero beyond each length, and the lengths (B,); T is at least `shortest`."""
    lengths = torch.tensor([len(wav) for wav in wavs])
    batch = torch.zeros(len(wavs), max(shortest, int(lengths.max())))
    for row, wav in zip(batch, wavs, strict=True):
        row[: len(wav)] = torch.from_numpy(np.ascontiguousarray(wav, dtype=np.float32))
    return batch, lengths


@dataclass(frozen=True)
class Judge:
    """A frozen classifier: `name` is what it judges, `classes` what it can answer, `report` what was measured."""

    name: str
    classes: tuple[str, ...]
    sample_rate: int
    sha256: str
    report: Mapping[str, Any]
    network: Classifier

    def probabilities(self, wavs: Sequence[np.ndarray], batch_size: int = 64) -> np.ndarray:
        """Probability of each class.

        Parameters
        ----------
        wavs : sequence of arrays, shape (T_i,), in [-1, 1], at `sample_rate`; any length

        Returns
        -------
        probabilities : array, shape (len(wavs), len(classes)), float32
        """
        answers = [np.zeros((0, len(self.classes)), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(wavs), batch_size):
                batch, lengths = pad(wavs[start : start + batch_size], self.network.hop_length)
                answers.append(self.network(batch, lengths).softmax(1).numpy())
        return np.concatenate(answers)

    def predict(self, wavs: Sequence[np.ndarray]) -> list[str]:
        """Likeliest class of each waveform."""
        return [self.classes[best] for best in self.probabilities(wavs).argmax(1)]

    def accuracy(self, wavs: Sequence[np.ndarray], labels: Sequence[str]) -> float:
        """Share of the waveforms heard as their label."""
        return float(np.mean([heard == label for heard, label in zip(self.predict(wavs), labels, strict=True)]))


@dataclass(frozen=True)
class Judges:
    """The two judges of a corpus."""

    content: Judge
    speaker: Judge


def freeze(
    name: str, network: Classifier, classes: Sequence[str], sample_rate: int, report: Mapping[str, Any]
) -> Judge:
    """Round a trained network to float16, as it will be stored, and make a judge of it."""
    weights = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    return _thaw(name, weights, {"classes": list(classes), "sample_rate": sample_rate, "report": dict(report)})


def _thaw(name: str, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Judge:
    channels = weights["convolutions.0.weight"].shape[0]
    network = Classifier(len(facts["classes"]), facts["sample_rate"], channels)
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    return Judge(
        name=name,
        classes=tuple(facts["classes"]),
        sample_rate=facts["sample_rate"],
        sha256=_hash(weights, facts["classes"]),
        report=facts["report"],
        network=network.eval(),
    )


def _hash(weights: Mapping[str, Tensor], classes: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for key in sorted(weights):
        digest.update(key.encode() + weights[key].contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_judges(path: str | Path, judges: Judges) -> None:
    """Write both judges of a corpus; see `save_judge`."""
    save_judge(path, judges.content, judges.speaker)


def save_judge(path: str | Path, *judges: Judge) -> None:
    """Write judges as safetensors of float16, their classes, hashes and measurements in the metadata."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    for judge in judges:
        facts[judge.name] = {
            "classes": list(judge.classes),
            "sample_rate": judge.sample_rate,
            "sha256": judge.sha256,
            "report": dict(judge.report),
        }
        for key, value in judge.network.state_dict().items():
            tensors[f"{judge.name}.{key}"] = (value.half() if value.is_floating_point() else value).contiguous()
    with write_whole(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={"format": FORMAT, "judges": json.dumps(facts, sort_keys=True)}))


def load_judges(path: str | Path) -> Judges:
    """Read the judges of a corpus, for example recipes/fsdd/judges.safetensors.

    Raises
    ------
    CheckpointError
        See `load_judge`; also if it holds others.
    """
    found = _read(Path(path), f"Train them with: python benchmarks/judges.py --train {path}")
    return Judges(**{name: _named(path, found, name) for name in ("content", "speaker")})


def load_judge(path: str | Path, name: str, remedy: str = "Get it, or train one") -> Judge:
    """Read one judge by its name.

    Parameters
    ----------
    remedy : what to do where there is no file, for the message

    Raises
    ------
    CheckpointError
        If the file is missing, is not a file of judges, lacks this one, or its weights are not those that were frozen.
    """
    return _named(path, _read(Path(path), remedy), name)


def _named(path: str | Path, judges: Mapping[str, Judge], name: str) -> Judge:
    if name not in judges:
        raise CheckpointError(f"{path} holds the judges {', '.join(sorted(judges))}, not {name!r}. Give another file")
    return judges[name]


def _read(path: Path, remedy: str) -> dict[str, Judge]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"no judges at {path}. {remedy}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as reason:
        raise CheckpointError(f"{path} is not a whole safetensors file ({reason}); get a fresh copy") from reason
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} holds no judges of format {FORMAT!r}, but {metadata.get('format', 'none')!r}")
    facts = json.loads(metadata["judges"])
    return {name: _verified(path, name, tensors, facts[name]) for name in facts}


def _verified(path: Path, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Judge:
    prefix = f"{name}."
    weights = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    judge = _thaw(name, weights, facts)
    if judge.sha256 != facts["sha256"]:
        raise CheckpointError(
            f"{path}: the {name} judge's weights hash to {judge.sha256[:12]}, but {facts['sha256'][:12]} was frozen; "
            "get a fresh copy, since another judge's figures do not compare"
        )
    return judge
