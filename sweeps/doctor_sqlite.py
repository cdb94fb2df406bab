"""Whether a SQLite file can take many writers: WAL, its file system, its soundness."""

import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text

from studies.database import Database
from studies.errors import StorageError
from studies.faults import clear_faults
from studies.sqlite import switch_to_wal
from studies.tables import PREFIX
from sweeps.doctor_disk import is_network, mount_of, mounts
from sweeps.findings import Finding, all_fine, listed, problem

__all__ = ["check_rights", "check_sqlite"]


def check_rights(file: Path) -> Iterator[Finding]:
    """Yields what may not be written, before a SQLite file is opened.

    SQLite writes two files beside the database, also for those who only read.
    """
    for path in (file, file.parent):
        if path.exists() and not os.access(path, os.W_OK):
            yield problem(
                "rights",
                f"{path} must be writable for a sweep, but it is not for this user",
                "change its permissions, or how its disk is mounted",
            )


def check_sqlite(db: Database) -> Iterator[Finding]:
    """Yields what is to be said of the file of a SQLite database."""
    if db.file is None:
        return
    yield from _file_system(db)
    yield from _journal(db)
    yield from _soundness(db)


def _file_system(db: Database) -> Iterator[Finding]:
    if db.file is None:
        return
    mount = mount_of(db.file, mounts())
    if mount is None:
        return
    if is_network(mount):
        yield problem(
            "file system",
            f"{db.file} is on a network file system ({mount.kind} at {mount.place}), where "
            "SQLite's locks and WAL do not work: writers can damage the file",
            "move the file to a local disk, or use PostgreSQL: `rdsweep db start`, `rdsweep db copy`",
        )
    else:
        yield all_fine("file system", f"{db.file} is on a local disk ({mount.kind})")


def _journal(db: Database) -> Iterator[Finding]:
    mode = _pragma(db, "journal_mode")[0]
    if mode == "wal":
        yield all_fine("journal", "its journal mode is WAL")
        return
    yield problem(
        "journal",
        f"its journal mode must be WAL, but it is {mode}: readers and writers lock each other out",
        "`rdsweep run` and `rdsweep doctor --fix` set it",
        repair=lambda: _set_wal(db),
    )


def _set_wal(db: Database) -> str:
    with clear_faults(db.where), db.engine.connect() as connection:
        switch_to_wal(connection)
    mode = _pragma(db, "journal_mode")[0]
    if mode != "wal":
        raise StorageError(f"the journal mode must become WAL, but it stays {mode}.")
    return "its journal mode is WAL now"


def _soundness(db: Database) -> Iterator[Finding]:
    try:
        complaints = [line for line in _pragma(db, "quick_check(20)") if line != "ok"]
    except StorageError as error:
        complaints = [str(error)]
    if complaints:
        yield problem(
            "soundness",
            f"the file is damaged: {listed(complaints[:3], len(complaints))}",
            "restore a copy, or try `sqlite3 FILE .recover`",
        )
        return
    orphans = [row for row in _pragma(db, "foreign_key_check") if row.startswith(PREFIX)]
    if orphans:
        yield problem(
            "soundness",
            f"{len(orphans)} rows belong to a trial or a study that is not there "
            f"({listed(sorted(set(orphans)))})",
            "they were orphaned with other tools; restore a copy, or delete them there",
        )
        return
    yield all_fine("soundness", "the file is sound (PRAGMA quick_check)")


def _pragma(db: Database, name: str) -> list[str]:
    """The first column of what a pragma returns."""
    with db.read() as connection:
        return [str(row[0]) for row in connection.execute(text(f"PRAGMA {name}"))]
