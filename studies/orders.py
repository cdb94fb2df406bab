"""Orders to stop: to all workers of a study, or to some of them; a worker hears them as it beats."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, update

from studies.database import Database
from studies.records import StopOrder
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import StudyRow, WorkerRow

__all__ = [
    "StopOrder",
    "clear_stop",
    "order_stop",
    "order_worker_stop",
    "standing_order",
    "stronger",
]


@retried
def order_stop(database: Database, study: str, order: StopOrder) -> None:
    """Orders every worker of a study to leave; it stands until `clear_stop`.

    Args:
        database: Where the study is.
        study: Its name.
        order: "drain" to finish the running trials first, "now" to leave at the next epoch.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    _set_stop(database, study, order)


@retried
def clear_stop(database: Database, study: str) -> None:
    """Lets the study go on.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    _set_stop(database, study, None)


@retried
def order_worker_stop(database: Database, worker_ids: Iterable[str], order: StopOrder) -> None:
    """Orders some workers to leave; those that have ended already are left alone."""
    with database.write() as connection:
        connection.execute(
            update(WorkerRow)
            .where(WorkerRow.id.in_(list(worker_ids)), WorkerRow.ended_at.is_(None))
            .values(stop=order)
        )


@retried
def standing_order(database: Database, study: str) -> StopOrder | None:
    """Returns the order to all workers of a study that stands, None while it may go on.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        study_id = study_id_of(connection, study)
        return stronger(connection.scalar(select(StudyRow.stop).where(StudyRow.id == study_id)))


def stronger(*orders: str | None) -> StopOrder | None:
    """Returns the order to follow: "now" before "drain" before none."""
    if "now" in orders:
        return "now"
    return "drain" if "drain" in orders else None


def _set_stop(database: Database, study: str, order: StopOrder | None) -> None:
    with database.write() as connection:
        study_id = study_id_of(connection, study)
        connection.execute(update(StudyRow).where(StudyRow.id == study_id).values(stop=order))
