"""What the database holds, as typed records; every question takes a fixed number of statements."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from inspect import signature
from types import MappingProxyType
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, false, select, true

from studies.database import Database
from studies.errors import QueryError
from studies.filters import compile_filter, kind_of, unknown_column
from studies.records import ArtifactRecord, EpochRecord, LatentRecord, TrialRecord
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import ArtifactRow, Base, EpochRow, LatentRow, StudyRow, TrialRow
from studies.trial_rows import select_trials, trial_record

Part = TypeVar("Part", EpochRecord, LatentRecord, ArtifactRecord)

DISPLAY_COLUMNS: Final = (
    "number", "state", "beta", "raw_weight", "latent_dim", "reduction", "annealing", "likelihood",
    "rate_nats", "distortion_se", "distortion_nll_nats", "elbo_nats", "mse", "psnr_db",
    "active_units", "collapsed", "seconds",
)  # fmt: skip
"""The columns that a table shows unless told otherwise, in this order."""

_FIELDS = frozenset(field.name for field in fields(TrialRecord))
_BY_TABLE = (column.name for column in TrialRow.__table__.columns if column.name in _FIELDS)

COLUMNS: Final = tuple(dict.fromkeys([*DISPLAY_COLUMNS, "study", *_BY_TABLE]))
"""All that is known of a trial, the fields of `TrialRecord`: the displayed ones, then by table."""

_EXPRESSIONS: Mapping[str, ColumnElement[Any]] = MappingProxyType(
    {name: TrialRow.__table__.c[name] for name in COLUMNS if name != "study"}
    | {"study": StudyRow.__table__.c["name"]}
)
_MOST_IN_A_LIST = 10_000  # SQLite takes 32,766 values in a statement, PostgreSQL 65,535


@retried
def query_trials(
    database: Database,
    study: str,
    *,
    where: str | None = None,
    order_by: str | None = None,
    limit: int | None = None,
) -> list[TrialRecord]:
    """Return the trials of a study, by default all of them in the order of their numbers.

    Args:
        database: Where to look.
        study: Name of the study.
        where: A filter over `COLUMNS`, as ``beta < 1 and not collapsed`` (see `studies.filters`).
        order_by: Column names with commas between, a minus before those that descend, as
            ``-beta,rate_nats``. Missing values come last, in both directions.
        limit: At most so many.

    Raises:
        StudyNotFound: If there is no such study.
        QueryError: If the filter, an ordering or the limit cannot be understood.
    """
    statement = select_trials().order_by(*_ordering(order_by))
    if where is not None:
        statement = statement.where(compile_filter(where, _EXPRESSIONS))
    if limit is not None:
        if limit < 0:
            raise QueryError(f"`limit >= 0` must hold, but got limit={limit}.")
        statement = statement.limit(limit)
    with database.read() as connection:
        return list(map(trial_record, _rows_of(connection, study, statement)))


@retried
def trials_by_number(
    database: Database, study: str, numbers: Iterable[int]
) -> dict[int, TrialRecord]:
    """Return the trials with these numbers, in the order of the numbers; unknown ones are left out.

    Raises:
        StudyNotFound: If there is no such study.
    """
    numbers = frozenset(numbers)
    statement = select_trials().order_by(TrialRow.number).where(_among(numbers))
    with database.read() as connection:
        rows = _rows_of(connection, study, statement)
    return {row.number: trial_record(row) for row in rows if row.number in numbers}


@retried
def epochs_of(
    database: Database, study: str, numbers: Iterable[int] | None = None
) -> dict[int, tuple[EpochRecord, ...]]:
    """Return the epochs of each trial that has any, ascending; of all trials, or of some.

    Raises:
        StudyNotFound: If there is no such study.
    """
    return _parts(database, study, EpochRow, EpochRecord, numbers)


@retried
def last_epochs_of(
    database: Database, study: str, numbers: Iterable[int] | None = None
) -> dict[int, EpochRecord]:
    """Return the last epoch of each trial that has any; of all trials, or of some.

    Raises:
        StudyNotFound: If there is no such study.
    """
    is_last = EpochRow.epoch == TrialRow.epoch
    parts = _parts(database, study, EpochRow, EpochRecord, numbers, is_last)
    return {number: epoch for number, (epoch,) in parts.items()}


@retried
def latents_of(
    database: Database, study: str, numbers: Iterable[int] | None = None
) -> dict[int, tuple[LatentRecord, ...]]:
    """Return the latents of each trial that was evaluated, by index; of all trials, or of some.

    Raises:
        StudyNotFound: If there is no such study.
    """
    return _parts(database, study, LatentRow, LatentRecord, numbers)


@retried
def artifacts_of(
    database: Database, study: str, kind: str, numbers: Iterable[int] | None = None
) -> dict[int, ArtifactRecord]:
    """Return the artifact of one kind of each trial that has it; of all trials, or of some.

    Raises:
        StudyNotFound: If there is no such study.
    """
    of_kind = ArtifactRow.kind == kind
    parts = _parts(database, study, ArtifactRow, ArtifactRecord, numbers, of_kind)
    return {number: artifact for number, (artifact,) in parts.items()}


def _parts(
    database: Database,
    study: str,
    table: type[Base],
    record: Callable[..., Part],
    numbers: Iterable[int] | None,
    *conditions: ColumnElement[bool],
) -> dict[int, tuple[Part, ...]]:
    """Return the rows of a table that hangs on trials as records, by the number of their trial."""
    names = signature(record).parameters
    numbers = None if numbers is None else frozenset(numbers)
    statement = (
        select(TrialRow.number, *[table.__table__.c[name] for name in names])
        .join_from(table, TrialRow)
        .where(_among(numbers), *conditions)
        .order_by(TrialRow.number, *table.__table__.primary_key)
    )
    with database.read() as connection:
        rows = _rows_of(connection, study, statement)
    parts: defaultdict[int, list[Part]] = defaultdict(list)
    for row in rows:
        parts[row[0]].append(record(**dict(zip(names, row[1:], strict=True))))
    return {n: tuple(found) for n, found in parts.items() if numbers is None or n in numbers}


def _rows_of(connection: Connection, study: str, statement: Select[Any]) -> Sequence[Row[Any]]:
    """Return the statement's rows that belong to a study, which must exist."""
    study_id = study_id_of(connection, study)
    return connection.execute(statement.where(TrialRow.study_id == study_id)).all()


def _among(numbers: Collection[int] | None) -> ColumnElement[bool]:
    """Return the condition that a trial has one of these numbers, or is in their range if many."""
    if not numbers:
        return true() if numbers is None else false()
    if len(numbers) > _MOST_IN_A_LIST:
        return TrialRow.number.between(min(numbers), max(numbers))
    return TrialRow.number.in_(numbers)


def _ordering(order_by: str | None) -> list[ColumnElement[Any]]:
    """Return what to order by; equal ones stand in the order of their numbers."""
    parts = [part.strip() for part in (order_by or "").split(",") if part.strip()]
    return [*map(_direction, parts), TrialRow.number.asc()]


def _direction(part: str) -> ColumnElement[Any]:
    name = part.removeprefix("-").strip()
    if name not in _EXPRESSIONS:
        raise unknown_column(name, _EXPRESSIONS)
    column = _EXPRESSIONS[name]
    if kind_of(column) is None:
        raise QueryError(f"A column must have an order to order by it, but {name} is a document.")
    return (column.desc() if part.startswith("-") else column.asc()).nulls_last()
