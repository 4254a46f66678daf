"""Recordings that come with vqspeech, for a first try: short sentences in two voices of espeak-ng.

`egs/make_recordings.py` makes them.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vqspeech.errors import AudioError, VQSpeechError
from vqspeech.progress import Notify

FOLDER = Path(__file__).resolve().parents[1] / "recordings"
NAME, MODEL, SPEAKER = "example", "english", "p225"
MAN = "-man"  # ends the names of what a man's voice says
SENTENCES = {
    "example": "We found an old map under the kitchen table.",
    "rain": "The rain has stopped, so let us walk to the river.",
    "books": "My sister keeps seven books beside her window.",
}


def list_recordings() -> list[Path]:
    """SENTENCE.flac in a woman's voice, SENTENCE-man.flac in a man's; `example.flac` first.

    They are mono, at 16 kHz, of two to three seconds.

    Raises
    ------
    AudioError
        If one is missing.
    """
    files = [FOLDER / f"{name}{voice}.flac" for voice in ("", MAN) for name in SENTENCES]
    for file in files:
        if not file.is_file():
            raise AudioError(
                f"{file} is missing, which comes with vqspeech. Install vqspeech again, or give a recording of your own"
            )
    return files


def example_recording() -> Path:
    """Path of the first of the recordings that come with vqspeech: a sentence of 2.4 s at 16 kHz, for a first try.

    Returns
    -------
    file : Path
        example.flac, in a woman's voice of espeak-ng.

    Raises
    ------
    AudioError
        If it is missing.

    Examples
    --------
    >>> example_recording().name
    'example.flac'
    """
    return list_recordings()[0]


def take_example(sources: Collection[Path], notify: Notify) -> Path:
    """The recording of `convert --example`; the user is told its sentence.

    Raises
    ------
    VQSpeechError
        If recordings are given too, or the example is missing.
    """
    if sources:
        raise VQSpeechError(
            "--example takes the recording that came with vqspeech, and others are given. Leave out one or the other"
        )
    file = example_recording()
    notify(f"the example, spoken by espeak-ng: “{SENTENCES[NAME]}” ({file})")
    return file


def speak_example(folder: Path, notify: Notify = print) -> Path:
    """Convert the example to p225 with the bundled model into a folder, over what lies there, and tell where it is.

    Returns
    -------
    wav : `folder`/example.p225.wav

    Raises
    ------
    VQSpeechError
        If recording or model are missing, or the folder cannot be written.
    """
    from vqspeech.conversion import Job, convert_file, target_name
    from vqspeech.pretrained.registry import BUNDLED, load_model

    source = example_recording()
    target = folder / target_name(source, SPEAKER)
    convert_file(load_model(f"{BUNDLED}{MODEL}"), Job(source, target), SPEAKER)
    notify(
        f"the model {MODEL!r}, which came with vqspeech, converts already: {target} says “{SENTENCES[NAME]}” in the "
        f"voice of {SPEAKER}. Your own recording: vqspeech convert --speaker {SPEAKER} in.wav"
    )
    return target
