"""The verbs that need a prior over codes: sample, compress, decompress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vqspeech.cli.console import (
    PATH,
    force_option,
    free_target,
    model_option,
    say,
    say_written,
    tell,
    voice_options,
)
from vqspeech.files import beside, stem_of


@click.command()
@click.option("--speaker", help="Whose voice to speak in; `vqspeech models` lists them [one that the seed draws].")
@model_option
@click.option("--num", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Utterances.")
@click.option(
    "--duration",
    "duration_s",
    type=click.FloatRange(0, 3600, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds at most, a prompt not counted; most utterances end before, by themselves.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Draw codes from the likeliest alone that together have this probability.",
)
@click.option("--prompt", type=PATH, metavar="RECORDING", help="Continue this recording, in the speaker's voice.")
@click.option("--out", type=PATH, default=Path("samples"), show_default=True, help="Folder for sound, codes, pictures.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads, each with many streams [all cores].")
@click.option(
    "--voice-temperature", type=click.FloatRange(0), help="Of the sound, not the codes [the model's own, mostly 1]."
)
@voice_options
@force_option
def sample(
    speaker: str | None,
    model: str | None,
    num: int,
    duration_s: float,
    top_p: float,
    prompt: Path | None,
    out: Path,
    threads: int | None,
    voice_temperature: float | None,
    temperature: float | None,
    force: bool,
    **drawing: Any,
) -> None:
    """Make up new utterances: the prior draws codes, the decoder speaks them."""
    from vqspeech.conversion import SamplingOptions
    from vqspeech.data.processes import num_cores
    from vqspeech.generation import CodeSamplingOptions, generate_files, plan_targets, read_prompt
    from vqspeech.pretrained.registry import find_sampling, open_model

    given, speaker = (model, speaker) if speaker else find_sampling(model, drawing["seed"])
    loaded, speaker = open_model(given, speaker)
    prior = loaded.prior
    name = f"{stem_of(prompt) if prompt else 'sample'}-{speaker}-{drawing['seed']}"
    targets = plan_targets(out, name, num, force=force)
    begun = read_prompt(loaded, prompt) if prompt else None
    made = generate_files(
        loaded,
        prior,
        targets,
        speaker,
        SamplingOptions(temperature=voice_temperature, **drawing),
        CodeSamplingOptions(top_p=top_p, temperature=1.0 if temperature is None else temperature, **drawing),
        max_duration_s=duration_s,
        num_threads=threads or num_cores(),
        prompt=begun,
    )
    for one in made:
        say(f"{one.wav}: {one.duration_s:.2f} s" + ("" if one.has_ended else ", cut at --duration"))
    tell(f"codes (.npz) and spectrogram (.png) of each lie beside it in {out}")


@click.command()
@click.argument("source", type=PATH, metavar="RECORDING")
@click.option("--speaker", help="Who speaks, if the model knows them: the file gets smaller.")
@model_option
@click.option("--out", type=PATH, help="The compressed file [beside the recording, .vqs].")
@force_option
def compress(source: Path, speaker: str | None, model: str | None, out: Path | None, force: bool) -> None:
    """Write a recording's codes in as few bits as the prior needs: in.wav becomes in.vqs."""
    from vqspeech.compression import compress_file
    from vqspeech.pretrained.registry import find

    target = free_target(out or beside(source, f"{stem_of(source)}.vqs"), source, force)
    found = find(model, speaker)
    loaded = found.load()
    sizes = compress_file(loaded, loaded.prior, source, target, found.speaker)
    say(f"{target}: {sizes}")


@click.command()
@click.argument("source", type=PATH, metavar="COMPRESSED")
@click.option("--speaker", help="Whose voice to speak in [the one that the file names].")
@model_option
@click.option("--out", type=PATH, help="The sound, or with .npz the codes [beside the file: <name>.SPEAKER.wav].")
@voice_options
@force_option
def decompress(
    source: Path,
    speaker: str | None,
    model: str | None,
    out: Path | None,
    force: bool,
    **drawing: Any,
) -> None:
    """Speak a .vqs file, with the model that compressed it."""
    from vqspeech.compression import choose_voice, decompress_file
    from vqspeech.conversion import SamplingOptions, target_name
    from vqspeech.pretrained.registry import find

    found = find(model, speaker)
    loaded = found.load()
    prior = loaded.prior
    codes_only = out is not None and out.suffix == ".npz"
    chosen = loaded.speakers[0] if codes_only else choose_voice(source, loaded, prior, found.speaker)
    target = free_target(out or beside(source, target_name(source, chosen)), source, force, is_sound=not codes_only)
    decompress_file(loaded, prior, source, target, chosen, SamplingOptions(**drawing))
    say_written(target)
