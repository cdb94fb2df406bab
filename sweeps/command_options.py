"""Arguments and options that several commands share, and what they print of a next command."""

import os
import shlex
from collections.abc import Sequence
from typing import Annotated

import typer

__all__ = ["Storage", "Study", "next_command"]

Storage = Annotated[
    str | None,
    typer.Option(help="Database URL; else $RDSWEEP_STORAGE, the spec's, or sqlite:///rdsweep.db."),
]
Study = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")]


def next_command(words: Sequence[str], url: str) -> str:
    """A command line for the user to go on with, which names the database if it has to.

    Args:
        words: what comes after `rdsweep`.
        url: of the database; a password in it is not shown.
    """
    from studies.masked_urls import masked
    from sweeps.storage import VARIABLE

    named = [] if os.environ.get(VARIABLE) else ["--storage", masked(url)]
    return shlex.join(["rdsweep", *words, *named])
