"""espeak-ng through ctypes: text to samples and the exact time of every sound.

`python -m vqspeech.data.espeak` speaks one voice's part of the embedded corpus. It is a process of its own because
espeak-ng keeps its state (oscillator phases, noise) in static variables: only a fresh process is deterministic.
"""

from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqspeech.audio import resampled, save_audio
from vqspeech.data.phonemes import SILENCE, Label, from_espeak
from vqspeech.data.sentences import make_sentence
from vqspeech.errors import DependencyError, VQSpeechError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ESPEAK_RATE = 22050  # Hz
SHARED_EVERY = 5  # sentences 1, 6, 11, ... are the same for all voices, so that matched utterances exist

# From espeak-ng's speak_lib.h.
_SYNCHRONOUS, _PHONEME_EVENTS, _CHARS_UTF8 = 2, 1, 1
_RATE, _VOLUME, _PITCH = 1, 2, 3
_LIST_TERMINATED, _PHONEME = 0, 7


@dataclass(frozen=True)
class EspeakVoice:
    """An espeak-ng voice variant of American English and how it is set.

    Attributes
    ----------
    name : str
        The speaker's name in the corpus.
    variant : str
        One of espeak-ng's `!v` variants.
    rate : int
        Words per minute.
    pitch : int
        0 to 99; 50 leaves the variant's own.
    volume : int
        100 leaves the variant's own.
    """

    name: str
    variant: str
    rate: int = 170
    pitch: int = 50
    volume: int = 100


@dataclass(frozen=True)
class PhonemeEvent:
    """A phoneme event: where the sound starts and espeak-ng's mnemonic for it."""

    start: int  # sample, at ESPEAK_RATE
    mnemonic: str


