"""Which voices and which words are weak: the trials of all sections by target, source, pair of sexes, and word.

Nothing is heard again: the samples that the sections keep are sorted into groups. A mean over all trials hides a voice
that nobody recognises, and a digit that is mostly heard as another.
"""

from __future__ import annotations

import fnmatch
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vqspeech.evaluation.figures.confusion import tabulate
from vqspeech.evaluation.figures.statistics import STATISTICS, Sample, figure
from vqspeech.evaluation.figures.together import HEARD_AS_TARGET, IN_VOICE
from vqspeech.evaluation.figures.types import Evaluation, Figure, Picture, Section, Table
from vqspeech.evaluation.report.sections import show

TITLE = "Weak voices and words"
MOST_WORDS = 20  # different texts of a corpus that counts as closed
FEW = 5  # trials: a group of fewer is listed last, since chance alone may make it the weakest
SHOWN = 3  # groups that a sentence names as the weakest


@dataclass(frozen=True)
class Column:
    """A quantity of conversions; of the patterns of figures' names the first that was measured is taken."""

    name: str
    figures: tuple[str, ...]


_CONTENT = ("right word,", "right text,", "true transcript")  # judges of content: a closed corpus's own first
COLUMNS = (
    Column("right words", tuple(f"{kind} *: conversions" for kind in _CONTENT)),
    Column("heard as target", (HEARD_AS_TARGET,)),
    Column("both right", tuple(f"{kind} *{IN_VOICE}" for kind in _CONTENT)),
    Column("word errors", ("word error rate, *: conversions",)),
    Column("similarity to target", ("similarity to the target",)),
    Column("DistillMOS", ("DistillMOS: conversions",)),
)
# By what the groups are ordered, the first that there is.
_RANKED_BY = ("both right", "word errors", "right words", "heard as target", "similarity to target", "DistillMOS")


@dataclass(frozen=True)
class Attributed:
    """One sample of a figure, and whose it is; a passage has several sources and texts.

    Attributes
    ----------
    sample : as `statistics.figure` takes it
    sources, target, texts : of what was heard
    """

    sample: Sample
    sources: frozenset[str]
    target: str
    texts: frozenset[str]


def break_down(sections: Sequence[Section], evaluation: Evaluation) -> Section | None:
    """Tables of conversions to another voice: by target, source, pair of sexes, word, and the words heard for each.

    Parameters
    ----------
    sections : with their figures' samples, as measured or as kept; that of `together.both_right` among them

    Returns
    -------
    section : None where no figure of `COLUMNS` was measured
    """
    measured = {one.name: one for section in sections for one in section.figures if one.is_measured and one.samples}
    chosen = {column.name: found for column in COLUMNS if (found := _first(column, measured))}
    judged = {name: _attribute(found, evaluation) for name, found in chosen.items()}
    judged = {name: own for name, own in judged.items() if own}
    if not judged:
        return None
    tables: list[Table] = []
    notes = [
        "the same trials as above, sorted into groups, the weakest first; n is the number of conversions, and "
        f"stands in brackets where a judge heard another number. Groups of fewer than {FEW} are listed last. "
        + "; ".join(f"{name}: {chosen[name].name}" for name in judged)
    ]
    notes += _confounded(evaluation)
    for title, group in _groups(evaluation):
        table, weakest = _tabulate(title, group, judged, chosen, evaluation)
        if table:
            tables.append(table)
            notes += [weakest] if weakest else []
    confused = [drawn for name, found in chosen.items() if (drawn := _confusions(name, found, evaluation))]
    tables += [table for table, _ in confused]
    pictures = [picture for _, picture in confused]
    return Section(TITLE, (), tuple(notes), tuple(tables), tuple(pictures))


def _confounded(evaluation: Evaluation) -> list[str]:
    """A note where not every voice is converted to every other: then one weak voice weakens its partners' rows."""
    pairs = {(trial.speaker, trial.target) for trial in evaluation.trials if trial.speaker != trial.target}
    sources, targets = {source for source, _ in pairs}, {target for _, target in pairs}
    possible = sum(source != target for source in sources for target in targets)
    if len(pairs) == possible:
        return []
    return [
        f"{len(pairs)} of {possible} pairs of voices occur: a weak target shows in the rows of its sources too, and "
        "the other way round. --pairs all has every pair"
    ]


def _confusions(name: str, found: Figure, evaluation: Evaluation) -> tuple[Table, Picture] | None:
    """Said by heard, or target by heard, of a judge that named what it heard."""
    texts = {trial.utterance: _text(trial.text) for trial in evaluation.trials}
    is_voice = name == "heard as target"
    pairs = [
        (target if is_voice else texts[utterance], heard)
        for heard, speaker, utterance, target in found.answers
        if speaker != target and utterance in texts
    ]
    what = "voice" if is_voice else "word"
    return tabulate(f"{what.capitalize()}s asked for and heard: {found.name}", what, pairs) if pairs else None


