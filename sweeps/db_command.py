"""`rdsweep db`: a PostgreSQL server of one's own, for a user who has none."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["db_app"]

_DEFAULT = Path("rdsweep-postgres")

db_app = typer.Typer(
    name="db",
    help="Run a PostgreSQL server of one's own, and copy studies from one database to another.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Directory = Annotated[
    Path, typer.Option("--directory", help="Where the server keeps all that belongs to it.")
]


@db_app.command()
def start(
    directory: Directory = _DEFAULT,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port on 127.0.0.1; else the one it had, or a free."),
    ] = None,
) -> None:
    """Start the server, and make it first if there is none; it goes on after this command."""
    from studies.embedded_server import EmbeddedServer

    started = EmbeddedServer(directory=directory).start(port)
    how = "started" if started.fresh else "runs already"
    typer.echo(f"PostgreSQL {started.release} {how} in {directory}")
    for folder in started.opened:
        typer.echo(
            f"note: other accounts may pass through {folder} from now on (chmod o+x), as the "
            "server must not run as root"
        )
    typer.echo(f"use it:  export RDSWEEP_STORAGE={shlex.quote(started.url)}")
    typer.echo(f"stop it: {_command('stop', directory)}")


@db_app.command()
def stop(
    directory: Directory = _DEFAULT,
    immediate: Annotated[
        bool, typer.Option("--immediate", help="At once, as in a crash; nothing stored is lost.")
    ] = False,
) -> None:
    """Stop the server; its data stay."""
    from studies.embedded_server import EmbeddedServer

    stopped = EmbeddedServer(directory=directory).stop("immediate" if immediate else "fast")
    typer.echo(f"stopped the server in {directory}" if stopped else f"none runs in {directory}")


@db_app.command()
def url(directory: Directory = _DEFAULT) -> None:
    """Print the server's URL; it holds no password, but names a file that only you can read."""
    from studies.embedded_server import EmbeddedServer
    from studies.errors import StorageError

    server = EmbeddedServer(directory=directory)
    found = server.url
    if server.pid is None:
        message = (
            f"The server in {directory} must run, but it does not; "
            f"`{_command('start', directory)}`."
        )
        raise StorageError(message)
    typer.echo(found)


def _command(name: str, directory: Path) -> str:
    options = [] if directory == _DEFAULT else ["--directory", str(directory)]
    return shlex.join(["rdsweep", "db", name, *options])