class _Identifier(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms, rounded down
        ("sample", ctypes.c_int),  # the same, exactly
        ("user_data", ctypes.c_void_p),
        ("id", _Identifier),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def find_espeak() -> tuple[str, str]:
    """Find the shared library and its data folder.

    Raises
    ------
    DependencyError
        If the package `espeakng-loader` is not installed.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise DependencyError(
            "the embedded corpus is spoken by espeak-ng, and the package espeakng-loader is not installed. "
            "Install it with: pip install 'vqspeech[demo]'"
        ) from None
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()


class Espeak:
    """The library, loaded and initialised: one a process."""

    def __init__(self, seed: int) -> None:
        path, data = find_espeak()
        self._data = Path(data)
        try:
            self._library = ctypes.CDLL(path)
        except OSError as reason:
            raise DependencyError(
                f"espeak-ng does not load ({reason}). Install it again with: pip install --force-reinstall "
                "espeakng-loader"
            ) from None
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _PHONEME_EVENTS)
        if rate != ESPEAK_RATE:
            raise DependencyError(f"espeak-ng answers with a rate of {rate} Hz; {ESPEAK_RATE} Hz was expected")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        self._callback = _Callback(self._receive)  # kept: the library holds only a pointer
        self._library.espeak_SetSynthCallback(self._callback)
        self._blocks: list[bytes] = []
        self._events: list[PhonemeEvent] = []

    def _receive(self, wav: Any, num_samples: int, events: Any) -> int:
        if wav and num_samples:
            self._blocks.append(ctypes.string_at(wav, 2 * num_samples))
        index = 0
        while events[index].type != _LIST_TERMINATED:
            event = events[index]
            if event.type == _PHONEME:
                self._events.append(PhonemeEvent(event.sample, event.id.string.decode()))
            index += 1
        return 0

    def speak(self, text: str, voice: EspeakVoice) -> tuple[NDArray[np.int16], list[PhonemeEvent]]:
        """Speak a sentence.

        Returns
        -------
        wav : int16 array, shape (T,), ESPEAK_RATE
        events : list of PhonemeEvent, in order

        Raises
        ------
        DependencyError
            If this espeak-ng lacks the voice or gives no sound.
        """
        import numpy as np

        # Asked for a variant that it lacks, espeak-ng would speak with its plain voice.
        known = (self._data / "voices" / "!v" / voice.variant).is_file()
        if not known or self._library.espeak_SetVoiceByName(f"en-us+{voice.variant}".encode()):
            raise DependencyError(f"this espeak-ng has no voice {voice.variant!r}; espeakng-loader 0.2.4 has it")
        for parameter, value in ((_RATE, voice.rate), (_VOLUME, voice.volume), (_PITCH, voice.pitch)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._blocks, self._events = [], []
        encoded = text.encode()
        failed = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, _CHARS_UTF8, None, None
        )
        wav = np.frombuffer(b"".join(self._blocks), dtype=np.int16)
        if failed or not len(wav):
            raise DependencyError(f"espeak-ng gave no sound for {text!r}; install espeakng-loader again")
        return wav, self._events


def label_phonemes(wav: NDArray[np.int16], events: list[PhonemeEvent]) -> list[Label]:
    """Turn phoneme events into labels that cover the whole recording.

    Parameters
    ----------
    wav : int16 array, shape (T,), ESPEAK_RATE
    events : list of PhonemeEvent

    Returns
    -------
    labels : list of (start_s, end_s, phoneme)
        Without gaps, from 0 to the recording's end; neighbouring pauses are one.
    """
    starts, phonemes = [0], [SILENCE]
    for event in events:
        # espeak-ng makes a stop's closure, 45 ms of zeros, before the event that announces the stop. As in hand-made
        # alignments it belongs to the stop: zeros that end a sound go to the next one.
        start, end = event.start, min(event.start, len(wav))
        while phonemes[-1] != SILENCE and end > starts[-1] and wav[end - 1] == 0:
            end -= 1
        # Shorter runs are the waveform passing through zero; a sound of zeros alone (glottal stop) keeps them.
        if start - end > 10 and end > starts[-1]:
            start = end
        phoneme = from_espeak(event.mnemonic)
        if phonemes[-1] == phoneme == SILENCE:
            continue
        starts.append(start)
        phonemes.append(phoneme)
    times = [start / ESPEAK_RATE for start in (*starts, len(wav))]
    return [(start, end, phoneme) for start, end, phoneme in zip(times, times[1:], phonemes) if end > start]


def speak_voice(folder: Path, voice: EspeakVoice, duration_s: float, sample_rate: int, seed: int) -> dict[str, float]:
    """Write one voice's sentences, their text and their labels under `folder`, at least `duration_s` in all."""
    espeak = Espeak(seed)
    spoken_s, number = 0.0, 0
    while spoken_s < duration_s:
        number += 1
        shared = number % SHARED_EVERY == 1
        text = make_sentence(seed, f"{number}" if shared else f"{voice.name}/{number}")
        wav, events = espeak.speak(text, voice)
        labels = label_phonemes(wav, events)
        # Resampling at HQ has no delay: times in seconds stay as they are.
        speech = resampled(wav.astype("float32") / 32768, ESPEAK_RATE, sample_rate)
        name = f"{voice.name}_{number:04d}"
        save_audio(folder / "wav" / voice.name / f"{name}.wav", speech, sample_rate)
        lines = "".join(f"{start:.6f}\t{end:.6f}\t{phoneme}\n" for start, end, phoneme in labels)
        for kind, suffix, content in (("text", "txt", f"{text}\n"), ("labels", "tsv", lines)):
            file = folder / kind / voice.name / f"{name}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8", newline="\n")
        spoken_s += len(wav) / ESPEAK_RATE
    return {"utterances": number, "duration_s": round(spoken_s, 3)}


def start_job(folder: Path, voice: EspeakVoice, duration_s: float, sample_rate: int, seed: int) -> dict[str, float]:
    """Run `speak_voice` in a fresh process and wait for it.

    Raises
    ------
    VQSpeechError
        If the process fails, with the last line that it wrote.
    """
    import os
    import subprocess

    job = {"folder": str(folder), "voice": asdict(voice), "duration_s": duration_s}
    job |= {"sample_rate": sample_rate, "seed": seed}
    package = str(Path(__file__).resolve().parents[2])  # found there also where vqspeech is not installed
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(job)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"it ended with exit code {done.returncode}"]
        raise VQSpeechError(f"speaking voice {voice.name!r} failed: {reason[0]}")
    return json.loads(done.stdout)


def _run_job(job: dict[str, Any]) -> None:
    voice = EspeakVoice(**job.pop("voice"))
    print(json.dumps(speak_voice(Path(job.pop("folder")), voice, **job)))


if __name__ == "__main__":
    try:
        _run_job(json.loads(sys.argv[1]))
    except (VQSpeechError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
