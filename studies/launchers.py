"""Launchers: processes that start workers on a study, and how many each is to keep running."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import delete, insert, select, update

from studies.clock import now
from studies.database import Database
from studies.records import LauncherRecord
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import LauncherRow, StudyRow

__all__ = [
    "LauncherRecord",
    "end_launcher",
    "list_launchers",
    "register_launcher",
    "set_workers_wanted",
    "touch_launcher",
]

_SPECIAL = {
    "study": StudyRow.name.label("study"),
    "silent_seconds": (now() - LauncherRow.seen_at).label("silent_seconds"),
}
_COLUMNS: list[Any] = [
    _SPECIAL.get(field.name, getattr(LauncherRow, field.name, None))
    for field in fields(LauncherRecord)
]


@retried
def register_launcher(
    database: Database,
    study: str,
    launcher_id: str,
    *,
    kind: str,
    host: str,
    pid: int,
    process_started_at: float,
    workers_wanted: int,
) -> None:
    """Notes that a launcher has started; once more under the same id, it starts anew.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.write() as connection:
        connection.execute(delete(LauncherRow).where(LauncherRow.id == launcher_id))
        connection.execute(
            insert(LauncherRow).values(
                id=launcher_id,
                study_id=study_id_of(connection, study),
                kind=kind,
                host=host,
                pid=pid,
                process_started_at=process_started_at,
                workers_wanted=workers_wanted,
                started_at=now(),
                seen_at=now(),
            )
        )


@retried
def touch_launcher(database: Database, launcher_id: str) -> int | None:
    """Notes that the launcher is alive; returns how many workers it is to keep running.

    None if it is not registered.
    """
    mine = LauncherRow.id == launcher_id
    with database.write() as connection:
        connection.execute(update(LauncherRow).where(mine).values(seen_at=now()))
        return connection.scalar(select(LauncherRow.workers_wanted).where(mine))


@retried
def set_workers_wanted(database: Database, launcher_id: str, workers: int) -> None:
    """Tells a launcher how many workers to keep running; it hears that as it looks."""
    with database.write() as connection:
        connection.execute(
            update(LauncherRow).where(LauncherRow.id == launcher_id).values(workers_wanted=workers)
        )


@retried
def end_launcher(database: Database, launcher_id: str) -> None:
    """Notes that the launcher has ended; the first time counts."""
    with database.write() as connection:
        connection.execute(
            update(LauncherRow)
            .where(LauncherRow.id == launcher_id, LauncherRow.ended_at.is_(None))
            .values(seen_at=now(), ended_at=now())
        )


@retried
def list_launchers(
    database: Database, study: str, *, ended: bool | None = None
) -> list[LauncherRecord]:
    """Returns the launchers of a study, the first registered first.

    Args:
        database: Where they are registered.
        study: The study's name.
        ended: Only those that have ended, or have not.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    statement = select(*_COLUMNS).join_from(LauncherRow, StudyRow)
    if ended is not None:
        statement = statement.where(LauncherRow.ended_at.is_not(None) == ended)
    with database.read() as connection:
        statement = statement.where(LauncherRow.study_id == study_id_of(connection, study))
        rows = connection.execute(statement.order_by(LauncherRow.started_at, LauncherRow.id))
        return [LauncherRecord(**row._asdict()) for row in rows]
