"""How rdsweep talks to a PostgreSQL server that hundreds of workers are connected to."""

from __future__ import annotations

from sqlalchemy import URL, Connection, Engine, create_engine, text

from studies.documents import dump_document
from studies.errors import StorageError

# One snapshot for all statements of a transaction, and no row locks by mistake.
READS = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

# Any constant will do, as long as all processes use the same: "rdsweep" in ASCII.
_LOCK = int.from_bytes(b"rdsweep")


def postgresql_engine(url: URL) -> Engine:
    """Returns an engine with few connections; a dropped one is noticed and made again.

    Raises:
        StorageError: If the driver, psycopg 3, is not installed.
    """
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            json_serializer=dump_document,
            pool_size=1,
            max_overflow=2,
            pool_pre_ping=True,
        )
    except ModuleNotFoundError as error:
        raise StorageError(
            f"A PostgreSQL URL needs the package {error.name!r}, but it is not installed; "
            "`pip install 'psycopg[binary]'`."
        ) from error


def take_advisory_lock(connection: Connection) -> None:
    """Waits for the database's one rdsweep lock; it ends with the connection's transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
