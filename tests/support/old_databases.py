"""Databases as an earlier version left them, made from the dumps under tests/studies/schemas."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Row, StaticPool, create_engine, insert, select, text

from studies.database import Database, open_database
from studies.migrations.runner import upgrade
from studies.tables import PREFIX, VERSION_TABLE

SCHEMAS = Path(__file__).parents[1] / "studies" / "schemas"

Rows = dict[str, list[dict[str, Any]]]


def dumped_versions() -> list[str]:
    """Returns the versions of which there is a dump, the oldest first."""
    return sorted(dump.stem for dump in SCHEMAS.glob("*.sql"))


def restore(url: str, version: str) -> Database:
    """Returns an open database with the tables and the rows of a version's dump."""
    dump = (SCHEMAS / f"{version}.sql").read_text()
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as driver:
            driver.executescript(dump)
        driver.close()
        return open_database(url)
    database = open_database(url)
    with database.write() as connection:
        upgrade(connection, version)
    _fill(database, dump)
    return database


def rows_of(database: Database) -> Rows:
    """Returns all rows of all our tables, as the database describes them, ordered by their keys."""
    with database.read() as connection:
        tables = MetaData()
        tables.reflect(connection, only=_ours)
        return {
            table.name: [
                _plain(row)
                for row in connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in tables.sorted_tables
            if table.name != VERSION_TABLE
        }


def _ours(name: str, _metadata: MetaData) -> bool:
    return name.startswith(PREFIX)


def _plain(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)


def _fill(database: Database, dump: str) -> None:
    """Copies the rows of a dump into tables that stand ready."""
    memory = create_engine("sqlite://", poolclass=StaticPool)
    with memory.connect() as source:
        driver = source.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.executescript(dump)
        old, new = MetaData(), MetaData()
        old.reflect(source, only=_ours)
        with database.write() as connection:
            new.reflect(connection, only=_ours)
            for table in old.sorted_tables:
                if table.name != VERSION_TABLE:
                    rows = [_plain(row) for row in source.execute(select(table))]
                    connection.execute(insert(new.tables[table.name]), rows)
            for name in ("rdsweep_studies", "rdsweep_trials"):
                connection.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"
                    )
                )
    memory.dispose()
