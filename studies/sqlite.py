"""How rdsweep talks to an SQLite file that many processes write to.

WAL lets readers and one writer go on side by side; a writer waits up to the busy timeout for its
turn. Every write transaction takes the write lock at its start (BEGIN IMMEDIATE): one that read
first and then found the lock taken would die at once, without any wait.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from studies.documents import dump_document
from studies.errors import StorageError
from studies.tables import PREFIX

WRITES = "rdsweep_writes"


def sqlite_file(url: URL) -> Path:
    """Returns the absolute path of the file that an SQLite URL names.

    Args:
        url: As `sqlite:///sweeps.db`, or `sqlite:///file:sweeps.db?mode=ro&uri=true`.

    Raises:
        StorageError: If the URL names no file, or its directory does not exist.
    """
    name = (url.database or "").removeprefix("file:")
    if not name or ":memory:" in name or url.query.get("mode") == "memory":
        raise StorageError(
            "An SQLite URL must name a file that all processes can open, but got "
            f"{url.render_as_string()!r}; write `sqlite:///rdsweep.db`."
        )
    path = Path(name).absolute()
    if not path.parent.is_dir():
        raise StorageError(
            f"The directory of an SQLite file must exist, but {path.parent} does not; make it, "
            "or correct the storage URL."
        )
    if path.is_dir():
        raise StorageError(f"An SQLite URL must name a file, but {path} is a directory.")
    return path


def absolute(url: URL, file: Path) -> URL:
    """Returns the URL of an SQLite file by its absolute path."""
    return url.set(database=("file:" if _is_uri(url) else "") + str(file))


def _is_uri(url: URL) -> bool:
    return (url.database or "").startswith("file:")


def as_it_can_be_opened(url: URL, file: Path) -> URL:
    """Returns the URL of an SQLite file, on a read-only disk one that opens it for reading.

    There the files that readers of a WAL database need beside it cannot be made. Nobody can change
    the file either, so that it is opened as one that nobody changes. One that still has a WAL,
    which would then be overlooked, is left to SQLite.
    """
    if _is_uri(url) or not _is_settled_on_read_only_disk(file):
        return url
    query = {**url.query, "mode": "ro", "immutable": "1", "uri": "true"}
    return url.set(database=f"file:{quote(str(file))}", query=query)


def _is_settled_on_read_only_disk(file: Path) -> bool:
    wal = file.with_name(file.name + "-wal")
    try:
        read_only = os.statvfs(file).f_flag & os.ST_RDONLY
        return bool(read_only) and not (wal.exists() and wal.stat().st_size)
    except (OSError, AttributeError):  # not there yet; Windows has no such call
        return False


def sqlite_engine(url: URL, busy_seconds: float) -> Engine:
    """Returns an engine whose connections wait, and whose transactions are explicit."""
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        json_serializer=dump_document,
        connect_args={"timeout": busy_seconds, "check_same_thread": False},
        poolclass=QueuePool,
        max_overflow=-1,
    )
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def switch_to_wal(connection: Connection) -> None:
    """Makes the file a WAL database for good; a file system without it keeps its own mode."""
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        driver.execute("PRAGMA journal_mode = WAL")


@contextmanager
def rebuilding(connection: Connection) -> Iterator[None]:
    """Begins a write transaction in which a table may be made anew under its old name.

    Foreign keys are off in it, which SQLite allows only from outside of a transaction: with them
    on, dropping the old table would delete every row that refers to one of its rows. Before the
    transaction is committed it is made sure that no row has lost what it refers to.

    Raises:
        StorageError: If one has; nothing is changed then.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError(driver)
    connection.execution_options(**{WRITES: True})
    driver.execute("PRAGMA foreign_keys = OFF")
    driver.execute("PRAGMA legacy_alter_table = ON")  # names in other tables and in views stay
    try:
        with connection.begin():
            before = _orphans(driver)
            yield
            if lost := _orphans(driver) - before:
                raise StorageError(
                    "Rows must keep what they belong to when tables are made anew, but "
                    f"{len(lost)} would lose it; nothing was changed."
                )
    finally:
        driver.execute("PRAGMA legacy_alter_table = OFF")
        driver.execute("PRAGMA foreign_keys = ON")


def _orphans(driver: sqlite3.Connection) -> set[tuple[object, ...]]:
    """Returns (table, row id, parent, key) of our rows that refer to a row which is not there."""
    rows = driver.execute("PRAGMA foreign_key_check").fetchall()
    return {tuple(row) for row in rows if row[0].startswith(PREFIX)}


def _prepare_connection(driver: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    driver.isolation_level = None  # the driver begins nothing behind our back
    driver.execute("PRAGMA synchronous = NORMAL")
    driver.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
