"""A finished run made small enough to hand on: what inference needs, in half the bytes, with a model card."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from vqspeech.config import Recipe
from vqspeech.errors import CheckpointError
from vqspeech.files import write_whole
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.bundled import CARD_FILE, PackedCard, read_packed_card, sha256_of
from vqspeech.pretrained.cards import ModelCard
from vqspeech.pretrained.checkpoint import (
    MODEL_FILE,
    PRIOR_FILE,
    find_model_file,
    read_model,
    save_model,
    save_prior,
)
from vqspeech.pretrained.run_record import RunRecord
from vqspeech.pretrained.summary import Summary, read_summary, report_beside

LIMITS = (
    "It speaks in the voices it was trained on, and in those enrolled to it; other microphones, noise, music and other "
    "languages than the training's make it worse.",
    "Conversions keep some of the source's rhythm and pitch movement, and sometimes of its voice.",
)
PAGE_WIDTH = 118  # columns of its prose
INTENDED_USE = (
    "Research, teaching and play with learned speech units and voice conversion. Convert to a voice, and enroll one, "
    "only with the consent of the person whose it is, and say of a converted recording that it was converted. Not for "
    "passing as somebody, and not for getting past any check of who speaks."
)


def pack(
    run: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    data: str,
    licence: str,
    quality: Sequence[str] = (),
    limits: Sequence[str] = LIMITS,
    force: bool = False,
) -> PackedCard:
    """Write a run's model, its prior and a model card to a folder that can be bundled or go to the Hub.

    Matrices are rounded to float16; codebook, speakers' vectors, norms and biases stay as they are. Parts that only
    training uses are left out.

    Parameters
    ----------
    run : run folder or model file
    out : folder; its last part is the model's name unless `name` says otherwise
    data : sentence on the training's speech and where it is from
    licence : of the weights, for example "CC BY-SA 4.0"
    quality : sentences on what was measured, and how; the last validation is always added, and the summary of the
        run's evaluation where there is one of these weights

    Raises
    ------
    CheckpointError
        If there is no finished model, `out` holds one already and `force` is false, or it cannot be written.
    """
    file, out = find_model_file(run), Path(out)
    model = read_model(file)
    card: ModelCard = model.card
    if not card.is_settled:
        raise CheckpointError(f"{file} is still in its warm start (step {card.step}): train it to its end first")
    if (out / MODEL_FILE).exists() and not force:
        raise CheckpointError(f"{out} holds a model already. Overwrite it with --force, or choose another --out")
    has_prior = (file.parent / PRIOR_FILE).is_file()
    prior = model.prior if has_prior else None
    recipe = _clean(card.recipe)
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith(model.training_parts)}
    save_model(out / MODEL_FILE, halved(weights), replace(card, recipe=recipe))
    files = [MODEL_FILE]
    if prior:
        # Rounding may move a code now and then: the packed prior belongs to the packed model.
        belongs = replace(prior.card, recipe=_clean(prior.recipe), model=read_model(out).codes_id())
        save_prior(out / PRIOR_FILE, halved(prior.state_dict()), belongs)
        files.append(PRIOR_FILE)
    else:
        (out / PRIOR_FILE).unlink(missing_ok=True)
    packed = PackedCard(
        name=name or out.name,
        data=data,
        licence=licence,
        command=_command(file, recipe),
        seed=recipe.train.seed,
        speakers=card.speakers,
        sample_rate=recipe.data.sample_rate,
        quality=(*quality, *_validation(card)),
        limits=tuple(limits),
        sha256={each: sha256_of(out / each) for each in files},
        version=version("vqspeech"),
        summary=summary_of_run(file, model),
    )
    _write_cards(out, packed, card)
    return packed


def quote(folder: str | Path, report: str | Path) -> PackedCard:
    """Put the summary of an evaluation of a packed model onto its cards.

    Parameters
    ----------
    folder : of the packed model
    report : report.json of `vqspeech evaluate`

    Raises
    ------
    CheckpointError
        If there is no packed model, the report cannot be read, has no summary, or is of other weights.
    """
    folder = Path(folder)
    packed, model = read_packed_card(folder), read_model(folder)
    if packed is None:
        raise CheckpointError(f"{folder} has no {CARD_FILE}: it is no packed model. Make one with vqspeech pack")
    summary = read_summary(Path(report))
    if summary.weights != model.weights_id():
        raise CheckpointError(
            f"{report} is of other weights ({summary.weights[:12]}) than {folder} has. Evaluate this model"
        )
    packed = replace(packed, summary=summary)
    _write_cards(folder, packed, model.card)
    return packed


def summary_of_run(file: Path, model: VQVAE) -> Summary | None:
    """What the evaluation beside a run's model says of these very weights; None where there is none."""
    report = report_beside(file)
    if not report.is_file():
        return None
    summary = read_summary(report)
    return summary if summary.weights == model.weights_id() else None


