"""`vqspeech listening-test export`: from a model, or from a folder of sounds, to a test that can be opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vqspeech.errors import ListeningTestError
from vqspeech.listening.folder import Addition, check_free, duration_s, write_folder
from vqspeech.listening.foreign import write_csv, write_webmushra
from vqspeech.listening.items import Material, with_anchors
from vqspeech.listening.key import Key, Kind
from vqspeech.listening.orders import whole_squares
from vqspeech.listening.questions import CONSENT
from vqspeech.listening.trials import conditions_of, plan_trials

TRIALS, LISTENERS = 20, 20
SPARE = 3  # items besides those of the trials: for the training and for attention checks, where the corpus has them
FORMATS: dict[str, Addition] = {"webmushra": write_webmushra, "csv": write_csv}
MOST_CONDITIONS = 12  # on a page of BS.1534

Notify = Callable[[str], None]
Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Exported:
    """A test as it was written; `minutes` is the sound that a listener hears at least once, without time to answer."""

    folder: Path
    key: Key
    systems: tuple[str, ...]
    minutes: float


def export(
    model: Path | None,
    *,
    kind: Kind,
    out: Path,
    data: Path | None = None,
    against: Sequence[Path] = (),
    stimuli: Path | None = None,
    trials: int = TRIALS,
    listeners: int = LISTENERS,
    trained: bool = False,
    formats: Sequence[str] = (),
    title: str | None = None,
    consent: Path | None = None,
    seed: int = 0,
    num_threads: int | None = None,
    notify: Notify = lambda line: None,
    watch: Watch = lambda what, done, of: None,
) -> Exported:
    """Write a listening test into a new folder, and its key beside it.

    Parameters
    ----------
    model, against : run folders or model files; None where `stimuli` gives the sounds
    kind : "mos", "similarity", "abx", "preference" or "mushra"
    data : folder of the corpus; see `find_root` for what stands in for it
    stimuli : folder with one subfolder a system, see `folder_items`
    trials : items that each listener judges, besides training, attention checks and repeats
    listeners : at least as many orders are made; rounded up so that all conditions are heard equally often
    trained : take utterances that the model was trained on
    formats : "webmushra", "csv": written into the folder, besides the page
    title, consent : heading, and a text file that takes the place of the consent's paragraphs
    seed : of choice, sampling and orders; blinded names are drawn anew each time
    notify, watch : are told sentences for the user, and the progress

    Raises
    ------
    ListeningTestError
        If there is too little to make the test of, or something would be overwritten.
    """
    out = Path(out).resolve()
    check_free(out)
    if (model is None) == (stimuli is None):
        raise ListeningTestError("give either a MODEL, whose speech is tested, or a folder of sounds with --stimuli")
    if stimuli and against:
        raise ListeningTestError("--against compares models; with --stimuli put each system into a subfolder instead")
    paragraphs = _paragraphs(consent) if consent else CONSENT
    if stimuli:
        from vqspeech.listening.folder_items import read_items

        material = read_items(Path(stimuli), kind, trials, SPARE, seed=seed)
    else:
        assert model is not None
        material = _speak([model, *against], data, kind, trials, trained, seed, num_threads, notify, watch)
    if kind == "mushra":
        material = with_anchors(material)
        if len(material.systems) > MOST_CONDITIONS:
            raise ListeningTestError(
                f"{len(material.systems)} versions would stand on a page with the hidden reference and the anchors; "
                f"BS.1534 allows {MOST_CONDITIONS}. Compare fewer systems"
            )
    num = whole_squares(listeners, len(conditions_of(material)))
    plan = plan_trials(material, num, seed)
    additions = [FORMATS[name] for name in formats]
    key = write_folder(out, material, plan, seed, title=title, consent=paragraphs, additions=additions)
    return Exported(out, key, material.systems, duration_s(out, key) / 60)


def _speak(
    models: Sequence[Path],
    data: Path | None,
    kind: Kind,
    trials: int,
    trained: bool,
    seed: int,
    num_threads: int | None,
    notify: Notify,
    watch: Watch,
) -> Material:
    from vqspeech.checkpoint import find_model_file
    from vqspeech.data.preparation import num_cores
    from vqspeech.evaluation.choice import choose_split
    from vqspeech.evaluation.material import Settings
    from vqspeech.evaluation.sexes import find_sexes
    from vqspeech.evaluation.subjects import open_subject
    from vqspeech.listening.corpus_items import make_items

    # Speech that has to be prepared goes where `vqspeech evaluate` keeps it.
    files = [find_model_file(model) for model in models]
    subjects = [open_subject(file, data, file.parent / "evaluation", notify) for file in files]
    first = subjects[0]
    split, note = choose_split(first.store, trained=trained)
    if note:
        notify(note)
    sexes = find_sexes(first.model.recipe.data, first.root, first.store.speakers)
    settings = Settings(seed=seed, num_threads=num_threads or num_cores())
    return make_items(subjects, kind, split, trials, SPARE, settings, sexes=sexes, watch=watch)


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
