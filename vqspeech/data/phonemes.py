"""The 41 phoneme classes, and where espeak-ng's English sounds fall among them.

Classes are the 39 ARPAbet phonemes of the CMU dictionary (stress left out), SIL for pauses and OTH for the rest: the
41 classes that [VQ-VAE §4.3] scores codes against.
"""

from __future__ import annotations

ARPABET = tuple(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()
)
SILENCE = "SIL"
OTHER = "OTH"
PHONEMES = (*ARPABET, SILENCE, OTHER)

Label = tuple[float, float, str]  # start_s, end_s, phoneme

# espeak-ng's mnemonics of the voice en-us. What it makes as one sound gets one class: r-coloured vowels (`A@`, "car")
# keep the vowel's, syllabic consonants (`@L`, "little") the consonant's, flaps (`t#`, "city") are T. The glottal stop
# (`?`, "button") has no ARPAbet phoneme and is left to OTH.
ESPEAK = {
    "AA": "A: A@ 0",
    "AE": "a aa",
    "AH": "V @ @2 @5 @- a#",
    "AO": "O: O O2 O@ o@",
    "AW": "aU aU@",
    "AY": "aI aI@ aI3",
    "B": "b",
    "CH": "tS",
    "D": "d",
    "DH": "D",
    "EH": "E e@",
    "ER": "3 3:",
    "EY": "eI",
    "F": "f",
    "G": "g",
    "HH": "h",
    "IH": "I I2 I# i@3",
    "IY": "i: i i@",
    "JH": "dZ",
    "K": "k",
    "L": "l @L",
    "M": "m m-",
    "N": "n n-",
    "NG": "N",
    "OW": "oU",
    "OY": "OI",
    "P": "p",
    "R": "r r-",
    "S": "s",
    "SH": "S",
    "T": "t t# t2",
    "TH": "T",
    "UH": "U U@",
    "UW": "u: u",
    "V": "v",
    "W": "w",
    "Y": "j ;",
    "Z": "z",
    "ZH": "Z",
    SILENCE: "_ _: _| _! __",
}
_PHONEME_OF = {mnemonic: phoneme for phoneme, mnemonics in ESPEAK.items() for mnemonic in mnemonics.split()}


def from_espeak(mnemonic: str) -> str:
    """Name the class of an espeak-ng phoneme mnemonic; stress marks before it are ignored.

    Examples
    --------
    >>> from_espeak("'aI"), from_espeak("_:"), from_espeak("?")
    ('AY', 'SIL', 'OTH')
    """
    return _PHONEME_OF.get(mnemonic.lstrip("',%="), OTHER)


def from_arpabet(name: str) -> str:
    """Name the class of a phoneme as forced aligners write it: stress digits fall away, empty marks are silence.

    Examples
    --------
    >>> from_arpabet("ah0"), from_arpabet("sp"), from_arpabet("spn")
    ('AH', 'SIL', 'OTH')
    """
    plain = name.strip().upper().rstrip("012")
    if plain in ("", "SP", SILENCE):
        return SILENCE
    return plain if plain in ARPABET else OTHER
