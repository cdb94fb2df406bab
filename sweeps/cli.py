"""The command line. torch, Optuna and matplotlib are imported by the commands that need them."""

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from sweeps.convert_command import convert
from sweeps.db_command import db_app
from sweeps.db_copy_command import copy_command
from sweeps.doctor_command import doctor
from sweeps.init_command import init
from sweeps.query_command import front, query
from sweeps.report_command import report
from sweeps.reproduce_command import reproduce
from sweeps.run_command import run
from sweeps.scale_command import scale
from sweeps.status_command import status
from sweeps.stop_command import stop
from sweeps.suggest_command import suggest
from sweeps.worker_command import desk, worker

app = typer.Typer(
    name="rdsweep",
    help="Sweep variational autoencoders and see rate against distortion, in one unit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_COMMANDS: Sequence[Callable[..., None]] = (
    *(init, convert, suggest),
    *(run, worker, scale, stop, status, doctor),
    *(query, front, report, reproduce),
)
for command in _COMMANDS:
    app.command()(command)
app.command(hidden=True)(desk)
db_app.command("copy")(copy_command)
app.add_typer(db_app)


def main() -> None:
    """Runs the command line; a user's mistake ends in one line on stderr and exit status 2."""
    warnings.showwarning = _show_warning
    try:
        status = app(prog_name="rdsweep", standalone_mode=False)
    except Exception as error:
        if not _is_users(error):
            raise
        sys.stderr.write(_text(error) + "\n")
        raise SystemExit(2) from None
    raise SystemExit(status)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"rdsweep: note: {message}\n")


def _is_users(error: Exception) -> bool:
    """Whether the error is one that is worded for users: by our packages, or by the parser."""
    from studies.errors import StudiesError
    from sweeps.errors import SweepError
    from vae_models.errors import VaeModelsError

    ours = isinstance(error, StudiesError | SweepError | VaeModelsError)
    return ours or hasattr(error, "format_message")


def _text(error: Exception) -> str:
    """What to print: help is left as it is, an error of the parser says where there is some."""
    context = getattr(error, "ctx", None)
    if context is None:
        return "\n".join(f"rdsweep: {line}" for line in str(error).splitlines())
    said: str = error.format_message()  # type: ignore[attr-defined]
    if "\n" in said:
        return said
    return f"rdsweep: {said.rstrip('.')}; see `{context.command_path} --help`."


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from sweeps.versions import code_version

        typer.echo(f"rdsweep {code_version()}")
        raise typer.Exit


if __name__ == "__main__":
    main()
