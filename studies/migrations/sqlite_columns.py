"""What SQLite's ALTER TABLE lacks and a migration needs: columns that stop refusing nulls."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import Connection

from studies.errors import StorageError


def allow_nulls(connection: Connection, table: str, columns: Sequence[str]) -> None:
    """Makes columns of a table nullable, and leaves everything else about it as it is.

    The table is made anew from its own SQL: rows, constraints, indexes and triggers stay, and so
    do the keys that were used and deleted, which it never gives out again. The transaction must
    be one of `studies.sqlite.rebuilding`. See https://www.sqlite.org/lang_altertable.html, section
    7, for the order of the steps.

    Args:
        connection: A connection to SQLite, inside that transaction.
        table: Name of the table.
        columns: Names of columns that are declared as NOT NULL.

    Raises:
        StorageError: If one of them is not declared so.
    """
    definition, *others = _definitions(connection, table)
    last_key = _last_key(connection, table)
    connection.exec_driver_sql(_nullable(definition, table, columns))
    connection.exec_driver_sql(f'INSERT INTO "{table}_new" SELECT * FROM "{table}"')  # noqa: S608
    connection.exec_driver_sql(f'DROP TABLE "{table}"')
    connection.exec_driver_sql(f'ALTER TABLE "{table}_new" RENAME TO "{table}"')
    for other in others:
        connection.exec_driver_sql(other)
    _set_last_key(connection, table, last_key)


def _definitions(connection: Connection, table: str) -> list[str]:
    """Returns the SQL of the table, then that of its indexes and triggers."""
    statement = (
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL "
        "ORDER BY type != 'table', name"
    )
    return [row[0] for row in connection.exec_driver_sql(statement, (table,))]


def _nullable(definition: str, table: str, columns: Sequence[str]) -> str:
    """Returns the SQL that makes the table under another name, with columns that take nulls."""
    name = rf'^CREATE\s+TABLE\s+"?{table}"?'
    definition = re.sub(name, f'CREATE TABLE "{table}_new"', definition, flags=re.IGNORECASE)
    for column in columns:
        declared = rf'([(,]\s*"?{column}"?\s+\w+)\s+NOT\s+NULL'
        definition, found = re.subn(declared, r"\1", definition, flags=re.IGNORECASE)
        if found != 1:
            raise StorageError(
                f"{column} must be declared NOT NULL in the SQL of {table}, but it is not: another "
                "program has changed that table; restore a copy of the database."
            )
    return definition


def _last_key(connection: Connection, table: str) -> int | None:
    statement = "SELECT seq FROM sqlite_sequence WHERE name = ?"
    return connection.exec_driver_sql(statement, (table,)).scalar()


def _set_last_key(connection: Connection, table: str, key: int | None) -> None:
    connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
    if key is not None:
        connection.exec_driver_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, key))
