"""How rdsweep talks to a PostgreSQL server that hundreds of workers are connected to.

Every process keeps one connection between its transactions, and none of them open while a trial
trains. Both sides notice within a minute or two that the other is gone: the server, so that a
suspended or vanished worker keeps no row locked; the worker, so that it does not wait for ever.
"""

from __future__ import annotations

from sqlalchemy import URL, Connection, Engine, create_engine, text

from studies.documents import dump_document
from studies.errors import StorageError

# One snapshot for all statements of a transaction, and no row locks by mistake.
READS = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

_CONNECTION: dict[str, str | int] = {
    "application_name": "rdsweep",
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 30,  # seconds
    "keepalives_interval": 10,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds, for what was sent and not acknowledged
}
_SESSION = {
    "idle_in_transaction_session_timeout": "30s",  # a suspended process must not keep its locks
    "lock_timeout": "60s",  # longer than the above, so only a fault ends a wait
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

# Any constant will do, as long as all processes use the same: "rdsweep" in ASCII.
_LOCK = int.from_bytes(b"rdsweep")
_LONGEST_SCHEMA_CHANGE = "15min"


def postgresql_connect_args(url: URL) -> dict[str, str | int]:
    """Returns the parameters that connections to a server are made with, beside the URL's own.

    What the URL says itself holds: libpq's parameters, as `sslmode`, and in `options` settings
    of the session, as `-c lock_timeout=10s`.

    Args:
        url: The server's URL.
    """
    session = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    wanted = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    return wanted | {"options": f"{session} {_one(url.query.get('options', ''))}".strip()}


def postgresql_pool_args() -> dict[str, int | bool]:
    """Returns the size of the pool: one connection that stays, and two for other threads."""
    return {"pool_size": 1, "max_overflow": 2, "pool_pre_ping": True}


def postgresql_engine(url: URL) -> Engine:
    """Returns an engine with few connections; a dropped one is noticed and made again.

    Raises:
        StorageError: If the driver, psycopg 3, is not installed.
    """
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            json_serializer=dump_document,
            connect_args=postgresql_connect_args(url),
            **postgresql_pool_args(),
        )
    except ModuleNotFoundError as error:
        raise StorageError(
            f"A PostgreSQL URL needs the package {error.name!r}, but it is not installed; "
            "`pip install 'rdsweep[postgres]'`."
        ) from error


def take_advisory_lock(connection: Connection, seconds: float) -> None:
    """Waits for the database's one rdsweep lock; it ends with the connection's transaction.

    That transaction has nothing to do while the lock is held, and is not ended for that.

    Args:
        connection: Inside a transaction.
        seconds: How long to wait.
    """
    settings = {
        "lock_timeout": f"{1000 * seconds:.0f}ms",
        "idle_in_transaction_session_timeout": _LONGEST_SCHEMA_CHANGE,
    }
    for name, value in settings.items():
        statement = text("SELECT set_config(:name, :value, true)")
        connection.execute(statement, {"name": name, "value": value})
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _one(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else " ".join(value)
