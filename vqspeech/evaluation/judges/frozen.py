"""Judges for closed corpora: two small classifiers that say which word was spoken and who spoke it.

They are trained on real recordings only, never on a model's output, and frozen: a file of judges carries the hash of
its weights, so that two tables made with the same hash were judged by the same networks.
"""

# B batch, T samples.
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

from vqspeech.errors import CheckpointError
from vqspeech.evaluation.judges.networks import NETWORKS, Classifier, RecurrentClassifier, pad
from vqspeech.files import write_whole

FORMAT = "vqspeech-judges-1"


@dataclass(frozen=True)
class FrozenJudge:
    """A frozen classifier: `name` is what it judges, `classes` what it can answer, `report` what was measured."""

    name: str
    classes: tuple[str, ...]
    sample_rate: int
    sha256: str
    report: Mapping[str, Any]
    network: Classifier | RecurrentClassifier

    @property
    def kind(self) -> str:
        """Which of `NETWORKS` it is."""
        return next(kind for kind, network in NETWORKS.items() if isinstance(self.network, network))

    @property
    def origin(self) -> str:
        """Where a judge of a recipe comes from, for people."""
        return f"frozen with the recipe, trained on {self.report.get('trained_on', 'real recordings')}"

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
class FrozenJudges:
    """The two judges of a corpus."""

    content: FrozenJudge
    speaker: FrozenJudge


def freeze(
    name: str, network: nn.Module, classes: Sequence[str], sample_rate: int, report: Mapping[str, Any], kind: str
) -> FrozenJudge:
    """Round a trained network to float16, as it will be stored, and make a judge of it; `kind`: see `NETWORKS`."""
    weights = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    facts = {"classes": list(classes), "sample_rate": sample_rate, "report": dict(report), "network": kind}
    return _thaw(name, weights, facts)


def _thaw(name: str, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> FrozenJudge:
    kind = facts.get("network", "convolutional")  # files from before there were two do not say
    if kind not in NETWORKS or "scores.weight" not in weights:
        raise CheckpointError(f"the {name} judge is of a kind ({kind}) that this vqspeech does not know: upgrade it")
    # Scores read the mean and the maximum of the channels, or both directions of time.
    channels = weights["scores.weight"].shape[1] // 2
    network = NETWORKS[kind](len(facts["classes"]), facts["sample_rate"], channels)
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    return FrozenJudge(
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


def save_judge(path: str | Path, *judges: FrozenJudge) -> None:
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
            "network": judge.kind,
        }
        for key, value in judge.network.state_dict().items():
            tensors[f"{judge.name}.{key}"] = (value.half() if value.is_floating_point() else value).contiguous()
    with write_whole(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={"format": FORMAT, "judges": json.dumps(facts, sort_keys=True)}))


def load_judges(path: str | Path) -> FrozenJudges:
    """Read the judges of a corpus, for example recipes/fsdd/judges.safetensors.

    Raises
    ------
    CheckpointError
        See `load_judge`; also if it holds others.
    """
    found = _read(Path(path), f"Train them with: python benchmarks/judges.py --train {path}")
    return FrozenJudges(**{name: _named(path, found, name) for name in ("content", "speaker")})


def load_judge(path: str | Path, name: str, remedy: str = "Get it, or train one") -> FrozenJudge:
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


def _named(path: str | Path, judges: Mapping[str, FrozenJudge], name: str) -> FrozenJudge:
    if name not in judges:
        raise CheckpointError(f"{path} holds the judges {', '.join(sorted(judges))}, not {name!r}. Give another file")
    return judges[name]


def _read(path: Path, remedy: str) -> dict[str, FrozenJudge]:
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


def _verified(path: Path, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> FrozenJudge:
    prefix = f"{name}."
    weights = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    judge = _thaw(name, weights, facts)
    if judge.sha256 != facts["sha256"]:
        raise CheckpointError(
            f"{path}: the {name} judge's weights hash to {judge.sha256[:12]}, but {facts['sha256'][:12]} was frozen; "
            "get a fresh copy, since another judge's figures do not compare"
        )
    return judge
