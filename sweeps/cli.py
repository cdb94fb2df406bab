"""The command line. torch, Optuna and matplotlib are imported by the commands that need them."""

import shlex
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.convert_command import convert
from sweeps.suggest_command import suggest

if TYPE_CHECKING:
    from studies.database import Database
    from studies.records import TrialRecord
    from sweeps.local_run import Outcome

app = typer.Typer(
    name="rdsweep",
    help="Sweep variational autoencoders and see rate against distortion, in one unit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    csv = "csv"
    json = "json"
    jsonl = "jsonl"


Storage = Annotated[
    str | None,
    typer.Option(help="Database URL; else $RDSWEEP_STORAGE, the spec's, or sqlite:///rdsweep.db."),
]
Study = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")]
Columns = Annotated[
    str | None, typer.Option(help="Columns, separated by commas; 'all' for every one.")
]
OrderBy = Annotated[
    str | None, typer.Option(help="Columns to sort by; a minus reverses: -elbo_nats,beta.")
]
RowFormat = Annotated[Format, typer.Option("--format", help="How to write the rows.")]


def main() -> None:
    """Runs the command line; a user's mistake ends in one line on stderr and exit status 2."""
    warnings.showwarning = _show_warning
    try:
        app()
    except Exception as error:
        if not _is_ours(error):
            raise
        sys.stderr.writelines(f"rdsweep: {line}\n" for line in str(error).splitlines())
        raise SystemExit(2) from None


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"rdsweep: note: {message}\n")


def _is_ours(error: Exception) -> bool:
    """Whether the error is one that our packages word for users."""
    from studies.errors import StudiesError
    from sweeps.errors import SweepError
    from vae_models.errors import VaeModelsError

    return isinstance(error, StudiesError | SweepError | VaeModelsError)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from sweeps.versions import code_version

        typer.echo(f"rdsweep {code_version()}")
        raise typer.Exit


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write the spec.")] = Path("sweep.toml"),
) -> None:
    """Write a spec with every setting, its default and a comment."""
    from importlib.resources import files

    from sweeps.errors import SweepError

    text = files("sweeps").joinpath("default_spec.toml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        message = f"`{path}` must not exist yet, but it does; name another file."
        raise SweepError(message) from None
    except OSError as error:
        message = f"`{path}` must be writable, but: {error.strerror}."
        raise SweepError(message) from error
    typer.echo(f"wrote {path}; start it with: rdsweep run {path}")


@app.command()
def run(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The spec, a TOML file.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key: train.epochs=5."),
    ] = None,
    storage: Storage = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.")] = None,
    out: Annotated[Path | None, typer.Option(help="The report's directory.")] = None,
    with_report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write the report at the end.")
    ] = True,
) -> None:
    """Run a sweep up to its number of trials, or go on with it, and write the report."""
    from sweeps.spec import load_spec
    from sweeps.storage import storage_url

    overrides = [*(settings or []), *([f"run.workers={workers}"] if workers else [])]
    loaded = load_spec(spec, overrides)
    url = storage_url(storage, loaded.study.storage)
    from rich.console import Console

    from studies.database import open_database
    from sweeps.local_run import run_locally

    db = open_database(url)
    outcome = run_locally(loaded, db, Console())
    _say_how_it_ended(outcome)
    if outcome.interrupted:
        raise typer.Exit(130)
    if with_report:
        typer.echo(f"report: {_write_report(db, loaded.study.name, out)}")


def _say_how_it_ended(outcome: "Outcome") -> None:
    states = ", ".join(f"{count} {state}" for state, count in outcome.states.items() if count)
    typer.echo(f"study {outcome.study.name}: {states or 'no trials'}")
    if outcome.exhausted:
        typer.echo("the search space holds no further setting: every one has been tried")
    if outcome.interrupted:
        typer.echo(f"stopped; go on with: {shlex.join(['rdsweep', *sys.argv[1:]])}")


