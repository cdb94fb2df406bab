"""Whether the tables are there, and of the version that this code reads and writes."""

from collections.abc import Iterator

from sqlalchemy import inspect, text

from studies.database import Database, prepare_schema, schema_version
from studies.errors import StorageError
from studies.tables import PREFIX, SCHEMA_VERSION, Base
from sweeps.findings import Finding, all_fine, listed, problem

__all__ = ["check_tables", "is_current"]

_LATELY_SECONDS = 300.0


def is_current(db: Database) -> bool:
    """Whether the tables are there and have this code's version."""
    return schema_version(db) == SCHEMA_VERSION


def check_tables(db: Database) -> Iterator[Finding]:
    """Yields whether the tables are as this code expects them."""
    found = schema_version(db)
    if found is None:
        yield problem(
            "schema",
            "there are no rdsweep tables in it",
            "run a sweep there first (`rdsweep run SPEC`), or check the storage URL",
        )
    elif found > SCHEMA_VERSION:
        yield problem(
            "schema",
            f"the tables have version {found}, which a newer rdsweep wrote; this one reads "
            f"{SCHEMA_VERSION}",
            "update rdsweep",
        )
    elif found < SCHEMA_VERSION:
        yield problem(
            "schema",
            f"the tables have the older version {found}; this rdsweep reads {SCHEMA_VERSION}",
            "`rdsweep run` and `rdsweep doctor --fix` bring them up to date; nothing is lost",
            repair=lambda: _migrate(db, found),
        )
    else:
        yield from _columns(db)


def _migrate(db: Database, found: str) -> str:
    if at_work := _workers_at_work(db):
        raise StorageError(
            f"No worker may be at work while the tables change, but {at_work} were heard of in "
            "the last five minutes; stop them first."
        )
    prepare_schema(db)
    return f"the tables were brought from version {found} to {SCHEMA_VERSION}"


def _workers_at_work(db: Database) -> int:
    """How many workers of any version were heard of lately."""
    from sqlalchemy import select

    from studies.clock import now

    query = text(
        f"SELECT count(*) FROM {PREFIX}workers WHERE ended_at IS NULL AND seen_at > :moment"  # noqa: S608
    )
    with db.read() as connection:
        moment = (connection.scalar(select(now())) or 0.0) - _LATELY_SECONDS
        return int(connection.scalar(query, {"moment": moment}) or 0)


def _columns(db: Database) -> Iterator[Finding]:
    lacking = _lacking(db)
    if lacking:
        yield problem(
            "schema",
            f"the tables have version {SCHEMA_VERSION} but lack {listed(lacking)}",
            "they were changed with other tools; restore a copy of the database",
        )
    else:
        yield all_fine("schema", f"the tables have version {SCHEMA_VERSION}, as this rdsweep")


def _lacking(db: Database) -> list[str]:
    """The tables, and the columns as TABLE.COLUMN, that should be there and are not."""
    lacking = []
    with db.read() as connection:
        inspector = inspect(connection)
        present = set(inspector.get_table_names())
        for table in Base.metadata.sorted_tables:
            if table.name not in present:
                lacking.append(table.name)
                continue
            known = {column["name"] for column in inspector.get_columns(table.name)}
            lacking += [f"{table.name}.{c.name}" for c in table.columns if c.name not in known]
    return lacking
