"""What `rdsweep doctor` looks at, in order; each family of checks is a module of its own.

A check is a generator of findings. With `fix`, a finding's repair is done before the next check
begins, which so sees what it left. Nothing is repaired that could lose what is stored, and nothing
is reported that is normal while a sweep runs.
"""

from collections.abc import Iterator
from dataclasses import replace

from studies.database import Database, open_database
from studies.errors import RecordError, StorageError
from studies.records import StudyRecord
from studies.sqlite import sqlite_file
from studies.storage_url import parse_storage_url
from studies.study_records import get_study, list_studies
from sweeps.errors import SweepError
from sweeps.existing_database import refuse_missing_file
from sweeps.findings import Finding, all_fine, mended, problem

__all__ = ["examine"]


def examine(
    url: str, study: str | None = None, *, fix: bool = False, deep: bool = False
) -> Iterator[Finding]:
    """Yields what is found in a database, one check after the other.

    Args:
        url: Of the database.
        study: The only study to look at; None for all of them.
        fix: Whether to repair what can be repaired safely.
        deep: Whether to read every stored file, and compare its checksum.

    Raises:
        StudyNotFound: There is no study of that name.
    """
    for finding in _findings(url, study, deep=deep):
        yield mended(finding) if fix else finding


def _findings(url: str, study: str | None, *, deep: bool) -> Iterator[Finding]:
    try:
        yield from _rights(url)
        db = open_database(url)
        refuse_missing_file(db)
    except StorageError as error:
        yield problem("database", str(error), None)
        return
    try:
        yield from _findings_in(db, study, deep=deep)
    finally:
        db.close()


def _rights(url: str) -> Iterator[Finding]:
    parsed = parse_storage_url(url)
    if parsed.get_backend_name() == "sqlite":
        from sweeps.doctor_sqlite import check_rights

        yield from check_rights(sqlite_file(parsed))


def _findings_in(db: Database, study: str | None, *, deep: bool) -> Iterator[Finding]:
    from sweeps.doctor_disk import check_disk
    from sweeps.doctor_schema import check_tables, is_current

    yield all_fine("database", f"{db.where} answers")
    if db.file is None:
        from sweeps.doctor_postgresql import check_postgresql

        yield from check_postgresql(db)
    else:
        from sweeps.doctor_sqlite import check_sqlite

        yield from check_sqlite(db)
        yield from check_disk("disk", db.file.parent, "the database")
    yield from check_tables(db)
    if is_current(db):
        records = list_studies(db) if study is None else [get_study(db, study)]
        yield from _studies(db, records, whole=study is None, deep=deep)


def _studies(
    db: Database, records: list[StudyRecord], *, whole: bool, deep: bool
) -> Iterator[Finding]:
    from sweeps.doctor_files import check_files, check_foreign_files
    from sweeps.doctor_optuna import (
        check_optuna_tables,
        check_stray_studies,
        check_study_of_optuna,
    )
    from sweeps.doctor_records import check_records
    from sweeps.doctor_workers import check_workers

    yield from _guarded("optuna", check_optuna_tables(db))
    if whole:
        yield from _guarded("optuna", check_stray_studies(db))
    for record in records:
        checks = (
            ("workers", check_workers(db, record)),
            ("record", check_records(db, record)),
            ("optuna", check_study_of_optuna(db, record)),
            ("files", check_files(db, record, deep=deep)),
        )
        for name, check in checks:
            yield from (replace(finding, study=record.name) for finding in _guarded(name, check))
    if whole:
        yield from _guarded("files", check_foreign_files(db, records))


def _guarded(name: str, check: Iterator[Finding]) -> Iterator[Finding]:
    """A check that cannot go on is itself something wrong, and the others are done all the same."""
    try:
        yield from check
    except (StorageError, SweepError, RecordError) as error:
        yield problem(name, f"this could not be looked at: {error}", None)
