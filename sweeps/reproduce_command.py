"""``rdsweep reproduce``: trains a trial again from what is stored, and compares."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.command_options import Storage, Study

if TYPE_CHECKING:
    from sweeps.reproduce import Reproduction

__all__ = ["reproduce"]

Number = Annotated[int, typer.Argument(metavar="NUMBER", min=0, help="The trial's number.")]
Device = Annotated[
    str | None, typer.Option(help="A torch device; else of the trial's kind where there is one.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; else the trial's.")]
Tolerance = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="By how much R, D, NLL and ELBO may differ, relative to themselves or to 1; else 0 "
        "on the same CPU with the same packages, 0.001 on the same GPU, 0.05 elsewhere.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


def reproduce(
    study: Study,
    number: Number,
    storage: Storage = None,
    device: Device = None,
    threads: Threads = None,
    tolerance: Tolerance = None,
    as_json: AsJson = False,
) -> None:
    """Train a trial again from what is stored and compare; exit status 1 if it differs."""
    from rich.console import Console

    from sweeps.existing_database import existing_database
    from sweeps.reproduce import prepare_reproduction
    from sweeps.reproduce_text import as_object, as_text

    db = existing_database(storage)
    with Console(file=sys.stderr).status("reading the data …"):
        found = prepare_reproduction(
            db, study, number, device=device, threads=threads, tolerance=tolerance
        )
    _train(found)
    if as_json:
        typer.echo(json.dumps(as_object(found), ensure_ascii=False, indent=2))
    else:
        typer.echo(as_text(found))
    raise typer.Exit(0 if found.agreement.equal else 1)


def _train(found: "Reproduction") -> None:
    """Trains to the end under a bar on stderr."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"trial {found.source.number}", total=found.rerun.epochs)
        for _epoch in found.rerun:
            bar.advance(task)
