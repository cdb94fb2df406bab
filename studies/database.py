"""A database, opened: its transactions, its schema and the lock around changes to that schema.

The same URL serves Optuna's storage, whose tables lie beside ours.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sqlalchemy import Connection, Engine, String, column, inspect, select, table, text

from studies.errors import SchemaError, StorageError
from studies.faults import clear_faults
from studies.postgresql import READS, postgresql_engine, take_advisory_lock
from studies.retries import SHORT_PATIENCE_SECONDS, retried
from studies.sqlite import (
    WRITES,
    absolute,
    as_it_can_be_opened,
    rebuilding,
    sqlite_engine,
    sqlite_file,
    switch_to_wal,
)
from studies.storage_url import parse_storage_url, server_name
from studies.tables import SCHEMA_VERSION, VERSION_TABLE

LOCK_SECONDS = 120.0
_held = threading.local()


@final
@dataclass(frozen=True, kw_only=True)
class Database:
    """An open database; every process and every fork opens its own.

    Attributes:
        engine: The SQLAlchemy engine; prefer `read` and `write`.
        url: Complete URL, with the password and an absolute path: for Optuna, for workers.
        file: The SQLite file, or None on a server.
        patience_seconds: How long functions repeat what fails for a passing reason, as a dropped
            connection (see `studies.retries`).
    """

    engine: Engine
    url: str
    file: Path | None
    patience_seconds: float = SHORT_PATIENCE_SECONDS

    @property
    def where(self) -> str:
        """The SQLite file, or else the URL without its password, for messages."""
        if self.file is not None:
            return str(self.file)
        return server_name(self.engine.url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yields a connection inside one transaction that only reads, in one snapshot."""
        with clear_faults(self.where), self.engine.connect() as connection:
            if self.file is None:
                connection.execution_options(**READS)
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yields a connection inside one transaction that may write, and commits it."""
        with clear_faults(self.where), self.engine.connect() as connection:
            connection.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


def open_database(
    url: str, *, busy_seconds: float = 60.0, patience_seconds: float = SHORT_PATIENCE_SECONDS
) -> Database:
    """Returns the database at a URL, after a first word with it; makes and changes nothing.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.
        busy_seconds: How long a statement waits for other processes on SQLite.
        patience_seconds: How long functions repeat what fails for a passing reason; give
            `retries.PATIENCE_SECONDS` where nobody waits.

    Raises:
        StorageError: If the URL is malformed or names what rdsweep does not support, if a
            driver or a directory is missing, if the file is no database, or if the server does
            not answer.
    """
    parsed = parse_storage_url(url)
    if parsed.get_backend_name() == "sqlite":
        file = sqlite_file(parsed)
        parsed = absolute(parsed, file).set(drivername="sqlite+pysqlite")
        engine = sqlite_engine(as_it_can_be_opened(parsed, file), busy_seconds)
        full = parsed.render_as_string()
    else:
        file, engine = None, postgresql_engine(parsed)
        full = engine.url.render_as_string(hide_password=False)
    database = Database(engine=engine, url=full, file=file, patience_seconds=patience_seconds)
    _greet(database)
    return database


@retried
def _greet(database: Database) -> None:
    """Finds out now, not in a worker, whether anybody answers."""
    if database.file is not None and not database.file.exists():
        return
    with database.read() as connection:
        statement = "SELECT count(*) FROM sqlite_master" if database.file else "SELECT 1"
        connection.execute(text(statement))


@retried
def schema_version(database: Database) -> str | None:
    """Returns the version of our tables, or None if there are none."""
    if database.file is not None and not database.file.exists():
        return None
    with database.read() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        version = column("version_num", String)
        return connection.scalar(select(version).select_from(table(VERSION_TABLE)))


def check_schema(database: Database) -> None:
    """Passes if our tables have the version that this code reads and writes.

    Raises:
        SchemaError: If they are missing, older or newer.
    """
    found = schema_version(database)
    if found != SCHEMA_VERSION:
        raise SchemaError(database.where, found, SCHEMA_VERSION)


@retried
def prepare_schema(database: Database) -> None:
    """Makes our tables, or brings older ones up to date; one process at a time does it.

    Raises:
        SchemaError: If a newer rdsweep made the tables.
        StorageError: If the database cannot be written.
    """
    with schema_lock(database):
        found = schema_version(database)
        if found is not None and found > SCHEMA_VERSION:
            raise SchemaError(database.where, found, SCHEMA_VERSION)
        if database.file is not None:
            with clear_faults(database.where), database.engine.connect() as connection:
                switch_to_wal(connection)
        if found != SCHEMA_VERSION:
            _upgrade(database)


def _upgrade(database: Database) -> None:
    from studies.migrations.runner import upgrade  # Alembic: half of the package's import time

    with clear_faults(database.where), database.engine.connect() as connection:
        transaction = connection.begin() if database.file is None else rebuilding(connection)
        with transaction:
            upgrade(connection, SCHEMA_VERSION)


@contextmanager
def schema_lock(database: Database) -> Iterator[None]:
    """Holds the one lock under which tables are made, ours and Optuna's; a thread may nest it.

    Workers that make a fresh schema at the same moment kill each other (on SQLite 33 of 96 did,
    on PostgreSQL 19 of 24). On SQLite the lock is a file beside the database.

    Raises:
        StorageError: If the lock cannot be had within `LOCK_SECONDS`.
    """
    held: set[str] = _held.__dict__.setdefault("urls", set())
    if database.url in held:
        yield
        return
    with _file_lock(database.file) if database.file else _advisory_lock(database):
        held.add(database.url)
        try:
            yield
        finally:
            held.discard(database.url)


@contextmanager
def _file_lock(file: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = file.with_name(file.name + ".lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise StorageError(
            f"The lock {path} must come free within {LOCK_SECONDS:g} s, but another process "
            "holds it; end that process."
        ) from error
    except OSError as error:
        raise StorageError(
            f"The directory of {file} must be writable, but the lock beside it cannot be made: "
            f"{error.strerror or error}."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _advisory_lock(database: Database) -> Iterator[None]:
    with database.write() as connection:
        take_advisory_lock(connection, LOCK_SECONDS)
        yield
