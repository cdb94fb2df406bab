"""One clear line for each way in which a database can fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from studies.errors import SchemaError, StorageError, StudiesError, TransientStorageError
from studies.postgresql_faults import translated
from studies.tables import PREFIX, SCHEMA_VERSION

# The beginning of sqlite3's sqlite_errorname, and what it means to a user.
_SQLITE_FAULTS = {
    "SQLITE_FULL": "The disk of {where} must have free space, but it is full.",
    "SQLITE_READONLY": "{where} must be writable, but it is read-only.",
    "SQLITE_BUSY": "{where} must come free within its busy timeout, but another process keeps "
    "it locked; end that process, or try again.",
    "SQLITE_LOCKED": "{where} must come free within its busy timeout, but another connection "
    "keeps it locked.",
    "SQLITE_PROTOCOL": "{where} must come free within its busy timeout, but too many other "
    "processes lock it.",
    "SQLITE_NOTADB": "{where} must be an SQLite database, but it is a file of another kind.",
    "SQLITE_CORRUPT": "{where} must be a sound SQLite database, but it is damaged; restore a "
    "copy, or try `sqlite3 FILE .recover`.",
    "SQLITE_CANTOPEN": "{where} must be a file that can be opened, but it cannot: check the path "
    "and its permissions.",
    "SQLITE_IOERR": "{where} must be readable and writable, but the disk reported an error "
    "({reason}).",
}

# What passes when room is made, or when the process that holds the lock goes on or ends. A disk
# error or a damaged file does not; in a file of its own, SQLite asks for room before it writes.
_SQLITE_PASSING = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_PROTOCOL", "SQLITE_IOERR_SHMSIZE")


@contextmanager
def clear_faults(where: str) -> Iterator[None]:
    """Translates the driver's errors into one line about the database at `where`.

    Args:
        where: The database's URL, without a password.

    Raises:
        TransientStorageError: For what may go well the next time.
        StorageError: For whatever else the driver reports about the database.
        SchemaError: If our tables are not there.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise _translated(where, error) from error
    except PoolTimeoutError as error:
        raise StorageError(
            f"A connection to {where} must come free within 30 s, but all are in use by this "
            "process's threads."
        ) from error
    except StatementError as error:
        if isinstance(error.orig, StudiesError):
            raise error.orig from None
        raise


def _translated(where: str, error: DBAPIError) -> StudiesError:
    reason = _first_line(error.orig)
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is None:
        return translated(where, error, reason)
    if "no such table" in reason and PREFIX in reason:
        return SchemaError(where, None, SCHEMA_VERSION)
    kind = TransientStorageError if name.startswith(_SQLITE_PASSING) else StorageError
    for prefix, sentence in _SQLITE_FAULTS.items():
        if name.startswith(prefix):
            return kind(sentence.format(where=where, reason=reason))
    return StorageError(f"{where} must answer, but the database reported: {reason}")


def _first_line(cause: BaseException | None) -> str:
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