def _first(column: Column, figures: dict[str, Figure]) -> Figure | None:
    for pattern in column.figures:
        for name, found in figures.items():
            if fnmatch.fnmatchcase(name, pattern) and found.statistic in STATISTICS:
                return found
    return None


def _attribute(found: Figure, evaluation: Evaluation) -> list[Attributed]:
    """Whose each sample is; those of unknown trials, and of a speaker's own voice, are left out."""
    trials = {(trial.speaker, trial.utterance, trial.target): trial for trial in evaluation.trials}
    sayings = {trial.utterance: (trial.speaker, _text(trial.text)) for trial in evaluation.trials}
    targets = {trial.target for trial in evaluation.trials}
    judged = []
    for sample in found.samples:
        _, first, *rest = sample
        if len(rest) < 2:
            continue
        if (first, rest[0], rest[1]) in trials:
            sources, target, texts = {first}, rest[1], {sayings[rest[0]][1]}
        else:  # a passage: its target, its name, its utterances
            said = [sayings[name] for name in str(rest[1]).split() if name in sayings]
            if first not in targets or not said:
                continue
            sources, target, texts = {who for who, _ in said}, first, {text for _, text in said}
        if sources != {target}:
            judged.append(Attributed(sample, frozenset(sources), target, frozenset(texts)))
    return judged


def _text(text: str | None) -> str:
    from vqspeech.evaluation.tools.sphinx import words_of

    return " ".join(words_of(text or ""))


Group = Callable[[Attributed], str | None]


def _groups(evaluation: Evaluation) -> Iterable[tuple[str, Group]]:
    """What tables there are, and to which row a sample belongs; to none if None."""
    sexes = evaluation.sexes

    def sexes_of(one: Attributed) -> str | None:
        kinds = {sexes.get(name) for name in one.sources}
        if len(kinds) != 1 or None in kinds or one.target not in sexes:
            return None
        return f"{kinds.pop()} to {sexes[one.target]}"

    yield "target voice", lambda one: one.target
    yield "source voice", lambda one: _only(one.sources)
    if sexes:
        yield "sexes", sexes_of
    texts = {_text(trial.text) for trial in evaluation.trials} - {""}
    if 2 <= len(texts) <= MOST_WORDS:
        yield "word", lambda one: _only(one.texts) or None


def _only(names: frozenset[str]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None


def _tabulate(
    title: str, group: Group, judged: dict[str, list[Attributed]], chosen: dict[str, Figure], evaluation: Evaluation
) -> tuple[Table | None, str]:
    """The table of one grouping, and a sentence on its weakest rows; None where there are not two rows."""
    cells: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for name, own in judged.items():
        for one in own:
            row = group(one)
            if row is not None:
                cells[row][name].append(one.sample)
    columns = [name for name in judged if any(name in row for row in cells.values())]
    if len(cells) < 2:
        return None, ""
    ranked_by = next(name for name in _RANKED_BY if name in columns)
    values = {
        row: {name: _measure(own[name], chosen[name], evaluation.seed, name == ranked_by) for name in own}
        for row, own in cells.items()
    }
    counts = {row: max(found.count for found in own.values()) for row, own in values.items()}
    order = sorted(cells, key=lambda row: (counts[row] < FEW, _praise(values[row].get(ranked_by)), row))
    rows = [(row, str(counts[row]), *(_cell(values[row].get(name), counts[row]) for name in columns)) for row in order]
    header = (title, "n", *(f"{name} [95 %]" if name == ranked_by else name for name in columns))
    table = Table(f"Conversions by {title}", header, tuple(rows))
    firm = [row for row in order if counts[row] >= FEW and ranked_by in values[row]][:SHOWN]
    named = ", ".join(f"{row} {show(values[row][ranked_by], interval=False)}" for row in firm)
    return table, f"weakest by {title} ({ranked_by}): {named}" if firm else ""


def _measure(samples: Sequence[Sample], like: Figure, seed: int, with_interval: bool) -> Figure:
    """A group's value by the whole figure's own statistic; intervals take time, and one a row is enough."""
    if with_interval:
        return figure(
            like.name, samples, seed=seed, unit=like.unit, statistic=like.statistic,
            higher_is_better=like.higher_is_better,
        )  # fmt: skip
    value = float(STATISTICS[like.statistic](np.array([sample[0] for sample in samples])))
    return Figure(like.name, value, unit=like.unit, count=len(samples), higher_is_better=like.higher_is_better)


def _praise(found: Figure | None) -> float:
    """The better, the higher; what was not measured is no weakness."""
    if found is None or not found.is_measured:
        return math.inf
    return found.goodness


def _cell(found: Figure | None, count: int) -> str:
    """A figure, and its number of trials where that is not the row's."""
    if found is None:
        return "–"
    return show(found) + (f" ({found.count})" if found.count != count else "")
