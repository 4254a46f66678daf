"""PocketSphinx, offline: the times of a text's phones, the likeliest of few texts, and the cost of any text.

The acoustic model and the dictionary (US English, 16 kHz) come with the package. Beams are off: a poor conversion
should get a poor score, not none.
"""

# T samples, F frames of 10 ms, Q states (senones) of the acoustic model.
from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import resampled, to_int16
from vqspeech.data.corpora import DIGITS
from vqspeech.data.phonemes import SILENCE, Label
from vqspeech.errors import DependencyError
from vqspeech.evaluation.tools.phone_classes import class_of

RATE = 16000  # Hz, of the acoustic model
FRAME_S = 0.01
# Frame n hears a window of 25.6 ms from 10 n ms on; the boundary of two frames lies halfway between their centres.
_BOUNDARY_S = 0.0256 / 2 - FRAME_S / 2
_SHORTEST_S = 0.1
_NOTHING_LEFT_OUT = {"lm": None, "bestpath": False, "beam": 0.0, "pbeam": 0.0, "wbeam": 0.0}

Words = tuple[str, ...]


def words_of(text: str) -> Words:
    """The words of a text as the dictionary writes them: lower case, no punctuation but the apostrophe; single digits
    as words.

    Examples
    --------
    >>> words_of("Didn't you put 2 -- 'quotes'?")
    ("didn't", 'you', 'put', 'two', 'quotes')
    """
    found = re.findall(r"\w+(?:'\w+)*", text.lower().replace("’", "'"))
    return tuple(DIGITS[int(word)] if len(word) == 1 and word in "0123456789" else word for word in found)