def _write_cards(out: Path, packed: PackedCard, card: ModelCard) -> None:
    for target, text in ((CARD_FILE, packed.to_json()), ("README.md", model_page(packed, card))):
        with write_whole(out / target, CheckpointError) as temporary:
            temporary.write_text(text, encoding="utf-8")


def halved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights with matrices in float16, but for the codebook's, the speakers' and any it cannot hold."""

    def half(name: str, value: Tensor) -> Tensor:
        kept = value.dim() < 2 or name.startswith(("bottleneck.", "speaker_vectors."))
        if kept or not value.is_floating_point() or float(value.abs().max()) > torch.finfo(torch.float16).max:
            return value
        return value.half()

    return {name: half(name, value) for name, value in weights.items()}


def model_page(packed: PackedCard, card: ModelCard) -> str:
    """README.md of a packed model, in the Hub's form."""
    listed = ", ".join(packed.speakers)
    facts = {
        "data": packed.data,
        "licence": packed.licence,
        "training": f"`{packed.command}`, seed {packed.seed}, step {card.step}, "
        f"{card.training.get('minutes', '?')} minutes",
        "sample rate": f"{packed.sample_rate} Hz",
        "codes": f"{card.recipe.code_rate:g} per second, K = {card.recipe.bottleneck.num_codes}",
        f"{len(packed.speakers)} speakers": listed,
        "written by": f"vqspeech {packed.version}",
    }
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    hashes = "\n".join(f"| {file} | `{digest}` |" for file, digest in packed.sha256.items())
    quality = _bullets(packed.quality or ("Nothing was measured.",))
    if packed.summary:
        quality = f"{packed.summary.markdown()}\n\n{quality}"
    return f"""---
license: {packed.licence.lower().replace(" ", "-")}
library_name: vqspeech
pipeline_tag: audio-to-audio
tags: [voice-conversion, vq-vae, wavenet]
---
# {packed.name}

A model of [vqspeech](https://arxiv.org/abs/1711.00937): speech to codes, codes to speech in a voice it knows.

```
vqspeech convert --model {packed.name} --speaker {packed.speakers[0]} in.wav
```

| | |
|---|---|
{rows}

## Measured quality

{quality}

## Limits

{_bullets(packed.limits)}

## Intended use

{_wrapped(INTENDED_USE)}

## Files

Weights are safetensors, matrices in float16; loading them runs no code.

| file | SHA-256 |
|---|---|
{hashes}
"""


def _wrapped(sentence: str, first: str = "", then: str = "") -> str:
    return textwrap.fill(
        sentence, PAGE_WIDTH, initial_indent=first, subsequent_indent=then, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(_wrapped(sentence, "- ", "  ") for sentence in sentences)


def _clean(recipe: Recipe) -> Recipe:
    """Without the folder that the speech lay in."""
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": None})})


def _command(file: Path, recipe: Recipe) -> str:
    """What trained the run, with the corpus's folder left open."""
    try:
        record = RunRecord.read(file.with_name("run.json"))
        name, sets = str(record.recipe["name"]), list(record.overrides)
        init = f" --init {Path(record.origin.model).name}" if record.origin else ""
        if not record.names_optimizer:
            sets.append("train.optimizer=adam")  # the default when the run began
    except (OSError, ValueError, KeyError):
        name, sets, init = recipe.name, [], ""
    sets = [one for one in sets if not one.startswith("data.root=")]
    return " ".join([f"vqspeech train recipes/{name} --data FOLDER{init}", *(f"--set {one}" for one in sets)])


def _validation(card: ModelCard) -> tuple[str, ...]:
    metrics = card.metrics
    if "bits" not in metrics:
        return ()
    return (
        f"Last validation, teacher-forced: {metrics['bits']:.3f} bits per sample, perplexity "
        f"{metrics['perplexity']:.0f}, code gain {metrics['code_gain']:.2f}, speaker gain "
        f"{metrics['speaker_gain']:.2f} bits per sample.",
    )
