"""Optuna's memory of a study as it is copied: as it is, row by row, with new keys.

`optuna.copy_study` makes a new study only, one transaction for each trial, with all of them in
memory; so the rows themselves are copied. What tables there are is read from the database, and
what belongs to a study or a trial from their foreign keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar, final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    String,
    Table,
    column,
    inspect,
    literal,
    select,
    table,
)

from studies.copy_tables import Mark, Part, Row, StudyTables
from studies.database import Database, schema_lock
from studies.record_tables import RecordTables
from studies.tables import PREFIX
from sweeps.errors import SweepError
from sweeps.optuna_store import open_optuna_storage
from sweeps.samplers import quiet_optuna

__all__ = ["OptunaTables", "check_optuna_versions", "make_optuna_tables", "tables_of"]

_ATTRIBUTES = "study_system_attributes"
_FINISHED = ("COMPLETE", "PRUNED", "FAIL")


@final
class OptunaTables(StudyTables):
    """Optuna's tables as they stand in one database.

    Args:
        found: The tables, by name.
    """

    label: ClassVar[str] = "Optuna's trial"
    key = "study_id"
    name = "study_name"

    def __init__(self, found: MetaData) -> None:
        self.studies = found.tables["studies"]
        trials = found.tables["trials"]
        self.trials = Part(table=trials, owner="study_id", order=("number",), generated="trial_id")
        hanging = _parts(found, self.studies)
        self.study_parts = tuple(part for part in hanging if part.table is not trials)
        self.trial_parts = _parts(found, trials)

    def content_bytes(self) -> ColumnElement[int]:
        """Returns nothing: rdsweep's trials are small in Optuna."""
        return literal(0)

    def marks(self, connection: Connection, keys: Sequence[int]) -> dict[int, Mark]:
        """Returns when the trials were suggested, and whether they are finished."""
        trials = self.trials.table.c
        rows = connection.execute(
            select(trials.number, trials.state, trials.datetime_start)
            .where(trials.trial_id.in_(keys))
            .order_by(trials.number)
        )
        return {
            row.number: Mark(
                identity="",
                history=() if row.datetime_start is None else (row.datetime_start,),
                progress=(row.state in _FINISHED,),
            )
            for row in rows
        }

    def with_trials_named(
        self, part: Part, rows: Sequence[Row], names: Mapping[int, int]
    ) -> Sequence[Row]:
        """Returns the rows with other names of the parents that an evolutionary sampler remembers.

        The only keys of trials among a study's attributes (`BaseGASampler.get_parent_population`).
        """
        if part.table.name != _ATTRIBUTES:
            return rows
        return [_with_named_parents(part, row, names) for row in rows]


def _with_named_parents(part: Part, row: Row, names: Mapping[int, int]) -> Row:
    columns = [column.name for column in part.columns]
    values = dict(zip(columns, row, strict=True))
    if ":parent:" not in values["key"]:
        return row
    parents = json.loads(values["value_json"])
    values["value_json"] = json.dumps([names[parent] for parent in parents if parent in names])
    return tuple(values.values())


def tables_of(database: Database) -> tuple[StudyTables, ...]:
    """Returns the tables that hold a study in a database: ours, and Optuna's if there are any."""
    with database.read() as connection:
        if not inspect(connection).has_table("trials"):
            return (RecordTables(),)
        found = MetaData()
        found.reflect(connection, only=lambda name, _: not name.startswith(PREFIX))
    return RecordTables(), OptunaTables(found)


def make_optuna_tables(database: Database) -> None:
    """Makes Optuna's tables where they are missing; one process at a time does it."""
    with schema_lock(database), quiet_optuna():
        open_optuna_storage(database.url, make_tables=True).engine.dispose()


def check_optuna_versions(source: Database, target: Database) -> None:
    """Passes if Optuna's tables are of one version in both databases, or missing at the source.

    Raises:
        SweepError: If they are not.
    """
    mine, theirs = _version(source), _version(target)
    if mine not in (None, theirs):
        message = (
            "Optuna's tables must have the same version in both databases, but they have "
            f"{mine} in {source.where} and {theirs} in {target.where}; bring the older ones up "
            "to date with `optuna storage upgrade`."
        )
        raise SweepError(message)


def _version(database: Database) -> str | None:
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        version = column("version_num", String)
        return connection.scalar(select(version).select_from(table("alembic_version")))


def _parts(found: MetaData, owners: Table) -> tuple[Part, ...]:
    """Returns the tables that refer to another one."""
    referring = {
        each: column for each in found.sorted_tables for column in _references(each, owners)
    }
    return tuple(_part(each, column) for each, column in referring.items())


def _references(found: Table, owners: Table) -> list[Column[object]]:
    keys = [key for key in found.foreign_keys if key.column.table is owners]
    return [key.parent for key in keys]


def _part(found: Table, owner: Column[object]) -> Part:
    (key,) = found.primary_key.columns
    return Part(table=found, owner=owner.name, order=(key.name,), generated=key.name)
