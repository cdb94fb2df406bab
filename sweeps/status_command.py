"""``rdsweep status``: the studies of a database, or one of them in full, once or again and again."""

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
    """Draws until Ctrl-C: on a terminal in place, elsewhere one text after the other."""
    import signal
    from contextlib import nullcontext
    from threading import Event

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from sweeps.status import status_of
    from sweeps.status_text import render_status

    console = Console(highlight=False, soft_wrap=True)
    live = Live(console=console, auto_refresh=False)
    enough = Event()
    # an exception would be lost where one cannot be raised, such as in a finaliser
    before = signal.signal(signal.SIGINT, lambda *_: enough.set())
    with live if console.is_terminal else nullcontext():
        while not enough.is_set():
            text = render_status(status_of(db, study), as_json=False)
            if console.is_terminal:
                live.update(Text(text), refresh=True)
            else:
                typer.echo(f"{text}\n")
            enough.wait(seconds)
    signal.signal(signal.SIGINT, before)
