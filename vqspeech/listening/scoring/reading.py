"""Reading a listening test's results: every answer is checked against the key before any is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vqspeech.errors import ListeningTestError
from vqspeech.files import find_files
from vqspeech.listening.answers import FORMAT, Results
from vqspeech.listening.key import KEY_SUFFIX, Key, first_error, read_json, read_key
from vqspeech.listening.kinds import find_mistake

REMEDY = "Take the listener's download again, or remove the file"


@dataclass(frozen=True)
class Returned:
    """What came back from listeners: one `Results` each, the key, and notes on the files."""

    key: Key
    results: tuple[Results, ...]
    notes: tuple[str, ...]


def read_returned(sources: Sequence[Path], key_path: Path | None = None) -> Returned:
    """Read result files, or all below folders, and the key that they belong to.

    Raises
    ------
    ListeningTestError
        If there are none, if one is damaged or belongs to another test, if an answer is not one that the test allows,
        if a listener's files contradict each other, or if the key is not found.
    """
    notes: list[str] = []
    found: list[tuple[Path, Results]] = []
    for source in sources:
        if not source.exists():
            raise ListeningTestError(f"{source} does not exist. Give the results' files, or a folder of them")
        if source.is_dir():
            paths = [path for path in find_files(source, {".json"}) if not path.name.endswith(KEY_SUFFIX)]
            read = [(path, _read(path)) for path in paths]
            foreign = [str(path) for path, results in read if results is None]
            if foreign:
                notes.append(f"not results, left out: {', '.join(foreign)}")
            found += [(path, results) for path, results in read if results is not None]
        else:
            results = _read(source)
            if results is None:
                raise ListeningTestError(
                    f'{source} has no "format": "{FORMAT}". Give files that the test\'s page wrote'
                )
            found.append((source, results))
    if not found:
        raise ListeningTestError(
            f"no results in {', '.join(map(str, sources))}. Put the files there that listeners downloaded "
            '(JSON with "format": "' + FORMAT + '")'
        )
    _same_test(found)
    kept = _one_each(found, notes)
    key = read_key(key_path) if key_path else _find_key(found[0][1].test, [path for path, _ in found])
    for path, results in kept:
        _check(path, results, key)
    silent = [results.listener for _, results in kept if not results.consented]
    if silent:
        notes.append(f"no consent is recorded for: {', '.join(silent)}")
    return Returned(key, tuple(results for _, results in kept), tuple(notes))


def _read(path: Path) -> Results | None:
    """The results in a file; None if it is whole JSON of something else."""
    values = read_json(path, "Check its permissions", REMEDY)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        return None
    try:
        return Results.model_validate(values)
    except ValidationError as invalid:
        raise ListeningTestError(f"{path} is damaged or was edited: {first_error(invalid)}. {REMEDY}") from None


def _same_test(found: Iterable[tuple[Path, Results]]) -> None:
    tests: dict[str, Path] = {}
    for path, results in found:
        tests.setdefault(results.test, path)
    if len(tests) > 1:
        seen = ", ".join(f"{test} ({path})" for test, path in tests.items())
        raise ListeningTestError(f"these are results of {len(tests)} tests: {seen}. Score each test by itself")


def _one_each(found: Iterable[tuple[Path, Results]], notes: list[str]) -> list[tuple[Path, Results]]:
    """One file a listener: the same twice counts once, the longer replaces an earlier state, others contradict."""
    kept: dict[str, tuple[Path, Results]] = {}
    for path, results in found:
        if results.listener not in kept:
            kept[results.listener] = path, results
            continue
        other_path, other = kept[results.listener]
        if path.resolve() == other_path.resolve():
            continue  # the same file, named twice
        longer, shorter = (results, other) if len(results.answers) > len(other.answers) else (other, results)
        if (longer.place, longer.kind) != (shorter.place, shorter.kind) or not _is_within(shorter, longer):
            raise ListeningTestError(
                f"{other_path} and {path} are both of listener {results.listener} and contradict each other. Keep the "
                "one that is right"
            )
        kept[results.listener] = (path if longer is results else other_path), longer
        same = len(longer.answers) == len(shorter.answers)
        notes.append(
            f"listener {results.listener} is there twice, in {other_path} and {path}: "
            + ("the same answers, counted once" if same else "the one with more answers counts")
        )
    return list(kept.values())


def _is_within(shorter: Results, longer: Results) -> bool:
    answers = {answer.trial: answer for answer in longer.answers}
    return all(answers.get(answer.trial) == answer for answer in shorter.answers)


def _find_key(test: str, paths: Sequence[Path]) -> Key:
    """The key of a test, beside its results or in a folder above them."""
    places = dict.fromkeys(folder for path in paths for folder in path.resolve().parents)
    seen = []
    for folder in places:
        try:
            candidates = sorted(folder.glob(f"*{KEY_SUFFIX}"))
        except OSError:
            continue
        for candidate in candidates:
            try:
                key = read_key(candidate)
            except ListeningTestError:
                seen.append(candidate)
                continue
            if key.test == test:
                return key
            seen.append(candidate)
    raise ListeningTestError(
        f"no key of test {test} (*{KEY_SUFFIX}) lies beside the results or above them"
        + (f"; {', '.join(map(str, seen[:3]))} is not it" if seen else "")
        + ". Name the one that `vqspeech listening-test export` wrote beside the test's folder with --key"
    )


def _check(path: Path, results: Results, key: Key) -> None:
    if results.test != key.test:
        raise ListeningTestError(
            f"{path} belongs to test {results.test}, the key to test {key.test}. Give the key of that test with --key"
        )
    if results.kind != key.kind:
        raise ListeningTestError(f'{path} says kind "{results.kind}", the key "{key.kind}". {REMEDY}')
    if results.place >= len(key.orders):
        raise ListeningTestError(f"{path}: place {results.place} is not among the test's {len(key.orders)}. {REMEDY}")
    seen = set()
    for answer in results.answers:
        if answer.trial not in key.trials:
            raise ListeningTestError(f"{path}: the test has no trial {answer.trial}. {REMEDY}")
        if answer.trial in seen:
            raise ListeningTestError(f"{path}: trial {answer.trial} is answered twice. {REMEDY}")
        seen.add(answer.trial)
        if mistake := find_mistake(answer, key):
            raise ListeningTestError(f"{path}: trial {answer.trial}: {mistake}. {REMEDY}")
