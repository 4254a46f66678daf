"""What listeners are asked, in words; the page, webMUSHRA and the CSV all take them from here."""

from __future__ import annotations

from dataclasses import dataclass

from vqspeech.listening.key import Kind


@dataclass(frozen=True)
class Question:
    """The words of one kind of test.

    Attributes
    ----------
    title, instructions : heading and paragraphs before the trials
    question : asked on each page
    labels : of the answers: (value, words), best first; for "mushra" the names of its five intervals
    """

    title: str
    instructions: tuple[str, ...]
    question: str
    labels: tuple[tuple[str, str], ...]


QUESTIONS: dict[Kind, Question] = {
    # The scale of absolute category rating, ITU-T P.800 and P.808.
    "mos": Question(
        "How natural does it sound?",
        (
            "You will hear short recordings of speech. Some were spoken by people, some were made by a computer.",
            "Rate how natural each one sounds, as if a person were speaking. What is said does not matter.",
        ),
        "How natural is this recording?",
        (("5", "Excellent"), ("4", "Good"), ("3", "Fair"), ("2", "Poor"), ("1", "Bad")),
    ),
    # The scale of the Voice Conversion Challenges.
    "similarity": Question(
        "Is it the same speaker?",
        (
            "You will hear two recordings on each page. They say different things, and one may sound distorted.",
            "Decide whether both could have been spoken by the same person. Try to listen beyond the distortion.",
        ),
        "Could recordings 1 and 2 have been spoken by the same person?",
        (
            ("4", "Same, absolutely sure"),
            ("3", "Same, not sure"),
            ("2", "Different, not sure"),
            ("1", "Different, absolutely sure"),
        ),
    ),
    "abx": Question(
        "Who is speaking?",
        (
            "You will hear three recordings on each page: A and B are two speakers, X is one you are asked about.",
            "Decide whether the voice of X is that of A or of B. X may sound distorted, and says something else.",
        ),
        "Whose voice is X?",
        (("A", "A"), ("B", "B")),
    ),
    "preference": Question(
        "Which sounds more natural?",
        (
            "You will hear two recordings of the same words on each page.",
            "Choose the one that sounds more natural, as if a person were speaking.",
        ),
        "Which recording sounds more natural?",
        (("A", "A"), ("B", "B"), ("", "No preference")),
    ),
    # The continuous quality scale of ITU-R BS.1534.
    "mushra": Question(
        "How close is it to the reference?",
        (
            "On each page you will hear a reference and several versions of it. One version is the reference itself.",
            "Rate the quality of each version compared with the reference, from 0 to 100. Give 100 to the one that "
            "you think is the reference itself. Listen as often as you like before you go on.",
        ),
        "How good is each version, compared with the reference?",
        (("100", "Excellent"), ("80", "Good"), ("60", "Fair"), ("40", "Poor"), ("20", "Bad")),
    ),
}

CONSENT = (
    "Taking part is voluntary, and you can stop at any time by closing this page.",
    "Stored are your answers, how long each took, and a random number in place of your name. Nothing else about you is "
    "asked for or kept. Please write nothing personal into comments.",
    "The answers are used to compare methods of speech processing, and may be published.",
)