def _write_report(db: "Database", study: str, out: Path | None) -> Path:
    from reports.report import write_report
    from sweeps.errors import SweepError

    place = out or Path(f"{study}-report")
    try:
        return write_report(db, study, place)
    except OSError as error:
        message = f"The report's directory {str(place)!r} must be writable, but: {error.strerror}."
        raise SweepError(message) from error


@app.command()
def worker(
    study: Study,
    storage: Storage = None,
    device: Annotated[str, typer.Option(help="A torch device: auto, cpu, cuda:0, …")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    time_limit: Annotated[
        float | None, typer.Option(min=1, help="Seconds until the process will be ended.")
    ] = None,
    worker_id: Annotated[str | None, typer.Option(hidden=True)] = None,
    launcher_id: Annotated[str | None, typer.Option(hidden=True)] = None,
    parent_pid: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Train trials of a study that exists until none is left (what `run` starts).

    Exit status 75 says that it left while there was work: stopped, or near its time limit.
    """
    from sweeps.worker import WorkerOptions, run_worker

    options = WorkerOptions(
        device=device,
        threads=threads,
        worker_id=worker_id,
        launcher_id=launcher_id,
        parent_pid=parent_pid,
        time_limit=time_limit,
    )
    raise typer.Exit(run_worker(study, _database(storage, patient=True), options))


@app.command(hidden=True)
def desk(
    study: Study,
    holder: Annotated[str, typer.Option()],
    storage: Storage = None,
    parent_pid: Annotated[int | None, typer.Option()] = None,
) -> None:
    """Make suggestions for a study (what a worker starts)."""
    from sweeps.desk import run_desk

    run_desk(study, _database(storage, patient=True), holder, parent_pid)


@app.command()
def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]")] = None,
    storage: Storage = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the studies of a database, or one study with its running trials and workers."""
    from sweeps.status import render_status, status_of

    found = status_of(_database(storage), study)
    typer.echo(render_status(found, as_json=as_json))


@app.command()
def query(
    study: Study,
    where: Annotated[
        str | None, typer.Option(help="A condition: \"beta < 1 and reduction = 'sum'\".")
    ] = None,
    columns: Columns = None,
    order_by: OrderBy = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many rows.")] = None,
    row_format: RowFormat = Format.table,
    storage: Storage = None,
) -> None:
    """List the trials of a study."""
    from studies.queries import query_trials

    trials = query_trials(_database(storage), study, where=where, order_by=order_by, limit=limit)
    _print_rows(trials, columns, row_format)


@app.command()
def front(
    study: Study,
    columns: Columns = None,
    row_format: RowFormat = Format.table,
    storage: Storage = None,
) -> None:
    """List the trials that no other trial beats in both rate and distortion."""
    from studies.fronts import study_front

    _print_rows(list(study_front(_database(storage), study).trials), columns, row_format)


@app.command()
def report(
    study: Study,
    out: Annotated[Path | None, typer.Option(help="The directory; else STUDY-report.")] = None,
    storage: Storage = None,
) -> None:
    """Write the report of a study: one HTML file, and its figures as PNG, SVG and PDF."""
    typer.echo(_write_report(_database(storage), study, out))


app.command()(convert)
app.command()(suggest)


def _database(storage: str | None, *, patient: bool = False) -> "Database":
    """The database of a study that exists: these commands make none."""
    from studies.database import check_schema, open_database
    from studies.errors import StorageError
    from studies.retries import PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS
    from sweeps.storage import storage_url

    patience = PATIENCE_SECONDS if patient else SHORT_PATIENCE_SECONDS
    db = open_database(storage_url(storage), patience_seconds=patience)
    if db.file is not None and not db.file.exists():
        message = f"The database must exist, but there is no file {db.file}; say --storage URL."
        raise StorageError(message)
    check_schema(db)
    return db


def _print_rows(trials: "list[TrialRecord]", columns: str | None, row_format: Format) -> None:
    from studies.formats import render_rows
    from studies.queries import COLUMNS

    named = COLUMNS if columns == "all" else columns
    typer.echo(render_rows(trials, columns=named, style=row_format.value), nl=False)


if __name__ == "__main__":
    main()
