"""``rdsweep status``: the studies of a database, or one of them in full, once or again and again."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.command_options import Storage

if TYPE_CHECKING:
    from studies.database import Database

__all__ = ["status"]

Study = Annotated[str | None, typer.Argument(metavar="[STUDY]")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Watch = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0.2, help="Draw it anew every so many seconds."),
]


def status(
    study: Study = None, storage: Storage = None, as_json: AsJson = False, watch: Watch = None
) -> None:
    """Show the studies of a database, or one in full: workers, leases, attempts, problems."""
    from sweeps.existing_database import existing_database
    from sweeps.status import status_of
    from sweeps.status_text import render_status

    db = existing_database(storage)
    if watch is not None:
        _watch(db, study, watch)
        return
    typer.echo(render_status(status_of(db, study), as_json=as_json))


def _watch(db: "Database", study: str | None, seconds: float) -> None:
    """Draws until Ctrl-C."""
    from contextlib import suppress

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from sweeps.status import status_of
    from sweeps.status_text import render_status

    with suppress(KeyboardInterrupt), Live(console=Console(), auto_refresh=False) as live:
        while True:
            text = render_status(status_of(db, study), as_json=False)
            live.update(Text(text), refresh=True)
            time.sleep(seconds)
