"""``rdsweep db copy``: studies from one database to another, and later what is new of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from studies.copying import Errand, Progress, Route, StudyCopy
    from studies.database import Database
    from studies.records import StudyRecord

__all__ = ["copy_command"]

Source = Annotated[str, typer.Argument(metavar="FROM", help="URL of the database to read.")]
Target = Annotated[
    str, typer.Argument(metavar="TO", help="URL of the database to write; tables are made.")
]
Chosen = Annotated[
    list[str] | None,
    typer.Option("--study", metavar="NAME", help="Only this study; may be repeated."),
]
Renamed = Annotated[
    list[str] | None,
    typer.Option("--rename", metavar="OLD=NEW", help="A new name at TO; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


def copy_command(
    source: Source,
    target: Target,
    study: Chosen = None,
    rename: Renamed = None,
    as_json: AsJson = False,
) -> None:
    """Copy studies with all their trials between databases, SQLite or PostgreSQL.

    Done again, it copies what is new since then. Other studies at TO stay. Nobody may be at work on
    a study meanwhile. Checkpoints and models are files, and stay where they are.
    """
    from sweeps.copy_request import chosen_studies, errands_of, open_both, refuse_workers

    here, there = open_both(source, target)
    records = chosen_studies(here, study or [])
    errands = errands_of(list(records), rename or [])
    for errand in errands:
        refuse_workers(here, errand.study)
    copies = _copy_all(_route(here, there), errands)
    notes = _notes(here, records, errands)
    typer.echo(_json(copies, there, notes) if as_json else _table(copies, notes), nl=False)


def _route(here: "Database", there: "Database") -> "Route":
    """The way between two databases; the second one has all its tables then."""
    from studies.copying import Route
    from studies.database import prepare_schema
    from sweeps.optuna_copy import check_optuna_versions, make_optuna_tables, tables_of

    prepare_schema(there)
    make_optuna_tables(there)
    check_optuna_versions(here, there)
    return Route(
        source=here, target=there, source_tables=tables_of(here), target_tables=tables_of(there)
    )


def _copy_all(route: "Route", errands: "Sequence[Errand]") -> "list[StudyCopy]":
    from studies.copying import check_copy, copy_study
    from sweeps.copy_request import refuse_workers

    for errand in errands:
        refuse_workers(route.target, errand.name)
        check_copy(route, errand)
    copies = []
    for errand in errands:
        with _shown(errand) as progress:
            copies.append(copy_study(route, errand, progress))
    return copies


@contextmanager
def _shown(errand: "Errand") -> "Iterator[Progress]":
    """Yields what draws a bar on a terminal; it goes when the study is copied."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(f"copying {errand.study}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _notes(
    here: "Database", records: "Mapping[str, StudyRecord]", errands: "Sequence[Errand]"
) -> list[str]:
    """What stays behind: files on this machine, and checkpoints under an old name."""
    from studies.queries import query_trials
    from sweeps.artifact_store import local_directory

    places: dict[str, list[str]] = {}
    for name, record in records.items():
        directory = local_directory(record.artifacts_url)
        if directory is not None:
            places.setdefault(str(directory / name), []).append(name)
    notes = [
        f"the files of {', '.join(names)} stay in {place}: keep them there, where all workers and "
        "reports can reach them"
        for place, names in places.items()
    ]
    begun = "state in ('queued', 'running') and epoch > 0"
    return notes + [
        f"checkpoints lie under the old name {errand.study}: what is unfinished of {errand.name} "
        "begins again"
        for errand in errands
        if errand.name != errand.study and query_trials(here, errand.study, where=begun, limit=1)
    ]


def _table(copies: "Sequence[StudyCopy]", notes: Sequence[str]) -> str:
    head = ("study", "trials", "epochs", "artifacts", "checksum", "")
    rows = [head, *map(_row, copies)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = (False, True, True, True, False, False)
    lines = (
        "  ".join(
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    )
    return "".join(f"{line}\n" for line in (*lines, *(f"note: {note}" for note in notes)))


def _row(copy: "StudyCopy") -> tuple[str, ...]:
    name = copy.study if copy.name == copy.study else f"{copy.study} → {copy.name}"
    counts = (f"{count:,}" for count in (copy.trials, copy.epochs, copy.artifacts))
    return (name, *counts, f"ok {copy.checksum[:12]}", _what_was_done(copy))


def _what_was_done(copy: "StudyCopy") -> str:
    missing = "" if copy.suggestions is not None else "; without Optuna's study, which is missing"
    if not copy.changed:
        return f"unchanged{missing}"
    if copy.is_new:
        return f"new{missing}"
    trials = "1 trial" if copy.written == 1 else f"{copy.written:,} trials"
    return f"{trials} brought up to date{missing}"


def _json(copies: "Sequence[StudyCopy]", there: "Database", notes: Sequence[str]) -> str:
    document = {"to": there.where, "studies": [asdict(copy) for copy in copies], "notes": notes}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
