"""One table of how each source of phone times names the 41 classes that codes are scored against [VQ-VAE §4.3].

The classes are the 39 ARPAbet phonemes of the CMU dictionary, silence and other. The embedded corpus's exact times
come in espeak-ng's mnemonics; the Montreal Forced Aligner writes ARPAbet with stress digits (`english_us_arpa`) or IPA
(`english_mfa`); PocketSphinx writes ARPAbet and fillers between plus signs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vqspeech.data.phonemes import ESPEAK, OTHER, PHONEMES, SILENCE, Label, from_arpabet
from vqspeech.evaluation.figures.types import Table
from vqspeech.units.phones import Phone, frame_labels

# IPA of MFA's english_mfa, without the marks of length, aspiration, palatalisation and the like, which leave the class.
_IPA = {
    "AA": "ɑ ɒ", "AE": "æ a", "AH": "ɐ ə ʌ", "AO": "ɔ ɒː", "AW": "aw", "AY": "aj", "B": "b", "CH": "tʃ", "D": "d",
    "DH": "ð", "EH": "ɛ", "ER": "ɚ ɝ ɜ", "EY": "ej e", "F": "f", "G": "ɡ g ɟ", "HH": "h ç", "IH": "ɪ", "IY": "i",
    "JH": "dʒ", "K": "k c", "L": "l ɫ ʎ", "M": "m ɱ", "N": "n ɲ", "NG": "ŋ", "OW": "ow əw o", "OY": "ɔj", "P": "p",
    "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t ɾ", "TH": "θ", "UH": "ʊ", "UW": "u ʉ", "V": "v", "W": "w", "Y": "j",
    "Z": "z", "ZH": "ʒ", OTHER: "ʔ",
}  # fmt: skip
_CLASS_OF_IPA = {symbol: name for name, symbols in _IPA.items() for symbol in symbols.split()}
_FILLERS = "spn +NSN+ +SPN+"  # spoken noise, unknown words
_PAUSES = ("pau", "h#", "#")  # of festival and TIMIT


def class_of(name: str) -> str:
    """Name the class of a phone as MFA or PocketSphinx writes it; what is not in the table is OTH.

    Examples
    --------
    >>> [class_of(name) for name in ("AH0", "sil", "<sil>", "spn", "+NSN+", "pʰ", "iː", "ɒː", "aj")]
    ['AH', 'SIL', 'SIL', 'OTH', 'OTH', 'P', 'IY', 'AO', 'AY']
    """
    plain = name.strip().removeprefix("<").removesuffix(">")
    found = from_arpabet(plain)
    if plain.lower() in _PAUSES:
        return SILENCE
    if found != OTHER:
        return found
    symbol = unicodedata.normalize("NFC", plain)
    if symbol in _CLASS_OF_IPA:
        return _CLASS_OF_IPA[symbol]
    # Modifier letters (ʰ ʲ ʷ ː) and combining marks (̩ ̪ ̃) go; ç is a letter with a cedilla, and was looked up whole.
    base = "".join(letter for letter in symbol if unicodedata.category(letter) not in ("Lm", "Mn"))
    return _CLASS_OF_IPA.get(base, OTHER)


def label_frames(labels: Sequence[Label], num_frames: int, code_rate: float) -> NDArray[np.int64]:
    """The class at each code frame's centre, as a position in `PHONEMES`, shape (N,); outside all labels is silence."""
    phones = [Phone(start_s, end_s, from_arpabet(name)) for start_s, end_s, name in labels]
    return frame_labels(phones, PHONEMES, num_frames, code_rate)


def table() -> Table:
    """The table: a row for each of the 41 classes, in their order, with its names in every source."""
    rows = []
    for name in PHONEMES:
        arpabet = f"{name}, with 0, 1 or 2 on vowels" if _is_vowel(name) else name
        if name == SILENCE:
            arpabet = "sil sp <sil> pau h# (empty)"
        if name == OTHER:
            arpabet = f"{_FILLERS}, all others"
        espeak = ESPEAK.get(name, "all others, such as ?")
        rows.append((name, espeak, arpabet, _IPA.get(name, "sil sp (empty)")))
    return Table("phone classes", ("class", "espeak-ng", "CMUdict, MFA ARPAbet, PocketSphinx", "MFA IPA"), tuple(rows))


def _is_vowel(name: str) -> bool:
    """Whether the CMU dictionary marks its stress: those that begin with a vowel's letter."""
    return name not in (SILENCE, OTHER) and name[0] in "AEIOU"
