"""What a kind of listening test has to say of itself: words, pages, answers, figures, and its form in other tools."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from vqspeech.listening import KindName
from vqspeech.listening.answers import Answer
from vqspeech.listening.key import Key, ListeningTrial

SOURCE, TARGET, RECONSTRUCTION, ATTENTION = "source", "target", "reconstruction", "attention"
REFERENCE = "reference"  # a subfolder of sounds: what each of the others is compared with

Condition = tuple[str, ...]  # systems of one page, in the order shown; of "abx" the system of X and the speaker of A
PathOf = Callable[[str], str]  # from the blinded name of a sound to its path


class PageSound(NamedTuple):
    """A sound of an item.

    `form` is "" for the item as a system says it, "open" where listeners know it for the original, and "beside" for a
    real recording of the "source" or "target" speaker, of other words. In attention checks "copy" is the latter once
    more, or, of "attention", the most natural form of the item; "noise" has the rhythm of the item and no words.
    """

    system: str
    form: str = ""


CLEAN, NOISE = PageSound(ATTENTION, "copy"), PageSound(ATTENTION, "noise")


class Page(NamedTuple):
    """What stands on a page, see `ListeningTrial`, and what an attentive listener answers, see `Expected`."""

    rated: tuple[PageSound, ...]
    reference: PageSound | None = None
    ratings: Mapping[PageSound, tuple[float, float]] = {}
    choice: PageSound | None = None


class Observation(NamedTuple):
    """One judgement. `condition` is a system, or "a over b"; `value` a rating, or 1, 0.5, 0 of a choice."""

    condition: str
    listener: str
    item: str
    value: float
    sexes: str | None = None


class Kind(ABC):
    """One kind of test.

    Attributes
    ----------
    name : in files and on the command line
    title, instructions : heading and paragraphs before the trials
    question : asked on each page
    labels : of the answers: (value, words), best first; for "mushra" the names of its five intervals
    checks : pages that an attentive listener can only answer in one way, in turn
    scale : lowest and highest rating; None where answers are choices, whose scores are shares
    unit, short_title, axis, decimals : how the report and its picture word what is measured
    difference : that a test is usually asked to find: points of the scale, or a share above chance
    folders : subfolders of --stimuli that it cannot do without, and what they hold
    fewest_systems : that are judged
    example_lacks : what it needs and the sentences that come with vqspeech do not have
    has_original : each page shows the real recording, which is hidden among the rated sounds, with anchors, too
    is_paired : a judgement compares two systems
    """

    name: ClassVar[KindName]
    title: ClassVar[str]
    instructions: ClassVar[tuple[str, ...]]
    question: ClassVar[str]
    labels: ClassVar[tuple[tuple[str, str], ...]]
    checks: ClassVar[tuple[Page, ...]]
    scale: ClassVar[tuple[int, int] | None] = None
    unit: ClassVar[str]
    short_title: ClassVar[str]
    axis: ClassVar[str]
    decimals: ClassVar[int] = 1
    difference: ClassVar[float]
    folders: ClassVar[Mapping[str, str]] = {}
    fewest_systems: ClassVar[int] = 1
    example_lacks: ClassVar[str] = ""
    has_original: ClassVar[bool] = False
    is_paired: ClassVar[bool] = False

    @property
    def is_share(self) -> bool:
        """Whether scores are shares, of 0 to 1."""
        return self.scale is None

    @property
    def speakers(self) -> tuple[str, ...]:
        """Whose real recordings stand beside what is judged: "target", "source"."""
        return tuple(title for title in (TARGET, SOURCE) if title in self.folders)

    @property
    def answer_choices(self) -> str:
        """All answers in one cell of a table."""
        return "|".join(f"{value}={label}" if value != label else value for value, label in self.labels)

    def systems(self, models: Sequence[str], converts: bool) -> tuple[str, ...]:
        """What is judged where models speak: real speech, reconstructions, and each model's output by its name."""
        return (SOURCE, RECONSTRUCTION, *(models if converts else ()))

    def conditions(self, systems: Sequence[str]) -> list[Condition]:
        """Under which conditions an item can be heard."""
        return [(system,) for system in systems]

    def turned(self, condition: Condition) -> Condition:
        """The condition of a repeated page: a pair is the other way round."""
        return condition

    def page(self, condition: Condition) -> Page:
        """The page on which an item is judged under a condition; the same reference as in a check stands on it."""
        return Page(tuple(map(PageSound, condition)), self.checks[0].reference)

    @abstractmethod
    def webmushra(self, page: dict[str, Any], key: Key, trial: ListeningTrial, path: PathOf) -> dict[str, Any]:
        """webMUSHRA's configuration of a page, begun with its id, name and content; `path` is that of a sound."""

    @abstractmethod
    def mistake(self, trial: ListeningTrial, answer: Answer) -> str:
        """What this kind does not allow about an answer whose sounds are the trial's; "" if nothing."""

    @abstractmethod
    def observe(self, key: Key, trial: ListeningTrial, listener: str, answer: Answer) -> list[Observation]:
        """The judgements of systems in an answer."""

    def hidden_originals(self, key: Key, trial: ListeningTrial) -> list[str]:
        """Which of the rated sounds are the original that the page shows."""
        return []
