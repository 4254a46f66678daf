"""`vqspeech listening-test export`: from a model, or from a folder of sounds, to a test that can be opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.errors import ListeningTestError
from vqspeech.listening import KindName
from vqspeech.listening.design.folder import CONSENT, Addition, check_free, duration_s, write_folder
from vqspeech.listening.design.foreign import write_csv, write_webmushra
from vqspeech.listening.design.items import ItemSet, with_anchors
from vqspeech.listening.design.orders import whole_squares
from vqspeech.listening.design.trials import design_trials
from vqspeech.listening.key import Key
from vqspeech.listening.kinds import KINDS
from vqspeech.listening.kinds.base import Kind
from vqspeech.progress import Notify, ProgressCallback

if TYPE_CHECKING:
    from vqspeech.evaluation.trials.synthesis import Settings

TRIALS, LISTENERS = 20, 20
SPARE = 3  # items besides those of the trials: for the training and for attention checks, where the corpus has them
FORMATS: dict[str, Addition] = {"webmushra": write_webmushra, "csv": write_csv}
MOST_CONDITIONS = 12  # on a page of BS.1534


@dataclass(frozen=True)
class Exported:
    """A test as it was written; `minutes` is the sound that a listener hears at least once, without time to answer."""

    folder: Path
    key: Key
    systems: tuple[str, ...]
    minutes: float


def export(
    model: str | Path | None,
    *,
    kind: KindName,
    out: Path,
    data: Path | None = None,
    against: Sequence[str | Path] = (),
    stimuli: Path | None = None,
    example: bool = False,
    trials: int | None = None,
    listeners: int = LISTENERS,
    trained: bool = False,
    formats: Sequence[str] = (),
    title: str | None = None,
    consent: Path | None = None,
    seed: int = 0,
    num_threads: int | None = None,
    notify: Notify = lambda line: None,
    watch: ProgressCallback = lambda what, done, of: None,
) -> Exported:
    """Write a listening test into a new folder, and its key beside it.

    Parameters
    ----------
    model, against : see `vqspeech.pretrained.registry.resolve`; None where `stimuli` gives the sounds
    kind : "mos", "similarity", "abx", "preference" or "mushra"
    data : folder of the corpus; see `find_root` for what stands in for it
    stimuli : folder with one subfolder a system, see `folder_items`
    example : take the sentences that come with vqspeech, see `example_items`
    trials : items that each listener judges, besides training, attention checks and repeats; None takes 20, of the
        example all
    listeners : at least as many orders are made; rounded up so that all conditions are heard equally often
    trained : take utterances that the model was trained on
    formats : "webmushra", "csv": written into the folder, besides the page
    title, consent : heading, and a text file that takes the place of the consent's paragraphs
    seed : of choice, sampling and orders; blinded names are drawn anew each time
    notify, watch : called with sentences for the user, and with the progress

    Raises
    ------
    ListeningTestError
        If there is too little to make the test of, or something would be overwritten.
    """
    out = Path(out).resolve()
    check_free(out)
    _check_call(model, against, stimuli, example, bool(data or stimuli or trained))
    asked = KINDS[kind]
    paragraphs = _paragraphs(consent) if consent else CONSENT
    if stimuli:
        from vqspeech.listening.design.folder_items import read_items

        item_set = read_items(Path(stimuli), asked, trials or TRIALS, SPARE, seed=seed)
    else:
        from vqspeech.data.processes import num_cores
        from vqspeech.evaluation.trials.synthesis import Settings

        assert model is not None
        settings = Settings(seed=seed, num_threads=num_threads or num_cores())
        if example:
            from vqspeech.listening.design.example_items import speak_items

            item_set = speak_items([model, *against], asked, trials, settings, watch)
            notify("espeak-ng spoke the sources, not people: the scores will say little of the model")
        else:
            item_set = _speak([model, *against], data, asked, trials or TRIALS, trained, settings, notify, watch)
    if asked.has_original:
        item_set = with_anchors(item_set)
        if len(item_set.systems) > MOST_CONDITIONS:
            raise ListeningTestError(
                f"{len(item_set.systems)} versions would stand on a page with the hidden reference and the anchors; "
                f"BS.1534 allows {MOST_CONDITIONS}. Compare fewer systems"
            )
    num = whole_squares(listeners, len(asked.conditions(item_set.systems)))
    design = design_trials(item_set, num, seed)
    additions = [FORMATS[name] for name in formats]
    key = write_folder(out, item_set, design, seed, title=title, consent=paragraphs, additions=additions)
    return Exported(out, key, item_set.systems, duration_s(out, key) / 60)


def _speak(
    models: Sequence[str | Path],
    data: Path | None,
    kind: Kind,
    trials: int,
    trained: bool,
    settings: Settings,
    notify: Notify,
    watch: ProgressCallback,
) -> ItemSet:
    from vqspeech.evaluation.trials.pairs import choose_split
    from vqspeech.evaluation.trials.sexes import find_sexes
    from vqspeech.evaluation.trials.systems import open_system
    from vqspeech.listening.design.corpus_items import make_items
    from vqspeech.pretrained.registry import report_folder, resolve

    # Speech that has to be prepared goes where `vqspeech evaluate` keeps it.
    files = [resolve(model) for model in models]
    candidates = [open_system(file, data, report_folder(file), notify) for file in files]
    first = candidates[0]
    split, note = choose_split(first.store, trained=trained)
    if note:
        notify(note)
    sexes = find_sexes(first.model.recipe.data, first.root, first.store.speakers)
    return make_items(candidates, kind, split, trials, SPARE, settings, sexes=sexes, watch=watch)


def _check_call(
    model: str | Path | None, against: Sequence[str | Path], stimuli: Path | None, example: bool, has_corpus: bool
) -> None:
    if (model is None) == (stimuli is None):
        raise ListeningTestError("give either a MODEL, whose speech is tested, or a folder of sounds with --stimuli")
    if stimuli and against:
        raise ListeningTestError("--against compares models; with --stimuli put each system into a subfolder instead")
    if example and has_corpus:
        raise ListeningTestError(
            "--example takes the sentences that came with vqspeech. Leave it out, or --data, --stimuli and --trained"
        )


def _paragraphs(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        raise ListeningTestError(
            f"cannot read {path} as UTF-8 text: {reason}. Give a text file with --consent"
        ) from None
    if not text.strip():
        raise ListeningTestError(f"{path} is empty: listeners have to be told what they consent to")
    return tuple(" ".join(part.split()) for part in text.split("\n\n") if part.strip())