def to_pcm(wav: NDArray[np.floating], sample_rate: int) -> bytes:
    """16-bit samples at 16 kHz; what is not finite becomes silence.

    Parameters
    ----------
    wav : float array, shape (T,), in [-1, 1]
    """
    heard = np.nan_to_num(np.asarray(wav, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return to_int16(np.clip(resampled(heard, sample_rate, RATE), -1, 1)).astype("<i2").tobytes()


def make_decoder(**options: Any) -> Any:
    """A PocketSphinx decoder.

    Raises
    ------
    DependencyError
        If pocketsphinx is not installed.
    """
    try:
        from pocketsphinx import Decoder

        return Decoder(loglevel="FATAL", **options)
    except Exception as reason:  # a compiled part that does not load raises other errors than ImportError
        raise DependencyError(
            f"PocketSphinx does not load ({type(reason).__name__}). Install it: pip install 'vqspeech[evaluate]'"
        ) from reason


def play(decoder: Any, pcm: bytes) -> None:
    """Let a decoder hear a whole recording."""
    decoder.reinit_feat()  # else what was heard before changes what is heard now
    decoder.start_utt()
    try:
        decoder.process_raw(pcm, full_utt=True)
    finally:
        decoder.end_utt()


class Sphinx:
    """Forced alignment and closed grammars.

    Raises
    ------
    DependencyError
        If pocketsphinx is not installed.
    """

    def __init__(self) -> None:
        self._decoder = make_decoder(**_NOTHING_LEFT_OUT)
        self._grammar: dict[str, Words] = {}

    def unknown(self, words: Sequence[str]) -> list[str]:
        """Words that the dictionary lacks, in their order."""
        return [word for word in dict.fromkeys(words) if self._decoder.lookup_word(word) is None]

    def align(self, words: Words, pcm: bytes) -> list[Label] | None:
        """Times of the phones of a text, pauses included.

        Parameters
        ----------
        words : all in the dictionary
        pcm : from `to_pcm`

        Returns
        -------
        labels : (start_s, end_s, class) without gaps from 0 on; None where the recording is too short for the text
        """
        states = self._states(words, pcm)
        if states is None:
            return None
        labels: list[Label] = []
        for _, phone, start, end, _ in states:
            from_s = start * FRAME_S + _BOUNDARY_S if labels else 0.0
            labels.append((from_s, end * FRAME_S + _BOUNDARY_S, class_of(phone)))
        return labels

    def word_states(self, words: Words, pcm: bytes) -> list[list[int]] | None:
        """The senones of each word of a text, pauses left out, in the pronunciations that this recording chooses."""
        states = self._states(words, pcm)
        if states is None:
            return None
        found: list[list[int]] = [[] for _ in words]
        for word, phone, _, _, senones in states:
            if word is not None and class_of(phone) != SILENCE:
                found[word] += senones
        return found if all(found) else None

    def silence_states(self) -> list[int]:
        """The senones of a pause."""
        noise = np.random.default_rng(0).normal(0, 3, RATE).astype("<i2").tobytes()
        for _, phone, _, _, senones in self._states(("a",), noise) or []:
            if class_of(phone) == SILENCE:
                return senones
        raise AssertionError("a second of noise was aligned without a pause")

    def _states(self, words: Words, pcm: bytes) -> list[tuple[int | None, str, int, int, list[int]]] | None:
        """(position of the word, phone, first frame, end frame, senones) of each phone; None for a pause's word."""
        decoder = self._decoder
        if not words or len(pcm) < 2 * _SHORTEST_S * RATE:
            return None
        try:
            decoder.set_align_text(" ".join(words))
            play(decoder, pcm)
            if decoder.hyp() is None:
                return None
            decoder.set_alignment()
            play(decoder, pcm)
        except RuntimeError:  # fewer frames than states
            return None
        found: list[tuple[int | None, str, int, int, list[int]]] = []
        number = -1
        for word in decoder.get_alignment():
            pause = word.name.startswith(("<", "[", "+"))
            number += not pause
            for phone in word:
                senones = [int(state.name) for state in phone]
                found.append(
                    (None if pause else number, phone.name, phone.start, phone.start + phone.duration, senones)
                )
        return found if found and number == len(words) - 1 else None

    def listen_for(self, texts: Sequence[Words]) -> None:
        """Choose the texts that `choose` knows: distinct, all words in the dictionary."""
        transitions: list[tuple[int, int, float, str]] = []
        free = 2
        for text in texts:
            states = [0, *range(free, free + len(text) - 1), 1]
            free += len(text) - 1
            for place, word in enumerate(text):
                share = 1 / len(texts) if place == 0 else 1.0
                transitions.append((states[place], states[place + 1], share, word))
        name = f"texts{len(self._grammar)}"
        self._grammar = {" ".join(text): text for text in texts}
        self._decoder.add_fsg(name, self._decoder.create_fsg(name, 0, 1, transitions))
        self._listening = name

    def choose(self, pcm: bytes) -> Words | None:
        """The likeliest of the texts of `listen_for`; None where the recording fits none."""
        if len(pcm) < 2 * _SHORTEST_S * RATE:
            return None
        self._decoder.activate_search(self._listening)
        play(self._decoder, pcm)
        heard = self._decoder.hyp()
        return None if heard is None else self._grammar.get(heard.hypstr.strip())


class Senones:
    """How badly each frame of a recording fits each state of the acoustic model; PocketSphinx tells by way of a file.

    Examples
    --------
    >>> with Senones() as senones:
    ...     senones.costs(to_pcm(np.zeros(RATE), RATE)).shape
    (99, 5126)
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vqspeech-")
        # All states in every frame, so that each frame's costs count from the same best one, whatever is searched for.
        self._decoder = make_decoder(compallsen=True, senlogdir=self._folder.name, **_NOTHING_LEFT_OUT)
        self._decoder.set_align_text("a")

    def __enter__(self) -> Senones:
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def costs(self, pcm: bytes) -> NDArray[np.int32] | None:
        """Costs in units of 1024 ln 1.0001, 0 for a frame's best state: (F, Q); None for less than 0.1 s."""
        if len(pcm) < 2 * _SHORTEST_S * RATE:
            return None
        play(self._decoder, pcm)
        (path,) = Path(self._folder.name).glob("*.sen")
        content = path.read_bytes()
        path.unlink()
        # A header of lines, a byte-order mark of 4 bytes, then for each frame the number of states and their costs.
        start = content.index(b"endhdr\n") + len(b"endhdr\n") + 4
        values = np.frombuffer(content, "<i2", offset=start)
        return values.reshape(-1, int(values[0]) + 1)[:, 1:].astype(np.int32)
