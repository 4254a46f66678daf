"""The verb `vqspeech listening-test score`."""

from __future__ import annotations

from pathlib import Path

import click

from vqspeech.terminal import PATH, say


@click.command()
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
    from vqspeech.listening.score_report import print_score, write_score
    from vqspeech.listening.scoring import score_files

    scored = score_files(results, key, seed=seed, difference=difference)
    paths = write_score(out, scored)
    print_score(scored)
    for path in paths:
        say(path)
