"""The sampler lease: suggestions for a study are made in one place at a time."""

from __future__ import annotations

from sqlalchemy import ColumnElement, or_, select, update

from studies.clock import now
from studies.database import Database
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import StudyRow


@retried
def acquire_sampler(database: Database, study: str, worker_id: str, seconds: float) -> bool:
    """Returns whether this worker may ask the sampler for the next `seconds`.

    Whoever holds the lease extends it; another takes it over once it has run out.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:  # those who wait never take the write lock
        study_id = study_id_of(connection, study)
        available = (StudyRow.id == study_id) & _available_to(worker_id)
        if connection.scalar(select(StudyRow.id).where(available)) is None:
            return False
    with database.write() as connection:
        taken = connection.execute(
            update(StudyRow)
            .where(available)
            .values(sampler_worker=worker_id, sampler_until=now() + seconds)
        )
        return taken.rowcount == 1


@retried
def extend_sampler(database: Database, study: str, worker_id: str, seconds: float) -> bool:
    """Returns whether the lease is still this worker's; if so, it lasts `seconds` from now.

    A lease that another has had meanwhile is not taken again: what its former holder had in hand
    may have been finished by the other.
    """
    with database.write() as connection:
        mine = (StudyRow.name == study) & (StudyRow.sampler_worker == worker_id)
        extended = connection.execute(
            update(StudyRow).where(mine).values(sampler_until=now() + seconds)
        )
        return extended.rowcount == 1


@retried
def release_sampler(database: Database, study: str, worker_id: str) -> None:
    """Ends the lease, if this worker holds it."""
    with database.write() as connection:
        connection.execute(
            update(StudyRow)
            .where(StudyRow.name == study, StudyRow.sampler_worker == worker_id)
            .values(sampler_worker=None, sampler_until=None)
        )


@retried
def sampler_holder(database: Database, study: str) -> tuple[str, float] | None:
    """Returns who holds the sampler lease and how many seconds it lasts; None if nobody does.

    The seconds are negative where it has run out and nobody has taken it since.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        holder, seconds = connection.execute(
            select(StudyRow.sampler_worker, StudyRow.sampler_until - now()).where(
                StudyRow.id == study_id_of(connection, study)
            )
        ).one()
    return None if holder is None else (holder, seconds or 0.0)


def _available_to(worker_id: str) -> ColumnElement[bool]:
    return or_(
        StudyRow.sampler_worker.is_(None),
        StudyRow.sampler_worker == worker_id,
        StudyRow.sampler_until <= now(),
    )
