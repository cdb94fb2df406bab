"""The database that a command reads: it must be there already, with tables of this version."""

from studies.database import Database, check_schema, open_database
from studies.errors import StorageError
from studies.retries import PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS
from sweeps.storage import storage_url

__all__ = ["existing_database", "refuse_missing_file"]


def existing_database(storage: str | None, *, patient: bool = False) -> Database:
    """The database of a study that exists; nothing is made.

    Args:
        storage: What `--storage` said, or None.
        patient: Whether nobody waits for the command, so that it may wait for the database.

    Raises:
        SweepError: The URL names no database that rdsweep knows.
        StorageError: There is no such database.
        SchemaError: Its tables are missing or of another version.
    """
    patience = PATIENCE_SECONDS if patient else SHORT_PATIENCE_SECONDS
    db = open_database(storage_url(storage), patience_seconds=patience)
    refuse_missing_file(db)
    check_schema(db)
    return db


def refuse_missing_file(db: Database) -> None:
    """Passes unless the database is a SQLite file that is not there.

    Raises:
        StorageError: It is.
    """
    if db.file is not None and not db.file.exists():
        message = f"The database must exist, but there is no file {db.file}; say --storage URL."
        raise StorageError(message)
