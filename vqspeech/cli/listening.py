"""The verbs of listening tests: export, serve, results, score."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import click

from vqspeech.cli.console import PATH, Group, listed, progress_bar, say, tell
from vqspeech.listening import KindName


@click.group("listening-test", cls=Group)
def listening_test() -> None:
    """Ask people: from a model to a test in the browser, and to its answers."""


@listening_test.command()
@click.argument("model", required=False)
@click.option("--kind", type=click.Choice(get_args(KindName)), required=True, help="What listeners are asked.")
@click.option("--out", type=PATH, required=True, help="New folder of the test; its key is written beside it.")
@click.option("--data", type=PATH, help="Folder of the corpus [the recipe's data.root, else VQSPEECH_DATA].")
@click.option("--example", is_flag=True, help="No corpus: sentences that came with vqspeech (mos, preference).")
@click.option("--against", multiple=True, metavar="OTHER", help="Another model on the same items; repeatable.")
@click.option("--stimuli", type=PATH, help="Instead of a MODEL: a folder with one subfolder of sounds a system.")
@click.option("--trials", type=click.IntRange(1, 1000), help="Items a listener judges [20; with --example all].")
@click.option("--listeners", type=click.IntRange(1, 1000), default=20, show_default=True, help="Expected; for balance.")
@click.option("--format", "formats", type=click.Choice(["webmushra", "csv"]), multiple=True, help="Write it too.")
@click.option("--title", help="Heading of the page.")
@click.option("--consent", type=PATH, help="Text file with the paragraphs that listeners consent to.")
@click.option("--trained", is_flag=True, help="Take utterances the model was trained on.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of choice and orders.")
@click.option("--threads", "num_threads", type=click.IntRange(1, 256), help="Threads that sample [all cores].")
def export(model: str | None, **options: Any) -> None:
    """Write a test for the browser, with blinded sounds.

    \b
    mos         how natural? 1 to 5
    similarity  the same speaker? 4 answers
    abx         is X speaker A or B?
    preference  which of two sounds more natural?
    mushra      how close to the reference? 0 to 100, for reconstructions
    """
    from vqspeech.listening.design.export import export as export_test

    with progress_bar() as watch:
        test = export_test(model, notify=tell, watch=watch, **options)
    pages = len(test.key.orders[0])
    say(f"{test.folder / 'index.html'}: {pages} pages a listener, {test.minutes:.1f} minutes of sound, "
        f"{len(test.key.orders)} orders; systems: {listed(test.systems)}")  # fmt: skip
    say(f"{test.folder}.key.json: what is behind the names. Keep it, and keep it from listeners")
    tell(f"Open the page from disk, or hand it out with: vqspeech listening-test serve {test.folder}")


@listening_test.command()
@click.argument("folder", type=PATH, metavar="TEST")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; others than this machine "
              "need a token.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--token", help="Part of the link, without which nobody comes in [drawn for other hosts than loopback].")
@click.option("--rate", "per_s", type=click.FloatRange(0, min_open=True), default=50.0, show_default=True,
              help="Requests a second of one address, in the long run.")  # fmt: skip
def serve(folder: Path, host: str, port: int, token: str | None, per_s: float) -> None:
    """Hand a test out and keep every answer.

    Answers are written to TEST.results.sqlite, beside the folder, before they are acknowledged.
    """
    from vqspeech.listening.serving.server import BURST, serving_options
    from vqspeech.listening.serving.server import serve as serve_test

    count = serve_test(folder, serving_options(host, port, token, per_s, max(BURST, round(10 * per_s))), say)
    tell(f"{count} listeners answered. Write their files with: vqspeech listening-test results {folder}")


@listening_test.command()
@click.argument("folder", type=PATH, metavar="TEST")
@click.option("--out", type=PATH, help="Folder for one JSON file a listener [TEST.results, beside the test].")
def results(folder: Path, out: Path | None) -> None:
    """Write kept answers, a file a listener; while it serves, too."""
    from vqspeech.listening.design.folder import answers_path, key_path
    from vqspeech.listening.key import read_key
    from vqspeech.listening.serving.answer_store import write_results

    folder = folder.resolve()
    out = out or folder.parent / f"{folder.name}.results"
    files = write_results(answers_path(folder), read_key(key_path(folder)), out)
    if not files:
        tell("nobody has answered yet")
        sys.exit(1)
    say(f"{out}: {len(files)} listeners")


@listening_test.command()
@click.argument("results", nargs=-1, required=True, type=PATH, metavar="RESULTS...")
@click.option("--key", type=PATH, help="The test's key [*.key.json beside the results or above them].")
@click.option("--out", type=PATH, default=Path("."), show_default=True, help="Folder for score.json and score.png.")
@click.option(
    "--difference",
    type=click.FloatRange(0, min_open=True),
    help="That the test should find: how many listeners does it need? [0.3 points; mushra 5; of shares 0.1].",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 2), default=0, show_default=True, help="Of all draws.")
def score(results: tuple[Path, ...], key: Path | None, out: Path, difference: float | None, seed: int) -> None:
    """Score a listening test: result files, or folders of them, to means, intervals, comparisons.

    Listeners who missed attention checks, repeat themselves inconsistently, rate the hidden reference low (mushra) or
    answered too little are left out, and the reasons said; score.json has the scores with them, too.
    """
    from vqspeech.listening.scoring.report import print_score, write_score
    from vqspeech.listening.scoring.score import score_files

    scored = score_files(results, key, seed=seed, difference=difference)
    paths = write_score(out, scored)
    print_score(scored)
    for path in paths:
        say(path)
