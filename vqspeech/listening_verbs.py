"""The verbs of listening tests."""

from __future__ import annotations

import click

from vqspeech.score_verb import score


@click.group("listening-test")
def listening_test() -> None:
    """Listening tests, from export to result."""


listening_test.add_command(score)
