"""``rdsweep run``: a sweep from its spec to its report."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.command_options import Storage, next_command

if TYPE_CHECKING:
    from rich.console import Console

    from studies.database import Database
    from sweeps.spec import Spec
    from sweeps.sweep_run import Outcome

__all__ = ["run"]

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec, a TOML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key: train.epochs=5."),
]
LauncherName = Annotated[
    str | None,
    typer.Option("--launcher", metavar="NAME", help="local | ray | slurm | manual."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="How many workers to start.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Start the workers and leave (ray, slurm, manual).")
]
Out = Annotated[Path | None, typer.Option(help="The report's directory.")]
WithReport = Annotated[
    bool, typer.Option("--report/--no-report", help="Write the report at the end.")
]


def run(
    spec: SpecFile,
    settings: Overrides = None,
    storage: Storage = None,
    launcher: LauncherName = None,
    workers: Workers = None,
    detach: Detach = False,
    out: Out = None,
    with_report: WithReport = True,
) -> None:
    """Run a sweep up to its number of trials, or go on with it, and write the report."""
    from sweeps.spec import load_spec
    from sweeps.storage import storage_url

    given = {"run.launcher": launcher, "run.workers": workers}
    options = [f"{key}={value}" for key, value in given.items() if value is not None]
    loaded = load_spec(spec, [*(settings or []), *options])
    url = storage_url(storage, loaded.study.storage)
    from rich.console import Console

    from studies.database import open_database
    from sweeps.launcher_fit import check_launcher

    check_launcher(loaded.run.launcher, url, detach=detach)
    db = open_database(url)
    if detach:
        _start_detached(loaded, db, Console())
    elif _run(loaded, db, Console()) and with_report:
        from sweeps.report_command import write

        typer.echo(f"report: {write(db, loaded.study.name, out)}")


def _run(spec: "Spec", db: "Database", console: "Console") -> bool:
    """Runs it to its end, and says how that was.

    Raises:
        typer.Exit: it was stopped before.
    """
    from sweeps.sweep_run import run_sweep

    outcome = run_sweep(spec, db, console)
    _say_how_it_ended(outcome)
    if outcome.interrupted:
        raise typer.Exit(130)
    return True


def _say_how_it_ended(outcome: "Outcome") -> None:
    from studies.masked_urls import masked

    states = ", ".join(f"{count} {state}" for state, count in outcome.states.items() if count)
    typer.echo(f"study {outcome.study.name}: {states or 'no trials'}")
    if outcome.exhausted:
        typer.echo("the search space holds no further setting: every one has been tried")
    if outcome.interrupted:
        words = [masked(word) for word in sys.argv[1:]]
        typer.echo(f"stopped; go on with: {shlex.join(['rdsweep', *words])}")


def _start_detached(spec: "Spec", db: "Database", console: "Console") -> None:
    from sweeps.sweep_run import start_detached

    start_detached(spec, db, console)
    for what, verb in (("watch:  ", "status"), ("stop:   ", "stop"), ("report: ", "report")):
        typer.echo(f"{what} {next_command([verb, spec.study.name], db.url)}")
