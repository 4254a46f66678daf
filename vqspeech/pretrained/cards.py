"""What a model and a prior say of themselves: their files carry it, and it is enough to build them again."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

from vqspeech.config import Recipe
from vqspeech.likelihood.bound import Likelihood

NGRAMS = ("unigram", "bigram", "trigram")  # beside which a prior is validated


@dataclass(frozen=True)
class ModelCard:
    """What a model says of itself.

    Attributes
    ----------
    recipe : Recipe
    speakers : names in the order of the one-hot
    step : training steps behind the weights
    metrics : figures of the last validation
    training : how it was trained: minutes, samples seen, precision, fingerprint of the data
    version : of vqspeech that wrote it
    """

    recipe: Recipe
    speakers: tuple[str, ...]
    step: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether the decoder has taken part in the training; before that, what it says is noise."""
        return self.step == 0 or self.step > self.recipe.train.settling_steps

    def describe(self) -> str:
        """Several lines for people: speakers, rates, steps, measured quality."""
        recipe, metrics, training = self.recipe, self.metrics, self.training
        names = textwrap.fill(", ".join(self.speakers), 100, subsequent_indent=" " * 14)
        lines = [
            f"recipe        {recipe.name} (vqspeech {self.version})",
            f"speakers      {len(self.speakers)}: {names}",
            f"sample rate   {recipe.data.sample_rate} Hz",
            f"codes         {recipe.code_rate:g} per second ({recipe.encoder.hop_length}x), "
            f"K = {recipe.bottleneck.num_codes}",
            f"bit rate      {recipe.bit_rate:.0f} bit/s uniform"
            + (f", {metrics['bit_rate']:.0f} bit/s at the codes' frequencies" if "bit_rate" in metrics else ""),
            f"steps         {self.step} of {training.get('total_steps', '?')}, {training.get('minutes', '?')} minutes, "
            f"{training.get('precision', '?')}",
        ]
        if not self.is_settled:
            lines.append("still in its warm start: the decoder has not been trained yet")
        elif metrics:
            lines.append(
                f"validation    {metrics['bits']:.3f} bits/sample, perplexity {metrics['perplexity']:.0f}, "
                f"code gain {metrics['code_gain']:.3f}, speaker gain {metrics['speaker_gain']:.3f}"
            )
        if probe := metrics.get("probe"):
            lines.append(
                f"free-running  content {probe['content']:.2f} (another source: {probe['content_control']:.2f})"
            )
            if "target" in probe:
                lines[-1] += f", heard as target {probe['target']:.0%}, still as source {probe['still_source']:.0%}"
        return "\n".join(lines)


@dataclass(frozen=True)
class PriorCard:
    """What a prior says of itself; attributes as in `ModelCard`, and

    Attributes
    ----------
    model : fingerprint of the VQ-VAE whose codes it knows
    num_codes : K of that VQ-VAE
    """

    recipe: Recipe
    speakers: tuple[str, ...]
    model: str
    num_codes: int
    step: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    def describe(self) -> str:
        """Several lines for people: size, receptive field, bits beside n-grams."""
        prior, metrics = self.recipe.prior, self.metrics
        lines = [
            f"prior         over codes, {'by speaker' if prior.conditional else 'unconditional'}, sees "
            f"{prior.receptive_field} codes ({prior.receptive_field / self.recipe.code_rate:.2f} s), "
            f"step {self.step} of {self.training.get('total_steps', '?')}"
        ]
        if metrics:
            beside = ", ".join(f"{name} {metrics[name]:.3f}" for name in ("uniform", *NGRAMS) if name in metrics)
            found = f"  validation  {metrics['bits']:.3f} bits/code, {metrics['bit_rate']:.0f} bit/s"
            lines.append(found + (f" ({beside})" if beside else ""))
        if bound := metrics.get("likelihood"):
            likelihood = Likelihood.from_metrics(bound)
            lines.append(f"  likelihood  at most {likelihood.describe()} ({likelihood.duration_s:.0f} s of validation)")
        return "\n".join(lines)
