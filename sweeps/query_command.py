"""``rdsweep query`` and ``rdsweep front``: trials as rows."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.command_options import Storage, Study

if TYPE_CHECKING:
    from studies.records import TrialRecord

__all__ = ["front", "query"]


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    csv = "csv"
    json = "json"
    jsonl = "jsonl"


Where = Annotated[
    str | None, typer.Option(help="A condition: \"beta < 1 and reduction = 'sum'\".")
]
Columns = Annotated[
    str | None, typer.Option(help="Columns, separated by commas; 'all' for every one.")
]
OrderBy = Annotated[
    str | None, typer.Option(help="Columns to sort by; a minus reverses: -elbo_nats,beta.")
]
Limit = Annotated[int | None, typer.Option(min=0, help="At most so many rows.")]
RowFormat = Annotated[Format, typer.Option("--format", help="How to write the rows.")]


def query(
    study: Study,
    where: Where = None,
    columns: Columns = None,
    order_by: OrderBy = None,
    limit: Limit = None,
    row_format: RowFormat = Format.table,
    storage: Storage = None,
) -> None:
    """List the trials of a study."""
    from studies.queries import query_trials
    from sweeps.existing_database import existing_database

    db = existing_database(storage)
    trials = query_trials(db, study, where=where, order_by=order_by, limit=limit)
    _print_rows(trials, columns, row_format)


def front(
    study: Study,
    columns: Columns = None,
    row_format: RowFormat = Format.table,
    storage: Storage = None,
) -> None:
    """List the trials that no other trial beats in both rate and distortion."""
    from studies.fronts import study_front
    from sweeps.existing_database import existing_database

    found = study_front(existing_database(storage), study)
    _print_rows(list(found.trials), columns, row_format)


def _print_rows(trials: "list[TrialRecord]", columns: str | None, row_format: Format) -> None:
    from studies.formats import render_rows
    from studies.queries import COLUMNS

    named = COLUMNS if columns == "all" else columns
    typer.echo(render_rows(trials, columns=named, style=row_format.value), nl=False)
