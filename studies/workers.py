"""Worker processes: who works on a study, where, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update

from studies.clock import now
from studies.database import Database
from studies.orders import stronger
from studies.records import StopOrder, WorkerRecord
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import StudyRow, WorkerRow

__all__ = [
    "WorkerRecord",
    "count_living",
    "count_slots",
    "describe_worker",
    "end_worker",
    "list_workers",
    "register_worker",
    "touch_worker",
]

_SPECIAL = {
    "study": StudyRow.name.label("study"),
    "silent_seconds": (now() - WorkerRow.seen_at).label("silent_seconds"),
}
_COLUMNS: list[Any] = [
    _SPECIAL.get(field.name, getattr(WorkerRow, field.name, None))
    for field in fields(WorkerRecord)
]


@retried
def register_worker(
    database: Database,
    study: str,
    worker_id: str,
    *,
    host: str,
    pid: int,
    process_started_at: float,
    device: str,
    versions: Mapping[str, Any],
    launcher_id: str | None = None,
) -> None:
    """Notes that a worker has started; once more under the same id, it starts anew.

    Args:
        database: Where the study is.
        study: Its name.
        worker_id: Unique identity, which leases are held under; a UUID does.
        host: Name of its machine.
        pid: Process id there.
        process_started_at: When that process started, UTC seconds by its machine's clock; with
            the id it tells the process from a later one that the system gave the same id.
        device: What it trains on, as "cpu" or "cuda:0".
        versions: Versions of Python, torch and so on in that process, and how many trials it
            trains at a time (`slots`; one if it does not say).
        launcher_id: Identity of the launcher that started it.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.write() as connection:
        connection.execute(delete(WorkerRow).where(WorkerRow.id == worker_id))
        connection.execute(
            insert(WorkerRow).values(
                id=worker_id,
                study_id=study_id_of(connection, study),
                host=host,
                pid=pid,
                process_started_at=process_started_at,
                device=device,
                versions=dict(versions),
                launcher_id=launcher_id,
                started_at=now(),
                seen_at=now(),
            )
        )


@retried
def describe_worker(database: Database, worker_id: str, versions: Mapping[str, Any]) -> None:
    """Replaces what is known of a worker's process.

    Args:
        database: Where it is registered.
        worker_id: The worker.
        versions: As for `register_worker`.
    """
    with database.write() as connection:
        connection.execute(
            update(WorkerRow).where(WorkerRow.id == worker_id).values(versions=dict(versions))
        )


@retried
def touch_worker(database: Database, worker_id: str, note: str | None = None) -> StopOrder | None:
    """Notes that the worker is alive now; returns the order to stop that holds for it.

    Args:
        database: Where it is registered.
        worker_id: The worker.
        note: What hinders it at the moment, in one line.
    """
    mine = WorkerRow.id == worker_id
    with database.write() as connection:
        connection.execute(
            update(WorkerRow)
            .where(mine, WorkerRow.ended_at.is_(None))
            .values(seen_at=now(), note=note)
        )
        orders = connection.execute(
            select(StudyRow.stop, WorkerRow.stop).join_from(WorkerRow, StudyRow).where(mine)
        ).one_or_none()
    return None if orders is None else stronger(*orders)


@retried
def end_worker(database: Database, worker_id: str, reason: str | None = None) -> None:
    """Notes that the worker has ended, and why; the first time counts.

    Args:
        database: Where it is registered.
        worker_id: The worker.
        reason: Why it left, in one line; None where it had nothing left to do.
    """
    with database.write() as connection:
        connection.execute(
            update(WorkerRow)
            .where(WorkerRow.id == worker_id, WorkerRow.ended_at.is_(None))
            .values(seen_at=now(), ended_at=now(), reason=reason, note=None)
        )


@retried
def count_living(database: Database, study: str, lease_seconds: float) -> int:
    """Returns how many workers take trials: heard of within a lease, and not told to leave.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        living = _living(study_id_of(connection, study), lease_seconds)
        return connection.scalar(select(func.count()).where(living)) or 0


@retried
def count_slots(database: Database, study: str, lease_seconds: float) -> int:
    """Returns how many trials the workers that `count_living` counts train at a time.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    slots = func.sum(func.coalesce(WorkerRow.versions["slots"].as_integer(), 1))
    with database.read() as connection:
        living = _living(study_id_of(connection, study), lease_seconds)
        return int(connection.scalar(select(slots).where(living)) or 0)


def _living(study_id: int, lease_seconds: float) -> ColumnElement[bool]:
    return (
        (WorkerRow.study_id == study_id)
        & WorkerRow.ended_at.is_(None)
        & WorkerRow.stop.is_(None)
        & (WorkerRow.seen_at > now() - lease_seconds)
    )


@retried
def list_workers(
    database: Database,
    study: str | None = None,
    *,
    host: str | None = None,
    ended: bool | None = None,
) -> list[WorkerRecord]:
    """Returns workers, the first registered first.

    With `host` and `ended=False`: those whose processes this machine can look up by `pid` and
    `process_started_at`; for one that is gone, see `queue.release_worker`.

    Args:
        database: Where they are registered.
        study: Only those of this study.
        host: Only those of this machine.
        ended: Only those that have ended, or have not.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    statement = select(*_COLUMNS).join_from(WorkerRow, StudyRow)
    if host is not None:
        statement = statement.where(WorkerRow.host == host)
    if ended is not None:
        statement = statement.where(WorkerRow.ended_at.is_not(None) == ended)
    with database.read() as connection:
        if study is not None:
            statement = statement.where(WorkerRow.study_id == study_id_of(connection, study))
        rows = connection.execute(statement.order_by(WorkerRow.started_at, WorkerRow.id))
        return [WorkerRecord(**row._asdict()) for row in rows]
