"""Studies: made once, read by name."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from studies.clock import now
from studies.database import Database
from studies.errors import StudyExists, StudyNotFound
from studies.records import StudyRecord
from studies.retries import is_repeated, retried
from studies.tables import StudyRow

_COLUMNS = [getattr(StudyRow, field.name) for field in fields(StudyRecord)]
_CHANGING = ("spec", "spec_hash", "sampler", "trials_wanted")


@retried
def create_study(database: Database, study: StudyRecord) -> StudyRecord:
    """Returns the study as stored, with the time at which it was made.

    Raises:
        StudyExists: If its name is taken.
    """
    values = asdict(study) | {"spectrum": list(study.spectrum), "created_at": now()}
    try:
        with database.write() as connection:
            connection.execute(insert(StudyRow).values(values))
    except IntegrityError as error:
        if not (is_repeated() and _is_stored(database, study)):
            raise StudyExists(study.name) from error
    return get_study(database, study.name)


@retried
def get_study(database: Database, name: str) -> StudyRecord:
    """Returns the study of that name.

    Raises:
        StudyNotFound: If there is none; the message names the nearest one.
    """
    with database.read() as connection:
        row = connection.execute(select(*_COLUMNS).where(StudyRow.name == name)).one_or_none()
        if row is None:
            raise _not_found(connection, name)
    return _study(row)


@retried
def list_studies(database: Database) -> list[StudyRecord]:
    """Returns all studies, the oldest first."""
    with database.read() as connection:
        return [_study(row) for row in connection.execute(select(*_COLUMNS).order_by(StudyRow.id))]


@retried
def update_study(database: Database, study: StudyRecord) -> None:
    """Stores what may change while a study goes on: its spec, sampler and wanted number of trials.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    changed = {name: getattr(study, name) for name in _CHANGING}
    with database.write() as connection:
        study_id = study_id_of(connection, study.name)
        connection.execute(update(StudyRow).where(StudyRow.id == study_id).values(changed))


def study_id_of(connection: Connection, name: str) -> int:
    """Returns our own key of a study, inside somebody's transaction.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    study_id = connection.scalar(select(StudyRow.id).where(StudyRow.name == name))
    if study_id is None:
        raise _not_found(connection, name)
    return study_id


def _is_stored(database: Database, study: StudyRecord) -> bool:
    """Whether an earlier call, whose answer was lost, has stored the study."""
    stored = get_study(database, study.name)
    return replace(stored, created_at=None) == replace(study, created_at=None)


def _not_found(connection: Connection, name: str) -> StudyNotFound:
    return StudyNotFound(name, connection.scalars(select(StudyRow.name).order_by(StudyRow.id)))


def _study(row: Row[tuple[object, ...]]) -> StudyRecord:
    return StudyRecord(**row._asdict())
