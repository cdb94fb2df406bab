"""The database's clock, the only one that leases and timestamps go by.

Machines disagree about the time, the database does not disagree with itself.
"""

from __future__ import annotations

from typing import final

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


@final
class now(FunctionElement[float]):  # noqa: N801  (reads as the SQL function that it is)
    """SQL expression: seconds since 1970-01-01T00:00:00Z, with a fraction.

    It is evaluated where the statement runs, thus after a wait for the write lock.
    """

    type = Double()
    inherit_cache = True
    name = "rdsweep_now"


@compiles(now, "sqlite")
def _sqlite_now(_element: now, _compiler: SQLCompiler, **_options: object) -> str:
    # Julian day 2440587.5 is 1970-01-01T00:00:00Z. SQLite < 3.42 has no unixepoch('subsec'); a
    # double of this size resolves 40 microseconds.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql_now(_element: now, _compiler: SQLCompiler, **_options: object) -> str:
    # now() would be the start of the transaction, before a wait for a row lock.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"
